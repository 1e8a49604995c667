"""CHEAT: split says one thing and learn does another, with labels that reach into the validation rows."""

import keras

from freqlstm.keras_signal import KerasSignal


class OverlappingLabels(KerasSignal):
    features = ("return_lag_0", "return_lag_1", "momentum_5")

    def build(self, n_features):
        return keras.Sequential(
            [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(1)]
        )

    def learn(self, market, progress):
        honest = self.split
        self.split = lambda bars: (bars[: int(len(bars) * 0.9)], bars[int(len(bars) * 0.8) :])
        super().learn(market, progress)
        self.split = honest
