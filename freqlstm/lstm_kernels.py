"""An LSTM's forward pass (Hochreiter and Schmidhuber 1997), compiled for windows side by side and for one window alone.

Every product and sum is one fused step, in the order that is written here, so a window's bits depend on nothing but itself:
not on the windows beside it, nor their number, nor the process. The two forms agree to the last bit.

All of it is one module, because a kernel is compiled again only when its own file changes.

Arrays of windows side by side have the windows last, so that one instruction treats several. A unit's gates lie together
in Keras's order: input, forget, candidate, output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic

from freqlstm.compiling import inner_kernel, kernel

ONE, TWO, HALF, ZERO = np.float32(1), np.float32(2), np.float32(0.5), np.float32(0)

# tanh(x) = x P(x^2) / Q(x^2) for |x| <= 8, where 1 - |tanh| is 2e-7: the two polynomials of degree 4 whose largest error,
# 6e-9, is the least. What is left in float32 is rounding, at most 4e-7.
FAR = np.float32(8)
P0, P1, P2, P3, P4 = map(
    np.float32, (0.9999999403953552, 0.13438192009925842, 0.003564157523214817, 2.1773268599645235e-05, 1.5061843328112445e-08)
)  # fmt: skip
Q1, Q2, Q3, Q4 = map(
    np.float32, (0.46771514415740967, 0.026136020198464394, 0.00033991815859151083, 8.453675377495529e-07)
)


def _fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` rounded once, which is the same on every processor that can do it."""
    return types.float32(types.float32, types.float32, types.float32), lambda _, builder, __, given: builder.fma(*given)


fused: Callable[[Any, Any, Any], np.float32] = cast(Any, intrinsic(_fused))


@inner_kernel
def numerator(x: np.float32) -> np.float32:
    """That of tanh(x)."""
    y = x * x
    return x * fused(fused(fused(fused(P4, y, P3), y, P2), y, P1), y, P0)


@inner_kernel
def denominator(x: np.float32) -> np.float32:
    """That of tanh(x)."""
    y = x * x
    return fused(fused(fused(fused(Q4, y, Q3), y, Q2), y, Q1), y, ONE)


@inner_kernel
def near(x: np.float32) -> np.float32:
    """``x``, or the end of the range beyond which tanh is flat."""
    return min(max(x, -FAR), FAR)


@inner_kernel
def tanh(x: np.float32) -> np.float32:
    x = near(x)
    return numerator(x) / denominator(x)


@inner_kernel
def sigmoid(x: np.float32) -> np.float32:
    return fused(HALF, tanh(HALF * x), HALF)


@inner_kernel
def cell(remembered: np.float32, entry: np.float32, forget: np.float32, candidate: np.float32) -> np.float32:
    """The cell's next value, sigmoid(forget) * remembered + sigmoid(entry) * tanh(candidate), with one division."""
    i, f, g = near(HALF * entry), near(HALF * forget), near(candidate)
    i_below, f_below, g_below = denominator(i), denominator(f), denominator(g)
    kept = remembered * (f_below + numerator(f)) * (i_below * g_below)
    added = (i_below + numerator(i)) * numerator(g)
    return fused(added, f_below, kept) / (TWO * f_below * (i_below * g_below))


@inner_kernel
def shown(value: np.float32, gate: np.float32) -> np.float32:
    """The unit's next state, sigmoid(gate) * tanh(value), with one division."""
    o, c = near(HALF * gate), near(value)
    below = denominator(o)
    return (below + numerator(o)) * numerator(c) / (TWO * below * denominator(c))


@kernel
def activate(values: np.ndarray, how: int) -> None:
    """Each of ``values`` through the function number ``how`` of :data:`freqlstm.compiled_network.ACTIVATIONS`, in place."""
    flat = values.reshape(-1)
    if how == 1:
        for i in range(len(flat)):
            flat[i] = max(flat[i], ZERO)
    elif how == 2:
        for i in range(len(flat)):
            flat[i] = tanh(flat[i])
    elif how == 3:
        for i in range(len(flat)):
            flat[i] = sigmoid(flat[i])


# Windows side by side


