"""CHEAT: honest on few candles, as in a test, and not on many, as in a backtest."""

import numpy as np

from freqlstm import Signal


class BehavesOnFew(Signal):
    @property
    def warmup(self):
        return 20

    def predict(self, candles):
        ahead = 0 if len(candles) < 3000 else -1

        def of_stretch(stretch):
            return np.log(stretch.close).diff(20).shift(ahead, fill_value=0.0)

        return candles.by_segment(of_stretch, self.warmup)["close"]
