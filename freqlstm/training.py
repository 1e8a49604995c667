"""Training and asking networks that read windows of a matrix: the same bits in every process.

The windows are gathered inside the training step, so none is stored twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import keras
import numpy as np

from freqlstm.compiling import announced
from freqlstm.errors import Diverged, PluginError
from freqlstm.inference import ASKED, forward, outputs
from freqlstm.progress import Progress
from freqlstm.recording import Snapshot, recorder

PATIENCE = 1  # epochs without a better validation error before training stops


def _be_reproducible() -> None:
    """One thread and no GPU: sums in parallel depend on how they are shared out. Folds are the parallel jobs here."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        _keep_tensorflow_to_one_thread()
    elif backend == "jax":  # both are looked at when the first array is made
        os.environ["NPROC"] = "1"
        import_module("jax").config.update("jax_platforms", "cpu")
        with suppress(ImportError):  # Keras would in training, but its start-up messages are held back only now
            import_module("tensorflow")
    elif backend == "torch":
        import_module("torch").set_num_threads(1)


def _keep_tensorflow_to_one_thread() -> None:
    """A PluginError if TensorFlow runs otherwise in this process already, which cannot be changed any more."""
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
    xla: bool

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
        backend = keras.backend.backend()
        self.trainer.compile(
            self.optimizer,
            signal.loss(),
            jit_compile=backend == "jax" or (signal.xla and backend == "tensorflow"),  # JAX is slow without
            steps_per_execution=1 if backend == "torch" else 16,  # torch knows of no more
        )

    def run(self, network: keras.Model, member: int, progress: Progress) -> tuple[np.ndarray, list[float]]:
        """Train ``network`` from the weights it has and leave it the best ones.

        Returns its outputs on the validation rows, and the validation error after each epoch. Goes on from the snapshot
        that a :func:`freqlstm.recording.recorder` has of this very training.
        """
        _copy(network, self.network)
        for variable in self.optimizer.variables:  # all of them begin at zero
            variable.assign(np.zeros(variable.shape, variable.dtype))
        signal, loss = self.signal, self.signal.loss()
        shuffle = np.random.default_rng([signal.seed, member])
        epochs: list[dict[str, float]] = []
        best = np.zeros(len(self.check_rows))
        record = recorder()
        key = self._key(network, member) if record else ""
        if record and (kept := record.begin(key)):
            epochs, best = list(kept.epochs), kept.arrays["output"]
            _restore(network, kept, "best")
            _restore(self.network, kept, "network")
            _restore(self.optimizer, kept, "optimizer")
            shuffle.bit_generator.state = kept.shuffle
        name, total = f"network {member + 1} of {signal.seeds}", signal.seeds * signal.epochs
        while not self._is_over(errors := [each["validation_error"] for each in epochs]):
            progress(member * signal.epochs + len(epochs), total, f"{name}, epoch {len(epochs) + 1}")
            order = shuffle.permutation(len(self.rows))
            history = self.trainer.fit(
                self.rows[order], self.labels[order], batch_size=signal.batch, epochs=1, shuffle=False, verbose=0
            )
            with announced(partial(_note, progress, member * signal.epochs + len(epochs), total, name), "predictions"):
                output = outputs(self.network, self.matrix, self.check_rows, signal.lookback)
            figures = {
                "loss": float(history.history["loss"][0]),  # the mean over the epoch's steps
                "validation_error": float(loss(self.check_labels, output.astype(np.float32)[:, None])),
                "learning_rate": float(self.optimizer.learning_rate),  # after the epoch's last step
            }
            self._refuse_divergence(name, len(epochs) + 1, figures)
            if not errors or figures["validation_error"] < min(errors):
                _copy(self.network, network)
                best = output
            epochs.append(figures)
            if record:
                arrays = {**_arrays(self.network, "network"), **_arrays(network, "best")}
                arrays |= {**_arrays(self.optimizer, "optimizer"), "output": best}
                record.epoch(key, Snapshot(arrays, epochs, shuffle.bit_generator.state))
        way = forward(network, signal.lookback, self.matrix.shape[1])
        some = self.check_rows[:: -(-len(self.check_rows) // ASKED)]
        if not way.compare(self.matrix, some):
            best = way.outputs(self.matrix, self.check_rows)
        progress((member + 1) * signal.epochs, total, f"{name} fitted")
        return best, errors

    def _is_over(self, errors: list[float]) -> bool:
        """Whether there are epochs enough, or the last ones were no better."""
        patient = not errors or len(errors) - 1 - int(np.argmin(errors)) < PATIENCE
        return len(errors) >= self.signal.epochs or not patient

    def _refuse_divergence(self, name: str, epoch: int, figures: dict[str, float]) -> None:
        for what in ("loss", "validation_error"):
            if not math.isfinite(figures[what]):
                signal = self.signal
                raise Diverged(
                    f"Training of {type(signal).__name__} diverged in epoch {epoch} of {name}: the {what.replace('_', ' ')} is "
                    f"{figures[what]}. Lower learning_rate, which is {signal.learning_rate}, or weight_decay, which is "
                    f"{signal.weight_decay}."
                )

    def _key(self, network: keras.Model, member: int) -> str:
        """A digest of all that decides what this training becomes, but for the code and the libraries."""
        signal = self.signal
        numbers = [signal.lookback, signal.seed, member, signal.epochs, signal.batch, signal.learning_rate, signal.xla]
        digest = hashlib.sha256(
            json.dumps([*numbers, signal.weight_decay, signal.loss().get_config()], default=str).encode()
        )
        given = [self.matrix, self.rows, self.labels, self.check_rows, self.check_labels]
        for array in [*given, *_arrays(network, "network").values()]:
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]


def _note(progress: Progress, done: int, total: int, name: str, _: float, __: float, text: str) -> None:
    """Tell what else is being done at a place of the training."""
    progress(done, total, f"{name}, {text}")


def _arrays(holder: Any, name: str) -> dict[str, np.ndarray]:
    """Every variable of a network or an optimiser, those of random generators included."""
    return {f"{name}_{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(holder.variables)}


def _restore(holder: Any, kept: Snapshot, name: str) -> None:
    for number, variable in enumerate(holder.variables):
        variable.assign(kept.arrays[f"{name}_{number}"])


def _copy(source: keras.Model, target: keras.Model) -> None:
    """Give one network the whole state of another, that of its random generators included."""
    for theirs, ours in zip(target.variables, source.variables, strict=True):
        theirs.assign(np.array(keras.ops.convert_to_numpy(ours)))  # not shared: JAX overwrites memory in training


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
