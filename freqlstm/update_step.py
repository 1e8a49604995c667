"""One step of learning by XLA, for whatever network: it is asked and updated as a function of its weights.

What compiled code can run needs none of this: see :mod:`freqlstm.compiled_step`.

Weights are one vector, float32, so several copies of a network can go their own ways. A step is taken on the loss alone,
with the network as it predicts: without dropout, and with the statistics of normalisation that it was fitted with.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from freqlstm.compiled_step import CLIP_NORM, DECAYS, EPSILON
from freqlstm.errors import PluginError
from freqlstm.windows import gather
from freqlstm.xla import compiled, gradient

BLOCK = 64  # windows asked at a time; a window's place is the number of its bar, so its bits depend on nothing else
MOMENTS = {"sgd": 0, "adam": 2}  # vectors that each optimizer remembers besides the weights


class UpdateStep:
    """What is compiled for networks that are built alike, whatever their weights."""

    def __init__(self, network: keras.Model, loss: keras.losses.Loss, optimizer: str, step_size: float) -> None:
        self._network, self._loss, self._adam, self._step_size = network, loss, optimizer == "adam", step_size
        self._shapes = [tuple(variable.shape) for variable in network.trainable_variables]
        ask, learn, slope = compiled(self._output), compiled(self._learned), gradient(self._error)
        if ask is None or learn is None or slope is None:
            raise PluginError(
                f"Signals that go on learning cannot run on the Keras backend {keras.backend.backend()}. Set KERAS_BACKEND to "
                f"tensorflow or jax."
            )
        self.ask, self.learn, self._slope = ask, learn, slope

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
        slope = self._slope(weights, fixed, windows, labels, shares)
        norm = ops.sqrt(ops.sum(slope * slope))
        slope = ops.where(ops.isfinite(norm), slope * ops.minimum(1.0, CLIP_NORM / ops.maximum(norm, 1e-30)), 0.0)
        if not self._adam:
            return weights - self._step_size * slope, moments
        first = DECAYS[0] * moments[0] + (1 - DECAYS[0]) * slope
        second = DECAYS[1] * moments[1] + (1 - DECAYS[1]) * slope * slope
        unbiased = ops.sqrt(1 - DECAYS[1] ** number) / (1 - DECAYS[0] ** number)
        moved = unbiased * first / (ops.sqrt(second) + EPSILON)
        return weights - self._step_size * moved, ops.stack([first, second])


def weights_of(network: keras.Model) -> np.ndarray:
    """Shape (parameters,), float32: what is learned, as one vector."""
    values = [keras.ops.convert_to_numpy(variable).ravel() for variable in network.trainable_variables]
    return np.concatenate(values).astype(np.float32)


def fixed_of(network: keras.Model) -> list[np.ndarray]:
    """What is not learned by steps, such as the statistics of a normalisation."""
    return [keras.ops.convert_to_numpy(variable) for variable in network.non_trainable_variables]
