"""What every signal must keep; each check raises an error that names the file, the culprit and the first bar.

Call them from your own tests: ``check_predictions(signal_case(plugin))``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.checks.case import SignalCase
from freqlstm.checks.ground import FUTURES, with_future
from freqlstm.checks.verdict import first_difference, moment
from freqlstm.errors import FreqlstmError, LookAheadError, PluginError
from freqlstm.features import compute
from freqlstm.signal import Signal

AROUND = 60  # bars of future in the pieces of the market that features are compared on


def check_features(case: SignalCase) -> None:
    """No feature changes when only later candles change."""
    names = case.new().features
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
        past.require_tables("its walk-forward predictions", _tables(case.whole.table), _tables(made.table))
        for one, two in zip(case.whole.folds, made.folds, strict=False):
            if pd.Timestamp(one["test_start"]) > cut:
                break
            for name in ("slope", "validation_errors", "fitted_windows"):
                if one.get(name) != two.get(name):
                    past.fail(f"the {name.replace('_', ' ')} of its fold {one['number']}", f"from {one[name]} to {two[name]}")


def check_validation(case: SignalCase) -> None:
    """No label of a row that is fitted reaches into the rows that are validated."""
    signal: Any = case.new()
    if not hasattr(signal, "split"):
        return
    candles = case.ground.first.between(None, case.ground.start)
    bars = _bars(candles)
    fit, validation = (np.asarray(part) for part in signal.split(bars[signal.warmup :].copy()))
    if not len(fit) or not len(validation):
        raise PluginError(f"{case.file}: split leaves {len(fit)} bars to fit and {len(validation)} to validate. Both need some.")
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
    pooled = np.unique(np.concatenate([_bars(candles)[candles.segment_age >= fitted.warmup] for candles in ready]))
    step = case.ground.first.step
    cut = pd.Timestamp(int(np.min(fitted.split(pooled)[1]) + 2) * step.value, tz="UTC")  # a row without a label may shift it
    other: Any = case.new().fit({symbol: with_future(candles, cut, "changed") for symbol, candles in market.items()})
    past = case.past(cut, "changed")
    for symbol, candles in market.items():
        known = candles.between(None, cut + step)
        one, two = (signal.inputs(known) for signal in (fitted, other))
        past.require_tables("what its scaler learned in training, and so {},", {symbol: one}, {symbol: two})
    weights = [[each for network in getattr(who, "networks_", []) for each in network.get_weights()] for who in (fitted, other)]
    if not all(np.array_equal(one, two) for one, two in zip(*weights, strict=True)):
        past.fail("what its networks learned in training", "in their weights, which no candle of the validation rows may shape")


def check_candles_are_left_alone(case: SignalCase) -> None:
    """The candles that a signal is given are afterwards as they were."""
    signal = case.loaded()
    for candles in case.ground.market.values():
        before = _content(candles)
        case.table(signal, candles)
        if _content(candles) != before:
            raise PluginError(f"{case.file}: predict changes the candles that it is given. Work on a copy: candles.close.copy().")
    market = case.training(case.ground.market) if case.fitted and case.needs_fit else {}
    for symbol, candles in market.items():
        if symbol not in case.given or _content(case.given[symbol]) != _content(candles):
            raise PluginError(f"{case.file}: fit changes the candles of {symbol} that it is given. Work on a copy.")


def check_same_seed(case: SignalCase) -> None:
    """The same seed and candles, in whatever order of symbols, give the same predictions, bit for bit."""
    one, two = case.whole.table, case.as_first_fold(case.fitted, case.ground.market)
    for symbol, table in two.items():
        differs = first_difference(_tables(one)[symbol].loc[: table.index[-1]], table)
        if differs:
            bar, _, before, after = differs
            raise PluginError(
                f"{case.file}: two fits with the same seed and candles differ. Its predictions of {symbol} part at {moment(bar)}: "
                f"{before} and {after}. Draw random numbers from generators seeded with self.seed, and sort what has no order."
            )


def check_saved_and_loaded(case: SignalCase) -> None:
    """A signal that was saved and loaded predicts the same, bit for bit."""
    fitted: Any = case.fitted
    loaded: Any = case.loaded()
    if hasattr(fitted, "slope_"):
        loaded.slope_ = fitted.slope_
    for symbol, candles in case.ground.market.items():
        differs = first_difference(case.table(fitted, candles), case.table(loaded, candles))
        if differs:
            bar, _, before, after = differs
            raise PluginError(
                f"{case.file}: after save and load its predictions of {symbol} differ from {moment(bar)} on: {after} instead of "
                f"{before}. Everything that fit learns must be in attributes that end in '_', or in write_files and read_files."
            )


def check_alignment(case: SignalCase) -> None:
    """There is one row a candle, at candles.time, and a few candles give rows without a prediction, not an error."""
    signal = case.loaded()
    for candles in case.ground.market.values():
        for rows in (len(candles), signal.warmup // 2 + 1, 1):
            try:
                case.table(signal, candles.rows(0, rows))
            except FreqlstmError:
                raise
            except Exception as error:
                raise PluginError(
                    f"{case.file}: predict stops with {type(error).__name__} ({error}) when it is given {rows} candles. Where there are "
                    f"too few it must return NaN."
                ) from error


def check_missing_predictions(case: SignalCase) -> None:
    """A prediction is missing during the warm-up, also of the stretch after a gap, and nowhere else."""
    signal = case.loaded()
    for symbol, candles in case.ground.smooth.items():
        spoken = case.table(signal, candles)["prediction"].notna().to_numpy()
        age = candles.segment_age
        early = np.flatnonzero(spoken & (age < signal.warmup))
        if len(early):
            row = early[0]
            raise PluginError(
                f"{case.file}: there is a prediction of {symbol} at {moment(candles.time[row])}, {age[row]} bars after a gap or the first "
                f"candle, within the warm-up of {signal.warmup}. It must be NaN there: compute stretch by stretch with "
                f"candles.by_segment, or state the warm-up that is needed."
            )
        silent = np.flatnonzero(~spoken & (age >= signal.warmup))
        if len(silent):
            row = silent[0]
            raise PluginError(
                f"{case.file}: there is no prediction of {symbol} at {moment(candles.time[row])}, though {age[row]} candles without a gap "
                f"precede it and the warm-up is {signal.warmup}. State a longer warm-up, or give a number."
            )


def check_warmup(case: SignalCase) -> None:
    """A prediction after the warm-up is the same however much history precedes it, but for rounding."""
    signal = case.loaded()
    candles = case.ground.smooth[case.ground.first.symbol]
    whole = case.table(signal, candles)
    rounding = 1e-3 * float(np.nanstd(whole["prediction"])) if whole["prediction"].notna().any() else 0.0
    for row in (len(candles) // 4, len(candles) // 3 + 17):
        if len(candles) - row <= signal.warmup:
            continue
        later = candles.rows(row, len(candles))
        table = case.table(signal, later)[later.segment_age >= signal.warmup]
        differs = first_difference(whole.loc[table.index], table, rounding + 1e-12)
        if differs:
            bar, _, before, after = differs
            raise PluginError(
                f"{case.file}: its warm-up of {signal.warmup} bars is too short. Without the first {row} candles its prediction at "
                f"{moment(bar)} is {after} instead of {before}."
            )


def check_nothing_is_remembered(case: SignalCase) -> None:
    """What was predicted before has no influence: neither on this instance nor on another of the same file."""
    candles = case.ground.first
    changed = with_future(candles, candles.time[len(candles) // 3], "changed")
    ends = pd.concat([changed.frame.iloc[:-1], candles.frame.iloc[-1:]])  # the same first and last candle
    for later in (changed, Candles(ends, candles.symbol, candles.timeframe, candles.exchange)):
        alone = case.table(case.loaded(), later)
        signal = case.loaded()
        case.table(signal, candles)
        sibling = _another(signal)
        for who in (signal, sibling):
            differs = first_difference(alone, case.table(who, later))
            if differs:
                bar, _, before, after = differs
                raise PluginError(
                    f"{case.file}: it serves the predictions of older candles after the candles changed. At {moment(bar)} it says {after}; "
                    f"asked about these candles alone it says {before}. Keep nothing from one call of predict to the next."
                )


def check_cache(case: SignalCase) -> None:
    """Predictions that come through the cache are those of the candles at hand."""
    ground = case.ground
    step = ground.first.step
    changed = {symbol: with_future(candles, ground.start + 50 * step, "changed") for symbol, candles in ground.market.items()}
    until = ground.second_fold
    first = case.walk(ground.market, until, cache=True)
    _require_cached(case, case.whole.table, first.table, until, "of the candles as they are")
    _require_cached(case, first.table, case.walk(ground.market, until, cache=True).table, until, "when they are read again")
    expected = case.as_first_fold(case.fitted, changed)  # the training candles are the same
    _require_cached(case, expected, case.walk(changed, until, cache=True).table, until, "after the candles changed")


def check_parameters(case: SignalCase) -> None:
    """Every parameter of the plugin's own has a comment that says what it is."""
    require_comments(case.file, case.plugin, Signal)


