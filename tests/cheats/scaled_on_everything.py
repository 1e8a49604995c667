"""CHEAT: inputs scaled by the mean and deviation of all candles at hand, past and future."""

import keras

from freqlstm.features import compute
from freqlstm.keras_signal import KerasSignal


class ScaledOnEverything(KerasSignal):
    features = ("return_lag_0", "return_lag_1", "momentum_5")

    def build(self, n_features):
        return keras.Sequential(
            [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(1)]
        )

    def inputs(self, candles):
        raw = compute(self.features, candles)
        return (raw - raw.mean()) / raw.std()
