"""BROKEN: what it has learned since its fit is lost when it is stopped."""

import keras

from freqlstm.updating import UpdatingSignal


class HalfRemembered(UpdatingSignal):
    features = ("return_lag_0", "return_lag_1", "momentum_5")

    def build(self, n_features):
        return keras.Sequential(
            [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(1)]
        )

    def resume(self, folder, symbol):
        super().resume(folder, symbol)
        state = self.state_[symbol]
        fresh = self._fresh(state.position)
        self.state_[symbol] = type(state)(**{**vars(state), "weights": fresh.weights})
