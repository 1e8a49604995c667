"""The models that speak in a session: refitted on the schedule of their folds, swapped in between two bars.

The first candle of the session is the start of the first fold, so that a backtest over the session's candles has the
same folds, and a model that is fitted in time is the very one that the backtest uses. Fits run in another process,
files are read in another thread; until a new model is there, the one before it goes on speaking.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIG_DFL, SIGINT
from signal import signal as on_signal
from typing import Any

import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import FreqlstmError, ModelError, TooFewCandles
from freqlstm.folds import Fold, FoldPlan, duration
from freqlstm.job import SignalUse
from freqlstm.jobs import Failed
from freqlstm.models import signal_class
from freqlstm.paper.decision import Forecaster
from freqlstm.predictions import Description, describe, fit_fold
from freqlstm.progress import Progress, silent
from freqlstm.provenance import file_digest
from freqlstm.signal import Signal
from freqlstm.supervised import SupervisedSignal

Gather = Callable[[pd.Timestamp, pd.Timestamp], Mapping[str, Candles]]
"""The session's candles of every symbol that open in [first, end)."""


@dataclass(frozen=True)
class Speaker:
    """A fitted signal that speaks for one column, from ``since`` on."""

    forecaster: Forecaster
    model_id: str  # empty: it has nothing to learn
    since: pd.Timestamp
    digest: str = ""  # SHA-256 of its signal.json, which has those of its files


