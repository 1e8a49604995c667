"""A folder, local or behind any fsspec URL, whose files are listed, read, locked and written whole."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from freqlstm.errors import StoreError
from freqlstm.files import TEMPORARY, explained, make_folder, publish, stage, temporary_name

LOCK_SECONDS = 60.0  # how long to wait for another process


class Place:
    """All paths are relative to the place, with slashes.

    Processes of one machine take turns under :meth:`locked`. Object stores offer no lock between machines.
    """

    def __init__(self, url: str | Path) -> None:
        try:
            self._system, self._root = fsspec.core.url_to_fs(str(url))
        except (ImportError, ValueError) as error:
            raise StoreError(f"{url} cannot be opened as a folder: {error}.") from error
        self._local = isinstance(self._system, LocalFileSystem)

    def path(self, name: str) -> str:
        """The full path, for messages."""
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")

    def names(self, folder: str = "") -> list[str]:
        """What a folder holds, sorted, without hidden and temporary files; nothing if there is no such folder."""
        path = self.path(folder)
        self._system.invalidate_cache(path)
        try:
            found = self._system.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(entry).replace("\\", "/").rstrip("/").rpartition("/")[2] for entry in found)
        return sorted(name for name in names if not name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if there is no such file."""
        try:
            with self._system.open(self.path(name), "rb") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.path(name)} could not be read: {error.strerror or error}.") from error

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files of one folder: each whole, and none of them if one cannot be written."""
        staged: list[tuple[str, str]] = []
        try:
            for name, content in files.items():
                with explained(self.path(name)):
                    staged.append((self._stage(self.path(name), content), self.path(name)))
            for temporary, path in staged:
                with explained(path):
                    self._publish(temporary, path)
        finally:
            for temporary, _ in staged:
                with suppress(OSError):  # those that were published are gone already
                    self._system.rm_file(temporary)

    def _stage(self, path: str, content: bytes) -> str:
        if self._local:
            return str(stage(Path(path), content))
        temporary = str(temporary_name(Path(path))).replace("\\", "/")
        self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._system.pipe_file(temporary, content)
        return temporary

    def _publish(self, temporary: str, path: str) -> None:
        if self._local:
            publish(Path(temporary), Path(path))
        else:
            self._system.mv(temporary, path)

    @contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Wait for one's turn to write in a folder, and remove what a crash in the middle of a write left there."""
        path = self.path(folder)
        if self._local:
            lock = Path(path) / ".lock"
            with explained(path):
                make_folder(Path(path))
        else:
            name = hashlib.sha256(self._system.unstrip_protocol(path).encode()).hexdigest()[:24]
            lock = Path(tempfile.gettempdir()) / f"freqlstm-{name}.lock"
        turn = FileLock(lock, timeout=LOCK_SECONDS)
        with explained(path):
            try:
                turn.acquire()
            except Timeout:  # an OSError too
                raise StoreError(
                    f"Another process has been writing in {path} for {LOCK_SECONDS:g} seconds. Wait for it, or end it."
                ) from None
        try:
            if self._local:
                for leftover in Path(path).glob(f".*{TEMPORARY}"):
                    leftover.unlink(missing_ok=True)
            yield
        finally:
            turn.release()
