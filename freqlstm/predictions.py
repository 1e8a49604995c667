"""Out-of-sample predictions, fold by fold, cached by fingerprint.

For each test span a signal is fitted on the candles before it and predicts it; the spans together are one table. A
fitted signal is kept in ``models/SIGNAL/MODEL_ID/`` as soon as it is there, so work that was interrupted goes on where
it stopped; the table in ``models/SIGNAL/predictions/``. Both names are digests of everything that decides the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm import provenance
from freqlstm.candles import Candles
from freqlstm.errors import Diverged, FreqlstmError, ModelError, PluginError, TooFewCandles, UsageError
from freqlstm.folds import Fold, FoldPlan, duration
from freqlstm.jobs import Outcome, beat, caught, cores, parallel, watched
from freqlstm.models import are_current, identity, members_of, model_id, read_beside, signal_class, source_digest
from freqlstm.plugins import Plugin
from freqlstm.progress import Progress, silent
from freqlstm.signal import PREDICTION_COLUMNS, Signal, prediction_table
from freqlstm.store import read_table, write_table

Market = dict[str, Candles]
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Description:
    """What can be said of a signal with its parameters before any candle is seen."""

    parameters: dict[str, Any]  # all of them, defaults included
    horizon: int  # bars
    target: str
    warmup: int  # bars of one unbroken stretch before the first prediction
    needs_fit: bool
    memory: int  # bars before a bar that can make a difference to its row
    beside: list[str]  # symbols and external series that it reads beside a symbol's own candles
    members: dict[str, Any]  # identities of the signals that it is made of

    def first_needed(self, start: pd.Timestamp, step: pd.Timedelta, plan: FoldPlan) -> pd.Timestamp | None:
        """The earliest candle that predictions from ``start`` on can use; None for "the first there is"."""
        if not self.needs_fit:
            return start - self.memory * step
        if plan.expanding:
            return None
        train_start = start - duration(plan.embargo) - duration(plan.train)
        return min(train_start - self.warmup * step, start - self.memory * step)


@dataclass(frozen=True)
class Predictions:
    """The predictions of one signal over a time range, and how they came about."""

    table: Tables  # symbol -> rows at the candles' open times, columns of PREDICTION_COLUMNS
    folds: list[dict[str, Any]]  # number, spans, model_id, from_cache, fit_seconds and what the fit reported
    fingerprint: str
    description: Description
    from_cache: bool  # True if the whole table was read from a file


def describe(
    plugin: Plugin, parameters: Mapping[str, Any], models: Path, cache: bool = True, jobs: int = 0
) -> Description:
    """The signal's full parameters, horizon, target and warm-up; an error if a parameter is unknown or impossible.

    Imports the plugin only the first time: the answer is kept under the digests of all sources. Unless ``jobs`` is 1, a
    plugin that uses Keras is imported in one of the processes that will fit it, so this one stays without TensorFlow.
    """
    source, versions = source_digest(plugin), provenance.library_versions(plugin.path)
    key = provenance.fingerprint([source, versions, dict(parameters)])
    path = models / plugin.name / "described" / f"{key[:32]}.json"
    if cache:
        with suppress(ModelError, TypeError, KeyError):
            sealed = provenance.read_sealed(path)
            known = Description(**sealed["description"])
            if sealed["key"] == key and are_current(known.members, plugin.root):
                return known
    workers = (jobs or cores()) if "keras" in versions else 1
    (found,) = parallel(workers, _described, [(plugin, dict(parameters))])
    if cache:
        provenance.write_sealed(path, {"key": key, "description": asdict(found)})
    return found


def walk_forward(
    plugin: Plugin,
    parameters: Mapping[str, Any],
    market: Market,
    start: pd.Timestamp,
    end: pd.Timestamp,
    plan: FoldPlan,
    models: Path,
    cache: bool = True,
    jobs: int = 0,
    progress: Progress = silent,
) -> Predictions:
    """Predictions for every candle that opens in [start, end), each by a signal fitted on candles before its fold only.

    ``market`` must reach back to ``Description.first_needed``; what lies earlier or after ``end`` is not looked at.
    ``jobs`` processes fit at once, 0 for one a core; their number changes nothing in the result. Without ``cache``
    nothing is read from files or written to them. NaN where no model may speak.
    """
    if not market:
        raise UsageError("There are no candles to predict from. Name at least one pair.")
    if jobs < 0:
        raise UsageError(f"jobs is {jobs}. It must be a number of processes, or 0 for one a core.")
    description = describe(plugin, parameters, models, cache, jobs)
    needed = description.first_needed(start, next(iter(market.values())).step, plan)
    market = {symbol: market[symbol].between(needed, end) for symbol in sorted(market)}
    folds = _folds(description, market, start, end, plan)
    who = identity(plugin, description.parameters, description.members)
    fingerprint = provenance.fingerprint(
        {
            **who,
            "candles": {symbol: candles.digest for symbol, candles in market.items()},
            "range": [start, end],
            "min_train": plan.min_train,
            "folds": [asdict(fold) for fold in folds],
        }
    )
    place = models / plugin.name / "predictions" / fingerprint[:32]
    if cache and (found := _read(place, fingerprint, description, market, start)):
        progress(len(folds), len(folds), f"predictions of {plugin.name} from cache")
        return found
    work = _Work(plugin, description, who, models if cache else None, duration(plan.min_train))
    pieces = _run(work, folds, market, jobs, progress)
    table = _assembled(market, start, [tables for _, tables in pieces])
    records = [record for record, _ in pieces] if description.needs_fit else []
    made = Predictions(table, records, fingerprint, description, from_cache=False)
    if cache:
        _write(place, made)
    return made


def _folds(
    description: Description, market: Market, start: pd.Timestamp, end: pd.Timestamp, plan: FoldPlan
) -> list[Fold]:
    first_candles = [candles.time[0] for candles in market.values() if len(candles)]
    if not first_candles or max(candles.time[-1] for candles in market.values() if len(candles)) < start:
        raise TooFewCandles(
            f"There is no candle of {', '.join(market)} between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC to predict from. "
            f"Choose another time range, or provide candles."
        )
    if not description.needs_fit:
        return [Fold(0, start, start, start, end)]
    return plan.folds(start, end, min(first_candles))


# One fold: the work of one process


@dataclass(frozen=True)
class _Work:
    """What all folds of a run have in common."""

    plugin: Plugin
    description: Description
    identity: dict[str, Any]
    models: Path | None  # where fitted signals are kept, if at all
    min_train: pd.Timedelta
    beats: Path | None = None  # a folder in which each fold's process notes how far it is

    def slice(self, fold: Fold, market: Market) -> Market:
        """The candles that one fold may use, and no more."""
        return {
            symbol: candles.between(
                min(self._trained_from(fold, candles), self._remembered(fold, candles)), fold.test_end
            )
            for symbol, candles in market.items()
        }

    def _trained_from(self, fold: Fold, candles: Candles) -> pd.Timestamp:
        """Where the candles of its fit begin."""
        return fold.train_start - self.description.warmup * candles.step

    def _remembered(self, fold: Fold, candles: Candles) -> pd.Timestamp:
        """Where the candles begin that its predictions can depend on."""
        return fold.test_start - self.description.memory * candles.step

    def fold(self, fold: Fold, market: Market) -> Outcome[tuple[dict[str, Any], Tables]]:
        """The fold's record and predictions."""

        def work() -> tuple[dict[str, Any], Tables]:
            with self.plugin.blamed():
                signal, record = self._fitted(fold, market) if self.description.needs_fit else (self._signal(), {})
                return record, {symbol: self._predicted(signal, fold, candles) for symbol, candles in market.items()}

        return caught(work)

    def _signal(self) -> Signal:
        return signal_class(self.plugin)(**self.description.parameters)

    def _fitted(self, fold: Fold, market: Market) -> tuple[Signal, dict[str, Any]]:
        past = {
            symbol: candles.between(self._trained_from(fold, candles), fold.train_end)
            for symbol, candles in market.items()
        }
        past = {
            symbol: candles
            for symbol, candles in past.items()
            if len(candles) and fold.train_end - max(candles.time[0], fold.train_start) >= self.min_train
        }
        name = model_id(self.identity, past)
        folder = None if self.models is None else self.models / self.plugin.name / name
        signal = None if folder is None else self._kept(folder, past)
        from_cache = signal is not None
        if signal is None:
            signal = self._signal()
            signal.keep_members_in(self.models)
            try:
                signal.fit(past, beat(self.beats, fold.number))
            except Diverged as error:
                span = f"train {fold.train_start:%Y-%m-%d} to {fold.train_end:%Y-%m-%d}"
                raise Diverged(f"Fold {fold.number + 1} ({span}): {error}") from error
            if folder is not None:
                signal.save(folder)
        record = {
            **{name: value if name == "number" else value.isoformat() for name, value in vars(fold).items()},
            "model_id": name,
            "from_cache": from_cache,
            "fit_seconds": signal.training_["seconds"],
            "symbols": list(past),
            **signal.report_,
        }
        return signal, record

    def _kept(self, folder: Path, past: Market) -> Signal | None:
        """The fitted signal of that folder, if it is what would be fitted again; if not, it will be replaced."""
        if not folder.is_dir():
            return None
        try:
            signal = signal_class(self.plugin).load(folder)
        except ModelError:
            return None
        seen = {symbol: each["digest"] for symbol, each in signal.training_["candles"].items()}
        matches = seen == {symbol: candles.digest for symbol, candles in past.items()}
        return signal if matches and signal.parameters == self.description.parameters else None

    def _predicted(self, signal: Signal, fold: Fold, candles: Candles) -> pd.DataFrame:
        speaks = signal.speaks_for(candles.symbol) and bool((candles.time >= fold.test_start).any())
        if not speaks:
            return pd.DataFrame(np.nan, index=candles.time, columns=list(PREDICTION_COLUMNS))[
                candles.time >= fold.test_start
            ]
        candles = signal.recent(candles, fold.test_start)
        return prediction_table(signal, candles)[candles.time >= fold.test_start]