class Models:
    """The signals of one strategy over a session that began at ``start``."""

    def __init__(
        self, uses: Mapping[str, SignalUse], seed: int, plan: FoldPlan, models: Path, start: pd.Timestamp, gather: Gather,
        learned: Path, intervals: frozenset[str],
    ) -> None:  # fmt: skip
        """``intervals`` names the columns of which more than the prediction itself is looked at."""
        self.plan = plan
        self.start = start
        self.speakers: dict[str, Speaker] = {}
        self.problems: dict[str, str] = {}  # column -> why its newest model is not there
        self._uses = {name: (use.plugin, use.seeded(seed)) for name, use in uses.items()}
        self._models = models
        self._gather = gather
        self._learned = learned
        self._intervals = intervals
        self.described: dict[str, Description] = {
            name: describe(plugin, parameters, models) for name, (plugin, parameters) in self._uses.items()
        }
        self._work: dict[str, tuple[Fold, Future[tuple[Signal, str, str]]]] = {}
        self._tried: dict[str, int] = {}  # column -> number of the fold whose fit was asked for last
        self._processes: ProcessPoolExecutor | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")

    @property
    def memory(self) -> int:
        """Bars before a bar that any prediction can depend on."""
        return max((self._memory(name) for name in self.described), default=0)

    def _memory(self, name: str) -> int:
        kind, each = signal_class(self._uses[name][0]), self.described[name]
        brief = name not in self._intervals and issubclass(kind, SupervisedSignal) and kind.advance is Signal.advance
        return each.warmup if brief else each.memory

    @property
    def learn(self) -> bool:
        """Whether a signal goes on learning after its fit."""
        return any(signal_class(plugin).advance is not Signal.advance for plugin, _ in self._uses.values())

    def history_needed(self, step: pd.Timedelta) -> pd.Timestamp:
        """The earliest candle that a fit or a prediction at the start can use."""
        first = self.start - max((each.memory for each in self.described.values()), default=0) * step
        for each in self.described.values():
            if each.needs_fit:
                train = duration(self.plan.embargo) + duration(self.plan.train)
                first = min(first, self.start - train - each.warmup * step)
        return first

    def fold_at(self, time: pd.Timestamp) -> Fold:
        """The fold in whose test span a bar that opens at ``time`` lies."""
        test = duration(self.plan.test)
        number = max(0, int((time - self.start) // test))
        begins = self.start + number * test
        train_end = begins - duration(self.plan.embargo)
        return Fold(number, train_end - duration(self.plan.train), train_end, begins, begins + test)

    def turn(self, opens: pd.Timestamp, wait: bool = False, progress: Progress = silent) -> list[str]:
        """Bring the models up to the bar that opens at ``opens``; the columns that another model speaks for from now on.

        With ``wait``, until every model of that bar is there. It never waits otherwise.
        """
        fold = self.fold_at(opens)
        changed = []
        for name, (plugin, parameters) in self._uses.items():
            if not self.described[name].needs_fit:
                if name not in self.speakers:
                    self.speakers[name] = Speaker(Forecaster(signal_class(plugin)(**parameters), name), "", self.start)
                    changed.append(name)
                continue
            if name not in self._work and self._tried.get(name, -1) < fold.number:
                self._tried[name] = fold.number
                self._work[name] = fold, self._thread.submit(self._fitted, name, fold)
            if name in self._work and (wait or self._work[name][1].done()):
                progress(0, 1, f"fitting {plugin.name}")
                changed += self._swapped(name, opens)
        return changed

    def _swapped(self, name: str, opens: pd.Timestamp) -> list[str]:
        _, future = self._work.pop(name)
        try:
            signal, model_id, digest = future.result()
        except Exception as error:  # whatever it is, a session that has a model goes on with it
            if name not in self.speakers:
                raise
            self.problems[name] = str(error) if isinstance(error, FreqlstmError) else f"{type(error).__name__}: {error}"
            return []
        self.problems.pop(name, None)
        folder = self._learned / self._uses[name][0].name / model_id
        if self._memory(name) < signal.memory and isinstance(signal, SupervisedSignal):
            signal = signal.without_interval()
        forecaster = Forecaster(signal, name, lambda one, symbol: one.resume(folder, symbol))
        self.speakers[name] = Speaker(forecaster, model_id, opens, digest)
        return [name]

    def _fitted(self, name: str, fold: Fold) -> tuple[Signal, str, str]:
        """(signal, id, digest): fit in another process, read what it wrote, make sure that it was made of these candles."""
        plugin, parameters = self._uses[name]
        step = next(iter(self._gather(fold.train_end, fold.train_end).values())).step
        first = fold.train_start - self.described[name].warmup * step
        market = dict(sorted(self._gather(first, fold.train_end).items()))
        opened = [candles.time[0] for candles in market.values() if len(candles)]
        begins = max(fold.train_start, min(opened, default=fold.train_end))
        if fold.train_end - begins < duration(self.plan.min_train):
            raise TooFewCandles(
                f"{plugin.name} cannot be fitted: the exchange has candles from {begins:%Y-%m-%d %H:%M} UTC on, and {self.plan.min_train} "
                f"before {fold.train_end:%Y-%m-%d %H:%M} are needed. Shorten it with --min-train."
            )
        fold = Fold(fold.number, begins, fold.train_end, fold.test_start, fold.test_end)
        if self._processes is None:
            context = multiprocessing.get_context("spawn")
            self._processes = ProcessPoolExecutor(1, mp_context=context, initializer=_behind)
        work = partial(fit_fold, plugin, parameters, fold, market, self.plan, self._models)
        try:
            outcome = self._processes.submit(work).result()
        except BrokenProcessPool as error:
            self._processes = None  # the next fit has a new one
            raise ModelError(
                f"{plugin.name} was not fitted: the process that fits was killed, perhaps for lack of memory."
            ) from error
        if isinstance(outcome, Failed):
            raise outcome.kind(outcome.text)
        folder = self._models / plugin.name / outcome["model_id"]
        signal = loaded(plugin, folder, {symbol: market[symbol] for symbol in outcome["symbols"]}, fold)
        for symbol in outcome["symbols"]:  # so that the first prediction of a bar is not the first of the process
            recent = signal.recent(market[symbol], market[symbol].time[-1])
            signal.predict(recent)
        return signal, str(outcome["model_id"]), file_digest(folder / "signal.json")

    def keep(self) -> None:
        """Write what signals that go on learning have learned."""
        for name, speaker in self.speakers.items():
            signal = speaker.forecaster.signal
            if type(signal).advance is not Signal.advance:
                for symbol in signal.training_["candles"]:
                    signal.keep(self._learned / self._uses[name][0].name / speaker.model_id, symbol)

    def close(self) -> None:
        """End the other process."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._processes is not None:
            for process in list(getattr(self._processes, "_processes", {}).values()):
                process.terminate()
            self._processes.shutdown(wait=False, cancel_futures=True)


def loaded(plugin: Any, folder: Path, market: Mapping[str, Candles], fold: Fold) -> Signal:
    """The fitted signal of that folder, if it was fitted on these very candles and on none that the fold may not see."""
    with plugin.blamed():
        signal = signal_class(plugin).load(folder)
    seen = {symbol: each["digest"] for symbol, each in signal.training_["candles"].items()}
    ours = {symbol: candles.digest for symbol, candles in market.items()}
    if seen != ours:
        other = next(symbol for symbol in sorted({*seen, *ours}) if seen.get(symbol) != ours.get(symbol))
        raise ModelError(
            f"{folder} was fitted on other candles of {other} than the session's up to {fold.train_end:%Y-%m-%d %H:%M} UTC, so it is refused. "
            f"Delete it: it will be fitted again."
        )
    return signal


def _behind() -> None:
    """A process that fits gives way to the one that trades, and ends without a word at a Ctrl-C."""
    on_signal(SIGINT, SIG_DFL)
    if hasattr(os, "nice"):
        os.nice(10)
