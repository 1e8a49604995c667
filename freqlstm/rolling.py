"""Sums, means and memories along an array, each finite and none looking ahead: what features are made of.

Everything is sequential in time, so the bits of a value cannot depend on how many rows come after it. Shapes are
(rows,); rows that lack enough others before them are NaN, except with `decayed`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

BLOCK = 4096  # windows at a time, so that they stay in the processor's cache


def change(values: np.ndarray, rows: int = 1) -> np.ndarray:
    """values[t] - values[t - rows]."""
    return np.asarray(values - lagged(values, rows))


def lagged(values: np.ndarray, rows: int) -> np.ndarray:
    """values[t - rows]."""
    earlier = np.full(len(values), np.nan)
    earlier[rows:] = values[: max(len(values) - rows, 0)]
    return earlier


def mean(values: np.ndarray, rows: int) -> np.ndarray:
    """Mean of the rows t - rows + 1 to t."""
    return pd.Series(values).rolling(rows).mean().to_numpy()


def deviation(values: np.ndarray, rows: int) -> np.ndarray:
    """Population standard deviation of the rows t - rows + 1 to t.

    Each window is summed afresh: a running variance keeps the rounding of every wild day before a calm one.
    """
    result = np.full(len(values), np.nan)
    for first in range(0, len(values) - rows + 1, BLOCK):
        part = values[first : first + BLOCK + rows - 1]
        windows = np.lib.stride_tricks.sliding_window_view(part, rows).copy()  # (block, rows)
        windows -= windows.sum(axis=1, keepdims=True) / rows
        windows *= windows
        result[first + rows - 1 : first + rows - 1 + len(windows)] = np.sqrt(windows.sum(axis=1) / rows)
    return result


def highest(values: np.ndarray, rows: int) -> np.ndarray:
    """Greatest of the rows t - rows + 1 to t."""
    return pd.Series(values).rolling(rows).max().to_numpy()


def lowest(values: np.ndarray, rows: int) -> np.ndarray:
    """Least of the rows t - rows + 1 to t."""
    return pd.Series(values).rolling(rows).min().to_numpy()


def log(values: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Natural logarithm, values below ``least`` counting as it."""
    return np.asarray(np.log(np.maximum(values, least)))


def ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Their quotient; ``otherwise`` where the denominator is not positive, as in a market without trades."""
    quotient = np.where(np.isnan(numerator) | np.isnan(denominator), np.nan, otherwise)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def decayed(values: np.ndarray, alpha: float, rows: int) -> np.ndarray:
    """Mean of the last ``rows`` values with the weights (1 - alpha)^age: an EWMA that forgets everything older.

    It stays a recursion by subtracting what falls out of the window. NaN counts as 0, and the first ``rows`` - 1
    values miss what would be before the start: they are the caller's to discard.
    """
    entering = np.nan_to_num(values)
    kept = (1 - alpha) ** rows
    difference = np.concatenate([[0.0], entering - kept * np.nan_to_num(lagged(entering, rows))])
    return pd.Series(difference).ewm(alpha=alpha, adjust=False).mean().to_numpy()[1:] / (1 - kept)


def memory(alpha: float, forgotten: float = 1e-6) -> int:
    """Values that hold all but ``forgotten`` of the weight of an exponential mean."""
    return math.ceil(math.log(forgotten) / math.log1p(-alpha)) if alpha < 1 else 1
