"""Small LSTMs on the same five daily candles that correct, one after another, the forecast that the price stays where it is."""

import keras
import numpy as np

from freqlstm import feature
from freqlstm.boosting import BoostedSignal


@feature(1)
def day(candles):
    """Log return of the day."""
    return np.log(candles.close / candles.close.shift(1))


@feature(0)
def reach_up(candles):
    """Log of the high over the close."""
    return np.log(candles.high / candles.close)


@feature(0)
def reach_down(candles):
    """Log of the low over the close."""
    return np.log(candles.low / candles.close)


@feature(1)
def traded(candles):
    """Log of the volume over that of the day before."""
    return np.log(candles.volume / candles.volume.shift(1))


class PublishedBoosted(BoostedSignal):
    features = (day, reach_up, reach_down, traded)
    lookback: int = 5  # bars in each window
    horizon: int = 1  # bars ahead being forecast
    units: int = 8  # width of each LSTM
    seeds: int = 1  # networks that are averaged in each stage
    epochs: int = 30  # at most
    batch: int = 32  # windows in each step
    volatility_halflife: int = 5  # bars, of the volatility that returns are scaled by
    shrinkage: float = 0.3  # share of each stage's forecast that is added
    margin: float = 1e-3  # share of the validation error by which a stage must lower it to be kept

    def build(self, n_features):
        layers = [keras.Input((self.lookback, n_features)), keras.layers.LSTM(self.units), keras.layers.Dense(1)]
        return keras.Sequential(layers)
