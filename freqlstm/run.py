"""A run file as frozen dataclasses, and what it does.

A run file (TOML) is the recipe of a result; every key has a default but ``strategy``. The resolved one is written
beside the result, and running it gives the same result.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm.backtest import Job, SignalUse, backtest
from freqlstm.candles import Candles, check_symbol, step_of
from freqlstm.costs import Costs, market_rules
from freqlstm.demo import ASSETS, demo_market
from freqlstm.errors import NoCandles, RunError, TooFewCandles, UnknownName, UsageError
from freqlstm.folds import FoldPlan, duration
from freqlstm.plugins import find
from freqlstm.predictions import describe
from freqlstm.progress import Progress, silent
from freqlstm.results import Result
from freqlstm.store import CandleStore, Project
from freqlstm.strategy import Strategy, check_parameters

Warn = list[str]


@dataclass(frozen=True)
class Run:
    """The recipe of one backtest."""

    strategy: str
    pairs: tuple[str, ...] = ("BTC/USDT",)
    timeframe: str = "1m"
    exchange: str = ""  # whose stored candles; "demo": the synthetic market; empty: stored ones if there are any
    timerange: str = ""  # 20230101-20230401, end not included; empty: all there is
    cash: float = 10_000.0  # quote asset
    seed: int = 1
    allow_short: bool = False
    accept_off_grid: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the strategy
    signals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name in the strategy -> parameters
    costs: Costs = field(default_factory=Costs)
    folds: FoldPlan = field(default_factory=FoldPlan)

    def __post_init__(self) -> None:
        step_of(self.timeframe)
        object.__setattr__(self, "pairs", tuple(dict.fromkeys(check_symbol(pair) for pair in self.pairs)))
        if not self.pairs:
            raise UsageError("No pair is given. Name at least one, as in --pairs BTC/USDT.")
        if not self.cash > 0:
            raise UsageError(f"The cash is {self.cash!r}. It must be more than nothing, in units of the quote asset.")
        if self.timerange:
            parse_timerange(self.timerange)

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
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no run file {path}. Give one, or name a strategy with --strategy.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not a TOML file: {error}. Correct it, or copy one from the folder backtests."
        ) from error
    return run_of(content, str(path))


def run_of(content: Mapping[str, Any], where: str) -> Run:
    """A run from the tables and keys of a run file; ``where`` names it in messages."""
    values = _checked(Run, content, where)
    if "strategy" not in values:
        raise UsageError(f'{where} names no strategy. Add a line such as strategy = "lstm_rsi".')
    for name, kind in (("costs", Costs), ("folds", FoldPlan)):
        if name in values:
            values[name] = kind(**_checked(kind, values[name], f"[{name}] of {where}"))
    return Run(**values)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "int": (int,), "float": (int, float), "tuple[str, ...]": (list, tuple),
}  # fmt: skip


_IN_WORDS = {
    "str": "a text", "bool": "true or false", "int": "a whole number", "float": "a number",
    "tuple[str, ...]": "a list of texts",
}  # fmt: skip


def _checked(kind: Any, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = {item.name: item for item in fields(kind)}
    for key, value in content.items():
        if key not in known:
            raise UnknownName(f"key in {where}", key, known)
        wanted = _TYPES.get(str(known[key].type), (Mapping,))
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise UsageError(
                f"Key {key!r} in {where} is {value!r}. It must be {_IN_WORDS.get(str(known[key].type), 'a table')}."
            )
    return dict(content)


def parse_timerange(text: str) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """(start, end) of "20230101-20230401" or "20230101T0930-"; either may be left out; the end is not included."""
    start, dash, end = text.partition("-")
    try:
        times = [_moment(part) if part else None for part in (start, end)]
    except ValueError:
        times = []
    if not dash or not times or times == [None, None]:
        raise UsageError(
            f"The time range is {text!r}. It must be like 20230101-20230401 (UTC, end not included), or open: 20230101- or -20230401."
        )
    if times[0] is not None and times[1] is not None and times[0] >= times[1]:
        raise UsageError(f"The time range {text!r} ends before it starts. Swap its two dates.")
    return times[0], times[1]


def _moment(text: str) -> pd.Timestamp:
    return pd.Timestamp(datetime.strptime(text, "%Y%m%d" if "T" not in text else "%Y%m%dT%H%M"), tz="UTC")


def timerange_text(start: pd.Timestamp, end: pd.Timestamp) -> str:
    """The opposite of :func:`parse_timerange`."""
    return "-".join(f"{time:%Y%m%d}" if time == time.normalize() else f"{time:%Y%m%dT%H%M}" for time in (start, end))


def prepare(run: Run, project: Project, warn: Warn) -> Job:
    """Find the plugins and candles that ``run`` names; what a person should know is added to ``warn``."""
    strategy = find("strategy", run.strategy, project.root)
    kind = strategy.load()
    check_parameters(kind, run.parameters)
    uses = signal_uses(kind, run, project)
    learns = any(describe(use.plugin, use.seeded(run.seed), project.models).needs_fit for use in uses.values())
    market = load_market(run, project, warn)
    start, end = traded_range(run, market, learns=learns, warn=warn)
    market = {symbol: candles.between(None, end) for symbol, candles in market.items()}
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
        strategy=strategy, parameters=run.parameters, signals=uses, market=market, start=start, end=end, folds=run.folds,
        rules=rules, costs=run.costs, cash=run.cash, seed=run.seed, allow_short=run.allow_short,
    )  # fmt: skip


def signal_uses(strategy: type, run: Run, project: Project) -> dict[str, SignalUse]:
    """The signals that ``strategy`` names, with the parameters that the run gives them."""
    named: dict[str, str] = strategy.signals if issubclass(strategy, Strategy) else {}
    for name in run.signals:
        if name not in named:
            raise UnknownName(f"signal of {strategy.__name__}", name, named)
    uses = {
        name: SignalUse(find("signal", signal, project.root), dict(run.signals.get(name, {})))
        for name, signal in named.items()
    }
    return uses


def load_market(run: Run, project: Project, warn: Warn) -> dict[str, Candles]:
    """All candles that there are of the run's pairs, from the store or from the demo market."""
    store = CandleStore(project.data)
    stored = [series for series in store.series() if series.timeframe == run.timeframe and series.symbol in run.pairs]
    exchange = run.exchange
    if not exchange:
        complete = sorted(
            {s.exchange for s in stored if {t.symbol for t in stored if t.exchange == s.exchange} == set(run.pairs)}
        )
        if len(complete) > 1:
            raise UsageError(
                f"{', '.join(run.pairs)} are stored from {' and '.join(complete)}. Choose one with --exchange."
            )
        if not complete and not stored and not run.timerange and set(run.pairs) <= set(ASSETS):
            complete = ["demo"]
            warn.append(
                "No candles are stored: this run uses the demo market, which is SYNTHETIC. Its results say nothing about real ones."
            )
        if not complete:
            have = {series.symbol for series in stored}
            missing = next(pair for pair in run.pairs if pair not in have or len(run.pairs) > 1)
            raise NoCandles(
                f"No {run.timeframe} candles of {missing} are stored in {project.data}. "
                f"`freqlstm download -p {missing} -i {run.timeframe} --days 90` or `freqlstm import FILE` stores some; "
                f"--exchange demo uses the synthetic market."
            )
        exchange = complete[0]
    if exchange == "demo":
        unknown = [pair for pair in run.pairs if pair not in ASSETS]
        if unknown:
            raise UnknownName("pair of the demo market", unknown[0], ASSETS)
        return demo_market(run.timeframe, tuple(run.pairs))
    return {pair: store.read(exchange, pair, run.timeframe).require_grid(run.accept_off_grid) for pair in run.pairs}


