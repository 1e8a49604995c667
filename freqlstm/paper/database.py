"""One SQLite file with one writer, whose writes survive whatever happens to the process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import BaseFileLock, FileLock, Timeout

from freqlstm.errors import JournalError
from freqlstm.files import explained, make_folder


class Database:
    """The open file; every method may be called from any thread.

    After a write has failed, every further one fails too: what is in memory may no longer be what is on the disk, and
    the way on is to start again.
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        """One process writes (a lock file beside it says so); any number may read."""
        self.path = path
        self.failed = "" if writes else "It was opened for reading."  # why nothing can be written any more
        self._mutex = threading.RLock()
        self._lock: BaseFileLock | None = None
        if writes:
            with explained(path):
                make_folder(path.parent)
            self._lock = FileLock(f"{path}.lock")
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise JournalError(
                    f"Another trader is writing {path}. Stop it with `freqlstm paper stop`, or start this one with another "
                    f"session name."
                ) from None
        elif not path.is_file():
            raise JournalError(f"There is no journal {path}. `freqlstm paper` begins one.")
        try:
            self._connection = self._connect(f"file:{_quoted(path)}?mode={'rwc' if writes else 'ro'}")
        except BaseException:
            self._release()
            raise

    def held(self) -> AbstractContextManager[object]:
        """No other thread reads or writes inside this block."""
        return self._mutex

    def close(self) -> None:
        with self._mutex:
            self._connection.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _connect(self, uri: str) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
            connection.execute("PRAGMA synchronous = FULL")
            if uri.endswith("rwc"):
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            raise JournalError(
                f"{self.path} cannot be opened as a journal ({error}). Move it away, or mend the disk."
            ) from error
        return connection

    @contextmanager
    def _writing(self, *, soon: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction. ``soon``: it outlives this process at once, but a power cut only with the next one without it."""
        with self._mutex:
            if self._connection.in_transaction:  # of this thread, which has the mutex
                yield self._connection
                return
            if self.failed:
                raise JournalError(f"{self.path} cannot be written. {self.failed}")
            try:
                self._connection.execute(f"PRAGMA synchronous = {'NORMAL' if soon else 'FULL'}")
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self.failed = f"Writing it failed: {error}. Free some space or mend the disk, then start again."
                self._roll_back()
                raise JournalError(f"{self.path} cannot be written. {self.failed}") from error
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def together(self, *, soon: bool = False) -> Iterator[None]:
        """What is written in the block is written whole or not at all."""
        with self._writing(soon=soon):
            yield

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _insert(self, table: str, rows: Iterable[Sequence[Any]], *, soon: bool = False) -> int:
        """Insert rows whose key is not there yet; how many those were."""
        count = 0
        with self._writing(soon=soon) as connection:
            for row in rows:
                done = connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks(row)})", row)
                count += done.rowcount
        return count

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with self._mutex:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise JournalError(f"{self.path} cannot be read ({error}).") from error


def marks(row: Sequence[Any]) -> str:
    """As many question marks as there are values."""
    return ", ".join("?" * len(row))


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
