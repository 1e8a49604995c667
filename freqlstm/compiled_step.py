"""One step of learning for networks that compiled code can run: forward, back through time, and down the slope.

It is the step of :mod:`freqlstm.update_step` without a compiler to wait for in each process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Protocol, Self

import keras
import numpy as np
from threadpoolctl import ThreadpoolController

from freqlstm import lstm_kernels as kernels
from freqlstm.compiled_network import ACTIVATIONS, CompiledNetwork, Dense, Flat, Recurrent, Stage

CLIP_NORM = 1.0  # of the gradient: Pascanu, Mikolov and Bengio 2013
DECAYS = 0.9, 0.999  # of the two moments of Adam: Kingma and Ba 2015
EPSILON = 1e-7  # of Adam

TOGETHER = 64  # windows, at most, of which everything is remembered at the same time
SIDE_BY_SIDE = 12  # windows from which on it is quicker to treat them together
_LETTERS: dict[type, str] = {Flat: "F", Recurrent: "R", Dense: "D"}

ShareOut = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]  # as map
Slope = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of each window's error by its output, from outputs and labels


class CompiledStep:
    """What is the same for networks that are built alike, whatever their weights."""

    def __init__(self, stages: list[Stage], slope: Slope, optimizer: str, step_size: float) -> None:
        self._stages, self._slope, self._adam, self._step_size = stages, slope, optimizer == "adam", step_size

    @classmethod
    def of(cls, network: keras.Model, loss: keras.losses.Loss, optimizer: str, step_size: float) -> Self | None:
        """None for a network or a loss that compiled code does not know how to learn with."""
        read, slope = CompiledNetwork.of(network), _slope(loss)
        shapes = [tuple(variable.shape) for variable in network.trainable_variables]
        if read is None or slope is None:
            return None
        known = [tuple(array.shape) for stage in read.stages for array in _arrays(stage)]
        order = "".join(_LETTERS.get(type(stage), "?") for stage in read.stages)
        flat = re.fullmatch("(F|R*)D+", order) and all(  # every state is read by another LSTM or none but the last is
            stage.sequences == isinstance(after, Recurrent)
            for stage, after in pairwise(read.stages)
            if isinstance(stage, Recurrent)
        )
        return cls(read.stages, slope, optimizer, step_size) if flat and known == shapes else None

    def outputs(
        self, weights: np.ndarray, fixed: object, matrix: np.ndarray, rows: np.ndarray, bars: object, lookback: int
    ) -> np.ndarray:
        """Shape (len(rows),), float64: the output for the window of each row; its bits depend on nothing else."""
        if not len(rows):
            return np.zeros(0)
        network, output = CompiledNetwork(self._with(weights)), np.zeros(len(rows))
        for first in range(0, len(rows), 512):
            output[first : first + 512] = network.outputs(matrix, rows[first : first + 512], lookback)
        return output

    def learn(
        self, weights: np.ndarray, moments: np.ndarray, number: Any, fixed: object, windows: np.ndarray, labels: np.ndarray,
        shares: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """(weights, moments) after update ``number``, counted from 1. What ``shares`` gives no weight counts as no error."""
        some = np.flatnonzero(shares)
        _, slope = self.gradient(weights, windows[some], labels[some], shares[some] / np.float32(len(shares)))
        weights, moments = np.array(weights, np.float32), np.array(moments, np.float32)
        unbiased = math.sqrt(1 - DECAYS[1] ** float(number)) / (1 - DECAYS[0] ** float(number))
        single = np.float32
        kernels.descend(
            weights, slope, moments, single(self._step_size), single(CLIP_NORM), (single(DECAYS[0]), single(DECAYS[1])),
            single(unbiased), single(EPSILON),
        )  # fmt: skip
        return weights, moments

    def gradient(
        self,
        weights: np.ndarray,
        windows: np.ndarray,
        labels: np.ndarray,
        shares: np.ndarray,
        share_out: ShareOut = map,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(outputs, (windows,), slope, (parameters,)): the slope of the sum of the errors of windows, each by its share.

        Windows are (windows, steps, n). ``share_out`` may work on several at once, as a pool's map: the bits are the same.
        """
        stages = self._with(weights)

        def of(first: int) -> tuple[np.ndarray, np.ndarray]:
            part = slice(first, first + TOGETHER)
            return self._gradient(stages, windows[part], labels[part], shares[part])

        with one_thread_of_blas():
            found = list(share_out(of, range(0, len(windows), TOGETHER)))
        slope = found[0][1]
        for _, more in found[1:]:
            slope += more
        return np.concatenate([outputs for outputs, _ in found]), slope

    def _gradient(
        self, stages: list[Stage], windows: np.ndarray, labels: np.ndarray, shares: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):  # what has no gradient is not followed
            return self._there_and_back(stages, windows, labels, shares)

    def _there_and_back(
        self, stages: list[Stage], windows: np.ndarray, labels: np.ndarray, shares: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        way: type[_Way] = _SideBySide if len(windows) >= SIDE_BY_SIDE else _OneByOne
        passed: list[Any] = []
        values: np.ndarray = np.ascontiguousarray(windows, np.float32)
        for stage in stages:
            if isinstance(stage, Recurrent):
                passed.append(way(stage, values))
                values = passed[-1].states if stage.sequences else passed[-1].last()
            elif isinstance(stage, Flat):
                values = values.reshape(len(values), -1)
            elif isinstance(stage, Dense):
                passed.append(_Row(stage, values))
                values = passed[-1].made
        outputs = values[:, 0]
        slopes = (self._slope(outputs, labels) * shares)[:, None].astype(np.float32)
        found: list[np.ndarray] = []
        for each in reversed(passed):
            slopes, own = each.back(slopes, needed=each is not passed[0])
            found = [*own, *found]
        return outputs, np.concatenate([array.ravel() for array in found])

    def _with(self, weights: np.ndarray) -> list[Stage]:
        """The stages with these weights."""
        stages: list[Stage] = []
        first = 0
        for stage in self._stages:
            arrays = []
            for shape in (array.shape for array in _arrays(stage)):
                last = first + math.prod(shape)
                arrays.append(np.ascontiguousarray(weights[first:last], np.float32).reshape(shape))
                first = last
            if isinstance(stage, Recurrent):
                stages.append(Recurrent(arrays[0], arrays[1], arrays[2], stage.sequences))
            elif isinstance(stage, Dense):
                stages.append(Dense(arrays[0], arrays[1], stage.activation))
            else:
                stages.append(stage)
        return stages


def _arrays(stage: Stage) -> list[np.ndarray]:
    """What is learned of a stage, in Keras's order."""
    if isinstance(stage, Recurrent):
        return [stage.weights, stage.recurrent, stage.bias]
    return [stage.weights, stage.bias] if isinstance(stage, Dense) else []


class _Way(Protocol):
    """An LSTM's way through windows and back."""

    states: Any  # what the next LSTM reads

    def __init__(self, stage: Recurrent, values: Any) -> None: ...
    def last(self) -> np.ndarray: ...  # (windows, units)
    def back(self, slopes: Any, needed: bool) -> tuple[Any, list[np.ndarray]]: ...


class _OneByOne:
    """Windows one after another, (windows, steps, n): one alone, or few."""

    def __init__(self, stage: Recurrent, values: np.ndarray) -> None:
        self.stage, self.inputs = stage, values
        self.gates, self.cells, self.states = kernels.remembering(values, stage.weights, stage.bias, stage.recurrent)

    def last(self) -> np.ndarray:
        return np.ascontiguousarray(self.states[:, -1])

    def back(self, slopes: np.ndarray, needed: bool) -> tuple[np.ndarray, list[np.ndarray]]:
        """(how the error changes with the inputs, with the weights), given how it does with the outputs; uses up the gates."""
        stage, states = self.stage, self.states
        if not stage.sequences:
            last, slopes = slopes, np.zeros_like(states)
            slopes[:, -1] = last
        kernels.back_in_time(self.gates, self.cells, slopes, np.ascontiguousarray(stage.recurrent.T))
        before = np.zeros_like(states)
        before[:, 1:] = states[:, :-1]
        flat = self.gates.reshape(-1, self.gates.shape[2])
        own = [kernels.together(_columns(self.inputs), flat), kernels.together(_columns(before), flat), _total(flat)]
        if not needed:
            return self.inputs, own
        return kernels.times(flat, np.ascontiguousarray(stage.weights.T)).reshape(self.inputs.shape), own


class _SideBySide:
    """Windows side by side, and the steps of all of them one after another, (steps, windows, n), from the second LSTM on."""

    def __init__(self, stage: Recurrent, values: np.ndarray | _Steps) -> None:
        inputs = values.array if isinstance(values, _Steps) else np.ascontiguousarray(values.transpose(1, 0, 2))
        steps, windows, _ = inputs.shape
        self.stage, self.inputs = stage, inputs
        self.gates = np.matmul(inputs, stage.weights)  # (steps, windows, 4 units)
        self.gates += stage.bias
        self.cells, states = np.empty((2, steps + 1, windows, stage.units), np.float32)  # the first are those before
        self.cells[0] = states[0] = 0
        for step in range(steps):
            self.gates[step] += states[step] @ stage.recurrent
            kernels.step_on(self.gates[step], self.cells[step], self.cells[step + 1], states[step + 1])
        self.before, self.states = states[:-1], _Steps(states[1:])

    def last(self) -> np.ndarray:
        last: np.ndarray = self.states.array[-1]
        return last

    def back(self, slopes: Any, needed: bool) -> tuple[Any, list[np.ndarray]]:
        """As that of :class:`_OneByOne`."""
        stage, gates, cells = self.stage, self.gates, self.cells
        backwards = np.ascontiguousarray(stage.recurrent.T)
        of_states = np.zeros_like(cells[0]) if stage.sequences else slopes.copy()
        of_cells = np.zeros_like(of_states)
        for step in reversed(range(len(gates))):
            if stage.sequences:
                of_states += slopes[step]
            kernels.step_back(gates[step], cells[step], cells[step + 1], of_states, of_cells)
            np.matmul(gates[step], backwards, out=of_states)
        flat = gates.reshape(-1, gates.shape[2])
        own = [
            self.inputs.reshape(len(flat), -1).T @ flat,
            self.before.reshape(len(flat), -1).T @ flat,
            np.ones(len(flat), np.float32) @ flat,
        ]
        return (np.matmul(gates, np.ascontiguousarray(stage.weights.T)) if needed else self.inputs), own


@dataclass(frozen=True, eq=False)
class _Steps:
    array: np.ndarray  # (steps, windows, n)


class _Row:
    """A dense layer's way through rows, (rows, n), and back."""

    def __init__(self, stage: Dense, values: np.ndarray) -> None:
        self.stage, self.inputs = stage, values
        self.made = kernels.times(values, stage.weights) + stage.bias
        kernels.activate(self.made, stage.activation)

    def back(self, slopes: np.ndarray, needed: bool) -> tuple[np.ndarray, list[np.ndarray]]:
        """As that of :class:`_OneByOne`."""
        how, made = ACTIVATIONS[self.stage.activation], self.made
        if how != "linear":
            slopes = slopes * (made > 0 if how == "relu" else 1 - made * made if how == "tanh" else made * (1 - made))
        slopes = np.ascontiguousarray(slopes, np.float32)
        own = [kernels.together(_columns(self.inputs), slopes), _total(slopes)]
        back = kernels.times(slopes, np.ascontiguousarray(self.stage.weights.T)) if needed else self.inputs
        return back, own


@contextmanager
def one_thread_of_blas() -> Iterator[None]:
    """So that no sum depends on how it is shared out."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _columns(inputs: np.ndarray) -> np.ndarray:
    """Shape (n, rows): inputs of any rows, (…, n), each as a line."""
    return np.ascontiguousarray(inputs.reshape(-1, inputs.shape[-1]).T)


def _total(slopes: np.ndarray) -> np.ndarray:
    total: np.ndarray = kernels.together(np.ones((1, len(slopes)), np.float32), slopes)[0]
    return total


def _slope(loss: keras.losses.Loss) -> Slope | None:
    """None for a loss that is not known."""
    if getattr(loss, "reduction", "") != "sum_over_batch_size":
        return None
    if type(loss) is keras.losses.MeanSquaredError:
        return lambda output, label: np.float32(2) * (output - label)
    if type(loss) is keras.losses.BinaryCrossentropy and loss.from_logits and not loss.label_smoothing:

        def of_log_odds(output: np.ndarray, label: np.ndarray) -> np.ndarray:
            odds = output.copy()
            kernels.activate(odds, ACTIVATIONS.index("sigmoid"))
            return np.asarray(odds - label)

        return of_log_odds
    return None
