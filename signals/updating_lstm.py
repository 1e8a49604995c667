"""LSTM that goes on learning: it predicts each bar, then takes a small step on the newest bars whose outcome is known."""

import keras

from freqlstm.updating import UpdatingSignal


class UpdatingLstm(UpdatingSignal):
    lookback: int = 10  # bars in each window
    horizon: int = 5  # bars ahead being forecast
    units: int = 32  # width of the LSTM

    limits = {"units": (1, 4096)}

    def build(self, n_features):
        return keras.Sequential(
            [
                keras.Input((self.lookback, n_features)),  # (batch, lookback, features)
                keras.layers.LSTM(self.units),  # (batch, units)
                keras.layers.Dense(1),  # (batch, 1): tanh of the scaled return
            ]
        )
