"""What just happened happens again: the forecast that a model which has learned nothing repeats."""

import pandas as pd

from freqlstm import Candles, Signal
from freqlstm.skill import references


class Persistence(Signal):
    @property
    def warmup(self) -> int:
        return self.horizon

    def predict(self, candles: Candles) -> pd.Series:
        return references(candles, self.horizon, self.target)[2]
