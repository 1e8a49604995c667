"""The run file of an evaluation, and what it does.

Every key has a default but ``signals``. The resolved file is written beside the result, and running it gives the same.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm import ledger, provenance
from freqlstm.contest import Contender, Contest, compete
from freqlstm.errors import RunError, UnknownName, UsageError
from freqlstm.evaluation import REFERENCES, Evaluation, figures_of
from freqlstm.folds import FoldPlan, duration
from freqlstm.importance import importances
from freqlstm.manifest import candle_entry, plugin_entry, versions
from freqlstm.plugins import Plugin, discover, find, shown, style_free
from freqlstm.predictions import Description, describe
from freqlstm.progress import Progress, silent
from freqlstm.runfile import checked_keys, read_toml
from freqlstm.selection import Selection, Warn, with_beside
from freqlstm.store import Project
from freqlstm.timerange import timerange_text


@dataclass(frozen=True, kw_only=True)
class EvaluationRun:
    """The recipe of one evaluation."""

    signals: tuple[str, ...]
    pairs: tuple[str, ...] = ("BTC/USDT",)
    timeframe: str = "1m"
    exchange: str = ""
    timeranges: tuple[str, ...] = ()  # 20230101-20230401, end not included; none: all there is
    accept_off_grid: bool = False
    target: str = ""  # of every signal; empty: its own
    horizon: int | None = None  # bars, of every signal; None: its own
    pooled: bool = True  # one model of all pairs together, or one of each
    seed: int = 1
    seeds: int = 1  # fits of each signal that learns
    relative_to: int = 0  # bars: returns are judged as prices over the close so many bars before; 0: as they are
    importance: bool = False  # shuffle the inputs of every signal that has some: takes longer than the rest
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of all that have them; in a table, of one signal
    folds: FoldPlan = field(default_factory=FoldPlan)

    def __post_init__(self) -> None:
        if not self.signals:
            raise UsageError("No signal is named. Name some, as in `freqlstm evaluate lstm momentum`.")
        if not 0 <= self.seed < 2**30:
            raise UsageError(f"The seed is {self.seed}. It must be a whole number between 0 and {2**30 - 1}.")
        if not 1 <= self.seeds <= 1000:
            raise UsageError(f"The number of seeds is {self.seeds}. It must be between 1 and 1000.")
        if self.relative_to < 0:
            raise UsageError(
                f"relative_to is {self.relative_to}. It must be a number of bars, or 0 for returns as they are."
            )
        object.__setattr__(self, "pairs", self.selection().pairs)
        for timerange in self.timeranges:
            self.selection(timerange)

    def selection(self, timerange: str = "") -> Selection:
        """The candles of one time range."""
        return Selection(
            pairs=tuple(self.pairs), timeframe=self.timeframe, exchange=self.exchange, timerange=timerange,
            accept_off_grid=self.accept_off_grid,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """The run as the tables and keys of a run file."""
        lists = {name: list(getattr(self, name)) for name in ("signals", "pairs", "timeranges")}
        return {**asdict(self), **lists, "parameters": dict(self.parameters)}


def read_evaluation_run(path: Path) -> EvaluationRun:
    """The run of a TOML file; an unknown key or a value of the wrong type is refused."""
    content = read_toml(path, "name signals")
    if "strategy" in content:
        raise UsageError(
            f"{path} is the run file of a backtest, not of an evaluation. `freqlstm backtest {path}` runs it."
        )
    return evaluation_run_of(content, str(path))


def evaluation_run_of(content: Mapping[str, Any], where: str) -> EvaluationRun:
    """A run from the tables and keys of a run file; ``where`` names it in messages."""
    values = checked_keys(EvaluationRun, content, where)
    if "signals" not in values:
        raise UsageError(f'{where} names no signals. Add a line such as signals = ["lstm", "momentum"].')
    if "folds" in values:
        values["folds"] = FoldPlan(**checked_keys(FoldPlan, values["folds"], f"[folds] of {where}"))
    for name in ("signals", "pairs", "timeranges"):
        if name in values:
            values[name] = tuple(values[name])
    return EvaluationRun(**values)


def contest_of(run: EvaluationRun, project: Project, warn: Warn, *, jobs: int = 0, cache: bool = True) -> Contest:
    """Find the signals and candles that ``run`` names; what a person should know is added to ``warn``."""
    plugins = [find("signal", name, project.root) for name in run.signals]
    for number, plugin in enumerate(plugins):
        if plugin.name in [other.name for other in plugins[:number]]:
            raise UsageError(f"The signal {plugin.name} is named twice. Name each once.")
        if plugin.shadows:
            warn.append(f"{shown(plugin.path)} is used. It hides the signal of that name in {shown(plugin.shadows)}.")
    contenders = _contenders(run, plugins, project, jobs, cache)
    reference = REFERENCES.get(contenders[0].description.target)
    if reference is not None and reference not in [plugin.name for plugin in plugins]:
        there = [plugin for plugin in discover("signal", project.root) if plugin.name == reference]
        plugins = [*there, *plugins]
        contenders = _contenders(run, plugins, project, jobs, cache)
    _require_one_question(contenders)
    if run.relative_to and contenders[0].description.target != "return":
        raise UsageError(
            f"relative_to is {run.relative_to}, but the signals forecast a {contenders[0].description.target}. It is for returns: "
            f'leave it out, or set target = "return".'
        )
    learns = any(contender.description.needs_fit for contender in contenders)
    first = run.selection(run.timeranges[0] if run.timeranges else "")
    market = first.load(project, warn)
    training = duration(run.folds.min_train) + duration(run.folds.embargo) if learns else None
    spans = sorted(run.selection(text).span(market, warn, training) for text in run.timeranges or ("",))
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise UsageError(
                f"The time ranges overlap: one begins at {start:%Y-%m-%d %H:%M} and the one before ends at {end:%Y-%m-%d %H:%M} UTC. "
                f"Part them, so that no row counts twice."
            )
    beside = sorted({name for contender in contenders for name in contender.description.beside})
    market = with_beside(market, beside, project, warn, since=spans[0][0], accept_off_grid=run.accept_off_grid)
    return Contest(tuple(contenders), market, tuple(spans), run.folds, run.pooled, run.seeds, run.relative_to)


def _contenders(run: EvaluationRun, plugins: list[Plugin], project: Project, jobs: int, cache: bool) -> list[Contender]:
    names = {style_free(plugin.name): plugin.name for plugin in plugins}
    own: dict[str, dict[str, Any]] = {plugin.name: {} for plugin in plugins}
    common = {}
    for name, value in run.parameters.items():
        if not isinstance(value, Mapping):
            common[name] = value
        elif style_free(name) in names:
            own[names[style_free(name)]] = dict(value)
        else:
            raise UnknownName("signal of this evaluation", name, own)
    asked = {"target": run.target, "horizon": run.horizon}
    common |= {name: value for name, value in asked.items() if value not in ("", None)}

    def described(plugin: Plugin, parameters: Mapping[str, Any]) -> Description:
        return describe(plugin, parameters, project.models, cache, jobs)

    known = {plugin.name: described(plugin, {}).parameters for plugin in plugins}
    for name in common:
        if not any(name in parameters for parameters in known.values()):
            every = {each for parameters in known.values() for each in parameters}
            raise UnknownName("parameter of these signals", name, every)
    contenders = []
    for plugin in plugins:
        shared = {name: value for name, value in common.items() if name in known[plugin.name]}
        contenders.append(
            Contender(plugin.name, plugin, described(plugin, {"seed": run.seed, **shared, **own[plugin.name]}))
        )
    return contenders


def _require_one_question(contenders: list[Contender]) -> None:
    """A UsageError unless all signals forecast the same thing over the same time."""
    first = contenders[0]
    for other in contenders[1:]:
        asked, differs = ((each.description.target, each.description.horizon) for each in (first, other))
        if asked != differs:
            raise UsageError(
                f"{first.name} forecasts the {asked[0]} of {asked[1]} bars and {other.name} the {differs[0]} of {differs[1]}, so they "
                f"cannot be compared. Give all the same with --target and --horizon, or leave one out."
            )


def run_evaluation(
    run: EvaluationRun,
    project: Project,
    *,
    jobs: int = 0,
    cache: bool = True,
    progress: Progress = silent,
    warn: Warn | None = None,
) -> Evaluation:
    """The evaluation that ``run`` asks for, not saved yet; every signal's configuration is added to the trials ledger."""
    warnings: Warn = [] if warn is None else warn
    clock = time.perf_counter()
    if run.importance and not cache:
        raise UsageError(
            "The importance of inputs is asked of the fitted signals, which --no-cache does not keep. Leave one of the two out."
        )
    contest = contest_of(run, project, warnings, jobs=jobs, cache=cache)
    moment = datetime.now(UTC)
    compared = compete(contest, project.models, cache=cache, jobs=jobs, progress=progress, warn=warnings)
    made = time.perf_counter()
    progress(0, 1, "measuring")
    figures = figures_of(contest, compared)
    if run.importance:
        figures["importance"] = importances(contest, compared, project.models, jobs=jobs, progress=progress)
    _record(contest, project)
    seconds = {"predictions": round(made - clock, 3), "all": round(time.perf_counter() - clock, 3)}
    return Evaluation(
        f"{moment:%Y%m%d-%H%M%S}-evaluate-{secrets.token_hex(3)}", _resolved(run, contest).as_dict(),
        _manifest(contest, compared.folds, seconds, warnings), figures, compared,
    )  # fmt: skip