def _described(plugin: Plugin, parameters: dict[str, Any]) -> Outcome[Description]:
    def work() -> Description:
        with plugin.blamed():
            signal = signal_class(plugin)(**parameters)
            members = members_of(signal)
            beside = read_beside(signal)
            warmup = _bars(signal, "warmup", signal.warmup)
            memory = _bars(signal, "memory", signal.memory)
        if memory < warmup:
            raise PluginError(
                f"The memory of {type(signal).__name__} is {memory} bars and its warmup {warmup}. It cannot be shorter."
            )
        return Description(
            signal.parameters, signal.horizon, signal.target, warmup, signal.needs_fit, memory, beside, members
        )

    return caught(work)


def _bars(signal: Signal, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise PluginError(f"The {name} of {type(signal).__name__} is {value!r}. It must be a whole number of bars.")
    return value


def fit_fold(
    plugin: Plugin, parameters: dict[str, Any], fold: Fold, market: Market, plan: FoldPlan, models: Path
) -> Outcome[dict[str, Any]]:
    """Fit the signal of one fold, or find it in ``models``: its record, whose model_id names its folder."""

    def work() -> dict[str, Any]:
        description = describe(plugin, parameters, models, jobs=1)
        who = identity(plugin, description.parameters, description.members)
        shared = _Work(plugin, description, who, models, duration(plan.min_train))
        with plugin.blamed():
            return shared._fitted(fold, shared.slice(fold, market))[1]

    return caught(work)


# All folds


def _run(
    work: _Work, folds: list[Fold], market: Market, jobs: int, progress: Progress
) -> list[tuple[dict[str, Any], Tables]]:
    """Every fold's record and tables in the order of the folds, from as many processes as asked for."""
    workers = min(jobs or cores(), len(folds)) if work.description.needs_fit else 1
    with watched(len(folds), progress) as beats:
        noting = replace(work, beats=beats)
        return list(parallel(workers, noting.fold, ((fold, work.slice(fold, market)) for fold in folds)))


def _assembled(market: Market, start: pd.Timestamp, pieces: list[Tables]) -> Tables:
    """One table for each symbol with every candle from ``start`` on, NaN where no fold has spoken."""
    table = {}
    for symbol, candles in market.items():
        parts = [tables[symbol] for tables in pieces]
        table[symbol] = pd.concat(parts).reindex(candles.time[candles.time >= start])
    return table


# The cached table


def _write(place: Path, made: Predictions) -> None:
    rows = [table.assign(symbol=symbol).reset_index() for symbol, table in made.table.items()]
    file = place.with_suffix(".parquet")
    write_table(file, pd.concat(rows, ignore_index=True))
    sealed = {"fingerprint": made.fingerprint, "table": provenance.file_digest(file), "folds": made.folds}
    provenance.write_sealed(place.with_suffix(".json"), sealed)


def _read(
    place: Path, fingerprint: str, description: Description, market: Market, start: pd.Timestamp
) -> Predictions | None:
    """The cached table if it is exactly what was asked for and undamaged."""
    try:
        sealed = provenance.read_sealed(place.with_suffix(".json"))
        if sealed["fingerprint"] != fingerprint:
            return None
        file = place.with_suffix(".parquet")
        if provenance.file_digest(file) != sealed["table"]:
            return None
        rows = read_table(file)
    except (FreqlstmError, OSError, KeyError):
        return None
    table = {}
    for symbol, candles in market.items():
        own = rows.loc[rows["symbol"] == symbol].set_index("time")[list(PREDICTION_COLUMNS)]
        own.index = pd.DatetimeIndex(own.index).as_unit(candles.time.unit)
        if not own.index.equals(candles.time[candles.time >= start]):
            return None
        table[symbol] = own
    return Predictions(table, sealed["folds"], fingerprint, description, from_cache=True)
