"""A run file as frozen dataclasses, and what it does.

A run file (TOML) is the recipe of a result; every key has a default but ``strategy``. The resolved one is written
beside the result, and running it gives the same result.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from freqlstm.backtest import backtest
from freqlstm.costs import Costs, market_rules
from freqlstm.engines.choice import check_engine, require_conditions_alone
from freqlstm.errors import NoCandles, RunError, UnknownName, UsageError
from freqlstm.folds import FoldPlan, duration
from freqlstm.job import Job, SignalUse
from freqlstm.plugins import find, shown
from freqlstm.predictions import describe
from freqlstm.progress import Progress, silent
from freqlstm.results import Result
from freqlstm.runfile import checked_keys, read_toml
from freqlstm.selection import Selection, Warn, with_beside
from freqlstm.store import CandleStore, Project
from freqlstm.strategy import check_parameters, signals_of
from freqlstm.timerange import timerange_text

OTHERS = ("evaluation.json", "sweep.json")  # what tells the folders of other results from those of backtests
MOST_CASH = 1e15  # units of the quote asset: beyond it, sizes in lots and cents are no longer exact


@dataclass(frozen=True, kw_only=True)
class Run(Selection):
    """The recipe of one backtest."""

    strategy: str
    cash: float = 10_000.0  # quote asset
    seed: int = 1
    allow_short: bool = False
    engine: str = "backtrader"
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the strategy
    signals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name in the strategy -> parameters
    costs: Costs = field(default_factory=Costs)
    folds: FoldPlan = field(default_factory=FoldPlan)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.cash <= MOST_CASH:
            right = f"at most {MOST_CASH:g}" if self.cash > 0 else "more than nothing"
            raise UsageError(f"The cash is {self.cash!r}. It must be {right}, in units of the quote asset.")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"The seed is {self.seed}. It must be a whole number between 0 and {2**31 - 1}.")
        check_engine(self.engine)

    def as_dict(self) -> dict[str, Any]:
        """The run as the tables and keys of a run file."""
        return {
            **asdict(self),
            "pairs": list(self.pairs),
            "parameters": dict(self.parameters),
            "signals": dict(self.signals),
        }


def read_run(path: Path) -> Run:
    """The run of a TOML file; an unknown key or a value of the wrong type is refused."""
    content = read_toml(path, "name a strategy with --strategy")
    if isinstance(content.get("signals"), list):
        raise UsageError(
            f"{path} is the run file of an evaluation, not of a backtest. `freqlstm evaluate {path}` runs it."
        )
    if "sweep" in content:
        raise UsageError(f"{path} is the run file of a sweep, not of a backtest. `freqlstm sweep -c {path}` runs it.")
    return run_of(content, str(path))


def run_of(content: Mapping[str, Any], where: str) -> Run:
    """A run from the tables and keys of a run file; ``where`` names it in messages."""
    return Run(**run_values(Run, content, where))


def run_values(kind: type[Run], content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of a run, or of what extends one, from the tables and keys of its run file."""
    values = checked_keys(kind, content, where)
    if "strategy" not in values:
        raise UsageError(f'{where} names no strategy. Add a line such as strategy = "lstm_rsi".')
    for name, table in (("costs", Costs), ("folds", FoldPlan)):
        if name in values:
            values[name] = table(**checked_keys(table, values[name], f"[{name}] of {where}"))
    return values


def prepare(run: Run, project: Project, warn: Warn, *, jobs: int = 0, cache: bool = True) -> Job:
    """Find the plugins and candles that ``run`` names; what a person should know is added to ``warn``."""
    strategy = find("strategy", run.strategy, project.root)
    kind = strategy.load()
    if run.engine == "compiled":
        require_conditions_alone(kind)
    parameters = {**in_a_file(check_parameters(kind, run.parameters)), **run.parameters}
    uses = signal_uses(kind, run, project)
    known = {
        name: describe(use.plugin, use.seeded(run.seed), project.models, cache, jobs) for name, use in uses.items()
    }
    for plugin in (strategy, *(use.plugin for use in uses.values())):
        if plugin.shadows:
            warn.append(
                f"{shown(plugin.path)} is used. It hides the {plugin.kind} of that name in {shown(plugin.shadows)}."
            )
    learns = any(description.needs_fit for description in known.values())
    market = run.load(project, warn)
    training = duration(run.folds.min_train) + duration(run.folds.embargo) if learns else None
    start, end = run.span(market, warn, training)
    market = {symbol: candles.between(None, end) for symbol, candles in market.items()}
    beside = sorted({name for description in known.values() for name in description.beside})
    market = with_beside(market, beside, project, warn, since=start, accept_off_grid=run.accept_off_grid)
    absent = [symbol for symbol, candles in market.items() if not len(candles.between(start, None))]
    if absent:
        raise NoCandles(
            f"There are no candles of {absent[0]} from {start:%Y-%m-%d} to {end:%Y-%m-%d}. Leave that pair out."
        )
    store = CandleStore(project.data)
    rules = {
        symbol: market_rules(symbol, None if candles.synthetic else store.market_rules(candles.exchange, symbol))
        for symbol, candles in market.items()
    }
    return Job(
        strategy=strategy, parameters=parameters,
        signals={name: SignalUse(use.plugin, known[name].parameters) for name, use in uses.items()},
        market=market, start=start, end=end, folds=run.folds, rules=rules, costs=run.costs, cash=run.cash, seed=run.seed,
        allow_short=run.allow_short, engine=run.engine,
    )  # fmt: skip