def _record(contest: Contest, project: Project) -> None:
    first = next(iter(contest.market.values()))
    start, end = contest.spans[0][0].isoformat(), contest.spans[-1][1].isoformat()
    for contender in contest.contenders:
        told = {
            "evaluated": provenance.source_digest(contender.plugin.path),
            "parameters": contender.description.parameters,
            "folds": asdict(contest.plan),
            "pooled": contest.pooled,
            "seeds": contest.seeds,
            "relative_to": contest.relative_to,
        }
        ledger.record(
            project.ledger,
            ledger.Trial(
                provenance.fingerprint(told), first.exchange, first.timeframe, tuple(sorted(contest.market)), start, end, None
            ),
        )  # fmt: skip


def _resolved(run: EvaluationRun, contest: Contest) -> EvaluationRun:
    """``run`` with nothing left to defaults."""
    first = next(iter(contest.market.values()))
    own_seed = {
        style_free(name) for name, value in run.parameters.items() if isinstance(value, Mapping) and "seed" in value
    }
    parameters = {}
    for contender in contest.contenders:
        seeded = "seed" in run.parameters or style_free(contender.name) in own_seed
        parameters[contender.name] = {
            name: value for name, value in contender.description.parameters.items() if name != "seed" or seeded
        }
    paths = {find_name: find_name for find_name in run.signals if find_name.endswith(".py")}
    by_name = {Path(path).stem: path for path in paths}
    return replace(
        run, signals=tuple(by_name.get(contender.name, contender.name) for contender in contest.contenders),
        exchange=first.exchange, target=contest.target, horizon=contest.horizon,
        timeranges=tuple(timerange_text(*span) for span in contest.spans), parameters=parameters,
    )  # fmt: skip


