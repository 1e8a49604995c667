"""The run file of a sweep, and what it does.

It is the run file of a backtest with three more things: the table ``[sweep]`` with the parameters that vary, the
objective, and ``[walk]`` for a walk-forward of the parameters. The resolved file is written beside the result, and
running it gives the same result.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm import ledger, provenance, stats
from freqlstm.backtest import buy_and_hold, forecasts_of, prediction_tables, silences
from freqlstm.compiling import announced
from freqlstm.engines.choice import require_conditions_alone
from freqlstm.errors import UnknownName, UsageError
from freqlstm.folds import duration
from freqlstm.jobs import cores
from freqlstm.manifest import manifest, versions
from freqlstm.plugins import find
from freqlstm.progress import Progress, silent
from freqlstm.run import Run, prepare, resolved, run_values
from freqlstm.runfile import checked_keys, read_toml
from freqlstm.selection import Warn
from freqlstm.store import Project
from freqlstm.strategy import check_parameters
from freqlstm.sweep import (
    CHUNK,
    FASTEST,
    OBJECTIVES,
    Objective,
    Proposals,
    Runner,
    Sweep,
    WholeGrid,
    outlook,
    require_days,
    run,
)
from freqlstm.sweep_parts import Parts
from freqlstm.sweep_result import SweepResult, luck_of, verdict
from freqlstm.sweep_search import AT_ONCE, Searches
from freqlstm.sweep_space import Grid, grid_of
from freqlstm.sweep_survey import Survey, survey
from freqlstm.sweep_walk import Walk, WalkPlan, choices, walk
from freqlstm.sweep_winner import Winner, best_of, confirmed

MOST_TRIALS = 100_000
ANNUAL = ("cagr", "calmar")  # figures that a short time has not


@dataclass(frozen=True, kw_only=True)
class SweepRun(Run):
    """The recipe of one sweep."""

    sweep: Mapping[str, Any] = field(default_factory=dict)  # parameter -> "from:to:count" or a list of values
    objective: str = "sharpe"
    trials: int = (
        0  # combinations that a search proposes, for each span of a walk-forward anew; 0, or as many as there are: all
    )
    walk: WalkPlan = field(default_factory=WalkPlan)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise UnknownName("objective", self.objective, OBJECTIVES)
        if not 0 <= self.trials <= MOST_TRIALS:
            raise UsageError(
                f"trials is {self.trials}. It must be between 1 and {MOST_TRIALS:,}, or 0 for the whole grid."
            )
        if bool(self.walk.train) != bool(self.walk.test):
            raise UsageError(
                "A walk-forward of parameters needs both spans: --train 90d --test 30d chooses on 90 days and trades the next 30."
            )


def read_sweep_run(path: Path) -> dict[str, Any]:
    """The tables and keys of a sweep's run file; the file of a backtest is one without [sweep]."""
    return read_toml(path, "name a strategy with --strategy")


def sweep_run_of(content: Mapping[str, Any], where: str) -> SweepRun:
    """A sweep from the tables and keys of its run file; ``where`` names it in messages."""
    values = run_values(SweepRun, content, where)
    if "walk" in values:
        values["walk"] = WalkPlan(**checked_keys(WalkPlan, values["walk"], f"[walk] of {where}"))
    return SweepRun(**values)


