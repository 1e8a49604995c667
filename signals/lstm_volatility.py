"""LSTM forecasting how wild the next `horizon` bars will be, beside how wild the last four horizons were."""

import keras

from freqlstm.keras_signal import KerasSignal


class LstmVolatility(KerasSignal):
    target = "volatility"
    lookback: int = 30  # bars in each window
    horizon: int = 15  # bars ahead being forecast
    units: int = 32  # width of the LSTM
    stride: int = 4  # bars from one training window to the next
    seeds: int = 2  # networks that are averaged
    epochs: int = 4  # at most

    limits = {"units": (1, 4096)}

    def build(self, n_features):
        return keras.Sequential(
            [
                keras.Input((self.lookback, n_features)),  # (batch, lookback, features)
                keras.layers.LSTM(self.units),  # (batch, units)
                keras.layers.Dense(1),  # (batch, 1): log variance above that of the last four horizons
            ]
        )
