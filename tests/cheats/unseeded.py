"""BROKEN: draws random numbers without a seed."""

import numpy as np

from freqlstm import Signal


class Unseeded(Signal):
    def learn(self, market, progress):
        self.weight_ = float(np.random.default_rng().normal())

    def predict(self, candles):
        return candles.close * 0.0 + self.weight_
