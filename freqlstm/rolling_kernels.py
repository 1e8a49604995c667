"""The compiled loops of :mod:`freqlstm.rolling`, bit for bit those of pandas, which takes longer to begin than to compute."""

from __future__ import annotations

import numpy as np

from freqlstm.compiling import kernel


@kernel
def mean(result: np.ndarray, values: np.ndarray, rows: int) -> None:
    """That of :meth:`pandas.Series.rolling`: a sum with what its rounding lost (Kahan 1965); NaN where one of ``rows`` is missing.

    The mean of equal values is that value, and that of values of one sign has no other.
    """
    total, lost_adding, lost_removing = 0.0, 0.0, 0.0
    known, negative, alike, before = 0, 0, 0, np.nan
    for t in range(len(values)):
        if t >= rows and np.isfinite(values[t - rows]):
            gone = values[t - rows]
            known -= 1
            negative -= np.signbit(gone)
            part = -gone - lost_removing
            after = total + part
            lost_removing = after - total - part
            total = after
        if np.isfinite(values[t]):
            come = values[t]
            known += 1
            negative += np.signbit(come)
            part = come - lost_adding
            after = total + part
            lost_adding = after - total - part
            total = after
            alike = alike + 1 if come == before else 1
            before = come
        if known < rows:
            result[t] = np.nan
        elif alike >= rows:
            result[t] = before
        else:
            found = total / rows
            wrong = (negative == 0 and found < 0.0) or (negative == rows and found > 0.0)
            result[t] = 0.0 if wrong else found


@kernel
def highest(result: np.ndarray, values: np.ndarray, rows: int) -> None:
    """Greatest of the newest ``rows`` values, NaN where one of them is missing."""
    best, missing = -1, -1  # rows of the greatest and of the newest one that is missing
    for t in range(len(values)):
        if np.isnan(values[t]):
            missing = t
        if best <= t - rows or t == 0:  # it has left the window: look for another
            best = max(t - rows + 1, 0)
            for each in range(best + 1, t + 1):
                if not values[each] < values[best]:
                    best = each
        elif not values[t] < values[best]:
            best = t
        result[t] = np.nan if t < rows - 1 or missing > t - rows else values[best]


@kernel
def exponential_mean(result: np.ndarray, values: np.ndarray, alpha: float) -> None:
    """That of :meth:`pandas.Series.ewm` without adjustment, from 0 on: each value weighs ``alpha``, all before it the rest."""
    new = 1.0 / (1.0 + (1.0 - alpha) / alpha)  # as pandas arrives at its weight
    old = 1.0 - new  # and their sum, by which pandas divides, is 1 however this is rounded
    mean = 0.0
    for t in range(len(values)):
        if mean != values[t]:
            mean = old * mean + new * values[t]
        result[t] = mean
