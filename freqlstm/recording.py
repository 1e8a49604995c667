"""What a fit leaves behind while it runs: after every epoch all that it needs to go on, and figures for who watches.

A fit is made of *trainings*, one network after another. Each is known by a key, a digest of everything it is given, so a
training goes on only from a state of its own, in whatever order they come and whichever of them are done.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from freqlstm.errors import ModelError
from freqlstm.files import write_bytes
from freqlstm.provenance import file_digest, read_sealed, write_sealed


@dataclass(frozen=True)
class Snapshot:
    """A training after its last whole epoch."""

    arrays: Mapping[str, np.ndarray]  # weights, the best ones, state of the optimiser, of random generators
    epochs: list[dict[str, float]]  # of each epoch: loss, validation_error, learning_rate
    shuffle: Mapping[str, Any]  # state of the generator that orders the training rows


class Log(Protocol):
    """Who is told of every epoch: of which training, counted from 1, which epoch, counted from 1, and its figures."""

    def __call__(self, training: int, epoch: int, figures: Mapping[str, float]) -> None: ...


class Checkpoints:
    """A folder with the newest snapshot of each training of one fit. Only a snapshot that is whole is ever read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Snapshot | None:
        """The snapshot of that training if there is one; a ModelError if it is damaged."""
        file = self.folder / f"{key}.json"
        if not file.is_file():
            return None
        told = read_sealed(file)
        arrays = file.with_name(told["arrays"])
        if not arrays.is_file() or file_digest(arrays) != told["sha256"]:
            raise ModelError(f"{arrays} was damaged or changed since it was written.")
        with np.load(arrays, allow_pickle=False) as stored:
            return Snapshot({name: stored[name] for name in stored.files}, told["epochs"], json.loads(told["shuffle"]))

    def write(self, key: str, snapshot: Snapshot) -> None:
        """Replace the snapshot of that training; a crash at any point leaves the one before or this one."""
        content = io.BytesIO()
        np.savez(content, **snapshot.arrays)  # type: ignore[arg-type]
        arrays = self.folder / f"{key}-{len(snapshot.epochs)}.npz"
        write_bytes(arrays, content.getvalue())
        write_sealed(
            self.folder / f"{key}.json",
            {
                "arrays": arrays.name,
                "sha256": file_digest(arrays),
                "epochs": snapshot.epochs,
                "shuffle": json.dumps(snapshot.shuffle),  # its numbers are too long for other readers of JSON
            },
        )
        for older in self.folder.glob(f"{key}-*.npz"):
            if older != arrays:
                older.unlink(missing_ok=True)

    def exist(self) -> bool:
        """Whether a snapshot of any training is here."""
        return any(self.folder.glob("*.json"))

    def remove(self) -> None:
        """Remove the folder, and the one it is in if nothing else is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()


@dataclass
class Recorder:
    """What is kept and told of one fit, by whoever trains a network: :func:`recorder` finds it."""

    checkpoints: Checkpoints
    log: Log | None = None
    warnings: list[str] = field(default_factory=list)
    resumed: bool = False  # whether a training has gone on from a snapshot
    trainings: int = 0  # begun so far

    def begin(self, key: str) -> Snapshot | None:
        """A training begins: the snapshot it goes on from, if there is one. The log is told of its epochs again."""
        self.trainings += 1
        try:
            snapshot = self.checkpoints.read(key)
        except (ModelError, OSError, ValueError, KeyError) as error:
            self.warnings.append(f"Network {self.trainings} is trained anew, its checkpoint cannot be used: {error}")
            return None
        if snapshot is not None:
            self.resumed = True
            for epoch, figures in enumerate(snapshot.epochs, start=1):
                self._tell(epoch, figures)
        return snapshot

    def epoch(self, key: str, snapshot: Snapshot) -> None:
        """An epoch of the training that began last is over."""
        self.checkpoints.write(key, snapshot)
        self._tell(len(snapshot.epochs), snapshot.epochs[-1])

    def _tell(self, epoch: int, figures: Mapping[str, float]) -> None:
        if self.log is not None:
            self.log(self.trainings, epoch, figures)


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def recorder() -> Recorder | None:
    """Who records the fit that is running, if anybody does."""
    return _RECORDER.get()


@contextmanager
def recorded(by: Recorder) -> Iterator[None]:
    """Fits in the block are recorded. What was kept is removed when the block ends well, and stays when it does not."""
    token = _RECORDER.set(by)
    try:
        yield
    finally:
        _RECORDER.reset(token)
    by.checkpoints.remove()
