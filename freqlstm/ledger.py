"""The append-only list of every configuration that was ever evaluated, and on which candles.

Whoever tries a thousand configurations finds a good one by luck alone. Counting them is what lets the deflated Sharpe
ratio say how good the best of so many worthless ones would look.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from freqlstm.errors import StoreError


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
    """Append ``trial``; two processes may do so at once."""
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{ledger}.lock"), ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(
            f"The trial could not be added to {ledger}: {error.strerror}. Make the folder writable."
        ) from error


def trials(
    ledger: Path, exchange: str, timeframe: str, symbols: Collection[str], start: str, end: str
) -> dict[str, float | None]:
    """Configuration -> Sharpe ratio of every one that was tried on any of these candles, each counted once."""
    if not ledger.exists():
        return {}
    found = {}
    for number, line in enumerate(ledger.read_text(encoding="utf-8").splitlines(), start=1):
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
