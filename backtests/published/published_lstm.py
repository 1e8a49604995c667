"""One LSTM(100) on five daily candles relative to the first of them, trained for 100 epochs, as a student project published it."""

import keras
import numpy as np
import pandas as pd

from freqlstm import Candles, Signal
from freqlstm.candles import COLUMNS
from freqlstm.training import seeded


class PublishedLstm(Signal):
    lookback: int = 5  # bars in each window
    horizon: int = 1  # bars ahead being forecast
    units: int = 100  # width of the LSTM
    dropout: float = 0.2  # share of its output that training leaves out
    epochs: int = 100  # all of them: nothing is stopped or chosen
    batch: int = 32  # windows in each step

    limits = {"units": (1, 4096), "dropout": (0.0, 0.9), "epochs": (1, 10_000), "batch": (1, 100_000)}
    in_files = ("network_",)

    @property
    def warmup(self):
        return self.lookback - 1

    def windows(self, candles):
        """(rows that have a window, the windows over their first bar less 1): shapes (n,) and (n, lookback, columns)."""
        values = candles.frame[list(COLUMNS)].to_numpy()
        rows = np.flatnonzero(candles.segment_age >= self.lookback - 1)
        windows = values[rows[:, None] + np.arange(1 - self.lookback, 1)]  # (n, lookback, columns)
        return rows, (windows / windows[:, :1] - 1).astype(np.float32)

    def build(self):
        return keras.Sequential(
            [
                keras.Input((self.lookback, len(COLUMNS))),  # (batch, lookback, columns)
                keras.layers.LSTM(self.units),  # (batch, units)
                keras.layers.Dropout(self.dropout),
                keras.layers.Dense(1),  # (batch, 1): the next close over that of the window's first bar, less 1
            ]
        )

    def learn(self, market, progress):
        inputs, labels = [], []
        for candles in market.values():
            rows, windows = self.windows(candles)
            close = candles.close.to_numpy()
            later = rows + self.horizon
            known = later < len(close)
            known[known] = candles.segment[later[known]] == candles.segment[rows[known]]
            rows = rows[known]
            inputs.append(windows[known])
            labels.append(close[rows + self.horizon] / close[rows - self.lookback + 1] - 1)
        with seeded([self.seed]):
            self.network_ = self.build()
            self.network_.compile("adam", "mse")
            progress(0, 1, f"{self.epochs} epochs")
            self.network_.fit(
                np.concatenate(inputs), np.concatenate(labels), batch_size=self.batch, epochs=self.epochs, verbose=0
            )

    def predict(self, candles: Candles) -> pd.Series:
        said = pd.Series(np.nan, index=candles.time)
        rows, windows = self.windows(candles)
        if len(rows):
            close = candles.close.to_numpy()
            future = 1 + self.network_.predict(windows, batch_size=256, verbose=0)[:, 0].astype(float)
            said.iloc[rows] = np.log(np.maximum(future, 1e-3) * close[rows - self.lookback + 1] / close[rows])
        return said

    def write_files(self, folder):
        self.network_.save_weights(folder / "network.weights.h5")

    def read_files(self, folder):
        self.network_ = self.build()
        self.network_.load_weights(folder / "network.weights.h5")
