"""The compiled loops of indicators: what pandas-ta does in Python, bar by bar or with a copy of every window."""

from __future__ import annotations

import numpy as np

from freqlstm.compiling import kernel

RUN = 128  # values that NumPy adds one after another
SIDE = 512  # windows that are treated side by side
ADD = 0  # in the order of a sum: add the two newest partial sums


def relative_strength(result: np.ndarray, close: np.ndarray, period: int, quiet: int) -> None:
    """100 x the mean gain over the means of gains and losses (Wilder 1978), which begin as plain means, from row ``period`` on.

    NaN once the close has not moved for ``quiet`` bars. Bit for bit that of :meth:`pandas.Series.ewm`.
    """
    move = np.diff(close[: period + 1])
    gain, loss = np.maximum(move, 0.0).mean(), np.minimum(move, 0.0).mean()
    new = 1.0 / (1.0 + (1.0 - 1.0 / period) / (1.0 / period))  # as pandas arrives at its weight
    moved = np.flatnonzero(move)
    _relative_strength(result, close, period, gain, loss, new, int(moved[-1]) + 1 if len(moved) else 0, quiet)


@kernel
def _relative_strength(
    result: np.ndarray, close: np.ndarray, period: int, gain: float, loss: float, new: float, moved: int, quiet: int
) -> None:
    """``moved`` is the newest row up to ``period`` whose close differs from the one before."""
    old = 1.0 - new  # and their sum, by which pandas divides, is 1 however this is rounded
    result[period] = np.nan if period - moved >= quiet else 100.0 * gain / (gain + abs(loss))
    for t in range(period + 1, len(close)):
        move = close[t] - close[t - 1]
        up, down = max(move, 0.0), min(move, 0.0)
        if gain != up:
            gain = old * gain + new * up
        if loss != down:
            loss = old * loss + new * down
        if move != 0.0:
            moved = t
        result[t] = np.nan if t - moved >= quiet else 100.0 * gain / (gain + abs(loss))


def convergence(
    line: np.ndarray, smooth: np.ndarray, rest: np.ndarray, values: np.ndarray, fast: int, slow: int, signal: int
) -> None:
    """The exponential mean of ``fast`` bars less that of ``slow`` bars, the mean of ``signal`` bars of that, and their difference.

    All begin as plain means: ``line`` in row ``slow`` - 1, the others ``signal`` - 1 rows later.
    """
    order = np.array(sum_order(signal))
    _convergence(
        line, smooth, rest, values, fast, slow, signal, values[:fast].mean(), values[:slow].mean(), order, np.empty(len(order))
    )  # fmt: skip


@kernel
def _convergence(
    line: np.ndarray, smooth: np.ndarray, rest: np.ndarray, values: np.ndarray, fast: int, slow: int, signal: int,
    fast_mean: float, slow_mean: float, order: np.ndarray, partial: np.ndarray,
) -> None:  # fmt: skip
    fast_weight, slow_weight, weight = 2.0 / (fast + 1), 2.0 / (slow + 1), 2.0 / (signal + 1)
    begin = slow + signal - 2
    for t in range(fast, slow):
        fast_mean = fast_weight * values[t] + (1 - fast_weight) * fast_mean
    line[slow - 1] = fast_mean - slow_mean
    for t in range(slow, begin + 1):
        fast_mean = fast_weight * values[t] + (1 - fast_weight) * fast_mean
        slow_mean = slow_weight * values[t] + (1 - slow_weight) * slow_mean
        line[t] = fast_mean - slow_mean
    mean = _sum(line, slow - 1, order, partial) / signal
    smooth[begin] = mean
    rest[begin] = line[begin] - mean
    for t in range(begin + 1, len(values)):
        fast_mean = fast_weight * values[t] + (1 - fast_weight) * fast_mean
        slow_mean = slow_weight * values[t] + (1 - slow_weight) * slow_mean
        distance = fast_mean - slow_mean
        mean = weight * distance + (1 - weight) * mean
        line[t], smooth[t], rest[t] = distance, mean, distance - mean


def bands(
    lower: np.ndarray, middle: np.ndarray, upper: np.ndarray, values: np.ndarray, period: int, deviations: float, block: int
) -> None:  # fmt: skip
    """The mean of ``period`` values and so many of their population standard deviations below and above it.

    From row ``period`` - 1 on. The mean is added up anew every ``block`` rows, which are no fewer than ``period``.
    """
    _rolling_mean(middle, values, period, block)
    window_variance(upper, values, period)
    _around(lower, middle, upper, period - 1, deviations)


@kernel
def _around(lower: np.ndarray, middle: np.ndarray, upper: np.ndarray, first: int, deviations: float) -> None:
    """``upper`` holds the variances."""
    for t in range(first, len(middle)):
        band = deviations * np.sqrt(upper[t])
        lower[t] = middle[t] - band
        upper[t] = middle[t] + band


@kernel
def _rolling_mean(result: np.ndarray, values: np.ndarray, period: int, block: int) -> None:
    """Bit for bit that of :meth:`pandas.Series.rolling` of every block: sums with what their rounding lost (Kahan 1965).

    ``values`` are positive, and the mean is never less than 0; that of equal values is that value.
    """
    for first in range(0, len(values), block):
        start = max(first - period + 1, 0)
        total, lost_adding, lost_removing, alike = 0.0, 0.0, 0.0, 0
        for t in range(start, min(first + block, len(values))):
            if t - start >= period:
                part = -values[t - period] - lost_removing
                after = total + part
                lost_removing = after - total - part
                total = after
            part = values[t] - lost_adding
            after = total + part
            lost_adding = after - total - part
            total = after
            alike = alike + 1 if t > start and values[t] == values[t - 1] else 1
            if t - start >= period - 1:
                result[t] = values[t] if alike >= period else max(total / period, 0.0)


def window_variance(result: np.ndarray, values: np.ndarray, period: int) -> None:
    """The population variance of the newest ``period`` values of each row, of every window anew, from row ``period`` - 1 on.

    Bit for bit that of :func:`numpy.var`.
    """
    if period <= RUN:
        _variance_of_runs(result, values, period, np.empty(SIDE), np.empty(SIDE), np.empty((8, SIDE)))
    else:
        order = np.array(sum_order(period))
        _variance_of_several_runs(result, values, period, np.empty(period), order, np.empty(len(order)))


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
