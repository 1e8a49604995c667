"""Through the candles in order: say what is expected of a bar, and only then learn from what its close has made known.

An error that is taken this way is out of sample at every bar, although the networks see all of them in the end (Dawid 1984).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from freqlstm.blocks import bar_numbers
from freqlstm.candles import Candles
from freqlstm.compiled_step import CompiledStep
from freqlstm.targets import Target
from freqlstm.update_state import State
from freqlstm.update_step import UpdateStep
from freqlstm.windows import gather


class Learning(Protocol):
    """What a signal tells about its updates."""

    horizon: int  # bars
    lookback: int  # bars in each window
    every: int  # bars from one update to the next
    sequences: int  # newest bars with a complete label, learned from at each update
    loss_halflife: int  # bars
    slope_: float
    stretch_: float

    @property
    def aim(self) -> Target: ...
    @property
    def kept(self) -> int: ...
    def in_units(self, output: np.ndarray) -> np.ndarray: ...
    def known_by(self, bar: int) -> int: ...


class Passage:
    """A way through candles, from the bar after that of a state to the last; changes nothing that it is given."""

    def __init__(
        self, signal: Learning, step: CompiledStep | UpdateStep, static: np.ndarray, fixed: list[list[np.ndarray]],
        matrix: np.ndarray, rows: np.ndarray, candles: Candles,
    ) -> None:  # fmt: skip
        """``static``, (networks, parameters), and ``fixed`` are the networks as they were fitted; ``rows`` have a window."""
        self.signal, self.step, self.static, self.fixed = signal, step, static, fixed
        self.matrix, self.rows = matrix, rows
        self.candle_bars = bar_numbers(candles)
        self.bars = self.candle_bars[rows]
        self.labels = signal.aim.label(signal.aim.units(candles)[rows])  # NaN where there is none, or not yet

    def go(self, state: State) -> tuple[np.ndarray, State]:
        """(forecasts in units, shape (networks, rows), the state after the last candle)."""
        said = np.zeros((len(self.static), len(self.rows)))
        kept = np.isin(self.bars, state.bars)
        said[:, kept] = state.said[:, np.searchsorted(state.bars, self.bars[kept])]
        old = np.flatnonzero((self.bars <= state.position) & ~kept)
        said[:, old] = self._said_by(self.static, old)
        new = np.flatnonzero(self.bars > state.position)
        static = self._said_by(self.static, new)
        judge = _Judge(self, state)
        weights, moments, updates = list[Any](state.weights), list[Any](state.moments), state.updates
        done = 0
        for bar in [*self._update_bars(state.position), None]:
            last = len(new) if bar is None else int(np.searchsorted(self.bars[new], bar, side="right"))
            said[:, new[done:last]] = judge.answers(
                self.bars[new[done:last]], self._said_by(weights, new[done:last]), static[:, done:last]
            )
            done = last
            lesson = None if bar is None else self._lesson(bar)
            if lesson is not None:
                updates += 1
                number = np.full((), updates, np.float32)
                for network, fixed in enumerate(self.fixed):
                    weights[network], moments[network] = self.step.learn(
                        weights[network], moments[network], number, fixed, *lesson
                    )
        position = max([state.position, *self.candle_bars[-1:].tolist()])
        return said, State(
            position, updates, np.stack([np.asarray(each) for each in weights]),
            np.stack([np.asarray(each) for each in moments]), *judge.left(position, said[:, new]),
        )  # fmt: skip

    def _said_by(self, weights: Iterable[Any], which: np.ndarray) -> np.ndarray:
        """Forecasts in units for some of the rows, shape (networks, len(which))."""
        outputs = [
            self.step.outputs(each, fixed, self.matrix, self.rows[which], self.bars[which], self.signal.lookback)
            for each, fixed in zip(weights, self.fixed, strict=True)
        ]
        return self.signal.in_units(np.array(outputs))

    def _update_bars(self, position: int) -> list[int]:
        """The bars after ``position`` at whose close there is an update; where that candle is missing there is none."""
        new = self.candle_bars[self.candle_bars > position]
        return [int(bar) for bar in new[new % self.signal.every == 0]]

    def _lesson(self, bar: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """(windows, labels, weights) of the newest ``sequences`` bars whose labels are complete at the close of ``bar``.

        A bar without window or label weighs nothing, so a step on few of them is small. None if there is none with both.
        """
        last = self.signal.known_by(bar)
        first = last - self.signal.sequences + 1
        which = np.arange(np.searchsorted(self.bars, first), np.searchsorted(self.bars, last, side="right"))
        which = which[np.isfinite(self.labels[which])]
        if not len(which):
            return None
        slots = self.bars[which] - first
        count = self.signal.sequences
        windows = np.zeros((count, self.signal.lookback, self.matrix.shape[1]), np.float32)
        labels, shares = np.zeros(count, np.float32), np.zeros(count, np.float32)
        windows[slots] = gather(self.matrix, self.rows[which], self.signal.lookback)
        labels[slots], shares[slots] = self.labels[which], 1.0
        return windows, labels, shares


class _Judge:
    """Decides at each bar whether the updated or the static networks answer, by their errors on complete labels."""

    def __init__(self, passage: Passage, state: State) -> None:
        self.signal = passage.signal
        self.losses = state.losses.tolist()
        self.bars, self.means, self.said = state.bars.tolist(), state.means.T.tolist(), state.said
        none = passage.signal.aim.label(np.zeros(1))  # the label of a forecast of 0 units
        self.outcomes = dict(zip(passage.bars.tolist(), (passage.labels - none).tolist(), strict=True))
        self.next = int(np.searchsorted(state.bars, self.signal.known_by(state.position), side="right"))
        self.decay = 0.5 ** (1 / self.signal.loss_halflife)
        self.scale = self.signal.slope_ / self.signal.stretch_  # from units to what is said of the label

    def answers(self, bars: np.ndarray, updated: np.ndarray, static: np.ndarray) -> np.ndarray:
        """Shape (networks, len(bars)), as its arguments: for each bar the forecasts of those that answer."""
        means = zip(_mean(updated), _mean(static), strict=True)
        better = np.zeros(len(bars), bool)
        for number, (bar, both) in enumerate(zip(bars.tolist(), means, strict=True)):
            self._look_back(bar)
            better[number] = self.losses[0] <= self.losses[1]
            self.bars.append(bar)
            self.means.append(both)
        return np.where(better, updated, static)

    def left(self, position: int, said: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(losses, bars, means, said) of the state after the bar ``position``; ``said`` are all answers."""
        self._look_back(position)
        bars = np.array(self.bars, np.int64)
        newest = bars > position - self.signal.kept
        means = np.array(self.means).reshape(-1, 2).T
        return np.array(self.losses), bars[newest], means[:, newest], np.hstack([self.said, said])[:, newest]

    def _look_back(self, bar: int) -> None:
        """Count the errors of all forecasts whose outcome is complete at the close of ``bar``."""
        known = self.signal.known_by(bar)
        while self.next < len(self.bars) and self.bars[self.next] <= known:
            outcome = self.outcomes.get(self.bars[self.next], math.nan)
            if math.isfinite(outcome):
                for who, mean in enumerate(self.means[self.next]):
                    error = (self.scale * mean - outcome) ** 2
                    error = error if math.isfinite(error) else math.inf
                    self.losses[who] = self.decay * self.losses[who] + (1 - self.decay) * error
            self.next += 1


def _mean(forecasts: np.ndarray) -> list[float]:
    """The average of the networks for each bar, summed in one order however many bars there are."""
    return [sum(column) / len(column) for column in forecasts.T.tolist()]
