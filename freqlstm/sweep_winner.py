"""The best combination of a sweep, run again in Backtrader and compared with what the sweep said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from freqlstm import stats
from freqlstm.backtest import decisions_for
from freqlstm.engines import backtrader, compiled
from freqlstm.engines.fills import trade_list
from freqlstm.errors import RunError
from freqlstm.sweep import FIGURES, Runner, Sweep, chosen_at

CLOSE = 1e-9  # relative difference of two figures that are the same but for the order of additions
COMPARED = (  # of every trade, as the trade list has them
    "symbol", "side", "status", "decided_at", "entry_time", "exit_time", "size", "entry_price", "exit_price", "entry_reason",
    "exit_reason", "commission", "slippage", "net_pnl", "refused_because",
)  # fmt: skip


@dataclass(frozen=True)
class Winner:
    """The combination with the largest objective, the earliest of equals, and its run in Backtrader."""

    number: int  # of its row in the table of results
    chosen: dict[str, Any]  # its parameters that were swept
    objective: float
    trades: pd.DataFrame
    equity: pd.DataFrame  # columns equity, cash


def best_of(sweep: Sweep, tables: Iterable[pd.DataFrame]) -> tuple[int, pd.Series[Any], dict[str, Any]] | None:
    """(number, row, swept parameters) of the best combination; None if the objective is defined for none."""
    found: tuple[int, pd.Series[Any], dict[str, Any]] | None = None
    best, before = -np.inf, 0
    for table in tables:
        objective = sweep.objective.column(table)
        place = int(np.argmax(np.where(np.isnan(objective), -np.inf, objective)))
        if objective[place] > best:
            best = float(objective[place])
            chosen = chosen_at(sweep, table, place)
            found = (before + place, table.iloc[place], chosen)
        before += len(table)
    return found


def confirmed(
    sweep: Sweep, runner: Runner, tables: Mapping[str, pd.DataFrame], best: tuple[int, pd.Series[Any], dict[str, Any]]
) -> Winner:
    """The best combination as an ordinary backtest trades it in Backtrader; a RunError names the first trade that differs."""
    job, (number, row, chosen) = sweep.job, best
    strategy, traded, parameters = job.strategy.load(), job.traded(), sweep.parameters(chosen)
    given: dict[str, Any] = {
        "predictions": tables, "rules": job.rules, "costs": job.costs, "cash": job.cash, "allow_short": job.allow_short,
    }  # fmt: skip
    ordinary = {symbol: decisions_for(job, strategy, parameters, tables[symbol], symbol) for symbol in traded}
    slow = backtrader.simulate(strategy, parameters, traded, decisions=ordinary, **given)
    fast = compiled.simulate(strategy, parameters, traded, decisions=runner.decisions(parameters), **given)
    lists = [
        trade_list(each.fills, each.refusals, traded, lambda symbol, reason, row: (reason, "", float("nan")))
        for each in (slow, fast)
    ]
    _require_same(*lists)
    equity = slow.equity["equity"]
    told = {**stats.performance(equity, job.cash), "trades": stats.trade_summary(lists[0])["closed"]}
    for name in FIGURES:
        if name in told and not _same(told[name], row[name]):
            raise RunError(
                f"The best combination has {name} {row[name]!r} in the sweep and {told[name]!r} in Backtrader, with the same trades. Please report "
                f"this, with the sweep's run.toml: the engines must agree."
            )
    return Winner(number, chosen, float(sweep.objective.column(row.to_frame().T)[0]), lists[0], slow.equity)


def _require_same(slow: pd.DataFrame, fast: pd.DataFrame) -> None:
    """A RunError at the first difference of two trade lists."""
    advice = (
        "Please report this, with the sweep's run.toml: the engines must agree, and until they do believe Backtrader."
    )
    for number in range(max(len(slow), len(fast))):
        if number >= min(len(slow), len(fast)):
            more, which = (slow, "Backtrader") if len(slow) > len(fast) else (fast, "the compiled engine")
            raise RunError(f"Only {which} made trade {number + 1}: {_shown(more.iloc[number])}. {advice}")
        for column in COMPARED:
            was, is_ = slow[column].iloc[number], fast[column].iloc[number]
            if not _same(was, is_):
                raise RunError(
                    f"Trade {number + 1} ({_shown(slow.iloc[number])}) has {column} {was} in Backtrader and {is_} in the compiled engine. {advice}"
                )


def _same(a: Any, b: Any) -> bool:
    if a is None or pd.isna(a) or b is None or pd.isna(b):
        return (a is None or pd.isna(a)) and (b is None or pd.isna(b))
    if isinstance(a, (int, float, np.number)):
        return bool(abs(float(a) - float(b)) <= CLOSE * max(1.0, abs(float(a))))
    return bool(a == b)


def _shown(trade: pd.Series[Any]) -> str:
    return f"{trade['symbol']} {trade['side']} {trade['status']}, decided {trade['decided_at']:%Y-%m-%d %H:%M} UTC"
