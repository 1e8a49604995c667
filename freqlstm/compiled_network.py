"""Networks that compiled code can run: LSTMs one upon another and dense layers, read from Keras.

What is read here is believed only after a comparison with the network itself: see :mod:`freqlstm.inference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import keras
import numpy as np

from freqlstm import lstm_kernels as kernels

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid")  # those of dense layers; LSTMs have tanh and sigmoid
INERT = (keras.layers.InputLayer, keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.GaussianNoise)
LANES = 16  # windows that one instruction treats, at most


class Stage(Protocol):
    """A layer, for windows side by side: from (steps, n, windows) or (n, windows) to the same of its own."""

    def run(self, values: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Recurrent:
    """An LSTM from zero states: all states if another layer reads them, else the last."""

    weights: np.ndarray  # (n, 4 units), float32, as all others
    recurrent: np.ndarray  # (units, 4 units)
    bias: np.ndarray  # (4 units,)
    sequences: bool

    @classmethod
    def of(cls, layer: Any) -> Self:
        weights, recurrent, *bias = layer.get_weights()
        return cls(
            weights, recurrent, bias[0] if bias else np.zeros(weights.shape[1], np.float32), layer.return_sequences
        )

    @cached_property
    def packed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, bias and recurrent weights with a unit's gates together."""

        def together(array: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(array.reshape(-1, 4, self.units).transpose(2, 0, 1))  # (units, n, 4)

        return together(self.weights), together(self.bias)[:, 0].copy(), together(self.recurrent)

    @property
    def units(self) -> int:
        return len(self.recurrent)

    def run(self, values: np.ndarray) -> np.ndarray:
        """From any inputs, (steps, n, windows)."""
        return self._run(len(values), values.shape[2], kernels.over_steps, values, *self.packed)

    def run_rows(self, rows: np.ndarray, steps: int) -> np.ndarray:
        """From consecutive rows, (rows, n): a window for each but the first ``steps`` - 1, the input of each row shared."""
        weights, bias, recurrent = self.packed
        projected = kernels.project(np.ascontiguousarray(rows.T), weights, bias)
        return self._run(steps, len(rows) - steps + 1, kernels.over_rows, projected, recurrent)

    def run_on(self, rows: np.ndarray, cells: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Take one window on by ``rows``, (steps, n), from cells and states, which change; the state after each step."""
        return kernels.step_by_step(rows, self.weights, self.bias, self.recurrent, cells, states)

    def _run(self, steps: int, windows: int, kernel: Any, *given: np.ndarray) -> np.ndarray:
        states = np.empty((steps if self.sequences else min(2, steps), self.units, windows), np.float32)
        kernel(*given, states)
        return states if self.sequences else states[(steps - 1) % len(states)]


@dataclass(frozen=True, eq=False)
class Dense:
    weights: np.ndarray  # (n, m)
    bias: np.ndarray  # (m,)
    activation: int

    @classmethod
    def of(cls, layer: Any) -> Self:
        weights, *bias = layer.get_weights()
        offset = bias[0] if bias else np.zeros(weights.shape[1], np.float32)
        return cls(weights, offset, ACTIVATIONS.index(layer.activation.__name__))

    @cached_property
    def packed(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias with four outputs together, and of 0 for those that there are not."""
        n, m = self.weights.shape
        fours = -(-m // 4)
        wide, offset = np.zeros((n, 4 * fours), np.float32), np.zeros(4 * fours, np.float32)
        wide[:, :m], offset[:m] = self.weights, self.bias
        return np.ascontiguousarray(wide.reshape(n, fours, 4).transpose(1, 0, 2)), offset.reshape(fours, 4)

    def run(self, values: np.ndarray) -> np.ndarray:
        if values.ndim == 3:
            return np.stack([self.run(step) for step in values])
        sums = kernels.project(values, *self.packed).reshape(-1, values.shape[1])[: len(self.bias)]
        kernels.activate(sums, self.activation)
        return sums


@dataclass(frozen=True)
class Flat:
    """All steps of a window as one line."""

    def run(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, values.shape[-1])


@dataclass(frozen=True, eq=False)
class Attention:
    """The mean of all states, weighed by the softmax over the window of what dense layers make of them."""

    scorers: Sequence[Dense]

    def run(self, values: np.ndarray) -> np.ndarray:
        scores = values
        for scorer in self.scorers:
            scores = scorer.run(scores)
        return kernels.attend(np.ascontiguousarray(scores[:, 0]), values)


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """The stages of a network with the weights that it has now, each from one to the next."""

    stages: list[Stage]

    @classmethod
    def of(cls, network: keras.Model) -> Self | None:
        """None if it has something that compiled code does not know."""
        chain = isinstance(network, keras.Sequential) or type(network).__name__ == "Functional"
        policy = network.dtype_policy
        if not chain or policy.compute_dtype != "float32" or policy.variable_dtype != "float32":
            return None
        layers = [layer for layer in network.layers if type(layer) not in INERT]
        stages: list[Stage] = []
        while layers:
            stage = _attention(layers) or _stage(layers)
            if stage is None:
                return None
            stages.append(stage)
        return cls(stages)

    def outputs(self, matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
        """Shape (len(rows),): for the windows of some rows of ``matrix``, (rows, features)."""
        windows = -(-len(rows) // LANES) * LANES  # the last ones are not asked for
        first, stages = self.stages[0], self.stages
        if isinstance(first, Recurrent) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            span = np.zeros((windows + lookback - 1, matrix.shape[1]), np.float32)
            span[: len(rows) + lookback - 1] = matrix[rows[0] - lookback + 1 : rows[-1] + 1]
            values, stages = first.run_rows(span, lookback), stages[1:]
        else:
            values = np.zeros((lookback, matrix.shape[1], windows), np.float32)
            for step in range(lookback):
                values[step, :, : len(rows)] = matrix[rows - lookback + 1 + step].T
        for stage in stages:
            values = stage.run(values)
        output: np.ndarray = values[0, : len(rows)]
        return output

    def rolled(self, rows: np.ndarray) -> Rolled | None:
        """All steps of a window but its last, whose row is not known yet; ``rows``, (lookback - 1, features), are those before.

        None if there is more to it than LSTMs whose last state is read.
        """
        count = sum(isinstance(stage, Recurrent) for stage in self.stages)
        recurrent = [stage for stage in self.stages[:count] if isinstance(stage, Recurrent)]
        if [stage.sequences for stage in recurrent] != [True] * (count - 1) + [False]:
            return None
        passed, values = [], rows
        for stage in recurrent:
            cells, states = np.zeros((2, stage.units), np.float32)
            values = stage.run_on(values, cells, states)
            passed.append((cells, states))
        return Rolled(recurrent, passed, self.stages[count:])


@dataclass(frozen=True, eq=False)
class Rolled:
    """A window that waits for its last row."""

    recurrent: list[Recurrent]
    passed: list[tuple[np.ndarray, np.ndarray]]  # cells and states of each after all rows but the last
    rest: list[Stage]

    def output(self, row: np.ndarray) -> float:
        """The network's output for the window that ends with ``row``, (features,): the same bits as of any other way."""
        values = row[None]
        for stage, (cells, states) in zip(self.recurrent, self.passed, strict=True):
            values = stage.run_on(values, cells.copy(), states.copy())
        values = values.T
        for rest in self.rest:
            values = rest.run(values)
        return float(values[0, 0])


def _stage(layers: list[Any]) -> Stage | None:
    """That of the first of the layers, which is taken away."""
    layer = layers.pop(0)
    kind, activation = type(layer), getattr(getattr(layer, "activation", None), "__name__", "")
    if kind is keras.layers.LSTM:
        usual = activation == "tanh" and layer.recurrent_activation.__name__ == "sigmoid"
        odd = layer.go_backwards or layer.stateful or layer.return_state
        return Recurrent.of(layer) if usual and not odd else None
    if kind is keras.layers.Dense and activation in ACTIVATIONS:
        return Dense.of(layer)
    if kind is keras.layers.Activation and activation in ACTIVATIONS and layer.built:
        return _Activation(ACTIVATIONS.index(activation))
    if kind is keras.layers.BatchNormalization and layer.axis == -1:
        read = keras.ops.convert_to_numpy
        scale = 1 / np.sqrt(read(layer.moving_variance) + layer.epsilon)
        scale = scale if layer.gamma is None else scale * read(layer.gamma)
        shift = -read(layer.moving_mean) * scale + (0 if layer.beta is None else read(layer.beta))
        return _Affine(scale.astype(np.float32)[:, None], shift.astype(np.float32)[:, None])
    return Flat() if kind is keras.layers.Flatten and layer.data_format == "channels_last" else None


def _attention(layers: list[Any]) -> Stage | None:
    """The attention that the layers begin with, which are then taken away."""
    kinds = [type(layer) for layer in layers]
    scorers = next((number for number, kind in enumerate(kinds) if kind is not keras.layers.Dense), len(kinds))
    rest = layers[scorers : scorers + 3]
    if not scorers or kinds[scorers : scorers + 3] != [keras.layers.Softmax, keras.layers.Dot, keras.layers.Flatten]:
        return None
    if rest[0].axis != 1 or rest[1].axes != 1 or rest[1].normalize or layers[scorers - 1].units != 1:
        return None
    made = [_stage(layers) for _ in range(scorers)]
    del layers[:3]
    return Attention([each for each in made if isinstance(each, Dense)]) if None not in made else None


@dataclass(frozen=True)
class _Activation:
    how: int

    def run(self, values: np.ndarray) -> np.ndarray:
        made = values.copy()
        kernels.activate(made, self.how)
        return made


@dataclass(frozen=True, eq=False)
class _Affine:
    """The batch normalisation of a network that is not being trained."""

    scale: np.ndarray  # (n, 1)
    shift: np.ndarray  # (n, 1)

    def run(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values * self.scale + self.shift)
