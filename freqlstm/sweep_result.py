"""What a sweep leaves behind: a row for each combination, the best one, and what luck alone would have found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm import ledger, stats
from freqlstm.errors import RunError
from freqlstm.files import atomic_folder, write_json, write_text
from freqlstm.results import to_toml
from freqlstm.store import write_tables
from freqlstm.sweep import Sweep
from freqlstm.sweep_survey import Survey
from freqlstm.sweep_walk import Walk
from freqlstm.sweep_winner import Winner

SURE = 0.95  # probability beyond which a Sharpe ratio is called more than luck


@dataclass(frozen=True, eq=False)
class SweepResult:
    """One sweep. ``figures`` is what sweep.json holds; ``tables`` gives the rows of sweep.parquet, piece by piece."""

    run_id: str
    config: dict[str, Any]
    best_config: dict[str, Any] | None  # the run file of a backtest with the best parameters; None: there is no best
    manifest: dict[str, Any]
    figures: dict[str, Any]
    survey: Survey
    winner: Winner | None
    walk: Walk | None
    held: pd.Series[float]  # buy and hold
    tables: Callable[[], Iterable[pd.DataFrame]]

    @property
    def synthetic(self) -> bool:
        """True if any candle came from the demo market: whatever shows this result must say so."""
        return bool(self.manifest["synthetic"])

    def save(self, folder: Path, page: Callable[[SweepResult], str]) -> None:
        """Write the run folder with its page, at once or not at all."""
        with atomic_folder(folder) as target:
            write_text(target / "run.toml", to_toml(self.config))
            if self.best_config is not None:
                write_text(target / "best.toml", to_toml(self.best_config))
            write_json(target / "manifest.json", {"run_id": self.run_id, **self.manifest})
            write_json(target / "sweep.json", self.figures)
            write_tables(target / "sweep.parquet", self.tables())
            write_text(target / "sweep.html", page(self))


def saved(result: SweepResult, results: Path, page: Callable[[SweepResult], str]) -> tuple[SweepResult, Path]:
    """Save under a name that no other run has; the result as it was saved, and its folder."""
    for number in range(1, 1000):
        named = replace(result, run_id=result.run_id if number == 1 else f"{result.run_id}-{number}")
        folder = results / named.run_id
        if not folder.exists():
            named.save(folder, page)
            return named, folder
    raise RunError(f"{results} holds a thousand runs of this second. Clean it up.")


def luck_of(sweep: Sweep, trials: Path, equity: pd.Series[float]) -> dict[str, Any]:
    """How much of the best Sharpe ratio chance explains, given all trials on these candles; the sweep's are among them."""
    tried = np.nan_to_num(ledger.trials(trials, sweep.job.stretch))
    returns = stats.daily_returns(equity, sweep.job.cash)
    low, high = stats.sharpe_interval(returns, seed=sweep.job.seed)
    return {
        "configurations_tried": len(tried),
        "sharpe": stats.sharpe_ratio(returns),
        "luckiest_sharpe": stats.luckiest_of(tried, len(returns)),
        "deflated_sharpe": stats.deflated_sharpe(returns, tried),
        "sharpe_low": low,
        "sharpe_high": high,
    }


def verdict(luck: dict[str, Any], total_return: float) -> str:
    """In words: whether the best is more than the luckiest of so many."""
    tried, sharpe, deflated = luck["configurations_tried"], luck["sharpe"], luck["deflated_sharpe"]
    many = f"the best of {tried:,} trials on these candles"
    if sharpe is None or deflated is None:
        return f"No discovery: {many} has no Sharpe ratio, so nothing tells it from luck."
    best = f"{many} has a Sharpe ratio of {sharpe:.2f}, and the luckiest of as many worthless ones would have about {luck['luckiest_sharpe']:.2f}"
    if total_return <= 0:
        return f"No discovery: even the best loses. {many[0].upper()}{many[1:]} returns {total_return:+.2%}."
    if deflated > SURE:
        return f"More than luck: {best}. That it is better than luck has a probability of {deflated:.1%}; whether it lasts, only other candles tell."
    return f"No discovery: {best}. That it is better than luck has a probability of {deflated:.1%}, and {SURE:.0%} is asked for."
