"""Training and asking networks that read windows of a matrix: the same bits in every process.

The windows are gathered inside the training step, so none is stored twice.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import keras
import numpy as np

from freqlstm.errors import ModelError, PluginError
from freqlstm.progress import Progress
from freqlstm.windows import gather

BLOCK = 512  # windows predicted at a time, always so many: the bits of a product may depend on its shape
PATIENCE = 1  # epochs without a better validation error before training stops


def _be_reproducible() -> None:
    """One thread and no GPU: sums in parallel depend on how they are shared out. Folds are the parallel jobs here.

    A PluginError if TensorFlow runs otherwise in this process already, which cannot be changed any more.
    """
    if keras.backend.backend() == "tensorflow":
        from tensorflow import config

        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of tracing each network, which must be
        threading = config.threading
        with suppress(RuntimeError):  # somebody has used TensorFlow in this process before: how is looked at below
            config.set_visible_devices([], "GPU")
        with suppress(RuntimeError):
            threading.set_intra_op_parallelism_threads(1)
        with suppress(RuntimeError):
            threading.set_inter_op_parallelism_threads(1)
        threads = threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()
        gpus = config.get_visible_devices("GPU")
        if threads != (1, 1) or gpus:
            raise PluginError(
                f"TensorFlow was used in this process before freqlstm could set it to one thread, without which no result is the "
                f"same twice: it has {threads[0]} threads in an operation and {threads[1]} between them (0: as many as cores), and {len(gpus)} GPUs. Import freqlstm.keras_signal before TensorFlow is used."
            )


_be_reproducible()


class Trainable(Protocol):
    """What a signal tells about its training."""

    lookback: int  # bars in each window
    seed: int
    seeds: int  # networks to train
    epochs: int  # at most
    batch: int  # windows in each step
    learning_rate: float  # the highest of the one cycle
    weight_decay: float

    def built(self, n_features: int) -> keras.Model: ...
    def loss(self) -> keras.losses.Loss: ...


class Training:
    """Trains one network after another on the same rows; TensorFlow traces the training step only once."""

    def __init__(
        self, signal: Trainable, matrix: np.ndarray,
        rows: np.ndarray, labels: np.ndarray, check_rows: np.ndarray, check_labels: np.ndarray,
    ) -> None:  # fmt: skip
        self.signal, self.matrix = signal, matrix
        self.rows, self.labels = rows.astype(np.int32), labels.astype(np.float32)[:, None]
        self.check_rows, self.check_labels = check_rows, check_labels.astype(np.float32)[:, None]
        self.network = signal.built(matrix.shape[1])
        row = keras.Input((), dtype="int32")
        self.trainer = keras.Model(row, self.network(_Windows(matrix, signal.lookback)(row)))
        steps = signal.epochs * math.ceil(len(rows) / signal.batch)
        warmup = max(1, round(0.3 * steps))
        one_cycle = keras.optimizers.schedules.CosineDecay(  # Smith 2018
            signal.learning_rate / 25,
            max(1, steps - warmup),
            1e-3,
            warmup_target=signal.learning_rate,
            warmup_steps=warmup,
        )
        self.optimizer = _AdamW(one_cycle, weight_decay=signal.weight_decay, clipnorm=1.0, name="adamw")
        self.optimizer.build(self.trainer.trainable_variables)
        self.trainer.compile(self.optimizer, signal.loss(), jit_compile=False, steps_per_execution=16)

    def run(self, network: keras.Model, member: int, progress: Progress) -> tuple[np.ndarray, list[float]]:
        """Train ``network`` from the weights it has and leave it the best ones.

        Returns its outputs on the validation rows, and the validation error after each epoch.
        """
        _copy(network, self.network)
        for variable in self.optimizer.variables:  # all of them begin at zero
            variable.assign(keras.ops.zeros_like(variable))
        signal, loss = self.signal, self.signal.loss()
        shuffle = np.random.default_rng([signal.seed, member])
        errors: list[float] = []
        best = np.zeros(len(self.check_rows))
        name, total = f"network {member + 1} of {signal.seeds}", signal.seeds * signal.epochs
        for epoch in range(signal.epochs):
            progress(member * signal.epochs + epoch, total, f"{name}, epoch {epoch + 1}")
            order = shuffle.permutation(len(self.rows))
            self.trainer.fit(
                self.rows[order], self.labels[order], batch_size=signal.batch, epochs=1, shuffle=False, verbose=0
            )
            output = outputs(self.network, self.matrix, self.check_rows, signal.lookback)
            error = float(loss(self.check_labels, output.astype(np.float32)[:, None]))
            if not math.isfinite(error):
                raise ModelError(
                    f"Training of {type(signal).__name__} diverged in epoch {epoch + 1}: the validation error is {error}. "
                    f"Lower learning_rate, which is {signal.learning_rate}."
                )
            if not errors or error < min(errors):
                _copy(self.network, network)
                best = output
            errors.append(error)
            if epoch - int(np.argmin(errors)) >= PATIENCE:
                break
        progress((member + 1) * signal.epochs, total, f"{name} fitted")
        return best, errors


def _copy(source: keras.Model, target: keras.Model) -> None:
    """Give one network the whole state of another, that of its random generators included."""
    for theirs, ours in zip(target.variables, source.variables, strict=True):
        theirs.assign(ours)


class _AdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW without Keras's sum of gradients over replicas: there is one, and the sum would keep every trace for ever."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


class _Windows(keras.layers.Layer):  # type: ignore[misc]
    """From row numbers, shape (batch,), to their windows, (batch, lookback, features): no window is stored twice."""

    def __init__(self, matrix: np.ndarray, lookback: int) -> None:
        super().__init__()
        self.matrix = keras.ops.convert_to_tensor(matrix)  # (rows, features)
        self.steps = keras.ops.arange(1 - lookback, 1, dtype="int32")

    def call(self, rows: Any) -> Any:
        return keras.ops.take(self.matrix, rows[:, None] + self.steps, axis=0)


def outputs(network: keras.Model, matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
    """Shape (len(rows),), float64: the network's output for the window of each row.

    The last block is filled up with its own last row, so every block has one shape and no row's bits depend on those after.
    """
    output = np.zeros(len(rows))
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        filled = np.concatenate([block, np.full(BLOCK - len(block), block[-1])])
        output[first : first + len(block)] = network.predict_on_batch(gather(matrix, filled, lookback))[: len(block), 0]
    return output


@contextmanager
def seeded(entropy: list[int]) -> Iterator[None]:
    """Seed everything that Keras draws from, and give Python and numpy their own random states back afterwards."""
    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
