"""The append-only list of every configuration that was ever evaluated, and on which candles.

Whoever tries a thousand configurations finds a good one by luck alone. Counting them is what lets the deflated Sharpe
ratio say how good the best of so many worthless ones would look.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from freqlstm.errors import StoreError
from freqlstm.files import explained, make_folder


@dataclass(frozen=True)
class Trial:
    """One configuration on one stretch of candles. Times are ISO 8601, UTC; they compare as text."""

    configuration: str  # digest of strategy, parameters, signals, folds, costs and seed
    exchange: str
    timeframe: str
    symbols: tuple[str, ...]
    start: str
    end: str
    sharpe: float | None  # annual, of daily returns


def record(ledger: Path, trial: Trial) -> None:
    """Append ``trial``; two processes may do so at once, and one that cannot be written leaves nothing behind."""
    line = json.dumps(asdict(trial)) + "\n"
    with explained(ledger):
        make_folder(ledger.parent)
    try:
        with _lock(ledger):
            size = ledger.stat().st_size if ledger.exists() else 0
            try:
                whole = not size or ledger.read_bytes().endswith(b"\n")  # a power cut may have torn the last line
                with ledger.open("ab") as file:
                    file.write((line if whole else f"\n{line}").encode())
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


def trials(
    ledger: Path, exchange: str, timeframe: str, symbols: Collection[str], start: str, end: str
) -> list[float | None]:
    """The Sharpe ratio of every trial on any of these candles; one that was repeated exactly counts once.

    The same configuration on another time range or on other symbols is another trial: choosing among those is luck too.
    A last line that a power cut tore off is left out.
    """
    if not ledger.exists():
        return []
    with _lock(ledger):
        lines = ledger.read_bytes().splitlines(keepends=True)
    found: dict[Trial, float | None] = {}
    for number, line in enumerate(lines, start=1):
        try:
            told = json.loads(line)
            trial = Trial(**{**told, "symbols": tuple(told["symbols"])})
        except (ValueError, TypeError, KeyError) as error:
            if _is_torn(line):
                continue
            raise StoreError(
                f"Line {number} of {ledger} is not a trial. Restore the file, or move it away to start anew."
            ) from error
        same = trial.exchange == exchange and trial.timeframe == timeframe and set(trial.symbols) & set(symbols)
        if same and trial.start < end and start < trial.end:
            found[replace(trial, sharpe=None)] = trial.sharpe
    return list(found.values())


def _is_torn(line: bytes) -> bool:
    """Whether a line is the beginning of a trial that was not written to its end."""
    text = line.rstrip(b"\r\n")
    return text.startswith(b'{"configuration"') and not text.endswith(b"}")
