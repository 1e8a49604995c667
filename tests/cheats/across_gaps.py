"""BROKEN: takes the candles on the two sides of a gap for neighbours."""

import numpy as np

from freqlstm import Signal


class AcrossGaps(Signal):
    @property
    def warmup(self):
        return 20

    def predict(self, candles):
        return np.log(candles.close).diff(20).rename("prediction")
