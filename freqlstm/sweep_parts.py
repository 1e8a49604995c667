"""What a sweep that is not finished has found so far: one file a chunk, each whole or absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from freqlstm.errors import UsageError
from freqlstm.files import explained, make_folder
from freqlstm.store import read_table, write_table


class Parts:
    """The chunks of one sweep in its folder, whose name is the fingerprint of everything that decides them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / "lock", timeout=0)

    @contextmanager
    def opened(self) -> Iterator[Parts]:
        """Nobody else works on this sweep while the block runs; what is stored stays if it fails, but not an empty folder."""
        with explained(self.folder):
            make_folder(self.folder)
        try:
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"Another process is making this very sweep in {self.folder}. Wait until it has ended."
            ) from None
        try:
            yield self
        finally:
            if not self.count:
                self.remove()
            self._lock.release()

    @property
    def count(self) -> int:
        """How many chunks are stored, from the first on without a gap."""
        stored = {path.name for path in self.folder.glob("part-*.parquet")} if self.folder.is_dir() else set()
        return next(number for number in range(len(stored) + 1) if _name(number) not in stored)

    def add(self, number: int, rows: pd.DataFrame) -> None:
        """Store a chunk, whole or not at all."""
        write_table(self.folder / _name(number), rows)

    def read(self, number: int) -> pd.DataFrame:
        return read_table(self.folder / _name(number))

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """The chunks that are stored, read one at a time."""
        return (self.read(number) for number in range(self.count))

    def remove(self) -> None:
        """Forget the sweep: it is finished. If somebody has opened it meanwhile, they will forget it themselves."""
        if self.folder.is_dir():
            with suppress(Timeout), self._lock:
                shutil.rmtree(self.folder, ignore_errors=True)


def _name(number: int) -> str:
    return f"part-{number:07d}.parquet"