def signal_uses(strategy: type, run: Run, project: Project) -> dict[str, SignalUse]:
    """The signals that ``strategy`` names, with the parameters that the run gives them."""
    named = signals_of(strategy)
    for name in run.signals:
        if name not in named:
            raise UnknownName(f"signal of {strategy.__name__}", name, named)
    return {
        name: SignalUse(find("signal", signal, project.root), dict(run.signals.get(name, {})))
        for name, signal in named.items()
    }


def run_backtest(
    run: Run,
    project: Project,
    *,
    jobs: int = 0,
    cache: bool = True,
    progress: Progress = silent,
    warn: Warn | None = None,
) -> Result:
    """The result of ``run``, not saved yet."""
    warnings: Warn = [] if warn is None else warn
    job = prepare(run, project, warnings, jobs=jobs, cache=cache)
    moment = datetime.now(UTC)
    run_id = f"{moment:%Y%m%d-%H%M%S}-{job.strategy.name}-{secrets.token_hex(3)}"
    return backtest(
        job, project.models, project.ledger, run_id=run_id, config=resolved(run, job).as_dict(), jobs=jobs, cache=cache, progress=progress,
        warn=warnings,
    )  # fmt: skip


def in_a_file(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those that a run file can hold: a plain Backtrader strategy may have others, which are left to it."""
    return {name: value for name, value in parameters.items() if isinstance(value, (bool, int, float, str, list))}


def resolved(run: Run, job: Job) -> Run:
    """``run`` with nothing left to defaults: running it gives what ``job`` gives."""
    first = next(iter(job.market.values()))
    signals = {}
    for name, use in job.signals.items():
        own_seed = "seed" in run.signals.get(name, {})  # if not, it is that of the run
        signals[name] = {key: value for key, value in use.parameters.items() if key != "seed" or own_seed}
    return replace(
        run, exchange=first.exchange, timerange=timerange_text(job.start, job.end), parameters=job.parameters,
        signals=signals,
    )  # fmt: skip


def save(result: Result, project: Project) -> tuple[Result, Path]:
    """Write the run folder under a name that no other run has; the result as it was saved, and its folder."""
    for number in range(1, 1000):
        run_id = result.run_id if number == 1 else f"{result.run_id}-{number}"
        named = replace(result, run_id=run_id)
        folder = project.results / run_id
        if not folder.exists():
            named.save(folder)
            return named, folder
    raise RunError(f"{project.results} holds a thousand runs of this second. Clean it up.")


def find_run(project: Project, run_id: str) -> Path:
    """The folder of a backtest, by its id or its beginning; "latest" is the newest. Evaluations and sweeps lie beside them."""
    folders = (
        sorted(
            path
            for path in project.results.glob("*")
            if path.is_dir() and not path.name.startswith(".") and not any((path / name).is_file() for name in OTHERS)
        )
        if project.results.is_dir()
        else []
    )
    if (project.results / run_id / "evaluation.json").is_file():
        raise UsageError(
            f"{run_id} is an evaluation, not a backtest. `freqlstm evaluate {shown(project.results / run_id / 'run.toml')}` makes it again."
        )
    if (project.results / run_id / "sweep.json").is_file():
        raise UsageError(
            f"{run_id} is a sweep, not a backtest. `freqlstm sweep -c {shown(project.results / run_id / 'run.toml')}` makes it again."
        )
    if not folders:
        raise RunError(f"There is no run in {project.results} yet. `freqlstm backtest --strategy lstm_rsi` makes one.")
    if run_id == "latest":
        return folders[-1]
    found = [folder for folder in folders if folder.name == run_id] or [
        folder for folder in folders if run_id and folder.name.startswith(run_id)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(
            f"{run_id!r} is the beginning of {len(found)} runs, such as {found[0].name} and {found[1].name}. Give more of it."
        )
    raise UnknownName("run", run_id, [folder.name for folder in folders], f"Runs are the folders of {project.results}.")
