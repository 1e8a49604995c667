"""The append-only list of every configuration that was ever evaluated, and on which candles.

Whoever tries a thousand configurations finds a good one by luck alone. Counting them is what lets the deflated Sharpe
ratio say how good the best of so many worthless ones would look. A line of the file is one trial, or the batch of trials
of a sweep, which takes 22 bytes for each of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from freqlstm.errors import StoreError
from freqlstm.files import explained, make_folder


@dataclass(frozen=True)
class Stretch:
    """The candles that something was tried on. Times are ISO 8601, UTC; they compare as text."""

    exchange: str
    timeframe: str
    symbols: tuple[str, ...]
    start: str
    end: str

    @property
    def days(self) -> float:
        """How long it is."""
        return (datetime.fromisoformat(self.end) - datetime.fromisoformat(self.start)) / timedelta(days=1)


@dataclass(frozen=True)
class Trial:
    """One configuration on one stretch of candles."""

    configuration: str  # digest of strategy, parameters, signals, folds, costs and seed
    exchange: str
    timeframe: str
    symbols: tuple[str, ...]
    start: str
    end: str
    sharpe: float | None  # annual, of daily returns


def record(ledger: Path, trial: Trial) -> None:
    """Append ``trial``; two processes may do so at once, and one that cannot be written leaves nothing behind."""
    _append(ledger, json.dumps(asdict(trial)))


def record_all(ledger: Path, stretch: Stretch, configurations: Sequence[str], sharpes: np.ndarray) -> None:
    """Append as many trials on one stretch, in one write; a Sharpe ratio that is not defined is NaN."""
    keys = np.array([_key(configuration) for configuration in configurations], dtype=np.uint64)
    told = {"configurations": _packed(keys, "<u8"), **asdict(stretch), "sharpes": _packed(sharpes, "<f8")}
    _append(ledger, json.dumps(told))


def _append(ledger: Path, line: str) -> None:
    with explained(ledger):
        make_folder(ledger.parent)
    try:
        with _lock(ledger):
            size = ledger.stat().st_size if ledger.exists() else 0
            try:
                with ledger.open("a+b") as file:
                    file.seek(max(size - 1, 0))
                    whole = file.read(1) in (b"", b"\n")  # a power cut may have torn the last line
                    file.write((f"{line}\n" if whole else f"\n{line}\n").encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(ledger, size)
                raise
    except OSError as error:
        raise StoreError(
            f"The trial could not be added to {ledger}: {error.strerror}. Make room, or make the folder writable."
        ) from error


def _lock(ledger: Path) -> FileLock:
    return FileLock(f"{ledger}.lock")


def trials(ledger: Path, stretch: Stretch) -> np.ndarray:
    """Shape (trials,): the annual Sharpe ratio of every trial on any of these candles, the newest of repeated ones; NaN: none.

    The same configuration on another time range or on other symbols is another trial: choosing among those is luck too.
    By luck alone a ratio is the farther from 0 the shorter its time, so one over another time counts as what is as lucky
    over the time of ``stretch``. A last line that a power cut tore off is left out.
    """
    if not ledger.exists():
        return np.zeros(0)
    with _lock(ledger):
        content = ledger.read_bytes()
    tried: dict[Stretch, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for on, keys, ratios in _told(content, ledger):
        same = on.exchange == stretch.exchange and on.timeframe == stretch.timeframe
        if same and set(on.symbols) & set(stretch.symbols) and on.start < stretch.end and stretch.start < on.end:
            lists = tried.setdefault(on, ([], []))
            lists[0].append(keys)
            lists[1].append(ratios * math.sqrt(on.days / stretch.days))
    found = [_newest(np.concatenate(keys), np.concatenate(ratios)) for keys, ratios in tried.values()]
    return np.concatenate(found) if found else np.zeros(0)


def _told(content: bytes, ledger: Path) -> Iterator[tuple[Stretch, np.ndarray, np.ndarray]]:
    """(candles, keys of the configurations, Sharpe ratios) of every line."""
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            yield _parsed(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if _is_torn(line):
                continue
            raise StoreError(
                f"Line {number} of {ledger} is not a trial. Restore the file, or move it away to start anew."
            ) from error


def _parsed(told: dict[str, Any]) -> tuple[Stretch, np.ndarray, np.ndarray]:
    on = Stretch(told["exchange"], told["timeframe"], tuple(told["symbols"]), told["start"], told["end"])
    if on.days <= 0:
        raise ValueError("what was tried was tried for some time")
    if "configurations" in told:
        keys, ratios = _unpacked(told["configurations"], "<u8"), _unpacked(told["sharpes"], "<f8")
        if len(keys) != len(ratios):
            raise ValueError("of each configuration there is one Sharpe ratio")
        return on, keys, ratios
    sharpe = told["sharpe"]
    return (
        on,
        np.array([_key(told["configuration"])], np.uint64),
        np.array([np.nan if sharpe is None else sharpe], float),
    )


def _newest(keys: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """The last ratio of each key, in the order in which the keys came first."""
    if len(keys) == 1:
        return ratios
    _, first = np.unique(keys, return_index=True)
    _, last = np.unique(keys[::-1], return_index=True)  # sorted by key, as the line above
    return np.asarray(ratios[::-1][last][np.argsort(first)])


def _key(configuration: str) -> int:
    """64 bits of a digest: among ten million configurations two are taken for one with a probability of 3 in a million."""
    return int.from_bytes(hashlib.sha256(configuration.encode()).digest()[:8], "little")


def _packed(values: np.ndarray, kind: str) -> str:
    return b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()


def _unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(b64decode(text, validate=True), dtype=kind)


def _is_torn(line: bytes) -> bool:
    """Whether a line is the beginning of trials that were not written to their end."""
    text = line.rstrip(b"\r\n")
    return text.startswith(b'{"configuration') and not text.endswith(b"}")
