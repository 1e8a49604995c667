"""The compiled loops of indicators: what pandas-ta does in Python, bar by bar or with a copy of every window."""

from __future__ import annotations

import numpy as np

from freqlstm.compiling import kernel

RUN = 128  # values that NumPy adds one after another
SIDE = 512  # windows that are treated side by side
ADD = 0  # in the order of a sum: add the two newest partial sums


def exponential_mean(values: np.ndarray, period: int, seed: float, row: int) -> np.ndarray:
    """The exponential mean of ``period`` bars that begins with ``seed`` in ``row``; NaN before."""
    result = np.full(len(values), np.nan)
    _exponential_mean(result, values, period, seed, row)
    return result


@kernel
def _exponential_mean(result: np.ndarray, values: np.ndarray, period: int, seed: float, row: int) -> None:
    weight = 2.0 / (period + 1)
    result[row] = seed
    for t in range(row + 1, len(values)):
        result[t] = weight * values[t] + (1 - weight) * result[t - 1]


def relative_strength(close: np.ndarray, period: int) -> np.ndarray:
    """100 x the mean gain over the means of gains and losses (Wilder 1978), which begin as plain means; NaN before.

    Bit for bit that of :meth:`pandas.Series.ewm`.
    """
    result = np.full(len(close), np.nan)
    move = np.diff(close[: period + 1])
    gain, loss = np.maximum(move, 0.0).mean(), np.minimum(move, 0.0).mean()
    new = 1.0 / (1.0 + (1.0 - 1.0 / period) / (1.0 / period))  # as pandas arrives at its weight
    _relative_strength(result, close, period, gain, loss, new)
    return result


@kernel
def _relative_strength(
    result: np.ndarray, close: np.ndarray, period: int, gain: float, loss: float, new: float
) -> None:
    old = 1.0 - new
    result[period] = 100.0 * gain / (gain + abs(loss))
    for t in range(period + 1, len(close)):
        move = close[t] - close[t - 1]
        up, down = max(move, 0.0), min(move, 0.0)
        if gain != up:
            gain = (old * gain + new * up) / (old + new)
        if loss != down:
            loss = (old * loss + new * down) / (old + new)
        result[t] = 100.0 * gain / (gain + abs(loss))


def convergence(values: np.ndarray, fast: int, slow: int) -> np.ndarray:
    """The exponential mean of ``fast`` bars less that of ``slow`` bars, both of which begin as plain means; NaN before."""
    result = np.full(len(values), np.nan)
    _convergence(result, values, fast, slow, values[:fast].mean(), values[:slow].mean())
    return result


@kernel
def _convergence(
    result: np.ndarray, values: np.ndarray, fast: int, slow: int, fast_mean: float, slow_mean: float
) -> None:
    fast_weight, slow_weight = 2.0 / (fast + 1), 2.0 / (slow + 1)
    for t in range(fast, slow):
        fast_mean = fast_weight * values[t] + (1 - fast_weight) * fast_mean
    result[slow - 1] = fast_mean - slow_mean
    for t in range(slow, len(values)):
        fast_mean = fast_weight * values[t] + (1 - fast_weight) * fast_mean
        slow_mean = slow_weight * values[t] + (1 - slow_weight) * slow_mean
        result[t] = fast_mean - slow_mean


def window_variance(values: np.ndarray, period: int) -> np.ndarray:
    """The population variance of the newest ``period`` values of each row, of every window anew; NaN before the first.

    Bit for bit that of :func:`numpy.var`.
    """
    result = np.full(len(values), np.nan)
    if period <= RUN:
        _variance_of_runs(result, values, period, np.empty(SIDE), np.empty(SIDE), np.empty((8, SIDE)))
    else:
        order = np.array(sum_order(period))
        _variance_of_several_runs(result, values, period, np.empty(period), order, np.empty(len(order)))
    return result


