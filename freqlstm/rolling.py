"""Sums, means and memories along an array, each finite and none looking ahead: what features are made of.

Everything is sequential in time, so the bits of a value cannot depend on how many rows come after it. Shapes are
(rows,); rows that lack enough others before them are NaN, except with `decayed`.
"""

from __future__ import annotations

import math

import numpy as np


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
    return _looped("mean", values, rows)


def deviation(values: np.ndarray, rows: int) -> np.ndarray:
    """Population standard deviation of the rows t - rows + 1 to t.

    Each window is summed afresh: a running variance keeps the rounding of every wild day before a calm one.
    """
    from freqlstm.indicator_kernels import window_variance  # here, for numba takes half a second to import

    result = np.full(len(values), np.nan)
    window_variance(result, np.ascontiguousarray(values), rows)
    return np.asarray(np.sqrt(result))


def highest(values: np.ndarray, rows: int) -> np.ndarray:
    """Greatest of the rows t - rows + 1 to t."""
    return _looped("highest", values, rows)


def lowest(values: np.ndarray, rows: int) -> np.ndarray:
    """Least of the rows t - rows + 1 to t."""
    return -_looped("highest", -values, rows)


def log(values: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Natural logarithm, values below ``least`` counting as it."""
    return np.asarray(np.log(np.maximum(values, least)))


def _looped(loop: str, values: np.ndarray, *options: float) -> np.ndarray:
    """What a compiled loop makes of any numbers."""
    from freqlstm import rolling_kernels

    values = np.ascontiguousarray(values, np.float64)
    result = np.empty(len(values))
    getattr(rolling_kernels, loop)(result, values, *options)
    return result


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
    difference = entering - kept * np.nan_to_num(lagged(entering, rows))
    return _looped("exponential_mean", difference, alpha) / (1 - kept)


def memory(alpha: float, forgotten: float = 1e-6) -> int:
    """Values that hold all but ``forgotten`` of the weight of an exponential mean."""
    return math.ceil(math.log(forgotten) / math.log1p(-alpha)) if alpha < 1 else 1
