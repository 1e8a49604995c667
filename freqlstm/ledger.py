"""The append-only list of every configuration that was ever evaluated, and on which candles.

Whoever tries a thousand configurations finds a good one by luck alone. Counting them is what lets the deflated Sharpe
ratio say how good the best of so many worthless ones would look.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
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
                with ledger.open("ab") as file:
                    file.write(line.encode())
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
) -> dict[str, float | None]:
    """Configuration -> Sharpe ratio of every one that was tried on any of these candles, each counted once."""
    if not ledger.exists():
        return {}
    with _lock(ledger):
        lines = ledger.read_bytes().splitlines()
    found = {}
    for number, line in enumerate(lines, start=1):
        try:
            trial = Trial(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"Line {number} of {ledger} is not a trial. Restore the file, or move it away to start anew."
            ) from error
        same = trial.exchange == exchange and trial.timeframe == timeframe and set(trial.symbols) & set(symbols)
        if same and trial.start < end and start < trial.end:
            found[trial.configuration] = trial.sharpe
    return found