def sum_order(count: int) -> list[int]:
    """How NumPy adds ``count`` values (pairwise, Higham 1993): so many in a run, and where two runs are added."""
    if count <= RUN:
        return [count]
    half = count // 2 - count // 2 % 8
    return [*sum_order(half), *sum_order(count - half), ADD]


@kernel
def _variance_of_runs(
    result: np.ndarray, values: np.ndarray, period: int, total: np.ndarray, mean: np.ndarray, parts: np.ndarray
) -> None:
    """``total`` and ``mean``, (SIDE,), and ``parts``, (8, SIDE), are room for the sums of windows side by side."""
    for first in range(0, len(values) - period + 1, SIDE):
        count = min(SIDE, len(values) - period + 1 - first)
        mean[:] = 0.0
        _runs(total, values, first, count, period, mean, parts, False)
        for side in range(count):
            mean[side] = total[side] / period
        _runs(total, values, first, count, period, mean, parts, True)
        for side in range(count):
            result[first + period - 1 + side] = total[side] / period


@kernel
def _runs(
    total: np.ndarray, values: np.ndarray, first: int, count: int, period: int, mean: np.ndarray, parts: np.ndarray,
    squared: bool,
) -> None:  # fmt: skip
    """What :func:`_run` says of ``count`` windows, the first of which begins at ``first``, less their means, squared or not."""
    eights = period // 8 * 8
    total[:] = 0.0
    if eights:
        parts[:] = 0.0
        for place in range(eights):
            _add(parts[place % 8], values, first + place, count, mean, squared)
        for side in range(count):
            total[side] = ((parts[0, side] + parts[1, side]) + (parts[2, side] + parts[3, side])) + (
                (parts[4, side] + parts[5, side]) + (parts[6, side] + parts[7, side])
            )
    for place in range(eights, period):
        _add(total, values, first + place, count, mean, squared)


@kernel
def _add(total: np.ndarray, values: np.ndarray, first: int, count: int, mean: np.ndarray, squared: bool) -> None:
    part = values[first : first + count]  # indices that cannot be negative are taken several at a time
    if squared:
        for side in range(len(part)):
            deviation = part[side] - mean[side]
            total[side] += deviation * deviation
    else:
        for side in range(len(part)):
            total[side] += part[side]


@kernel
def _variance_of_several_runs(
    result: np.ndarray, values: np.ndarray, period: int, squares: np.ndarray, order: np.ndarray, partial: np.ndarray
) -> None:
    for first in range(len(values) - period + 1):
        mean = _sum(values, first, order, partial) / period
        for place in range(period):
            deviation = values[first + place] - mean
            squares[place] = deviation * deviation
        result[first + period - 1] = _sum(squares, 0, order, partial) / period


@kernel
def _sum(values: np.ndarray, first: int, order: np.ndarray, partial: np.ndarray) -> float:
    """The sum of the values from ``first`` on in that order; ``partial`` is room for the sums of runs."""
    depth = 0
    for count in order:
        if count == ADD:
            depth -= 1
            partial[depth - 1] += partial[depth]
        else:
            partial[depth] = _run(values, first, count)
            first += count
            depth += 1
    return partial[0]  # type: ignore[no-any-return]


@kernel
def _run(values: np.ndarray, first: int, count: int) -> float:
    """The sum of a run: eight sums side by side, and what is left over after them."""
    if count < 8:
        total = 0.0
        for row in range(first, first + count):
            total += values[row]
        return total
    s0, s1, s2, s3 = values[first], values[first + 1], values[first + 2], values[first + 3]
    s4, s5, s6, s7 = values[first + 4], values[first + 5], values[first + 6], values[first + 7]
    eights = count // 8 * 8
    for row in range(first + 8, first + eights, 8):
        s0 += values[row]
        s1 += values[row + 1]
        s2 += values[row + 2]
        s3 += values[row + 3]
        s4 += values[row + 4]
        s5 += values[row + 5]
        s6 += values[row + 6]
        s7 += values[row + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for row in range(first + eights, first + count):
        total += values[row]
    return total  # type: ignore[no-any-return]
