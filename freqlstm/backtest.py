"""One run: predictions, decisions, fills, and what they must beat."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm import ledger, stats
from freqlstm.bars import ENDINGS, Bars
from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.engines.choice import engine
from freqlstm.engines.fills import Explain, Simulation, trade_list
from freqlstm.errors import NoCandles, PluginError
from freqlstm.job import Job
from freqlstm.manifest import manifest
from freqlstm.predictions import Predictions, walk_forward
from freqlstm.progress import Progress, silent
from freqlstm.results import Result, main_prediction
from freqlstm.skill import forecast_skill
from freqlstm.strategy import Decisions, check_parameters, decide, history_needed, overrides_next

SILENT_SHARE = 0.01  # of the bars, at the start of a run, that may lack a prediction without a word about it


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
    warn: list[str] | None = None,
) -> Result:
    """Run ``job``; models and predictions are kept in the folder ``models``, the trial is added to the ledger ``trials``.

    What a person should know before believing the result is added to ``warn`` and to the manifest.
    """
    warnings = [] if warn is None else warn
    clock = time.perf_counter()
    traded = job.traded()
    for symbol, candles in traded.items():
        if not len(candles):
            raise NoCandles(f"There are no candles of {symbol} between {job.start} and {job.end}. Leave the pair out.")
    strategy = job.strategy.load()
    parameters = check_parameters(strategy, job.parameters)
    forecasts = forecasts_of(job, models, cache=cache, jobs=jobs, progress=progress)
    predicted = time.perf_counter()
    tables = prediction_tables(job, forecasts)
    warnings += silences(job, tables)
    history: dict[str, int] = {}
    simulate = engine(job.engine, progress)

    def run(without: frozenset[str]) -> tuple[Simulation, dict[str, Decisions]]:
        decisions = {}
        if not overrides_next(strategy):
            from freqlstm.compiling import announced

            progress(0, 1, "deciding")
            with announced(progress, "indicators"):
                for symbol in traded:
                    decisions[symbol] = decisions_for(job, strategy, parameters, tables[symbol], symbol, without)
                    history[symbol] = max(history.get(symbol, 0), decisions[symbol].offset)
        progress(0, 1, "trading")
        outcome = simulate(
            strategy, dict(job.parameters), traded, predictions=tables, decisions=decisions, rules=job.rules,
            costs=job.costs, cash=job.cash, allow_short=job.allow_short,
        )  # fmt: skip
        return outcome, decisions

    outcome, decisions = run(frozenset())
    simulated = time.perf_counter()
    trades = trade_list(outcome.fills, outcome.refusals, traded, explained_by(decisions, tables))
    equity = outcome.equity.assign(buy_and_hold=buy_and_hold(traded, outcome.equity.index, job.cash, job.costs))
    without_signal = None
    if job.signals and decisions:
        try:
            plain, plain_decisions = run(frozenset(str(column) for table in tables.values() for column in table))
            if all(set(plain_decisions[symbol].columns) == set(decisions[symbol].columns) for symbol in decisions):
                without_signal = _without_signal(plain, traded, job.cash)
            else:
                warnings.append(
                    "The rules are not compared with the same rules without the signal: a condition is made of predictions alone."
                )
        except PluginError as error:
            warnings.append(f"The rules are not compared with the same rules without the signal: {error}")
    figures: dict[str, Any] = {
        "performance": stats.performance(equity["equity"], job.cash),
        "trades": stats.trade_summary(trades),
        "costs": stats.cost_summary(trades),
        "beats": {
            "buy_and_hold": stats.performance(equity["buy_and_hold"], job.cash),
            "rules_without_signal": without_signal,
            "random_entries": stats.random_entries(
                trades, traded, job.cash, job.costs.commission, job.costs.slippage, seed=job.seed
            ),
        },
        "skill": {symbol: skill_of(forecasts, candles) for symbol, candles in traded.items()},
    }
    figures["luck"] = luck(job, trials, equity["equity"], figures["performance"]["sharpe"])
    seconds = {"predictions": predicted - clock, "trading": simulated - predicted, "all": time.perf_counter() - clock}
    return Result(
        run_id=run_id, config=dict(config), manifest={**manifest(job, forecasts, history, seconds), "warnings": list(warnings)},
        market=traded, predictions=tables, trades=trades, equity=equity, stats=figures,
    )  # fmt: skip


def forecasts_of(
    job: Job, models: Path, *, cache: bool = True, jobs: int = 0, progress: Progress = silent
) -> dict[str, Predictions]:
    """The walk-forward predictions of every signal, by its name in the strategy."""
    return {
        name: walk_forward(
            use.plugin, use.seeded(job.seed), dict(job.market), job.start, job.end, job.folds, models,
            cache=cache, jobs=jobs, progress=progress,
        )
        for name, use in job.signals.items()
    }  # fmt: skip


def prediction_tables(job: Job, forecasts: Mapping[str, Predictions]) -> dict[str, pd.DataFrame]:
    """The predictions of the traded range of each symbol, a column for each name in the strategy."""
    return {symbol: _columns(forecasts, symbol, candles) for symbol, candles in job.traded().items()}


def silences(job: Job, predictions: Mapping[str, pd.DataFrame]) -> list[str]:
    """A sentence for every signal that says nothing over the first bars of a symbol's time range."""
    said = []
    for symbol, table in predictions.items():
        for name, use in job.signals.items():
            speaks = table[name].notna().to_numpy()
            quiet = int(speaks.argmax()) if speaks.any() else len(speaks)
            if quiet > SILENT_SHARE * len(speaks):
                until = f"before {table.index[quiet]:%Y-%m-%d %H:%M} UTC" if speaks.any() else "at all"
                said.append(
                    f"{use.plugin.name} says nothing of {symbol} {until}, which is {quiet / len(speaks):.0%} of the bars: it had "
                    f"too few candles to be fitted on or to warm up. The figures include those idle bars."
                )
    return said