def run_sweep(
    asked: SweepRun,
    project: Project,
    *,
    jobs: int = 0,
    cache: bool = True,
    progress: Progress = silent,
    warn: Warn | None = None,
) -> tuple[SweepResult, Parts]:
    """The result of a sweep, not saved yet, and its parts, which may be removed once it is.

    ``jobs`` threads work at once, 0 for one a core; their number changes nothing in the result.
    """
    warnings: Warn = [] if warn is None else warn
    clock, workers = time.perf_counter(), jobs or cores()
    grid = _grid(asked, project)
    searched = 0 < asked.trials < grid.count
    if not searched:
        require_days(grid.count, FASTEST, workers)
    job = prepare(asked, project, warnings, jobs=jobs, cache=cache)
    spans = asked.walk.spans(job.start, job.end)
    _require_defined(asked, job.start, job.end)
    forecasts = forecasts_of(job, project.models, cache=cache, jobs=jobs, progress=progress)
    tables = prediction_tables(job, forecasts)
    warnings += silences(job, tables)
    predicted = time.perf_counter()
    progress(0, 1, "making the candles ready")
    sweep = Sweep(job, grid, Objective(asked.objective), spans)
    with announced(progress, "indicators"):
        ahead = outlook(sweep, tables)
    sweep = replace(sweep, grid=ahead.grid)
    proposals: Proposals = Searches(sweep, asked.trials, asked.seed) if searched else WholeGrid(sweep.grid)
    runner = Runner(sweep, tables, ahead.history)
    made_of = {name: forecast.fingerprint for name, forecast in forecasts.items()}
    parts = Parts(project.results / f".sweep-{_fingerprint(sweep, asked, made_of)[:16]}")
    with parts.opened():
        with announced(progress, "the engine"):
            run(sweep, runner, proposals, parts, project.ledger, workers, progress)
        swept = time.perf_counter()
        progress(0, 1, "comparing the best with Backtrader")
        found = best_of(sweep, parts)
        winner = None if found is None else confirmed(sweep, runner, tables, found)
        walked = None
        if spans:
            walked = walk(sweep, runner, choices(sweep, proposals, parts), None if winner is None else winner.chosen)
            _count(sweep, walked, project.ledger)
        shape = survey(sweep, lambda: parts)
    traded = job.traded()
    held = buy_and_hold(traded, runner.tape.times, job.cash, job.costs)
    figures = _figures(sweep, shape, held, winner, walked, project.ledger)
    seconds = {"predictions": predicted - clock, "sweep": swept - predicted, "all": time.perf_counter() - clock}
    moment = datetime.now(UTC)
    whole = resolved(asked, job)
    assert isinstance(whole, SweepRun)
    kept = {name: value for name, value in whole.parameters.items() if name not in grid.axes}
    config = replace(whole, parameters=kept, sweep=grid.as_dict()).as_dict()
    result = SweepResult(
        run_id=f"{moment:%Y%m%d-%H%M%S}-sweep-{job.strategy.name}-{secrets.token_hex(3)}",
        config={name: value for name, value in config.items() if name != "walk" or asked.walk},
        best_config=None if winner is None else _best_config(whole, winner.chosen),
        manifest={**manifest(job, forecasts, dict.fromkeys(traded, ahead.history), seconds), "warnings": list(warnings)},
        figures=figures, survey=shape, winner=winner, walk=walked, held=held, tables=lambda: parts,
    )  # fmt: skip
    return result, parts


def _grid(asked: SweepRun, project: Project) -> Grid:
    """The grid, or an error for a strategy or parameters that cannot be swept."""
    plugin = find("strategy", asked.strategy, project.root)
    kind = plugin.load()
    require_conditions_alone(kind, "A sweep needs that engine: run this one with `freqlstm backtest`.")
    check_parameters(kind, asked.parameters)
    for name in asked.sweep:
        if name in asked.parameters:
            raise UsageError(f"{name!r} has one value in [parameters] and several in [sweep]. Leave one of them out.")
    return grid_of(kind, asked.sweep)


def _require_defined(asked: SweepRun, start: pd.Timestamp, end: pd.Timestamp) -> None:
    """A UsageError if the objective cannot be had of so short a time."""
    shortest = min(end - start, duration(asked.walk.train)) if asked.walk else end - start
    last = start + shortest - pd.Timedelta(nanoseconds=1)
    if asked.objective in ("sharpe", "sortino") and last.floor("D") == start.floor("D"):
        raise UsageError(
            f"The {asked.objective} of one day is not defined: it needs the returns of two. Choose a longer time, or another --objective."
        )
    if OBJECTIVES[asked.objective][0] in ANNUAL and shortest < pd.Timedelta(days=stats.SHORTEST_YEAR):
        raise UsageError(
            f"The {asked.objective} of {shortest / pd.Timedelta(days=1):.3g} days is not defined: an annual return needs {stats.SHORTEST_YEAR}. Choose a longer "
            f"time, or another --objective."
        )