def require_comments(file: str, plugin: Any, base: type) -> None:
    """A PluginError for the first parameter that neither ``base`` has nor a comment explains."""
    inherited = set(vars(base)) | set(getattr(getattr(base, "params", None), "_getkeys", list)())
    for parameter in plugin.parameters():
        if not parameter.comment and parameter.name not in inherited:
            raise PluginError(
                f"{file}: nothing says what the parameter {parameter.name!r} is. Put a comment at the end of its line, with the "
                f"unit, as in `lookback: int = 10  # bars in each window`."
            )


SIGNAL_CHECKS: tuple[Callable[[SignalCase], None], ...] = (
    check_parameters,
    check_features,
    check_validation,
    check_inputs,
    check_predictions,
    check_alignment,
    check_missing_predictions,
    check_warmup,
    check_nothing_is_remembered,
    check_candles_are_left_alone,
    check_same_seed,
    check_saved_and_loaded,
    check_training,
    check_walk_forward,
    check_cache,
)  # fmt: skip


def _require_same(
    case: SignalCase, culprit: str, make: Callable[[Any, Candles], pd.DataFrame], needs: str
) -> None:
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


def _require_cached(case: SignalCase, expected: Any, found: Any, until: pd.Timestamp, when: str) -> None:
    for symbol, table in _tables(expected).items():
        one, two = (part[part.index < until] for part in (table, found[symbol]))
        differs = first_difference(one, two)
        if differs:
            bar, _, before, after = differs
            raise PluginError(
                f"{case.file}: the cache serves other predictions than the signal makes {when}. At {moment(bar)} of {symbol} it "
                f"holds {after} instead of {before}. Everything that shapes a prediction must be in its parameters, files and candles."
            )


def _tables(tables: Any) -> dict[str, pd.DataFrame]:
    return {symbol: tables[symbol] for symbol in sorted(tables)}


def _another(signal: Any) -> Any:
    """A second instance of the same class, knowing what the first has learned."""
    other = object.__new__(type(signal))
    vars(other).update(vars(signal))
    return other


def _bars(candles: Candles) -> np.ndarray:
    return np.asarray(candles.time.as_unit("ns").asi8 // candles.step.value)


def _content(candles: Candles) -> str:
    """A digest of a table as it is now, columns and index included."""
    frame = candles.frame
    told = f"{list(frame.columns)} {frame.dtypes.tolist()} {len(frame)}".encode()
    return hashlib.sha256(told + frame.index.asi8.tobytes() + frame.to_numpy(np.float64).tobytes()).hexdigest()  # type: ignore[attr-defined]
