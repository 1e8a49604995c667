"""Training networks that read windows of a matrix: the same bits in every process."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Protocol

import keras
import numpy as np

from freqlstm.compiling import announced
from freqlstm.descent import Rule, arrays, descent, restore
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


class Trainable(Rule, Protocol):
    """What a signal tells about its training."""

    seed: int
    seeds: int  # networks to train

    def built(self, n_features: int) -> keras.Model: ...


class Training:
    """Trains one network after another on the same rows."""

    def __init__(
        self, signal: Trainable, matrix: np.ndarray,
        rows: np.ndarray, labels: np.ndarray, check_rows: np.ndarray, check_labels: np.ndarray,
    ) -> None:  # fmt: skip
        self.signal, self.matrix = signal, matrix
        self.rows, self.labels = rows.astype(np.int32), labels.astype(np.float32)[:, None]
        self.check_rows, self.check_labels = check_rows, check_labels.astype(np.float32)[:, None]
        self.network = signal.built(matrix.shape[1])
        self.descent = descent(signal, self.network, matrix, len(rows))

    def run(self, network: keras.Model, member: int, progress: Progress) -> tuple[np.ndarray, list[float]]:
        """Train ``network`` from the weights it has and leave it the best ones.

        Returns its outputs on the validation rows, and the validation error after each epoch. Goes on from the snapshot
        that a :func:`freqlstm.recording.recorder` has of this very training.
        """
        _copy(network, self.network)
        self.descent.begin()
        signal, loss = self.signal, self.signal.loss()
        shuffle = np.random.default_rng([signal.seed, member])
        epochs: list[dict[str, float]] = []
        best = np.zeros(len(self.check_rows))
        record = recorder()
        key = self._key(network, member) if record else ""
        if record and (kept := record.begin(key)):
            epochs, best = list(kept.epochs), kept.arrays["output"]
            restore(network, _named(kept.arrays, "best"))
            restore(self.network, _named(kept.arrays, "network"))
            self.descent.remember(_named(kept.arrays, "optimizer"))
            shuffle.bit_generator.state = kept.shuffle
        name, total = f"network {member + 1} of {signal.seeds}", signal.seeds * signal.epochs
        while not self._is_over(errors := [each["validation_error"] for each in epochs]):
            done = member * signal.epochs + len(epochs)
            progress(done, total, f"{name}, epoch {len(epochs) + 1}")
            order = shuffle.permutation(len(self.rows))
            with announced(partial(_note, progress, done, total, name), "training and predictions"):
                mean_loss = self.descent.epoch(self.rows[order], self.labels[order])
                self._refuse_divergence(name, len(epochs) + 1, {"loss": mean_loss})
                output = outputs(self.network, self.matrix, self.check_rows, signal.lookback)
            figures = {
                "loss": mean_loss,
                "validation_error": float(loss(self.check_labels, output.astype(np.float32)[:, None])),
                "learning_rate": self.descent.learning_rate(),  # after the epoch's last step
            }
            self._refuse_divergence(name, len(epochs) + 1, figures)
            if not errors or figures["validation_error"] < min(errors):
                _copy(self.network, network)
                best = output
            epochs.append(figures)
            if record:
                kept_arrays = {
                    "network": arrays(self.network),
                    "best": arrays(network),
                    "optimizer": self.descent.memory(),
                }
                flat = {f"{of}_{each}": array for of, some in kept_arrays.items() for each, array in some.items()}
                record.epoch(key, Snapshot({**flat, "output": best}, epochs, shuffle.bit_generator.state))
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
        for what, figure in figures.items():
            if not math.isfinite(figure):
                signal = self.signal
                raise Diverged(
                    f"Training of {type(signal).__name__} diverged in epoch {epoch} of {name}: the {what.replace('_', ' ')} is "
                    f"{figure}. Lower learning_rate, which is {signal.learning_rate}, or weight_decay, which is "
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
        for array in [*given, *arrays(network).values()]:
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]


def _note(progress: Progress, done: int, total: int, name: str, _: float, __: float, text: str) -> None:
    """Tell what else is being done at a place of the training."""
    progress(done, total, f"{name}, {text}")


def _named(arrays: Mapping[str, np.ndarray], of: str) -> dict[str, np.ndarray]:
    """Those of one of the things that a snapshot holds."""
    return {name.removeprefix(f"{of}_"): array for name, array in arrays.items() if name.startswith(f"{of}_")}


def _copy(source: keras.Model, target: keras.Model) -> None:
    """Give one network the whole state of another, that of its random generators included."""
    for theirs, ours in zip(target.variables, source.variables, strict=True):
        theirs.assign(np.array(keras.ops.convert_to_numpy(ours)))  # not shared: JAX overwrites memory in training


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
