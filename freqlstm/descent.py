"""How a network goes down the slope of its error, an epoch at a time: by compiled code where that knows the network, else by Keras.

Either way windows are gathered a batch at a time, so none is stored twice, and the rule is the same: AdamW (Loshchilov and
Hutter 2019) with the gradient of each variable clipped to a norm of 1, and a learning rate of one cycle (Smith 2018). The
bits are the same in every process, however many threads it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Protocol

import keras
import numpy as np

from freqlstm import lstm_kernels as kernels
from freqlstm.compiled_step import CLIP_NORM, DECAYS, EPSILON, CompiledStep
from freqlstm.inference import forward
from freqlstm.jobs import threads
from freqlstm.update_step import weights_of
from freqlstm.windows import gather

FLOOR = 1e-3  # of the highest learning rate, where the cycle ends
RISE = 0.3  # of the cycle's steps
START = 1 / 25  # of the highest learning rate, where the cycle begins
STOCHASTIC = ("rate", "stddev", "dropout", "recurrent_dropout")  # what layers call it if they act by chance in training


class Rule(Protocol):
    """What a signal tells about the way down."""

    lookback: int  # bars in each window
    epochs: int  # at most
    batch: int  # windows in each step
    learning_rate: float  # the highest of the one cycle
    weight_decay: float  # a step and unit of learning rate
    xla: bool

    def loss(self) -> keras.losses.Loss: ...


class Descent(Protocol):
    """A network on its way down, and what its optimiser remembers."""

    network: keras.Model

    def begin(self) -> None:
        """Forget all steps: the next one is the first from the weights that the network has."""

    def epoch(self, rows: np.ndarray, labels: np.ndarray) -> float:
        """Take the steps of one epoch on windows of ``rows`` in this order; the mean loss over them. ``labels`` are (rows, 1)."""

    def learning_rate(self) -> float:
        """That of the next step."""

    def memory(self) -> dict[str, np.ndarray]:
        """All that is to be kept beside the network to go on from here."""

    def remember(self, memory: Mapping[str, np.ndarray]) -> None: ...


def descent(rule: Rule, network: keras.Model, matrix: np.ndarray, rows: int) -> Descent:
    """The quickest there is for this network, to be trained on so many windows of ``matrix``, (bars, features).

    Compiled code learns only with networks whose outputs it was seen to make.
    """
    steps = rule.epochs * math.ceil(rows / rule.batch)
    plain = not rule.xla and _is_plain(network) and forward(network, rule.lookback, matrix.shape[1]).compiled
    step = CompiledStep.of(network, rule.loss(), "adam", 1.0) if plain else None
    return CompiledDescent(step, rule, network, matrix, steps) if step else KerasDescent(rule, network, matrix, steps)


def _is_plain(network: keras.Model) -> bool:
    """Whether a network is trained as it predicts, on its loss alone."""
    return not network.losses and not any(
        getattr(layer, "activity_regularizer", None)
        or any(getattr(layer, name, 0) for name in STOCHASTIC)
        or any(getattr(variable, "constraint", None) for variable in layer.variables)
        or not layer.trainable
        for layer in network.layers
    )


class CompiledDescent:
    """Batches in parts, on as many threads as this process may have; the parts' slopes are added up in their order."""

    def __init__(self, step: CompiledStep, rule: Rule, network: keras.Model, matrix: np.ndarray, steps: int) -> None:
        self.step, self.rule, self.network, self.matrix = step, rule, network, matrix
        self.loss, self.rates = rule.loss(), one_cycle(rule.learning_rate, steps)
        ends = np.cumsum([0, *(math.prod(variable.shape) for variable in network.trainable_variables)])
        self.parts = [slice(first, end) for first, end in pairwise(ends)]
        self.begin()

    def begin(self) -> None:
        self.taken = 0  # steps
        self.moments = [np.zeros((2, part.stop - part.start), np.float32) for part in self.parts]

    def epoch(self, rows: np.ndarray, labels: np.ndarray) -> float:
        weights, batch, said = weights_of(self.network), self.rule.batch, []
        with ThreadPoolExecutor(threads()) as pool:
            for first in range(0, len(rows), batch):
                some = slice(first, first + batch)
                windows, aims = gather(self.matrix, rows[some], self.rule.lookback), labels[some, 0]
                shares = np.full(len(aims), 1 / len(aims), np.float32)
                outputs, slope = self.step.gradient(weights, windows, aims, shares, pool.map)
                said.append(outputs)
                with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
                    self._step(weights, slope)
        for variable, part in zip(self.network.trainable_variables, self.parts, strict=True):
            variable.assign(weights[part].reshape(variable.shape))
        return float(self.loss(labels, np.concatenate(said)[:, None]))

    def _step(self, weights: np.ndarray, slope: np.ndarray) -> None:
        rate, self.taken = self.rates[self.taken], self.taken + 1
        unbiased = math.sqrt(1 - DECAYS[1] ** self.taken) / (1 - DECAYS[0] ** self.taken)
        single = np.float32
        weights *= single(1 - rate * self.rule.weight_decay)
        for part, moments in zip(self.parts, self.moments, strict=True):
            kernels.descend(
                weights[part], slope[part], moments, single(rate), single(CLIP_NORM), (single(DECAYS[0]), single(DECAYS[1])),
                single(unbiased), single(EPSILON),
            )  # fmt: skip

    def learning_rate(self) -> float:
        return float(self.rates[self.taken])

    def memory(self) -> dict[str, np.ndarray]:
        return {"taken": np.array(self.taken), "moments": np.concatenate(self.moments, axis=1)}

    def remember(self, memory: Mapping[str, np.ndarray]) -> None:
        self.taken = int(memory["taken"])
        self.moments = [np.ascontiguousarray(memory["moments"][:, part]) for part in self.parts]


