"""Intervals around forecasts by split conformal prediction, adapted over time.

The errors of a model on bars that it was not fitted on say how far outcomes stray (Vovk et al. 2005). How much of them
an interval leaves out, its *miss rate*, follows how often the outcomes of the last bars missed theirs (Gibbs and Candes
2021): rate(t) = rate(t - 1) + step (nominal - missed(t - horizon)), so nothing is used before its label is complete.

An interval must not depend on how long ago a program was started, so this memory is finite: bars are counted since 1970
and cut into blocks, and in each block the recursion has run since the beginning of the block before, from the nominal
rate on. It remembers between one and two blocks. A bar without a prediction or without a complete label, such as those
around a gap, changes nothing.
"""

from __future__ import annotations

import numpy as np

from freqlstm.compiling import kernel

LEVELS = np.sin(np.linspace(0, np.pi / 2, 401)) ** 2  # shares of the errors, from 0 to 1 and finer in the tails


def calibrated(errors: np.ndarray) -> list[float]:
    """The quantiles of the errors (outcome - forecast) at :data:`LEVELS`: all that intervals need to know of them.

    The k-th smallest of n errors has level k / (n + 1), which is what makes a new one as likely to fall between any two.
    """
    return [float(each) for each in np.quantile(errors, LEVELS, method="weibull")]


def interval(rates: np.ndarray, quantiles: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """How far below and above the forecast an interval with each of these miss rates reaches, half of the misses on either side.

    Where the rate is 0 or less, only an interval without bounds would do: given is that of all calibration errors. Where
    it is 1 or more there is none: given is the median.
    """
    half = np.clip(rates, 0.0, 1.0) / 2
    return np.interp(half, LEVELS, quantiles), np.interp(1 - half, LEVELS, quantiles)


def rarity(errors: np.ndarray, quantiles: list[float]) -> np.ndarray:
    """The highest miss rate with which an interval would still hold each of these errors; NaN for NaN."""
    known = np.asarray(quantiles)
    below = np.interp(errors, known, LEVELS)
    above = np.interp(-errors, -known[::-1], LEVELS)  # LEVELS are symmetric
    return np.asarray(2 * np.minimum(below, above))


def miss_rates(
    rarities: np.ndarray, bars: np.ndarray, since: int, *, horizon: int, nominal: float, step: float, block: int
) -> np.ndarray:
    """Shape (rows,): the miss rate of the interval that each row is given at its close.

    ``rarities`` are those of the rows' outcomes, NaN where there is none, and looked at ``horizon`` bars later;
    ``bars`` are the rows' open times in bars since 1970, increasing. NaN for a row whose recursion would begin before
    the bar ``since``, the first at which there can be a prediction.
    """
    number, inside = np.divmod(bars, block)
    blocks, row = np.unique(number, return_inverse=True)
    seen = np.full((2 * block, len(blocks)), np.nan)  # for each block: the block before and itself
    seen[block + inside, row] = rarities
    follows = np.flatnonzero(np.diff(blocks) == 1)
    seen[:block, follows + 1] = seen[block:, follows]
    rates = _adapted(seen, horizon, float(nominal), float(step))
    return np.where((number - 1) * block >= since, rates[block + inside, row], np.nan)


@kernel
def _adapted(seen: np.ndarray, horizon: int, nominal: float, step: float) -> np.ndarray:
    """Shaped as ``seen``, (bars, blocks), rarities: the miss rate at each bar of each block, from the nominal one on."""
    bars, blocks = seen.shape
    rates = np.empty_like(seen)
    for block in range(blocks):
        now = nominal
        for bar in range(bars):
            if bar >= horizon and not np.isnan(seen[bar - horizon, block]):
                missed = rates[bar - horizon, block] > seen[bar - horizon, block]  # never where the rate is 0 or less
                now += step * (nominal - missed)
            rates[bar, block] = now
    return rates