def candles_of(
    project: Project, pairs: tuple[str, ...], timeframe: str | None, exchange: str | None, timerange: str | None,
    accept_off_grid: bool, warn: Warn,
) -> dict[str, Candles]:  # fmt: skip
    """The candles that the flags of a verb without a strategy name; what was not given is as in a run."""
    flags = {"pairs": pairs, "timeframe": timeframe, "exchange": exchange, "timerange": timerange}
    run = Run("", accept_off_grid=accept_off_grid, **{name: value for name, value in flags.items() if value})  # type: ignore[arg-type]
    market = load_market(run, project, warn)
    start, end = traded_range(run, market, learns=False, warn=warn)
    return {symbol: candles.between(start, end) for symbol, candles in market.items()}


def traded_range(
    run: Run, market: Mapping[str, Candles], learns: bool, warn: Warn
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """(open time of the first bar traded, end). Without a time range: all candles, but for what the first fit needs."""
    first = min(candles.time[0] for candles in market.values())
    last = max(candles.time[-1] for candles in market.values()) + step_of(run.timeframe)
    start, end = parse_timerange(run.timerange) if run.timerange else (None, None)
    there = (
        f"{', '.join(market)} {run.timeframe} candles reach from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    )
    if (start is not None and start >= last) or (end is not None and end <= first):
        raise NoCandles(
            f"The time range {run.timerange} lies outside the data: {there}. Choose one inside, or get more candles."
        )
    if start is not None and start < first:
        warn.append(f"The run begins at {first:%Y-%m-%d %H:%M} UTC, not at {start:%Y-%m-%d}: {there}.")
    if end is not None and end > last:
        warn.append(f"The run ends at {last:%Y-%m-%d %H:%M} UTC, not at {end:%Y-%m-%d}: {there}.")
    end = last if end is None else min(end, last)
    if start is None:
        needed = duration(run.folds.min_train) + duration(run.folds.embargo) if learns else pd.Timedelta(0)
        start = (first + needed).ceil("D") if learns else first
        if start >= end:
            raise TooFewCandles(
                f"The first fold needs {run.folds.min_train} of candles to train on, and {there}. "
                f"Get more candles, or shorten min_train with --min-train."
            )
    return max(start, first), end


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
    job = prepare(run, project, warnings)
    first = next(iter(job.market.values()))
    resolved = replace(run, exchange=first.exchange, timerange=timerange_text(job.start, job.end))
    moment = datetime.now(UTC)
    run_id = f"{moment:%Y%m%d-%H%M%S}-{job.strategy.name}-{job.digest()[:6]}"
    result = backtest(
        job, project.models, project.ledger, run_id=run_id, config=resolved.as_dict(), jobs=jobs, cache=cache, progress=progress,
    )  # fmt: skip
    result.manifest["warnings"] = list(warnings)
    return result


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
    """The folder of a run, by its id or its beginning; "latest" is the newest."""
    folders = (
        sorted(p for p in project.results.glob("*") if p.is_dir() and not p.name.startswith("."))
        if project.results.is_dir()
        else []
    )
    if run_id == "latest" and folders:
        return folders[-1]
    found = [folder for folder in folders if folder.name == run_id] or [f for f in folders if f.name.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(
            f"{run_id!r} is the beginning of {len(found)} runs, such as {found[0].name} and {found[1].name}. Give more of it."
        )
    raise UnknownName("run", run_id, [folder.name for folder in folders], f"Runs are the folders of {project.results}.")
