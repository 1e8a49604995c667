"""One run: predictions, decisions, fills, and what they must beat."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm import ledger, quality, stats
from freqlstm.bars import Bars
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines.backtrader import Simulation, simulate
from freqlstm.engines.fills import trade_list
from freqlstm.errors import NoCandles, PluginError
from freqlstm.files import jsonable
from freqlstm.folds import FoldPlan
from freqlstm.plugins import Plugin
from freqlstm.predictions import Predictions, walk_forward
from freqlstm.progress import Progress, silent
from freqlstm.results import Result
from freqlstm.skill import forecast_skill
from freqlstm.strategy import Decisions, check_parameters, decide, history_needed, overrides_next

NAN = float("nan")
PACKAGES = (
    "freqlstm", "backtrader", "tensorflow", "keras", "numpy", "pandas", "pyarrow", "pandas-ta-classic", "quantstats",
)  # fmt: skip


@dataclass(frozen=True)
class SignalUse:
    """The signal that fills one column of bars, and its parameters where they are not the default."""

    plugin: Plugin
    parameters: Mapping[str, Any]

    def seeded(self, seed: int) -> dict[str, Any]:
        """The parameters with the seed of the run, unless the signal is given one of its own."""
        return {"seed": seed, **self.parameters}


@dataclass(frozen=True)
class Job:
    """Everything that decides the result of a run. Times are open times of candles, UTC; ``end`` is not included."""

    strategy: Plugin
    parameters: Mapping[str, Any]
    signals: Mapping[str, SignalUse]
    market: Mapping[str, Candles]  # with the candles before ``start`` that training and indicators need
    start: pd.Timestamp
    end: pd.Timestamp
    folds: FoldPlan
    rules: Mapping[str, MarketRules]
    costs: Costs
    cash: float  # quote asset
    seed: int
    allow_short: bool = False

    def digest(self) -> str:
        """SHA-256 of everything but the candles: what the trials ledger counts."""
        told = {
            "strategy": self.strategy.digest,
            "parameters": dict(self.parameters),
            "signals": {name: [use.plugin.digest, dict(use.parameters)] for name, use in self.signals.items()},
            "folds": asdict(self.folds), "costs": asdict(self.costs), "cash": self.cash, "seed": self.seed,
            "rules": {symbol: asdict(rules) for symbol, rules in self.rules.items()}, "allow_short": self.allow_short,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(jsonable(told), sort_keys=True).encode()).hexdigest()


def backtest(
    job: Job,
    models: Path,
    trials: Path,
    *,
    run_id: str,
    config: Mapping[str, Any],
    jobs: int = 0,
    cache: bool = True,
    progress: Progress = silent,
) -> Result:
    """Run ``job``; models and predictions are kept in the folder ``models``, the trial is added to the ledger ``trials``."""
    clock = time.perf_counter()
    traded = {symbol: candles.between(job.start, job.end) for symbol, candles in job.market.items()}
    for symbol, candles in traded.items():
        if not len(candles):
            raise NoCandles(f"There are no candles of {symbol} between {job.start} and {job.end}. Leave the pair out.")
    strategy = job.strategy.load()
    parameters = check_parameters(strategy, job.parameters)
    forecasts = {
        name: walk_forward(
            use.plugin, use.seeded(job.seed), dict(job.market), job.start, job.end, job.folds, models,
            cache=cache, jobs=jobs, progress=progress,
        )
        for name, use in job.signals.items()
    }  # fmt: skip
    predicted = time.perf_counter()
    tables = {symbol: _columns(forecasts, symbol, candles) for symbol, candles in traded.items()}

    def run(without: frozenset[str]) -> tuple[Simulation, dict[str, Decisions]]:
        decisions = {}
        if not overrides_next(strategy):
            progress(0, 1, "deciding")
            decisions = {
                symbol: decisions_for(job, strategy, parameters, tables[symbol], symbol, without) for symbol in traded
            }
        progress(0, 1, "trading")
        outcome = simulate(
            strategy, dict(job.parameters), traded, predictions=tables, decisions=decisions, rules=job.rules,
            costs=job.costs, cash=job.cash, allow_short=job.allow_short,
        )  # fmt: skip
        return outcome, decisions

    outcome, decisions = run(frozenset())
    simulated = time.perf_counter()

    def explain(symbol: str, reason: str, row: int) -> tuple[str, str, float]:
        table = tables[symbol]
        prediction = float(table["prediction"].iloc[row]) if "prediction" in table else NAN
        if symbol not in decisions:
            return reason, "", prediction
        fired = decisions[symbol].fired(reason, row)
        return (f"{reason}: {fired}" if fired else reason), decisions[symbol].votes(reason, row), prediction

    trades = trade_list(outcome.fills, outcome.refusals, traded, explain)
    equity = outcome.equity.assign(buy_and_hold=buy_and_hold(traded, outcome.equity.index, job.cash, job.costs))
    figures: dict[str, Any] = {
        "performance": stats.performance(equity["equity"], job.cash),
        "trades": stats.trade_summary(trades),
        "costs": stats.cost_summary(trades),
        "beats": {
            "buy_and_hold": stats.performance(equity["buy_and_hold"], job.cash),
            "rules_without_signal": None,
            "random_entries": stats.random_entries(
                trades, traded, job.cash, job.costs.commission, job.costs.slippage, seed=job.seed
            ),
        },
        "skill": {
            symbol: {
                name: forecast_skill(
                    forecast.table[symbol]["prediction"],
                    candles,
                    forecast.description.horizon,
                    forecast.description.target,
                )
                for name, forecast in forecasts.items()
            }
            for symbol, candles in traded.items()
        },
    }
    if job.signals and decisions:
        with suppress(PluginError):  # conditions that cannot do without the signal have nothing to be compared with
            plain, _ = run(frozenset(str(column) for table in tables.values() for column in table))
            unexplained = trade_list(plain.fills, plain.refusals, traded, lambda symbol, reason, row: (reason, "", NAN))
            figures["beats"]["rules_without_signal"] = {
                **stats.performance(plain.equity["equity"], job.cash),
                "closed_trades": stats.trade_summary(unexplained)["closed"],
            }
    figures["luck"] = luck(job, trials, equity["equity"], figures["performance"]["sharpe"])
    seconds = {"predictions": predicted - clock, "trading": simulated - predicted, "all": time.perf_counter() - clock}
    return Result(
        run_id=run_id, config=dict(config), manifest=manifest(job, forecasts, seconds), market=traded,
        predictions=tables, trades=trades, equity=equity, stats=figures,
    )  # fmt: skip


def decisions_for(
    job: Job, strategy: Any, parameters: Mapping[str, Any], predictions: pd.DataFrame, symbol: str,
    without: frozenset[str] = frozenset(),
) -> Decisions:  # fmt: skip
    """The conditions of ``strategy`` on the traded range of one symbol, with the history before it that they need."""
    candles = job.market[symbol]
    first = int(candles.time.searchsorted(job.start))
    last = int(candles.time.searchsorted(job.end))
    few = candles.rows(first, min(first + 50, last))
    history = min(first, history_needed(strategy, parameters, Bars(few, predictions.iloc[: len(few)], without)))
    whole = candles.rows(first - history, last)
    bars = Bars(whole, predictions.reindex(whole.time), without)
    return decide(strategy, parameters, bars).since(history)


def _columns(forecasts: Mapping[str, Predictions], symbol: str, candles: Candles) -> pd.DataFrame:
    """The predictions of all signals for one symbol, each under its name in the strategy, indexed like the candles.

    Every symbol has the same columns: an interval that the signal gives for one of them is NaN for the others.
    """
    columns = {}
    for name, forecast in forecasts.items():
        for ending in ("", "_low", "_high"):
            if not ending or any(table[f"prediction{ending}"].notna().any() for table in forecast.table.values()):
                columns[f"{name}{ending}"] = forecast.table[symbol][f"prediction{ending}"].reindex(candles.time)
    return pd.DataFrame(columns, index=candles.time)


def buy_and_hold(market: Mapping[str, Candles], times: pd.Index, cash: float, costs: Costs) -> pd.Series[float]:
    """What ``cash`` becomes when an equal share buys each symbol at its second open and keeps it; at each bar's close."""
    value = pd.Series(0.0, index=times)
    for candles in market.values():
        share = cash / len(market)
        if len(candles) < 2:
            value += share
            continue
        price = candles.open.iloc[1] * (1 + costs.slippage)
        size = share / (price * (1 + costs.commission))
        worth = (size * candles.close.iloc[1:]).reindex(times).ffill()
        value += worth.fillna(share)
    return value


