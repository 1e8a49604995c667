"""Files and folders that appear whole or not at all.

Everything is written under a temporary name in the same folder, flushed to the disk and then renamed, so a reader, a
crash or a full disk never meets a half-written file. Temporary names start with a dot and end in ``.tmp``.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.errors import StoreError

TEMPORARY = ".tmp"
FORGOTTEN = 86_400  # seconds after which a temporary folder is what a process that was killed has left

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
BLOCKED = (errno.EEXIST, errno.ENOTDIR)


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Turn an OSError met while writing ``path`` into a StoreError of one line."""
    try:
        yield
    except OSError as error:
        raise StoreError(_explanation(str(path), error)) from error


def _explanation(path: str, error: OSError) -> str:
    if error.errno in FULL:
        return f"The disk is full: {path} was not written and is as it was. Free some space and run the command again."
    if error.errno in FORBIDDEN:
        return f"{path} may not be written: {_reason(error)}. Choose another folder, or give yourself the right to write there."
    if error.errno in BLOCKED:
        in_the_way = next((str(each) for each in Path(path).parents if each.exists() and not each.is_dir()), None)
        if in_the_way is not None:
            return f"{path} could not be written: {in_the_way} is a file, and must be a folder. Move it away."
    return f"{path} could not be written: {_reason(error)}."


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def make_folder(path: Path) -> None:
    """Create ``path`` and its missing parents so that they survive a power cut."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, where the system can do that."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stage(path: Path, content: bytes) -> Path:
    """Write ``content`` to a temporary file beside ``path``, flushed to the disk; :func:`publish` gives it its name."""
    make_folder(path.parent)
    temporary = temporary_name(path)
    with _removed_on_failure(temporary), open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def publish(temporary: Path, path: Path) -> None:
    """Give a staged file its name, replacing what was there, in one step."""
    with _removed_on_failure(temporary):
        os.replace(temporary, path)
    sync_folder(path.parent)


@contextmanager
def _removed_on_failure(temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_name(path: Path) -> Path:
    """A name beside ``path`` that nobody else uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with explained(path):
        publish(stage(Path(path), content), Path(path))


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: object) -> None:
    """Write a JSON file, whole or not at all: see :func:`jsonable` for what numbers and times become."""
    write_text(path, json.dumps(jsonable(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """What a JSON file holds; a StoreError that names the file if it is absent or not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise StoreError(f"There is no file {path}.") from None
    except OSError as error:
        raise StoreError(f"{path} could not be read: {_reason(error)}.") from error
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}). Delete it, and what wrote it will write it again.") from None


def jsonable(value: object) -> Any:
    """``value`` in JSON's own types: NaN and infinities become null, times ISO 8601, numpy scalars Python's."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, np.generic | np.ndarray):
        return (
            jsonable(value.tolist())
            if value.dtype.kind not in "mM"
            else jsonable(pd.Index(np.atleast_1d(value)).tolist())
        )
    if isinstance(value, float):
        return value
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, pd.Timedelta | Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | pd.Index):
        return [jsonable(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """A temporary folder to fill, which takes the name ``path`` when the block succeeds and vanishes when it fails.

    What ``path`` held before is moved aside first, so for an instant there may be nothing there, but never a mixture.
    """
    target = Path(path)
    temporary = temporary_name(target)
    with explained(target):
        make_folder(target.parent)
        _remove_forgotten(target.parent)
        temporary.mkdir()
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in FULL + FORBIDDEN:  # anything else is not about this folder
                raise StoreError(_explanation(str(target), error)) from error
            raise
        with explained(target):
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb+") as opened:
                        os.fsync(opened.fileno())
            _take_name(temporary, target)
            sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_forgotten(folder: Path) -> None:
    """Remove the temporary folders in which nothing was written for a day."""
    for leftover in folder.glob(f".*{TEMPORARY}"):
        with suppress(OSError):  # another process removes it too
            if leftover.is_dir() and not leftover.is_symlink() and time.time() - leftover.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(leftover, ignore_errors=True)


def _take_name(temporary: Path, target: Path) -> None:
    """Rename a folder, replacing the one of that name."""
    old = temporary_name(target)
    while True:
        try:
            os.rename(temporary, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                if old.exists():
                    os.rename(old, target)
                raise
        else:
            shutil.rmtree(old, ignore_errors=True)
            return
        shutil.rmtree(old, ignore_errors=True)  # two processes may replace the same folder: the last one stays
        with suppress(FileNotFoundError):
            os.rename(target, old)