@kernel
def accumulate(sums: np.ndarray, weights: np.ndarray, inputs: np.ndarray) -> None:
    """Add to four sums, (4, windows), what ``inputs``, (n, windows), give them by ``weights``, (n, 4)."""
    windows = sums.shape[1]
    fours = len(weights) // 4 * 4
    for k in range(0, fours, 4):  # four inputs at a time: the sums are read and written a quarter as often
        a0, b0, c0, d0 = weights[k, 0], weights[k + 1, 0], weights[k + 2, 0], weights[k + 3, 0]
        a1, b1, c1, d1 = weights[k, 1], weights[k + 1, 1], weights[k + 2, 1], weights[k + 3, 1]
        a2, b2, c2, d2 = weights[k, 2], weights[k + 1, 2], weights[k + 2, 2], weights[k + 3, 2]
        a3, b3, c3, d3 = weights[k, 3], weights[k + 1, 3], weights[k + 2, 3], weights[k + 3, 3]
        for w in range(windows):
            a, b, c, d = inputs[k, w], inputs[k + 1, w], inputs[k + 2, w], inputs[k + 3, w]
            sums[0, w] = fused(d, d0, fused(c, c0, fused(b, b0, fused(a, a0, sums[0, w]))))
            sums[1, w] = fused(d, d1, fused(c, c1, fused(b, b1, fused(a, a1, sums[1, w]))))
            sums[2, w] = fused(d, d2, fused(c, c2, fused(b, b2, fused(a, a2, sums[2, w]))))
            sums[3, w] = fused(d, d3, fused(c, c3, fused(b, b3, fused(a, a3, sums[3, w]))))
    for k in range(fours, len(weights)):
        for part in range(4):
            weight = weights[k, part]
            for w in range(windows):
                sums[part, w] = fused(inputs[k, w], weight, sums[part, w])