def luck(job: Job, trials: Path, equity: pd.Series[float], sharpe: float | None) -> dict[str, Any]:
    """How much of the Sharpe ratio chance explains: its interval, the trials so far, and what they leave of it."""
    first = next(iter(job.market.values()))
    start, end = job.start.isoformat(), job.end.isoformat()
    ledger.record(
        trials,
        ledger.Trial(job.digest(), first.exchange, first.timeframe, tuple(sorted(job.market)), start, end, sharpe),
    )
    tried = ledger.trials(trials, first.exchange, first.timeframe, list(job.market), start, end)
    returns = stats.daily_returns(equity, job.cash)
    low, high = stats.sharpe_interval(returns, seed=job.seed)
    known = [value for value in tried.values() if value is not None]
    return {
        "configurations_tried": len(tried),
        "deflated_sharpe": stats.deflated_sharpe(returns, known),
        "sharpe_low": low,
        "sharpe_high": high,
    }


def manifest(job: Job, forecasts: Mapping[str, Predictions], seconds: Mapping[str, float]) -> dict[str, Any]:
    """What is needed to judge and to repeat the run."""
    used = {symbol: _used(job, forecasts, candles) for symbol, candles in job.market.items()}
    plugins = [job.strategy, *(use.plugin for use in job.signals.values())]
    return {
        "synthetic": any(candles.synthetic for candles in used.values()),
        "start": job.start.isoformat(),
        "end": job.end.isoformat(),
        "plugins": [
            {"kind": plugin.kind, "name": plugin.name, "origin": plugin.origin, "file": plugin.path.name, "sha256": plugin.digest}
            for plugin in plugins
        ],
        "candles": {
            symbol: {
                "exchange": candles.exchange, "timeframe": candles.timeframe, "rows": len(candles),
                "first": candles.time[0].isoformat(), "last": candles.time[-1].isoformat(), "sha256": candles.digest,
            }
            for symbol, candles in used.items()
        },
        "quality": {symbol: quality.report(candles.frame, symbol, candles.timeframe).as_dict() for symbol, candles in used.items()},
        "market_rules": {symbol: asdict(rules) for symbol, rules in job.rules.items()},
        "signals": {name: {"fingerprint": forecast.fingerprint, "folds": forecast.folds} for name, forecast in forecasts.items()},
        "seed": job.seed,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "platform": f"{platform.system()} {platform.machine()}",
        "byte_order": sys.byteorder,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }  # fmt: skip


def _used(job: Job, forecasts: Mapping[str, Predictions], candles: Candles) -> Candles:
    """The candles that training, history and trading could have seen."""
    spans = [fold["train_start"] for forecast in forecasts.values() for fold in forecast.folds if "train_start" in fold]
    first = min([job.start, *(pd.Timestamp(span) for span in spans)])
    return candles.between(first, job.end)