def explained_by(decisions: Mapping[str, Decisions], predictions: Mapping[str, pd.DataFrame]) -> Explain:
    """What the trade list says of a decision: the comparisons that were true, the points of a vote, the prediction."""

    def explain(symbol: str, reason: str, row: int) -> tuple[str, str, float]:
        column = main_prediction(predictions[symbol])
        prediction = float("nan") if column is None else float(column.iloc[row])
        if symbol not in decisions:
            return reason, "", prediction
        fired = decisions[symbol].fired(reason, row)
        return (f"{reason}: {fired}" if fired else reason), decisions[symbol].votes(reason, row), prediction

    return explain


def skill_of(forecasts: Mapping[str, Predictions], candles: Candles) -> dict[str, Any]:
    """The forecast skill of every signal on one symbol, by its name in the strategy."""
    return {
        name: forecast_skill(
            forecast.table[candles.symbol],
            candles,
            forecast.description.horizon,
            forecast.description.target,
            forecast.description.parameters.get("interval"),
        )
        for name, forecast in forecasts.items()
    }


def _without_signal(plain: Simulation, traded: Mapping[str, Candles], cash: float) -> dict[str, Any]:
    trades = trade_list(plain.fills, plain.refusals, traded, lambda symbol, reason, row: (reason, "", float("nan")))
    return {
        **stats.performance(plain.equity["equity"], cash),
        "closed_trades": stats.trade_summary(trades)["closed"],
    }


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
        for ending in ENDINGS:
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
    ledger.record(trials, ledger.Trial(job.digest(), **vars(job.stretch), sharpe=sharpe))
    tried = ledger.trials(trials, job.stretch)
    returns = stats.daily_returns(equity, job.cash)
    low, high = stats.sharpe_interval(returns, seed=job.seed)
    return {
        "configurations_tried": len(tried),
        "deflated_sharpe": stats.deflated_sharpe(returns, np.nan_to_num(tried)),
        "sharpe_low": low,
        "sharpe_high": high,
    }
