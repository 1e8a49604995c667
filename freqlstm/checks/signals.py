"""That no signal looks ahead; each check raises an error that names the file, the culprit and the first bar.

Call them from your own tests: ``check_predictions(signal_case(plugin))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.checks.case import SignalCase
from freqlstm.checks.contract import (
    check_alignment,
    check_candles_are_left_alone,
    check_followed,
    check_missing_predictions,
    check_parameters,
    check_same_seed,
    check_saved_and_loaded,
    check_warmup,
)  # fmt: skip
from freqlstm.checks.ground import FUTURES, ages, with_future
from freqlstm.checks.verdict import Tables, first_difference, moment
from freqlstm.errors import LookAheadError, PluginError
from freqlstm.features import compute

AROUND = 60  # bars of future in the pieces of the market that features are compared on


def check_features(case: SignalCase) -> None:
    """No feature changes when only later candles change."""
    names = case.new().all_features
    if not names:
        return
    need = max(case.new().warmup, 1)
    for number, (cut, candles) in enumerate(_cuts_in_turn(case, case.ground.cuts)):
        row = int(candles.time.searchsorted(cut))
        if number % 6:  # every sixth time all of the candles, in case a plugin behaves well on few
            candles = candles.rows(max(0, row - need - AROUND), row + AROUND)
        others = [(way, compute(names, with_future(candles, cut, way))) for way in FUTURES]
        whole = compute(names, candles)
        for way, other in others:
            past = case.past(cut, way)
            past.require_tables("its feature {!r}", {candles.symbol: whole}, {candles.symbol: other})


def check_inputs(case: SignalCase) -> None:
    """No scaled input of the network changes when only later candles change."""
    _require_same(case, "its scaled inputs ({})", lambda signal, candles: signal.inputs(candles), needs="inputs")


def check_predictions(case: SignalCase) -> None:
    """No prediction of a fitted signal changes when only later candles change."""
    _require_same(case, "its predictions", case.table, needs="predict")


def check_walk_forward(case: SignalCase) -> None:
    """Features, scaling, fits and predictions made anew on other futures are the same up to the bar where they part."""
    for cut, way, _, made in case.pipelines:
        past = case.past(cut, way)
        past.require_tables("its walk-forward predictions", case.whole.table, made.table)
        for one, two in zip(case.whole.folds, made.folds, strict=False):
            if pd.Timestamp(one["test_start"]) > cut:
                break
            for name in ("slope", "validation_errors", "fitted_windows"):
                if one.get(name) != two.get(name):
                    past.fail(
                        f"the {name.replace('_', ' ')} of its fold {one['number']}", f"from {one[name]} to {two[name]}"
                    )


def check_validation(case: SignalCase) -> None:
    """No label of a row that is fitted reaches into the rows that are validated."""
    signal: Any = case.new()
    if not hasattr(signal, "split"):
        return
    candles = case.ground.first.between(None, case.ground.start)
    bars = _bars(candles)
    fit, validation = (np.asarray(part) for part in signal.split(bars[signal.warmup :].copy()))
    if not len(fit) or not len(validation):
        raise PluginError(
            f"{case.file}: split leaves {len(fit)} bars to fit and {len(validation)} to validate. Both need some."
        )
    overlapping = np.sort(fit[fit + signal.horizon >= validation.min()])
    if len(overlapping):
        bar, first = (candles.time[np.searchsorted(bars, each)] for each in (overlapping[0], validation.min()))
        raise LookAheadError(
            f"{case.file} looks ahead: {len(overlapping)} labels of its training rows use candles of its validation rows. The first "
            f"is that of {moment(bar)}, whose label ends {signal.horizon} bars later, where validation begins at {moment(first)}. "
            f"Leave {signal.horizon} bars between them, as freqlstm.folds.validation_split does."
        )


def check_training(case: SignalCase) -> None:
    """Scalers and weights are those of the training rows: other candles in the validation rows don't change them."""
    fitted: Any = case.fitted
    if not case.needs_fit or not hasattr(fitted, "split"):
        return
    market = case.training(case.ground.market)
    ready = [candles.rows(0, len(candles) - fitted.horizon) for candles in market.values()]
    pooled = np.unique(np.concatenate([_bars(candles)[ages(candles) >= fitted.warmup] for candles in ready]))
    step = case.ground.first.step
    bar = int(np.min(fitted.split(pooled)[1])) + 2  # a row without a label may shift it
    cut = pd.Timestamp(bar * step.value, tz="UTC")
    other: Any = case.new().fit({symbol: with_future(candles, cut, "changed") for symbol, candles in market.items()})
    past = case.past(cut, "changed")
    for symbol, candles in market.items():
        known = candles.between(None, cut + step)
        one, two = (signal.inputs(known) for signal in (fitted, other))
        past.require_tables("what its scaler learned in training, and so {},", {symbol: one}, {symbol: two})
    weights = [
        [each for network in getattr(who, "networks_", []) for each in network.get_weights()] for who in (fitted, other)
    ]
    pairs = zip(*weights, strict=False)  # a stage of boosting that validation refused is not there
    if not all(np.array_equal(one, two) for one, two in pairs):
        past.fail(
            "what its networks learned in training",
            "in their weights, which no candle of the validation rows may shape",
        )


