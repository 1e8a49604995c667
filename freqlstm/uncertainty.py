"""How far a mean of dependent values may lie from the truth, and what to make of many p-values.

Values stand at bars. Those of several symbols at one bar move together, and so do those of neighbouring bars, so
values are summed by bar first (Driscoll and Kraay, 1998) and neighbours are allowed for afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


def hac_error(values: np.ndarray, bars: np.ndarray, horizon: int) -> float | None:
    """Standard error of the mean of ``values``, allowing for neighbours (Newey and West, 1987); None without any spread.

    The lags are the larger of horizon - 1 and 4 (n / 100)^(2/9), n the number of distinct bars. Bars that are missing
    count as what they are: no neighbours are made of two that lie on the sides of a gap.
    """
    rows = len(values)
    if rows < 2 or np.ptp(values) == 0:
        return None
    sums, order = _summed(values, bars)
    lags = min(max(horizon - 1, int(4 * (len(sums) / 100) ** (2 / 9))), len(sums) - 1)
    place = np.cumsum(np.minimum(np.diff(order, prepend=order[0]), lags + 1))  # a longer gap is as good as a long one
    series = np.zeros(place[-1] + 1)
    series[place] = sums
    size = 1 << (len(series) + lags).bit_length()  # zeros behind, so that the end is no neighbour of the beginning
    products = np.fft.irfft(np.abs(np.fft.rfft(series, size)) ** 2, size)[: lags + 1]  # sums at each lag
    weights = 1 - np.arange(lags + 1) / (lags + 1)
    variance = float(2 * np.sum(weights * products) - products[0])
    return math.sqrt(variance) / rows if variance > 0 else None


def bootstrap_error(values: np.ndarray, bars: np.ndarray, horizon: int) -> float | None:
    """Standard error of the mean of ``values`` under the stationary bootstrap; None without any spread.

    It is the one that endless draws would give, in the closed form of Politis and Romano (1994). Blocks last the larger
    of n^(1/3) bars and the horizon on average, n the number of distinct bars; whole bars are drawn, all symbols at once.
    """
    rows = len(values)
    if rows < 2 or np.ptp(values) == 0:
        return None
    sums, _ = _summed(values, bars)
    count = len(sums)
    leave = min(1.0, 1 / max(count ** (1 / 3), horizon))  # the chance that a block ends at a bar
    around = np.fft.irfft(np.abs(np.fft.rfft(sums)) ** 2, count)  # sums of products at each lag, around the end
    lag = np.arange(1, count)
    kept = np.exp(lag * math.log1p(-leave)) if leave < 1 else np.zeros(count - 1)
    variance = float(around[0] + 2 * np.sum((1 - lag / count) * kept * around[1:]))
    return math.sqrt(variance) / rows if variance > 0 else None


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values as if each had been the only one: below .05 with a chance of .05 that *any* is so by luck (Holm, 1979)."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def _summed(values: np.ndarray, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the sum of what is left of ``values`` without their mean, the bar's number) of each distinct bar, in order."""
    order, inverse = np.unique(bars, return_inverse=True)
    return np.bincount(inverse, values - values.mean(), len(order)), order