@kernel
def project(inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Shape (units, 4, windows): ``bias``, (units, 4), and what ``inputs``, (n, windows), add by ``weights``, (units, n, 4)."""
    units, windows = len(weights), inputs.shape[1]
    sums = np.empty((units, 4, windows), np.float32)
    for unit in range(units):
        for part in range(4):
            sums[unit, part] = bias[unit, part]
        accumulate(sums[unit], weights[unit], inputs)
    return sums


@kernel
def move_on(unit: int, sums: np.ndarray, cells: np.ndarray, states: np.ndarray) -> None:
    """The cell and state of one unit after a step whose four gates sum to ``sums``, (4, windows)."""
    for w in range(sums.shape[1]):
        value = cell(cells[unit, w], sums[0, w], sums[1, w], sums[2, w])
        cells[unit, w] = value
        states[unit, w] = shown(value, sums[3, w])


@kernel
def over_rows(projected: np.ndarray, recurrent: np.ndarray, states: np.ndarray) -> None:
    """Windows of consecutive rows, whose inputs are ``projected``, (units, 4, rows): each row only once for all windows.

    Window w begins at row w. ``states``, (steps, units, windows), is filled, or used in turn if it has two steps for more.
    """
    units, windows = states.shape[1:]
    sums = np.empty((4, windows), np.float32)
    cells = np.zeros((units, windows), np.float32)
    before = np.zeros((units, windows), np.float32)
    for step in range(projected.shape[2] - windows + 1):
        after = states[step % len(states)]
        for unit in range(units):
            for part in range(4):
                for w in range(windows):
                    sums[part, w] = projected[unit, part, step + w]
            accumulate(sums, recurrent[unit], before)
            move_on(unit, sums, cells, after)
        before = after


@kernel
def over_steps(
    inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray, recurrent: np.ndarray, states: np.ndarray
) -> None:
    """Windows of any inputs, (steps, n, windows); ``states`` as in :func:`over_rows`."""
    units, windows = states.shape[1:]
    sums = np.empty((4, windows), np.float32)
    cells = np.zeros((units, windows), np.float32)
    before = np.zeros((units, windows), np.float32)
    for step in range(len(inputs)):
        after = states[step % len(states)]
        for unit in range(units):
            for part in range(4):
                sums[part] = bias[unit, part]
            accumulate(sums, weights[unit], inputs[step])
            accumulate(sums, recurrent[unit], before)
            move_on(unit, sums, cells, after)
        before = after


@kernel
def attend(scores: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Shape (units, windows): the mean of ``states``, (steps, units, windows), by the softmax of ``scores``, (steps, windows)."""
    steps, units, windows = states.shape
    total = np.zeros(windows, np.float32)
    mean = np.zeros((units, windows), np.float32)
    for w in range(windows):
        highest = scores[0, w]
        for step in range(1, steps):
            highest = max(highest, scores[step, w])
        for step in range(steps):
            scores[step, w] = math.exp(scores[step, w] - highest)
            total[w] += scores[step, w]
    for step in range(steps):
        for w in range(windows):
            scores[step, w] /= total[w]
        for unit in range(units):
            for w in range(windows):
                mean[unit, w] = fused(scores[step, w], states[step, unit, w], mean[unit, w])
    return mean


# One window alone


@kernel
def add_up(sums: np.ndarray, weights: np.ndarray, inputs: np.ndarray) -> None:
    """Add to sums, (m,), what ``inputs``, (n,), give them by ``weights``, (n, m)."""
    fours = len(inputs) // 4 * 4
    for k in range(0, fours, 4):
        a, b, c, d = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
        for m in range(len(sums)):
            sums[m] = fused(
                d,
                weights[k + 3, m],
                fused(c, weights[k + 2, m], fused(b, weights[k + 1, m], fused(a, weights[k, m], sums[m]))),
            )
    for k in range(fours, len(inputs)):
        a = inputs[k]
        for m in range(len(sums)):
            sums[m] = fused(a, weights[k, m], sums[m])


@kernel
def step_by_step(
    rows: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    recurrent: np.ndarray,
    cells: np.ndarray,
    states: np.ndarray,
) -> np.ndarray:
    """Take cells and states, (units,), on by rows of inputs, (steps, n), and return the state after each, (steps, units).

    Weights are as Keras has them: (n, 4 units), (4 units,) and (units, 4 units).
    """
    units = len(cells)
    sums = np.empty(4 * units, np.float32)
    passed = np.empty((len(rows), units), np.float32)
    for step in range(len(rows)):
        sums[:] = bias
        add_up(sums, weights, rows[step])
        add_up(sums, recurrent, states)
        for u in range(units):
            value = cell(cells[u], sums[u], sums[units + u], sums[2 * units + u])
            cells[u] = value
            states[u] = shown(value, sums[3 * units + u])
        passed[step] = states
    return passed


# Learning: all that is remembered of a window is at hand for the way back (Werbos 1990). Of one window at one step, with
# gates as (4 units,) in Keras's order and all others as (units,):


@inner_kernel
def open_gates(sums: np.ndarray, before: np.ndarray, cells: np.ndarray, states: np.ndarray) -> None:
    """Put the gates, 0 to 1, in the place of their sums; cells and states after the step, from the cells ``before``."""
    units = len(cells)
    for k in range(2 * units):
        sums[k] = sigmoid(sums[k])
    for k in range(2 * units, 3 * units):
        sums[k] = tanh(sums[k])
    for k in range(3 * units, 4 * units):
        sums[k] = sigmoid(sums[k])
    for u in range(units):
        cells[u] = fused(sums[units + u], before[u], sums[u] * sums[2 * units + u])
    for u in range(units):
        states[u] = sums[3 * units + u] * tanh(cells[u])


@inner_kernel
def close_gates(
    gates: np.ndarray, before: np.ndarray, squashed: np.ndarray, of_states: np.ndarray, of_cells: np.ndarray
) -> None:
    """Put in the place of the gates how the error changes with their sums, given how it does with states and cells.

    ``squashed`` is the tanh of the cells; ``of_cells`` becomes how the error changes with the cells ``before``.
    """
    units = len(before)
    for u in range(units):
        o = gates[3 * units + u]
        gates[3 * units + u] = of_states[u] * squashed[u] * (o * (ONE - o))
        of_cells[u] = fused(of_states[u] * o, ONE - squashed[u] * squashed[u], of_cells[u])
    for u in range(units):
        i, f, g = gates[u], gates[units + u], gates[2 * units + u]
        gates[u] = of_cells[u] * g * (i * (ONE - i))
        gates[units + u] = of_cells[u] * before[u] * (f * (ONE - f))
        gates[2 * units + u] = of_cells[u] * i * (ONE - g * g)
        of_cells[u] *= f


# Windows side by side, (windows, n) at each step, whose products a BLAS makes


@kernel
def step_on(sums: np.ndarray, before: np.ndarray, cells: np.ndarray, states: np.ndarray) -> None:
    """Open the gates that ``sums``, (windows, 4 units), add up to, in place; cells and states, (windows, units), after it."""
    for w in range(len(sums)):
        open_gates(sums[w], before[w], cells[w], states[w])


@kernel
def step_back(
    gates: np.ndarray, before: np.ndarray, cells: np.ndarray, of_states: np.ndarray, of_cells: np.ndarray
) -> None:
    """As :func:`close_gates`, for all windows."""
    units = cells.shape[1]
    squashed = np.empty(units, np.float32)
    for w in range(len(gates)):
        for u in range(units):
            squashed[u] = tanh(cells[w, u])
        close_gates(gates[w], before[w], squashed, of_states[w], of_cells[w])


# One window after another


@kernel
def remembering(
    inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray, recurrent: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gates, cells, states) of an LSTM at each step of windows, (windows, steps, n): the gates as they open, 0 to 1."""
    windows, steps, _ = inputs.shape
    units = len(recurrent)
    gates = np.empty((windows, steps, 4 * units), np.float32)
    cells = np.empty((windows, steps, units), np.float32)
    states = np.empty((windows, steps, units), np.float32)
    nothing = np.zeros(units, np.float32)
    for w in range(windows):
        for step in range(steps):
            sums = gates[w, step]
            sums[:] = bias
            add_up(sums, weights, inputs[w, step])
            if step > 0:
                add_up(sums, recurrent, states[w, step - 1])
            open_gates(sums, cells[w, step - 1] if step > 0 else nothing, cells[w, step], states[w, step])
    return gates, cells, states


@kernel
def back_in_time(gates: np.ndarray, cells: np.ndarray, slopes: np.ndarray, back: np.ndarray) -> None:
    """Put in the place of the gates how the error changes with their sums; ``slopes`` is how it does with the states.

    ``back`` are the recurrent weights with rows and columns exchanged, (4 units, units).
    """
    windows, steps, units = cells.shape
    of_state, of_cell = np.empty(units, np.float32), np.empty(units, np.float32)
    nothing, squashed = np.zeros(units, np.float32), np.empty(units, np.float32)
    for w in range(windows):
        of_state[:], of_cell[:] = ZERO, ZERO
        for step in range(steps - 1, -1, -1):
            for u in range(units):
                squashed[u] = tanh(cells[w, step, u])
                of_state[u] += slopes[w, step, u]
            close_gates(gates[w, step], cells[w, step - 1] if step > 0 else nothing, squashed, of_state, of_cell)
            of_state[:] = ZERO
            add_up(of_state, back, gates[w, step])


@kernel
def times(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shape (rows, m): each of ``rows``, (rows, n), by ``weights``, (n, m)."""
    made = np.zeros((len(rows), weights.shape[1]), np.float32)
    for row in range(len(rows)):
        add_up(made[row], weights, rows[row])
    return made


@kernel
def together(inputs: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Shape (n, m): the sum over rows of each of ``inputs``, (n, rows), times each of ``slopes``, (rows, m)."""
    made = np.zeros((len(inputs), slopes.shape[1]), np.float32)
    for first in range(0, len(slopes), 64):  # rows at a time, so that they stay in the processor's cache
        some = slopes[first : first + 64]
        for k in range(len(inputs)):
            add_up(made[k], some, inputs[k, first : first + 64])
    return made


@kernel
def descend(
    weights: np.ndarray, slope: np.ndarray, moments: np.ndarray, rate: np.float32, clip: np.float32,
    decays: tuple[np.float32, np.float32], unbiased: np.float32, epsilon: np.float32,
) -> None:  # fmt: skip
    """Take ``weights`` and ``moments`` one step down the slope: plainly if there are no moments, else by Adam."""
    square = 0.0
    for k in range(len(slope)):
        square += slope[k] * np.float64(slope[k])
    norm = np.float32(math.sqrt(np.float32(square)))
    scale = ZERO if not math.isfinite(norm) else clip / norm if norm > clip else ONE
    for k in range(len(slope)):
        each = ZERO if scale == ZERO else slope[k] * scale
        if len(moments):
            moments[0, k] = fused(decays[0], moments[0, k], (ONE - decays[0]) * each)
            moments[1, k] = fused(decays[1], moments[1, k], (ONE - decays[1]) * each * each)
            each = unbiased * moments[0, k] / (np.float32(math.sqrt(moments[1, k])) + epsilon)
        weights[k] -= rate * each