def check_nothing_is_remembered(case: SignalCase) -> None:
    """What was predicted before has no influence: neither on this instance nor on another of the same file."""
    candles = case.ground.first
    changed = with_future(candles, candles.time[len(candles) // 3], "changed")
    ends = pd.concat([changed.frame.iloc[:-1], candles.frame.iloc[-1:]])  # as many candles, the same first and last
    later = replace(changed, frame=ends)
    alone = case.table(case.loaded(), later)
    signal = case.loaded()
    case.table(signal, candles)
    for who in (signal, _another(signal)):
        differs = first_difference(alone, case.table(who, later))
        if differs:
            bar, _, before, after = differs
            raise PluginError(
                f"{case.file}: it serves the predictions of older candles after the candles changed. At {moment(bar)} it says {after}; "
                f"asked about these candles alone it says {before}. Keep nothing from one call of predict to the next."
            )


def check_cache(case: SignalCase) -> None:
    """Fits and predictions that come through the cache are those of the candles at hand."""
    ground = case.ground
    whole = case.whole
    again = case.walk(ground.market, ground.end, cache=True)
    _require_cached(case, whole.table, again.table, "when they are read again")
    cut = ground.start + 50 * ground.first.step
    changed = {symbol: with_future(candles, cut, "changed") for symbol, candles in ground.market.items()}
    expected = case.as_first_fold(case.fitted, changed)  # the first fit is the same: its candles did not change
    made = case.walk(changed, ground.end, cache=True)
    _require_cached(case, expected, made.table, "after the candles changed")
    older = {fold["model_id"] for fold in whole.folds}
    stale = [fold["number"] for fold in made.folds[1:] if fold["model_id"] in older]
    if stale:
        raise PluginError(
            f"{case.file}: the cache serves the fit of fold {stale[0]} to older candles after the candles changed."
        )


SIGNAL_CHECKS: tuple[Callable[[SignalCase], None], ...] = (
    check_same_seed,
    check_features,
    check_inputs,
    check_predictions,
    check_validation,
    check_training,
    check_walk_forward,
    check_cache,
    check_nothing_is_remembered,
    check_candles_are_left_alone,
    check_saved_and_loaded,
    check_followed,
    check_alignment,
    check_missing_predictions,
    check_warmup,
    check_parameters,
)


def _require_same(case: SignalCase, culprit: str, make: Callable[[Any, Candles], pd.DataFrame], needs: str) -> None:
    """Compare what ``make`` makes of other futures with what it makes of the candles as they are."""
    signal = case.loaded()
    if not hasattr(signal, needs):
        return
    cuts = case.ground.few_cuts if hasattr(signal, "inputs") else case.ground.cuts
    others = []
    for cut, candles in _cuts_in_turn(case, cuts):
        for way in FUTURES:
            try:
                others.append((cut, way, candles, make(signal, with_future(candles, cut, way))))
            except Exception as error:
                make(case.loaded(), candles)  # what fails on all candles too is no look ahead
                raise LookAheadError(
                    f"{case.file} cannot do without later candles: when those after {moment(cut)} were {case.past(cut, way).way}, "
                    f"{needs} stopped with {type(error).__name__}: {error}"
                ) from error
    untouched = case.loaded()
    whole = {symbol: make(untouched, candles) for symbol, candles in case.ground.market.items()}
    for cut, way, candles, other in others:
        case.past(cut, way).require_tables(culprit, {candles.symbol: whole[candles.symbol]}, {candles.symbol: other})


def _cuts_in_turn(case: SignalCase, cuts: list[pd.Timestamp]) -> Iterator[tuple[pd.Timestamp, Candles]]:
    """Each cut with the candles of one symbol, the symbols taking turns."""
    symbols = list(case.ground.market.values())
    for number, cut in enumerate(cuts):
        yield cut, symbols[number % len(symbols)]


def _require_cached(case: SignalCase, expected: Tables, found: Tables, when: str) -> None:
    for symbol, table in expected.items():
        differs = first_difference(table, found[symbol].loc[: table.index[-1]])
        if differs:
            bar, _, before, after = differs
            raise PluginError(
                f"{case.file}: the cache serves other predictions than the signal makes {when}. At {moment(bar)} of {symbol} it "
                f"holds {after} instead of {before}. Everything that shapes a prediction must be in its parameters, files and candles."
            )


def _another(signal: Any) -> Any:
    """A second instance of the same class, knowing what the first has learned."""
    other = object.__new__(type(signal))
    vars(other).update(vars(signal))
    return other


def _bars(candles: Candles) -> np.ndarray:
    return np.asarray(candles.time.as_unit("ns").asi8 // candles.step.value)
