"""CHEAT: learns at each update from labels that are not complete yet."""

import keras

from freqlstm.updating import UpdatingSignal


class HastyUpdate(UpdatingSignal):
    features = ("return_lag_0", "return_lag_1", "momentum_5")

    def build(self, n_features):
        return keras.Sequential(
            [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(1)]
        )

    def known_by(self, bar):
        return bar
