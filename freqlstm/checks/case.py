"""One plugin on the ground that it is checked on; what takes long is done once."""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm.calibration import says_nothing
from freqlstm.candles import Candles
from freqlstm.checks.ground import Ground, Market, futures_of
from freqlstm.checks.verdict import Past, Tables
from freqlstm.errors import FreqlstmError, LookAheadError
from freqlstm.parameters import declared
from freqlstm.plugins import Plugin, imported_from, shown
from freqlstm.predictions import Description, Predictions, describe, walk_forward
from freqlstm.signal import Signal, prediction_table

# Of the parameters that a signal has: a peek shows in one epoch as well, and in an update if there is one near every cut.
QUICK = {"seeds": 1, "epochs": 1, "stages": 1, "rounds": 5, "seed": 1, "every": 4}


def fresh(plugin: Plugin) -> Any:
    """The plugin's class from a file that was just executed, so that nothing it remembered is left."""
    for name in imported_from(plugin.path.parent, plugins=True):
        del sys.modules[name]
    return plugin.load()


@dataclass(frozen=True, eq=False)
class Case:
    """What signals and strategies have in common as something to be checked."""

    plugin: Plugin
    ground: Ground
    parameters: Mapping[str, Any] = field(default_factory=dict)  # where they are not the default

    @property
    def file(self) -> str:
        """The plugin's file as a person would write it."""
        return str(shown(self.plugin.path))

    def past(self, cut: pd.Timestamp, way: str) -> Past:
        """What may not change when the candles after ``cut`` are treated in that way."""
        return Past(self.file, cut, way.split()[0] if way.startswith("removed") else "changed")


@dataclass(frozen=True, eq=False)
class SignalCase(Case):
    """A signal: quickly fitted, and its predictions made in the ways that a backtest makes them.

    The futures that are cut off are computed before those that are there, each by a newly executed file, so that
    nothing can be remembered from a future that has not come yet.
    """

    @cached_property
    def quick(self) -> dict[str, Any]:
        """The parameters it is checked with."""
        known = declared(self.plugin.load())
        return {**{name: value for name, value in QUICK.items() if name in known}, **self.parameters}

    @cached_property
    def description(self) -> Description:
        """Horizon, target, warm-up."""
        return describe(self.plugin, self.quick, self.models, cache=False)

    @property
    def needs_fit(self) -> bool:
        return self.description.needs_fit

    @property
    def target(self) -> str:
        return self.description.target

    @cached_property
    def models(self) -> Path:
        """A folder that nothing else uses, so that no cache of anybody can answer for the plugin."""
        folder = tempfile.mkdtemp(prefix="freqlstm-check-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def new(self) -> Signal:
        """An unfitted signal of a newly executed file."""
        signal: Signal = fresh(self.plugin)(**self.quick)
        return signal

    def walk(self, market: Market, end: pd.Timestamp, cache: bool = False) -> Predictions:
        """Walk-forward predictions of a newly executed file, from the ground's start to ``end``."""
        fresh(self.plugin)
        return walk_forward(
            self.plugin, self.quick, market, self.ground.start, end, self.ground.plan, self.models, cache=cache, jobs=1
        )

    # The fit of the first fold, kept in a file

    def training(self, market: Market) -> Market:
        """The candles that the first fold is fitted on."""
        return {symbol: candles.between(None, self.ground.start) for symbol, candles in market.items()}

    @cached_property
    def fitted(self) -> Signal:
        """Fitted on copies of the training candles, their symbols in another order than a backtest has; saved for :meth:`loaded`."""
        signal = self.new()
        if self.needs_fit:
            market = self.training(self.ground.market)
            self.given.update({symbol: _copy(market[symbol]) for symbol in sorted(market, reverse=True)})
            signal.fit(self.given)
            signal.save(self.models / "fitted")
        return signal

    @cached_property
    def given(self) -> Market:
        """What :attr:`fitted` was given, as it left it."""
        return {}

    def loaded(self) -> Signal:
        """The fitted signal as a newly executed file reads it."""
        if not self.needs_fit:
            return self.new()
        assert self.fitted
        signal: Signal = fresh(self.plugin).load(self.models / "fitted")
        if getattr(signal, "slope_", None) == 0.0:
            signal.slope_ = 1.0  # type: ignore[attr-defined]  # a forecast of 0 would hide what it was made of
        if says_nothing(getattr(signal, "calibration_", {})):
            signal.calibration_ = {}  # type: ignore[attr-defined]  # so would one probability for everything
        return signal

    @cached_property
    def ready(self) -> Signal:
        """A loaded signal, for checks that don't mind what it was asked before."""
        return self.loaded()

    def table(self, signal: Signal, candles: Candles) -> pd.DataFrame:
        """Checked predictions."""
        return prediction_table(signal, candles)

    def as_first_fold(self, signal: Signal, market: Market) -> Tables:
        """What a fitted signal predicts for the first test span, from as many candles as a backtest hands it."""
        ground = self.ground
        spans = {
            symbol: signal.recent(candles.between(None, ground.second_fold), ground.start)
            for symbol, candles in market.items()
        }
        return {symbol: self.table(signal, candles).loc[ground.start :] for symbol, candles in spans.items()}

    # Whole pipelines

    @cached_property
    def pipelines(self) -> list[tuple[pd.Timestamp, str, Market, Predictions]]:
        """(cut, way, market with that future, its walk-forward predictions), those with the least future first."""
        ground = self.ground
        if self.needs_fit:
            inside = 100 * ground.first.step  # of a test span: what it is fitted on does not change
            wanted = [
                (ground.start + inside, "changed"),
                (ground.second_fold, "removed"),
                (ground.second_fold + inside, "changed"),
            ]
        else:
            wanted = [
                (cut, way)
                for way in ("removed", "changed", "tripled in price")
                for cut in ground.cuts
                if cut >= ground.start
            ]
        wanted = [(_open_time(ground, cut), way) for cut, way in wanted]
        wanted.sort(key=lambda each: each[1] != "removed")
        made = []
        for cut, way in wanted:
            if self.needs_fit:
                after = ground.end if way != "removed" else cut + ground.first.step
                end = ground.second_fold if cut < ground.second_fold else after
            else:
                end = cut + ground.first.step if way == "removed" else ground.end
            market = futures_of(ground.market, cut, way)
            try:
                made.append((cut, way, market, self.walk(market, end)))
            except FreqlstmError as error:
                raise LookAheadError(
                    f"{self.file} cannot do without later candles: when those after {cut:%Y-%m-%d %H:%M} were {way}, it stopped "
                    f"with: {error}"
                ) from error
        return made

    @cached_property
    def whole(self) -> Predictions:
        """The walk-forward predictions on the candles as they are; the first that the cache is given."""
        assert self.pipelines
        return self.walk(self.ground.market, self.ground.end, cache=True)  # there is none yet: it is written


def _copy(candles: Candles) -> Candles:
    beside = {name: replace(other, frame=other.frame.copy()) for name, other in candles.beside.items()}
    return replace(candles, frame=candles.frame.copy(), beside=beside)


def _open_time(ground: Ground, cut: pd.Timestamp) -> pd.Timestamp:
    """The first bar at or after ``cut``: there may be a gap."""
    time = ground.first.time
    return time[min(int(time.searchsorted(cut)), len(time) - 2)]
