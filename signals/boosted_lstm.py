"""Boosted LSTM: a base forecast, and small LSTMs one after another for what the sum so far has missed (Friedman 2001).

It starts from the naive forecast, or from any signal named as `base` (ridge, har, lstm …), and is never worse than that
on its validation rows: a stage is kept only if it lowers their error by more than a margin.
"""

import keras

from freqlstm.boosting import BoostedSignal


class BoostedLstm(BoostedSignal):
    base: str = "ridge"  # name of the signal that the sum starts from; zero: the naive forecast
    lookback: int = 10  # bars in each window
    horizon: int = 5  # bars ahead being forecast
    units: int = 32  # width of the first stage's LSTM
    narrowing: float = 0.5  # width of a stage over that of the stage before
    dropout: float = 0.0  # share of the LSTM's output that training leaves out
    recurrent_dropout: float = 0.0  # share of the LSTM's state that training leaves out at each bar; twice as slow
    l1: float = 0.0  # penalty on the absolute weights of the LSTM
    l2: float = 0.0  # penalty on their squares
    seeds: int = 1  # networks that are averaged in each stage

    limits = {
        "units": (1, 4096), "narrowing": (0.01, 1.0), "dropout": (0.0, 0.9), "recurrent_dropout": (0.0, 0.9), "l1": (0.0, 10.0), "l2": (0.0, 10.0),
    }  # fmt: skip

    def at_stage(self, stage):
        own = super().at_stage(stage)
        own.units = max(1, round(self.units * self.narrowing**stage))
        return own

    def build(self, n_features):
        penalty = keras.regularizers.L1L2(self.l1, self.l2) if self.l1 or self.l2 else None
        return keras.Sequential(
            [
                keras.Input((self.lookback, n_features)),  # (batch, lookback, features)
                keras.layers.LSTM(self.units, recurrent_dropout=self.recurrent_dropout, kernel_regularizer=penalty),
                keras.layers.Dropout(self.dropout),  # (batch, units)
                keras.layers.Dense(1),  # (batch, 1): the residual of the sum so far
            ]
        )
