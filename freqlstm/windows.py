"""Windows of consecutive bars: which rows have one, and the array that a network reads.

A window of ``lookback`` bars belongs to its last row t and holds the rows t - lookback + 1 to t: nothing later.
"""

from __future__ import annotations

import numpy as np

from freqlstm.errors import UsageError


def rows_with_window(matrix: np.ndarray, segment: np.ndarray, lookback: int) -> np.ndarray:
    """Shape (n,), int, increasing: the rows t whose window is one unbroken stretch of finite features.

    ``matrix`` is (rows, features); ``segment`` is (rows,), the number of each row's stretch: ``Candles.segment``.
    """
    if len(matrix) != len(segment):
        raise UsageError(
            f"The features have {len(matrix)} rows and the segments {len(segment)}. They must be of one table."
        )
    if isinstance(lookback, bool) or not isinstance(lookback, (int, np.integer)) or lookback < 1:
        raise UsageError(f"lookback is {lookback!r}. It must be a whole number of bars, at least 1.")
    if not len(matrix):
        return np.zeros(0, dtype=np.int64)
    usable = np.isfinite(matrix).all(axis=1)
    rows = np.arange(len(matrix))
    fresh = np.concatenate([[True], segment[1:] != segment[:-1]])
    before = np.where(fresh, rows - 1, -1)  # the last row that a window may not hold: before its stretch, or not finite
    before = np.maximum.accumulate(np.maximum(before, np.where(usable, -1, rows)))
    return np.flatnonzero(rows - before >= lookback)


def gather(matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
    """Shape (len(rows), lookback, features), float32: the window of each row, oldest bar first.

    With ``lookback=3`` the window of row 5 is the rows [3 4 5].
    """
    rows = np.asarray(rows, dtype=np.int64)
    if len(rows) and (rows.min() < lookback - 1 or rows.max() >= len(matrix)):
        outside = rows[(rows < lookback - 1) | (rows >= len(matrix))][0]
        raise UsageError(
            f"Row {outside} has no window of {lookback} bars in a table of {len(matrix)} rows. "
            f"Take rows from rows_with_window."
        )
    steps = np.arange(lookback) - (lookback - 1)
    return np.asarray(matrix, dtype=np.float32)[rows[:, None] + steps]  # (n, lookback, features)
