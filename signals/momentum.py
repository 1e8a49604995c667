"""Momentum: the return of the last `lookback` bars, expected to go on at the same pace."""

from typing import Literal

import numpy as np

from freqlstm import Signal


class Momentum(Signal):
    lookback: int = 60  # bars whose return is measured
    target: Literal["return"] = "return"

    limits = {"lookback": (1, float("inf"))}

    @property
    def warmup(self):
        return self.lookback

    def predict(self, candles):
        def of_stretch(stretch):
            return np.log(stretch.close).diff(self.lookback) * self.horizon / self.lookback

        return candles.by_segment(of_stretch, self.warmup)["close"]
