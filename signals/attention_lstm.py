"""LSTM whose states over the window are weighed by attention (Bahdanau et al. 2015), with batch norm, dropout and Huber's loss."""

import keras

from freqlstm.keras_signal import KerasSignal


class AttentionLstm(KerasSignal):
    lookback: int = 20  # bars in each window
    horizon: int = 5  # bars ahead being forecast
    units: int = 32  # width of the LSTM
    dropout: float = 0.1  # share of the weighed states that training leaves out
    delta: float = 1.0  # error beyond which the loss grows linearly only (Huber 1964)

    limits = {"units": (1, 4096), "dropout": (0.0, 0.9), "delta": (1e-6, 1e6)}

    def build(self, n_features):
        window = keras.Input((self.lookback, n_features))  # (batch, lookback, features)
        states = keras.layers.LSTM(self.units, return_sequences=True)(window)  # (batch, lookback, units)
        scores = keras.layers.Dense(1)(keras.layers.Dense(self.units, "tanh")(states))  # (batch, lookback, 1)
        weights = keras.layers.Softmax(axis=1)(scores)  # (batch, lookback, 1): they sum to 1 over the window
        context = keras.layers.Flatten()(keras.layers.Dot(axes=1)([weights, states]))  # (batch, units)
        context = keras.layers.BatchNormalization()(context)
        context = keras.layers.Dropout(self.dropout)(context)
        return keras.Model(window, keras.layers.Dense(1)(context))  # (batch, 1)

    def loss(self):
        return super().loss() if self.target == "direction" else keras.losses.Huber(self.delta)
