"""Many runs: combinations of a strategy's parameters on the compiled engine, over predictions that are made once.

Each combination is a run like any other: the same decisions, fills and figures as `freqlstm backtest` gives. Chunks of
combinations are worked out by threads, added to the trials ledger and stored, in that order, so that whatever kills the
sweep costs one chunk and hides no trial.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from freqlstm import ledger
from freqlstm.bars import CONDITIONS, Bars, Decisions
from freqlstm.candles import Candles
from freqlstm.decider import Decider, memory_for
from freqlstm.engines.compiled import Summary, Tape, summarize
from freqlstm.errors import PluginError, UsageError
from freqlstm.folds import Fold
from freqlstm.job import Job
from freqlstm.jobs import cores
from freqlstm.progress import Progress, silent
from freqlstm.search import Choices
from freqlstm.strategy import history_needed
from freqlstm.sweep_parts import Parts
from freqlstm.sweep_space import BASE, Grid, size

CHUNK = 1024  # combinations of a grid between two files
BLOCK = 16  # neighbours that one thread works out, at most
MOST_DAYS = 3.0  # that a sweep may be expected to take
FEW = 50  # bars
SPARE = 2  # times the history that the ends of the axes need: a value between them may need more
FASTEST = 20e-6  # seconds a combination takes at least, however few the bars

FIGURES = tuple(Summary._fields)
COUNTS = ("trades", "wins", "refused")
OBJECTIVES = {  # what is to be large -> (figure, sign)
    "sharpe": ("sharpe", 1.0), "sortino": ("sortino", 1.0), "calmar": ("calmar", 1.0), "profit": ("total_return", 1.0),
    "drawdown": ("max_drawdown", -1.0),
}  # fmt: skip
FRACTIONS = ("profit", "drawdown")  # objectives that are told in percent


@dataclass(frozen=True)
class Objective:
    """What the best combination has most of."""

    name: str

    def of(self, summary: Summary) -> float:
        """Larger is better; NaN where it is not defined. Who never held anything has no drawdown to be praised for."""
        figure, sign = OBJECTIVES[self.name]
        idle = self.name == "drawdown" and not summary.exposure
        return math.nan if idle else sign * float(getattr(summary, figure))

    def column(self, table: pd.DataFrame) -> np.ndarray:
        """Shape (combinations,): :meth:`of` each row of results."""
        figure, sign = OBJECTIVES[self.name]
        values = sign * table[figure].to_numpy(np.float64)
        idle = self.name == "drawdown" and table["exposure"].to_numpy(np.float64) == 0.0
        return np.where(idle, math.nan, values)


@dataclass(frozen=True)
class Sweep:
    """Everything that decides a sweep but the predictions."""

    job: Job  # with the parameters that all combinations have
    grid: Grid
    objective: Objective
    spans: tuple[Fold, ...] = ()  # of a walk-forward of the parameters

    def parameters(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of a combination."""
        return {**self.job.parameters, **chosen}


def parameter_column(name: str) -> str:
    """The column of the results with that parameter, apart from a figure of the same name: a strategy may call its own as it likes."""
    return f"params.{name}"


def train_columns(spans: Sequence[Fold]) -> list[str]:
    """The columns with the objective on the train spans."""
    return [f"train_{span.number}" for span in spans]


class Proposals(Protocol):
    """Which combinations come next, chunk by chunk."""

    count: int  # of all combinations that will be proposed
    chunks: int

    def chunk(self, number: int) -> list[dict[str, Any]]:
        """The combinations of a chunk; asked for in order, each after the one before was told."""

    def tell(self, rows: pd.DataFrame) -> None:
        """What the newest chunk came to."""

    def serves(self, number: int, span: int) -> bool:
        """Whether the combinations of a chunk may be chosen for a span of a walk-forward: they must know nothing after it."""


