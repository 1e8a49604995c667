"""Out-of-sample forecasts of several signals, on the same rows.

A row counts if every signal, and what costs nothing, says something at it and the outcome is known: what one of them
leaves out, nobody is judged by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm import labels
from freqlstm.candles import Candles
from freqlstm.errors import TooFewCandles
from freqlstm.folds import Fold, FoldPlan, duration
from freqlstm.jobs import Outcome, beat, caught, cores, parallel, watched
from freqlstm.measures import Outcomes
from freqlstm.plugins import Plugin
from freqlstm.predictions import Description, Predictions, walk_forward
from freqlstm.progress import Progress, silent
from freqlstm.skill import FEWEST_ROWS, references
from freqlstm.timerange import timerange_text

Market = dict[str, Candles]
Span = tuple[pd.Timestamp, pd.Timestamp]  # half-open: [start, end)

SILENT_SHARE = 0.01  # of the rows with an outcome that a signal may leave out without a word about it


@dataclass(frozen=True)
class Contender:
    """A signal, its parameters, and what is known of it before any candle is seen."""

    name: str
    plugin: Plugin
    description: Description


@dataclass(frozen=True)
class Contest:
    """Who forecasts what, over which spans, and how it is fitted."""

    contenders: tuple[Contender, ...]
    market: Market  # with the candles before each span that training and warm-up need
    spans: tuple[Span, ...]  # in order, apart from each other
    plan: FoldPlan
    pooled: bool = True  # one model of all symbols together, or one of each
    seeds: int = 1  # fits of each signal that learns, which differ in their parameter ``seed``
    relative_to: int = 0  # bars: returns are judged as prices over the close so many bars before; 0: as they are
    target: str = field(init=False)
    horizon: int = field(init=False)  # bars

    def __post_init__(self) -> None:
        first = self.contenders[0].description
        object.__setattr__(self, "target", first.target)
        object.__setattr__(self, "horizon", first.horizon)

    def folds(self, warn: list[str]) -> list[tuple[Fold, tuple[str, ...]]]:
        """Every fold, numbered over all spans, with the symbols of one model; what is left out for want of training is told."""
        groups = [tuple(self.market)] if self.pooled else [(symbol,) for symbol in self.market]
        learns = any(contender.description.needs_fit for contender in self.contenders)
        found: list[tuple[Fold, tuple[str, ...]]] = []
        numbers: dict[pd.Timestamp, int] = {}
        for start, end in self.spans:
            starts = list(_starts(start, end, self.plan))
            for symbols in groups:
                first = min(self.market[symbol].time[0] for symbol in symbols)
                enough = start - duration(self.plan.train) - duration(self.plan.embargo)
                folds = self.plan.folds(start, end, first if learns else min(first, enough))
                if len(folds) < len(starts):
                    warn.append(
                        f"{len(starts) - len(folds)} of the {len(starts)} folds of {timerange_text(start, end)} have less than "
                        f"{self.plan.min_train} of {' and '.join(symbols)} to train on and are left out."
                    )
                for fold in folds:
                    number = numbers.setdefault(fold.test_start, len(numbers))
                    found.append((replace(fold, number=number), symbols))
        return found


def _starts(start: pd.Timestamp, end: pd.Timestamp, plan: FoldPlan) -> Iterator[pd.Timestamp]:
    while start < end:
        yield start
        start += duration(plan.test)


@dataclass(frozen=True, eq=False)
class Compared:
    """The rows that count, by symbol and then in order of time, and what everybody said in them."""

    rows: pd.DataFrame  # symbol, time, fold, bar (open time over the timeframe), outcome
    said: dict[str, np.ndarray]  # zero, persistence and every signal: shape (rows,)
    interval: dict[str, tuple[np.ndarray, np.ndarray]]  # low and high of the signals that give one
    by_seed: dict[str, np.ndarray]  # shape (seeds, rows), of the signals that were fitted several times
    folds: dict[str, list[dict[str, Any]]]  # what each fit of each signal has to tell
    bars: int  # rows of the spans, before any is left out
    labelled: int  # of them with an outcome and what costs nothing
    spoken: dict[str, int]  # of these, those at which each signal says something

    def outcomes(self, target: str, horizon: int) -> Outcomes:
        """What came."""
        return Outcomes(self.rows["outcome"].to_numpy(np.float64), self.rows["bar"].to_numpy(np.int64), target, horizon)

    def table(self) -> pd.DataFrame:
        """Everything as one table: the columns NAME.prediction and, where there is an interval, its two ends."""
        columns = {f"{name}.prediction": values for name, values in self.said.items()}
        for name, (low, high) in self.interval.items():
            columns |= {f"{name}.prediction_low": low, f"{name}.prediction_high": high}
        for name, values in self.by_seed.items():
            columns |= {f"{name}.prediction of seed {number}": row for number, row in enumerate(values)}
        return self.rows.drop(columns="bar").assign(**columns)


def compete(
    contest: Contest,
    models: Path,
    *,
    cache: bool = True,
    jobs: int = 0,
    progress: Progress = silent,
    warn: list[str] | None = None,
) -> Compared:
    """Fit and predict fold by fold, then keep the rows on which everybody speaks."""
    warnings = [] if warn is None else warn
    folds = contest.folds(warnings)
    members_first = sorted(contest.contenders, key=lambda each: bool(each.description.members))
    tasks = [
        _Task(contender, seed, fold, symbols, contest.plan, models, cache, number)
        for number, (contender, seed, (fold, symbols)) in enumerate(
            (contender, seed, fold)
            for contender in members_first
            for seed in range(contest.seeds if contender.description.needs_fit else 1)
            for fold in folds
        )
    ]
    with watched(len(tasks), progress) as beats:
        work = ((replace(task, beats=beats), task.slice(contest.market)) for task in tasks)
        made = list(parallel(min(jobs or cores(), len(tasks)), _Task.done, work))
    return _compared(contest, tasks, made, warnings)


@dataclass(frozen=True)
class _Task:
    """One fold of one signal and seed: the work of one process."""

    contender: Contender
    seed: int  # counted from 0
    fold: Fold
    symbols: tuple[str, ...]
    plan: FoldPlan
    models: Path
    cache: bool
    number: int
    beats: Path | None = None

    def slice(self, market: Market) -> Market:
        step = market[self.symbols[0]].step
        needed = self.contender.description.first_needed(self.fold.test_start, step, self.plan)
        return {symbol: market[symbol].between(needed, self.fold.test_end) for symbol in self.symbols}

    def done(self, market: Market) -> Outcome[Predictions]:
        parameters = dict(self.contender.description.parameters)
        parameters["seed"] = parameters["seed"] + self.seed
        note = beat(self.beats, self.number)

        def tell(done: float, total: float, text: str) -> None:
            note(done, total, f"{self.contender.name} {self.fold.test_start:%Y-%m-%d}, {text.removeprefix('fold 1: ')}")

        return caught(
            lambda: walk_forward(
                self.contender.plugin, parameters, market, self.fold.test_start, self.fold.test_end, self.plan,
                self.models, cache=self.cache, jobs=1, progress=tell,
            )
        )  # fmt: skip


def _compared(contest: Contest, tasks: list[_Task], made: list[Predictions], warn: list[str]) -> Compared:
    tables: dict[tuple[str, int], dict[str, list[pd.DataFrame]]] = {}
    folds: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contest.contenders}
    for task, predictions in zip(tasks, made, strict=True):
        for symbol, table in predictions.table.items():
            tables.setdefault((task.contender.name, task.seed), {}).setdefault(symbol, []).append(table)
        folds[task.contender.name] += [
            {**record, "number": task.fold.number, "seed": task.contender.description.parameters["seed"] + task.seed}
            for record in predictions.folds
        ]
    pieces = [rows for rows in (_outcomes(contest, symbol, tasks) for symbol in contest.market) if len(rows)]
    rows = pd.concat(pieces, ignore_index=True)
    known = ["outcome", "zero", "persistence", *(["scale"] if contest.relative_to else [])]
    labelled = np.isfinite(rows[known].to_numpy(np.float64)).all(axis=1)
    columns = {key: _aligned(by_symbol, rows) for key, by_symbol in tables.items()}
    spoken: dict[str, int] = {}
    keep = labelled.copy()
    for contender in contest.contenders:
        speaks = np.ones(len(rows), dtype=bool)
        for (name, _), values in columns.items():
            if name == contender.name:
                speaks &= np.isfinite(values[:, 0])
        spoken[contender.name] = int((labelled & speaks).sum())
        keep &= speaks
    _report(contest, int(labelled.sum()), int(keep.sum()), spoken, warn)
    rows = rows[keep].reset_index(drop=True)
    said = {name: rows.pop(name).to_numpy(np.float64) for name in ("zero", "persistence")}
    interval, by_seed = {}, {}
    for contender in contest.contenders:
        stack = np.stack([values[keep] for (name, _), values in columns.items() if name == contender.name])
        mean = stack.mean(axis=0)  # (rows, 3): the forecast is the average of all seeds
        said[contender.name] = mean[:, 0]
        if np.isfinite(mean[:, 1:]).all(axis=1).any():
            interval[contender.name] = (mean[:, 1], mean[:, 2])
        if len(stack) > 1:
            by_seed[contender.name] = stack[:, :, 0]
    if contest.relative_to:
        scale = rows.pop("scale").to_numpy(np.float64)
        rows["outcome"] = np.exp(rows["outcome"]) * scale - 1
        said = {name: np.exp(values) * scale - 1 for name, values in said.items()}
        interval = {name: (np.exp(low) * scale - 1, np.exp(high) * scale - 1) for name, (low, high) in interval.items()}
        by_seed = {name: np.exp(values) * scale - 1 for name, values in by_seed.items()}
    return Compared(rows, said, interval, by_seed, folds, len(keep), int(labelled.sum()), spoken)


def _outcomes(contest: Contest, symbol: str, tasks: list[_Task]) -> pd.DataFrame:
    """Every bar of one symbol that a fold covers, with what came and what costs nothing; no label looks beyond a span."""
    candles = contest.market[symbol]
    pieces = []
    for start, end in contest.spans:
        past = candles.between(start - (labels.PAST + 1) * contest.horizon * candles.step, end)
        came, zero, persistence = references(past, contest.horizon, contest.target)
        piece = pd.DataFrame({"outcome": came, "zero": zero, "persistence": persistence}, index=past.time)
        if contest.relative_to:
            earlier = labels.forward_return(candles, contest.relative_to).shift(contest.relative_to)
            piece["scale"] = np.exp(earlier).reindex(past.time)  # the close over that so many bars before
        pieces.append(piece[past.time >= start])
    table = pd.concat(pieces)
    time = pd.DatetimeIndex(table.index)
    fold = np.full(len(table), -1)
    for task in tasks:
        if symbol in task.symbols:
            fold[(time >= task.fold.test_start) & (time < task.fold.test_end)] = task.fold.number
    table.insert(0, "symbol", symbol)
    table.insert(1, "time", time)
    table.insert(2, "fold", fold)
    table.insert(3, "bar", time.as_unit("ns").asi8 // candles.step.value)
    return table[fold >= 0].reset_index(drop=True)


def _aligned(tables: Mapping[str, list[pd.DataFrame]], rows: pd.DataFrame) -> np.ndarray:
    """Shape (rows, 3): prediction, low and high at every row."""
    values = np.full((len(rows), 3), np.nan)
    for symbol, own in rows.groupby("symbol", sort=False):
        if symbol in tables:
            whole = pd.concat(tables[str(symbol)])
            index = pd.DatetimeIndex(whole.index).as_unit("ms")
            whole = whole.set_index(index)[["prediction", "prediction_low", "prediction_high"]]
            values[own.index] = whole.reindex(pd.DatetimeIndex(own["time"]).as_unit("ms")).to_numpy(np.float64)
    return values


def _report(contest: Contest, labelled: int, kept: int, spoken: Mapping[str, int], warn: list[str]) -> None:
    """Say who left rows out; an error if too few are left to judge anybody by."""
    told = ", ".join(f"{name} on {count:,}" for name, count in spoken.items())
    if kept < FEWEST_ROWS:
        raise TooFewCandles(
            f"Every signal speaks on {kept} of the {labelled:,} rows that have an outcome, and {FEWEST_ROWS} are needed to compare "
            f"them: {told}. Widen the time range, provide earlier candles, or leave out a signal that is silent."
        )
    for name, count in spoken.items():
        if labelled - count > SILENT_SHARE * labelled:
            warn.append(
                f"{name} says nothing on {(labelled - count) / labelled:.0%} of the rows that have an outcome: they are left "
                f"out for everybody."
            )
