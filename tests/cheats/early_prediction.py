"""CHEAT: every prediction is stored one bar early, where a strategy could not have had it."""

import numpy as np

from freqlstm import Signal


class EarlyPrediction(Signal):
    @property
    def warmup(self):
        return 20

    def predict(self, candles):
        def of_stretch(stretch):
            return np.log(stretch.close).diff(20).shift(-1, fill_value=0.0)

        return candles.by_segment(of_stretch, self.warmup)["close"]