class WholeGrid:
    """Every combination of a grid, in order."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.count = grid.count
        self.chunks = math.ceil(grid.count / CHUNK)

    def chunk(self, number: int) -> list[dict[str, Any]]:
        return list(self.grid.combinations(number * CHUNK, (number + 1) * CHUNK))

    def tell(self, rows: pd.DataFrame) -> None:
        """Nothing that is found changes what comes next."""

    def serves(self, number: int, span: int) -> bool:
        return True


class Runner:
    """What a combination comes to; the candles, their predictions and the indicators are made ready once."""

    def __init__(self, sweep: Sweep, tables: Mapping[str, pd.DataFrame], history: int) -> None:
        job = sweep.job
        strategy = job.strategy.load()
        traded = job.traded()
        self.sweep = sweep
        self.deciders = {}
        for symbol in traded:
            candles = job.market[symbol]
            memory = memory_for(len(candles), len(traded))
            self.deciders[symbol] = Decider(
                strategy, candles, tables[symbol], job.start, job.end, history=history, memory=memory
            )
        self.tape = Tape.of(traded, job.rules)
        self.symbols = len(traded)
        self.pieces: list[tuple[Tape | None, dict[str, slice]]] = []
        for span in sweep.spans:
            market, rows = piece(traded, span.train_start, span.train_end)
            self.pieces.append((Tape.of(market, job.rules) if market else None, rows))

    def row(self, chosen: Mapping[str, Any]) -> list[float]:
        """The figures of a combination over the whole range, and its objective on each train span."""
        parameters = self.sweep.parameters(chosen)
        decisions = self.decisions(parameters)
        objective = self.sweep.objective
        found = list(self.summary(self.tape, decisions, parameters))
        for tape, rows in self.pieces:
            cut = {symbol: part(decisions[symbol], place) for symbol, place in rows.items()}
            found.append(math.nan if tape is None else objective.of(self.summary(tape, cut, parameters)))
        return found

    def rows(self, several: Iterable[Mapping[str, Any]]) -> np.ndarray:
        """Shape (combinations, figures and train spans)."""
        found = []
        for chosen in several:
            with naming(chosen):
                found.append(self.row(chosen))
        return np.array(found, dtype=np.float64)

    def decisions(self, parameters: Mapping[str, Any]) -> dict[str, Decisions]:
        return {symbol: decider.decide(parameters) for symbol, decider in self.deciders.items()}

    def summary(self, tape: Tape, decisions: Mapping[str, Decisions], parameters: Mapping[str, Any]) -> Summary:
        job = self.sweep.job
        parameters = {**parameters, "max_positions": parameters["max_positions"] or self.symbols}
        return summarize(tape, decisions, parameters, job.costs, job.cash, job.allow_short)


@contextmanager
def naming(chosen: Mapping[str, Any]) -> Iterator[None]:
    """A strategy that stops in the block, and an indicator that refuses, is said to do so with these parameters."""
    told = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    try:
        yield
    except PluginError as error:
        raise PluginError(f"{error} It was asked with {told}.") from error
    except UsageError as error:
        raise UsageError(
            f"{error} It was asked with {told}. Give --set values that are possible in every combination."
        ) from error


def piece(
    traded: Mapping[str, Candles], start: pd.Timestamp, end: pd.Timestamp
) -> tuple[dict[str, Candles], dict[str, slice]]:
    """The candles that open in [start, end), and which rows of all traded ones they are; without symbols that have none."""
    market, rows = {}, {}
    for symbol, candles in traded.items():
        first, last = (int(candles.time.searchsorted(moment)) for moment in (start, end))
        if first < last:
            market[symbol], rows[symbol] = candles.rows(first, last), slice(first, last)
    return market, rows


def part(decisions: Decisions, rows: slice) -> Decisions:
    """The decisions of some rows only."""
    cut = {name: getattr(decisions, name)[rows] for name in CONDITIONS}
    return replace(decisions, **cut, share=None if decisions.share is None else decisions.share[rows])


@dataclass(frozen=True)
class Outlook:
    """What the first few bars say of the work: which parameters are costly, and how much history the conditions need."""

    grid: Grid  # with the axes in the order that costs least: what indicators read first, what only orders read last
    history: int  # bars before the first decision


def outlook(sweep: Sweep, tables: Mapping[str, pd.DataFrame]) -> Outlook:
    """Ask the conditions about a few bars, with the ends of each axis and every value of a list."""
    symbol, table = next(iter(tables.items()))
    candles = sweep.job.market[symbol].between(sweep.job.start, None)
    few = candles.rows(0, min(FEW, len(candles)))
    strategy = sweep.job.strategy.load()
    axes = sweep.grid.axes
    history = 0

    def read(places: Sequence[int]) -> frozenset[Any]:
        nonlocal history
        bars, chosen = Bars(few, table.iloc[: len(few)]), sweep.grid.at(places)
        with naming(chosen):
            history = max(history, history_needed(strategy, sweep.parameters(chosen), bars))
        return bars.asked

    first = [0] * len(axes)
    last = [size(axis) - 1 for axis in axes.values()]
    lowest = read(first)
    read(last)
    rank = {}
    for number, (name, axis) in enumerate(axes.items()):
        several = range(1, size(axis)) if isinstance(axis, Choices) else (size(axis) - 1,)
        asked = {read([*first[:number], place, *first[number + 1 :]]) for place in several}
        rank[name] = 0 if asked - {lowest} else 2 if name in BASE else 1
    return Outlook(sweep.grid.ordered(sorted(rank, key=rank.__getitem__)), SPARE * history)


def require_days(count: int, seconds: float, workers: int) -> None:
    """A UsageError if so many combinations at ``seconds`` each, for one thread, take longer than anyone waits."""
    days = count * seconds / workers / 86_400
    if days > MOST_DAYS:
        lasts = f"{days / 365:,.0f} years" if days > 730 else f"{days:,.0f} days"
        raise UsageError(
            f"{count:,} combinations would take {lasts} on {workers} core{'s' if workers > 1 else ''}. Give --set fewer values, or let --trials 500 choose the combinations."
        )


def run(
    sweep: Sweep, runner: Runner, proposals: Proposals, parts: Parts, trials: Path, workers: int = 0,
    progress: Progress = silent,
) -> None:  # fmt: skip
    """Work out all chunks that ``parts`` does not hold; each is counted in the ledger ``trials`` before it is stored."""
    workers = workers or cores()
    total, stored = proposals.chunks, parts.count
    best = math.nan

    def told(table: pd.DataFrame) -> None:
        nonlocal best
        proposals.tell(table)
        best = float(np.fmax(best, np.fmax.reduce(sweep.objective.column(table))))

    def tell(number: int) -> None:
        beside = "" if math.isnan(best) else f", best {sweep.objective.name} so far {best:.4g}"
        progress(number, total, f"trading {proposals.count:,} combinations{beside}")

    for number in range(stored):
        if not isinstance(proposals, WholeGrid):
            proposals.chunk(number)  # a search must be asked to know what it is told about
        told(parts.read(number))
    with ThreadPoolExecutor(workers) as pool:
        for number in range(stored, total):
            tell(number)
            clock = time.perf_counter()
            combinations = proposals.chunk(number)
            step = min(BLOCK, -(-len(combinations) // workers))
            blocks = [combinations[first : first + step] for first in range(0, len(combinations), step)]
            table = table_of(sweep, combinations, np.concatenate(list(pool.map(runner.rows, blocks))))
            _count(sweep, combinations, table["sharpe"].to_numpy(), trials)
            if not number and isinstance(proposals, WholeGrid):  # who goes on with a sweep has waited already
                spent = (time.perf_counter() - clock) * workers / len(combinations)
                require_days(proposals.count - len(combinations), spent, workers)
            parts.add(number, table)
            told(table)
    tell(total)


def chosen_at(sweep: Sweep, table: pd.DataFrame, row: int) -> dict[str, Any]:
    """The swept parameters of one row of the results, as Python's own numbers."""
    values = {name: table[parameter_column(name)].iloc[row] for name in sweep.grid.axes}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def table_of(sweep: Sweep, combinations: Sequence[Mapping[str, Any]], figures: np.ndarray) -> pd.DataFrame:
    """One row a combination: its parameters, its figures, its objective on the train spans."""
    chosen = {parameter_column(name): [each[name] for each in combinations] for name in sweep.grid.axes}
    found = pd.DataFrame(figures, columns=[*FIGURES, *train_columns(sweep.spans)])
    whole = {name: found[name].astype(np.int64) for name in COUNTS}
    return pd.DataFrame({**chosen, **found.assign(**whole)})


def _count(sweep: Sweep, combinations: Sequence[Mapping[str, Any]], sharpes: np.ndarray, trials: Path) -> None:
    """Add the combinations to the ledger, under the digests that ordinary backtests of them have."""
    digests = list(sweep.job.digests(sweep.parameters(chosen) for chosen in combinations))
    ledger.record_all(trials, sweep.job.stretch, digests, sharpes)
