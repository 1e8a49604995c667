"""The folders of a user's project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Project:
    """The folders of a user's project."""

    root: Path

    @property
    def data(self) -> Path:
        """Candles: EXCHANGE/BTC-USDT/1m/2021-01.parquet."""
        return self.root / "data"

    @property
    def models(self) -> Path:
        """Fitted signals: SIGNAL/MODEL_ID/."""
        return self.root / "models"

    @property
    def strategies(self) -> Path:
        return self.root / "strategies"

    @property
    def signals(self) -> Path:
        return self.root / "signals"

    @property
    def backtests(self) -> Path:
        """Run files."""
        return self.root / "backtests"

    @property
    def results(self) -> Path:
        """What runs left: RUN_ID/."""
        return self.backtests / "results"

    @property
    def paper(self) -> Path:
        """Sessions of paper trading: NAME/."""
        return self.root / "paper"

    @property
    def ledger(self) -> Path:
        """The append-only list of every configuration that was evaluated."""
        return self.backtests / "ledger.jsonl"
