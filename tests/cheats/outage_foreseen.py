"""CHEAT: knows at the last bar before an outage that there will be one."""

import pandas as pd

from freqlstm import Signal


class OutageForeseen(Signal):
    def predict(self, candles):
        wait = candles.time.to_series().diff().shift(-1).fillna(candles.step)
        return pd.Series((wait > candles.step).astype(float).to_numpy(), index=candles.time)
