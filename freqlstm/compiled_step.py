"""One step of learning for networks that compiled code can run: forward, back through time, and down the slope.

It is the step of :mod:`freqlstm.update_step` without a compiler to wait for in each process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import keras
import numpy as np

from freqlstm import lstm_kernels as kernels
from freqlstm.compiled_network import ACTIVATIONS, CompiledNetwork, Dense, Flat, Recurrent, Stage

CLIP_NORM = 1.0  # of the gradient: Pascanu, Mikolov and Bengio 2013
DECAYS = 0.9, 0.999  # of the two moments of Adam: Kingma and Ba 2015
EPSILON = 1e-7  # of Adam

_LETTERS: dict[type, str] = {Flat: "F", Recurrent: "R", Dense: "D"}

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
        slope = self.gradient(weights, windows[some], labels[some], shares[some] / np.float32(len(shares)))
        weights, moments = np.array(weights, np.float32), np.array(moments, np.float32)
        unbiased = math.sqrt(1 - DECAYS[1] ** float(number)) / (1 - DECAYS[0] ** float(number))
        single = np.float32
        kernels.descend(
            weights, slope, moments, single(self._step_size), single(CLIP_NORM), (single(DECAYS[0]), single(DECAYS[1])),
            single(unbiased), single(EPSILON),
        )  # fmt: skip
        return weights, moments

    def gradient(self, weights: np.ndarray, windows: np.ndarray, labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Shape (parameters,): of the sum of the windows' errors, each by its share."""
        stages, values = self._with(weights), np.ascontiguousarray(windows, np.float32)
        passed: list[tuple[Any, ...]] = []
        for stage in stages:
            if isinstance(stage, Recurrent):
                gates, cells, states = kernels.remembering(values, stage.weights, stage.bias, stage.recurrent)
                passed.append((values, gates, cells, states))
                values = states if stage.sequences else np.ascontiguousarray(states[:, -1])
            elif isinstance(stage, Flat):
                values = values.reshape(len(values), -1)
            elif isinstance(stage, Dense):
                made = kernels.times(values, stage.weights) + stage.bias
                kernels.activate(made, stage.activation)
                passed.append((values, made))
                values = made
        with np.errstate(over="ignore", invalid="ignore"):  # what has no gradient is not followed
            slopes = (self._slope(values[:, 0], labels) * shares)[:, None].astype(np.float32)
            found: list[np.ndarray] = []
            learning = [stage for stage in stages if not isinstance(stage, Flat)]
            for stage, kept in zip(reversed(learning), reversed(passed), strict=True):
                back = _recurrent_back if isinstance(stage, Recurrent) else _dense_back
                slopes, own = back(stage, kept, slopes, needed=stage is not learning[0])
                found = [*own, *found]
        return np.concatenate([array.ravel() for array in found])

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


def _recurrent_back(
    stage: Any, kept: tuple[Any, ...], slopes: np.ndarray, needed: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(how the error changes with the inputs, with the weights), given how it does with the outputs."""
    inputs, gates, cells, states = kept
    if not stage.sequences:
        last, slopes = slopes, np.zeros_like(states)
        slopes[:, -1] = last
    of_gates = kernels.back_in_time(gates, cells, slopes, np.ascontiguousarray(stage.recurrent.T))
    before = np.zeros_like(states)
    before[:, 1:] = states[:, :-1]
    flat = of_gates.reshape(-1, of_gates.shape[2])
    own = [kernels.together(_columns(inputs), flat), kernels.together(_columns(before), flat), _total(flat)]
    below = kernels.times(flat, np.ascontiguousarray(stage.weights.T)).reshape(inputs.shape) if needed else inputs
    return below, own


def _dense_back(
    stage: Any, kept: tuple[Any, ...], slopes: np.ndarray, needed: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """As :func:`_recurrent_back`."""
    inputs, made = kept
    how = ACTIVATIONS[stage.activation]
    if how != "linear":
        slopes = slopes * (made > 0 if how == "relu" else 1 - made * made if how == "tanh" else made * (1 - made))
    slopes = np.ascontiguousarray(slopes, np.float32)
    own = [kernels.together(_columns(inputs), slopes), _total(slopes)]
    return kernels.times(slopes, np.ascontiguousarray(stage.weights.T)) if needed else inputs, own


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