class KerasDescent:
    """Keras's own training; TensorFlow traces the training step only once."""

    def __init__(self, rule: Rule, network: keras.Model, matrix: np.ndarray, steps: int) -> None:
        self.network, self.batch = network, rule.batch
        row = keras.Input((), dtype="int32")
        self.trainer = keras.Model(row, network(_Windows(matrix, rule.lookback)(row)))
        self.optimizer = _AdamW(
            _OneCycle(rule.learning_rate, steps), weight_decay=rule.weight_decay, clipnorm=CLIP_NORM, name="adamw"
        )
        self.optimizer.build(self.trainer.trainable_variables)
        backend = keras.backend.backend()
        self.trainer.compile(
            self.optimizer,
            rule.loss(),
            jit_compile=backend == "jax" or (rule.xla and backend == "tensorflow"),  # JAX is slow without
            steps_per_execution=1 if backend == "torch" else 16,  # torch knows of no more
        )

    def begin(self) -> None:
        for variable in self.optimizer.variables:  # all of them begin at zero
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def epoch(self, rows: np.ndarray, labels: np.ndarray) -> float:
        history = self.trainer.fit(rows, labels, batch_size=self.batch, epochs=1, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    def learning_rate(self) -> float:
        return float(self.optimizer.learning_rate)

    def memory(self) -> dict[str, np.ndarray]:
        return arrays(self.optimizer)

    def remember(self, memory: Mapping[str, np.ndarray]) -> None:
        restore(self.optimizer, memory)


def one_cycle(highest: float, steps: int) -> np.ndarray:
    """Shape (steps + 1,): the learning rate of each step, and of one after the last; a line up, and half a cosine down.

    Smith 2018; the cosine is that of Loshchilov and Hutter 2017.
    """
    rise = max(1, round(RISE * steps))
    step = np.arange(steps + 1)
    up = highest * (START + (1 - START) * step / rise)
    fallen = np.minimum(step - rise, steps - rise) / max(1, steps - rise)
    down = highest * (FLOOR + (1 - FLOOR) * 0.5 * (1 + np.cos(np.pi * fallen)))
    return np.where(step < rise, up, down)


class _OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    def __init__(self, highest: float, steps: int) -> None:
        self.rates = keras.ops.convert_to_tensor(one_cycle(highest, steps).astype(np.float32))

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(self.rates, keras.ops.cast(step, "int32"))


class _AdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW without Keras's sum of gradients over replicas: there is one, and the sum would keep every trace for ever."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


class _Windows(keras.layers.Layer):  # type: ignore[misc]
    """From row numbers, shape (batch,), to their windows, (batch, lookback, features)."""

    def __init__(self, matrix: np.ndarray, lookback: int) -> None:
        super().__init__()
        self.matrix = keras.ops.convert_to_tensor(matrix)  # (rows, features)
        self.steps = keras.ops.arange(1 - lookback, 1, dtype="int32")

    def call(self, rows: Any) -> Any:
        return keras.ops.take(self.matrix, rows[:, None] + self.steps, axis=0)


def arrays(holder: Any) -> dict[str, np.ndarray]:
    """Every variable of a network or an optimiser, those of random generators included."""
    return {str(number): keras.ops.convert_to_numpy(variable) for number, variable in enumerate(holder.variables)}


def restore(holder: Any, kept: Mapping[str, np.ndarray]) -> None:
    for number, variable in enumerate(holder.variables):
        variable.assign(kept[str(number)])