def _fingerprint(sweep: Sweep, asked: SweepRun, predictions: Mapping[str, str]) -> str:
    """Everything that decides the rows of the results and their order."""
    job = sweep.job
    return provenance.fingerprint(
        {
            "job": job.digest(),
            "source": provenance.source_digest(Path(__file__)),
            "candles": {symbol: candles.digest for symbol, candles in job.market.items()},
            "range": [job.start, job.end],
            "predictions": dict(predictions),
            "grid": [[name, each] for name, each in sweep.grid.as_dict().items()],
            "objective": asked.objective,
            "trials": asked.trials,
            "spans": [vars(span) for span in sweep.spans],
            "chunks": [CHUNK, AT_ONCE],
            "versions": {**versions(), **provenance.library_versions(Path(__file__))},
        }
    )


def _count(sweep: Sweep, walked: Walk, trials: Path) -> None:
    """The walk-forward is a trial of its own: choosing its spans well is luck too."""
    spans = [vars(span) for span in sweep.spans]
    what = provenance.fingerprint(["walk", sweep.job.digest(), sweep.grid.as_dict(), sweep.objective.name, spans])
    sharpe = stats.sharpe_ratio(stats.daily_returns(walked.equity["equity"], sweep.job.cash))
    on = {**vars(sweep.job.stretch), "start": sweep.spans[0].test_start.isoformat()}
    ledger.record(trials, ledger.Trial(what, **on, sharpe=sharpe))


def _figures(
    sweep: Sweep, shape: Survey, held: pd.Series[float], winner: Winner | None, walked: Walk | None, trials: Path
) -> dict[str, Any]:
    """What sweep.json holds."""
    figures: dict[str, Any] = {
        "objective": sweep.objective.name, "combinations": sweep.grid.count, "rows": shape.count, "defined": shape.defined,
        "matters": shape.matters, "best": None, "luck": None, "beats": {"buy_and_hold": stats.performance(held, sweep.job.cash)}, "walk": None,
        "verdict": f"No discovery: of none of {shape.count:,} combinations is the {sweep.objective.name} defined, most likely because none traded.",
    }  # fmt: skip
    if winner is not None:
        performance = stats.performance(winner.equity["equity"], sweep.job.cash)
        figures["best"] = {
            "row": winner.number, "parameters": winner.chosen, "objective": winner.objective, "performance": performance,
            "trades": stats.trade_summary(winner.trades), "costs": stats.cost_summary(winner.trades),
        }  # fmt: skip
        figures["luck"] = luck_of(sweep, trials, winner.equity["equity"])
        figures["verdict"] = verdict(figures["luck"], float(performance["total_return"] or 0.0))
    if walked is not None:
        figures["walk"] = _walk_figures(sweep, walked)
    return figures


def _walk_figures(sweep: Sweep, walked: Walk) -> dict[str, Any]:
    equity, cash = walked.equity, sweep.job.cash
    returns = stats.daily_returns(equity["equity"], cash)
    low, high = stats.sharpe_interval(returns, seed=sweep.job.seed)
    sharpe = stats.sharpe_ratio(returns)
    return {
        "spans": [
            {**vars(choice.span), "parameters": choice.parameters, "trained": choice.trained, "tested": tested}
            for choice, tested in zip(walked.chosen, walked.tested, strict=True)
        ],
        "out_of_sample": stats.performance(equity["equity"], cash),
        "trades": stats.trade_summary(walked.trades),
        "in_sample": stats.performance(equity["hindsight"], cash),
        "buy_and_hold": stats.performance(equity["buy_and_hold"], cash),
        "sharpe_low": low,
        "sharpe_high": high,
        "above_zero": None if sharpe is None else stats.deflated_sharpe(returns, [sharpe]),
    }


def _best_config(whole: SweepRun, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The run file of a backtest of the best combination."""
    known = {item.name: getattr(whole, item.name) for item in fields(Run)}
    return Run(**{**known, "parameters": {**whole.parameters, **chosen}}).as_dict()