def _manifest(
    contest: Contest, folds: Mapping[str, Any], seconds: Mapping[str, float], warnings: Warn
) -> dict[str, Any]:
    used = {symbol: _used(contest, symbol) for symbol in contest.market}
    return {
        "synthetic": any(candles.synthetic for candles in contest.market.values()),
        "spans": [[start.isoformat(), end.isoformat()] for start, end in contest.spans],
        "plugins": [plugin_entry(contender.plugin) for contender in contest.contenders],
        "candles": {symbol: candle_entry(candles) for symbol, candles in used.items()},
        "signals": {name: {"folds": records} for name, records in folds.items()},
        "versions": versions(),
        "machine": provenance.machine(),
        "seconds": dict(seconds),
        "warnings": list(warnings),
    }


def _used(contest: Contest, symbol: str) -> Any:
    """Every candle from the first that training could see to the last that is forecast."""
    candles = contest.market[symbol]
    firsts: list[pd.Timestamp | None] = [
        contender.description.first_needed(contest.spans[0][0], candles.step, contest.plan)
        for contender in contest.contenders
    ]
    known = [first for first in firsts if first is not None]
    return candles.between(min(known) if len(known) == len(firsts) else None, contest.spans[-1][1])


def save_evaluation(evaluation: Evaluation, project: Project) -> tuple[Evaluation, Path]:
    """Write its folder under a name that no other has; the evaluation as it was saved, and the folder."""
    for number in range(1, 1000):
        run_id = evaluation.run_id if number == 1 else f"{evaluation.run_id}-{number}"
        named = replace(evaluation, run_id=run_id)
        folder = project.results / run_id
        if not folder.exists():
            named.save(folder)
            return named, folder
    raise RunError(f"{project.results} holds a thousand runs of this second. Clean it up.")
