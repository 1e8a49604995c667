"""One step of learning, compiled: a network is asked and updated as a function of its weights.

Weights are one vector, float32, so several copies of a network can go their own ways. A step is taken on the loss alone,
with the network as it predicts: without dropout, and with the statistics of normalisation that it was fitted with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np

from freqlstm.errors import PluginError
from freqlstm.windows import gather

BLOCK = 64  # windows asked at a time; a window's place is the number of its bar, so its bits depend on nothing else
CLIP_NORM = 1.0  # of the gradient: Pascanu, Mikolov and Bengio 2013
DECAYS = 0.9, 0.999  # of the two moments of Adam: Kingma and Ba 2015
EPSILON = 1e-7  # of Adam
MOMENTS = {"sgd": 0, "adam": 2}  # vectors that each optimizer remembers besides the weights


class UpdateStep:
    """What is compiled for networks that are built alike, whatever their weights."""

    def __init__(self, network: keras.Model, loss: keras.losses.Loss, optimizer: str, step_size: float) -> None:
        self._network, self._loss, self._adam, self._step_size = network, loss, optimizer == "adam", step_size
        self._shapes = [tuple(variable.shape) for variable in network.trainable_variables]
        compiled, gradient = _backend(self._error)
        self._gradient = gradient
        self.ask: Callable[..., Any] = compiled(self._output)
        self.learn: Callable[..., Any] = compiled(self._learned)

    def outputs(
        self, weights: Any, fixed: list[np.ndarray], matrix: np.ndarray, rows: np.ndarray, bars: np.ndarray, lookback: int
    ) -> np.ndarray:  # fmt: skip
        """Shape (len(rows),), float64: the output for the window of each row; ``bars`` are the numbers of their bars."""
        output = np.zeros(len(rows))
        for block in np.unique(bars // BLOCK):
            own = np.flatnonzero(bars // BLOCK == block)
            slots = bars[own] % BLOCK
            windows = np.zeros((BLOCK, lookback, matrix.shape[1]), np.float32)
            windows[slots] = gather(matrix, rows[own], lookback)
            output[own] = np.asarray(self.ask(weights, fixed, windows))[slots]
        return output

    def _output(self, weights: Any, fixed: Any, windows: Any) -> Any:
        """Shape (batch,): from windows of shape (batch, lookback, features)."""
        variables, first = [], 0
        for shape in self._shapes:
            last = first + math.prod(shape)
            variables.append(keras.ops.reshape(weights[first:last], shape))
            first = last
        return self._network.stateless_call(variables, fixed, windows, training=False)[0][:, 0]

    def _error(self, weights: Any, fixed: Any, windows: Any, labels: Any, shares: Any) -> Any:
        output = self._output(weights, fixed, windows)
        return self._loss(labels[:, None], output[:, None], sample_weight=shares)

    def _learned(
        self, weights: Any, moments: Any, number: Any, fixed: Any, windows: Any, labels: Any, shares: Any
    ) -> Any:
        """(weights, moments) after update ``number``, counted from 1. What ``shares`` gives no weight counts as no error."""
        ops = keras.ops
        slope = self._gradient(weights, fixed, windows, labels, shares)
        norm = ops.sqrt(ops.sum(slope * slope))
        slope = ops.where(ops.isfinite(norm), slope * ops.minimum(1.0, CLIP_NORM / ops.maximum(norm, 1e-30)), 0.0)
        if not self._adam:
            return weights - self._step_size * slope, moments
        first = DECAYS[0] * moments[0] + (1 - DECAYS[0]) * slope
        second = DECAYS[1] * moments[1] + (1 - DECAYS[1]) * slope * slope
        unbiased = ops.sqrt(1 - DECAYS[1] ** number) / (1 - DECAYS[0] ** number)
        moved = unbiased * first / (ops.sqrt(second) + EPSILON)
        return weights - self._step_size * moved, ops.stack([first, second])


def _backend(error: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(compiles a function, gradient of ``error`` by its first argument) in the backend that Keras runs on."""
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        def gradient(weights: Any, *rest: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(weights)
                value = error(weights, *rest)
            return tape.gradient(value, weights)

        return lambda made: tf.function(made, jit_compile=True, autograph=False), gradient
    if name == "jax":
        import jax

        return jax.jit, jax.grad(error)
    raise PluginError(
        f"Signals that go on learning cannot run on the Keras backend {name}. Set KERAS_BACKEND to tensorflow or jax."
    )


_COMPILED: dict[Hashable, UpdateStep] = {}
COMPILED = 8  # at most, in a process


def compiled_once(key: Hashable, make: Callable[[], UpdateStep]) -> UpdateStep:
    """What ``make`` makes, made only once in a process for each ``key``, which must tell everything that decides what it is."""
    if key not in _COMPILED:
        if len(_COMPILED) >= COMPILED:
            del _COMPILED[next(iter(_COMPILED))]
        _COMPILED[key] = make()
    return _COMPILED[key]


def weights_of(network: keras.Model) -> np.ndarray:
    """Shape (parameters,), float32: what is learned, as one vector."""
    values = [keras.ops.convert_to_numpy(variable).ravel() for variable in network.trainable_variables]
    return np.concatenate(values).astype(np.float32)


def fixed_of(network: keras.Model) -> list[np.ndarray]:
    """What is not learned by steps, such as the statistics of a normalisation."""
    return [keras.ops.convert_to_numpy(variable) for variable in network.non_trainable_variables]
