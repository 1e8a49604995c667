"""The network and the inputs of the rows about predictions and training: LSTM(64) on 16 features a bar."""

from __future__ import annotations

from typing import Any

import numpy as np

FEATURES = 16
UNITS = 64
LOOKBACK = 60  # bars in each window


def matrix(rows: int) -> np.ndarray:
    """Shape (rows, FEATURES), float32: scaled features, as far as speed is concerned."""
    return np.random.default_rng(16).standard_normal((rows, FEATURES), dtype=np.float32)


def labels(rows: int) -> np.ndarray:
    """Shape (rows,), float32, in (-1, 1)."""
    return np.tanh(np.random.default_rng(1).normal(size=rows)).astype(np.float32)


def materialised(features: np.ndarray, lookback: int = LOOKBACK) -> np.ndarray:
    """Shape (windows, lookback, FEATURES): every window written out, as tutorials do."""
    view = np.lib.stride_tricks.sliding_window_view(features, lookback, axis=0)  # (windows, FEATURES, lookback)
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def network(lookback: int = LOOKBACK, units: int = UNITS) -> Any:
    """The same weights in every process."""
    import keras

    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [keras.Input((lookback, FEATURES)), keras.layers.LSTM(units), keras.layers.Dense(1, name="output")]
    )
