"""Figures of a fit as TensorBoard's event files: one run a network, one step an epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from freqlstm.errors import UsageError
from freqlstm.files import explained, make_folder

EVENTS = "events.out.tfevents"  # how the name of such a file begins
TITLES = {"loss": "loss", "validation_error": "validation error", "learning_rate": "learning rate"}


class EventLog:
    """Writes ``FOLDER/network_N/events.out.tfevents...``; each figure is on the disk when its epoch is over.

    What an earlier fit of the same name had told is replaced, network by network.
    """

    def __init__(self, folder: Path) -> None:
        _library()
        self.folder = folder
        self.files: dict[int, IO[bytes]] = {}

    def __call__(self, training: int, epoch: int, figures: Mapping[str, float]) -> None:
        _, _, summary = _library()
        values = [summary.Summary.Value(tag=TITLES[name], simple_value=value) for name, value in figures.items()]
        with explained(self.folder):
            if training not in self.files:
                self.files[training] = self._opened(training)
                self._write(training, file_version="brain.Event:2")
            self._write(training, step=epoch, summary=summary.Summary(value=values))

    def close(self) -> None:
        for file in self.files.values():
            file.close()

    def _opened(self, training: int) -> IO[bytes]:
        run = self.folder / f"network_{training}"
        make_folder(run)
        for former in run.glob(f"{EVENTS}.*"):
            former.unlink()
        return (run / f"{EVENTS}.{int(time.time())}.freqlstm").open("wb")

    def _write(self, training: int, **content: Any) -> None:
        event, writer, _ = _library()
        file = self.files[training]
        writer.RecordWriter(file).write(event.Event(wall_time=time.time(), **content).SerializeToString())
        file.flush()


def _library() -> tuple[Any, Any, Any]:
    """The parts of TensorBoard that write; a UsageError where it is not installed."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer import record_writer
    except ImportError as error:
        raise UsageError(
            f"TensorBoard is not installed ({error}). Install it with pip install 'freqlstm[tensorboard]', or leave out "
            f"--tensorboard."
        ) from error
    return event_pb2, record_writer, summary_pb2
