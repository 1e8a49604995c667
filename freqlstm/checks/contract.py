"""What every signal must keep besides never looking ahead; each check raises a PluginError that says what is broken."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.checks.case import SignalCase
from freqlstm.checks.ground import TEST, ages
from freqlstm.checks.verdict import first_difference, moment
from freqlstm.errors import FreqlstmError, PluginError
from freqlstm.plugins import Plugin
from freqlstm.signal import Signal, prediction_table


def check_candles_are_left_alone(case: SignalCase) -> None:
    """The candles that a signal is given are afterwards as they were."""
    signal = case.ready
    for candles in case.ground.market.values():
        before = _content(candles)
        case.table(signal, candles)
        if _content(candles) != before:
            raise PluginError(
                f"{case.file}: predict changes the candles that it is given. Work on a copy: candles.close.copy()."
            )
    market = case.training(case.ground.market) if case.fitted and case.needs_fit else {}
    for symbol, candles in market.items():
        if symbol not in case.given or _content(case.given[symbol]) != _content(candles):
            raise PluginError(f"{case.file}: fit changes the candles of {symbol} that it is given. Work on a copy.")


def check_same_seed(case: SignalCase) -> None:
    """The same seed and candles, in whatever order of symbols, give the same predictions, bit for bit."""
    two = case.as_first_fold(case.fitted, case.ground.market)
    one = case.whole.table if case.needs_fit else case.as_first_fold(case.new(), case.ground.market)
    for symbol, table in two.items():
        differs = first_difference(one[symbol].loc[: table.index[-1]], table)
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
    for name in ("slope_", "calibration_"):  # which were made to say something
        if hasattr(fitted, name):
            setattr(loaded, name, getattr(fitted, name))
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
    signal = case.ready
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
    signal = case.ready
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
        silent = np.flatnonzero(~spoken & (ages(candles) >= signal.warmup))
        if len(silent):
            row = silent[0]
            raise PluginError(
                f"{case.file}: there is no prediction of {symbol} at {moment(candles.time[row])}, though {age[row]} candles without a gap "
                f"precede it and the warm-up is {signal.warmup}. State a longer warm-up, or give a number."
            )


def check_warmup(case: SignalCase) -> None:
    """A prediction after the warm-up, and its interval after the memory, is the same however much history precedes it, but for rounding."""
    signal = case.ready
    candles = case.ground.smooth[case.ground.first.symbol]
    whole = case.table(signal, candles)
    rounding = 1e-3 * float(np.nanstd(whole["prediction"])) if whole["prediction"].notna().any() else 0.0
    for row in (len(candles) // 4, len(candles) // 3 + 17):
        if len(candles) - row <= signal.warmup:
            continue
        later = candles.rows(row, len(candles))
        table = case.table(signal, later)[later.segment_age >= signal.warmup]
        early = table.index < later.time[0] + signal.memory * later.step
        same = whole.loc[table.index]
        for name in ("prediction_low", "prediction_high"):
            table[name], same[name] = table[name].mask(early), same[name].mask(early)
        differs = first_difference(same, table, rounding + 1e-12)
        if differs:
            bar, column, before, after = differs
            long = "memory" if column in ("prediction_low", "prediction_high") else "warm-up"
            raise PluginError(
                f"{case.file}: its {long} of {signal.memory if long == 'memory' else signal.warmup} bars is too short. Without the "
                f"first {row} candles its {column} at {moment(bar)} is {after} instead of {before}."
            )


def check_followed(case: SignalCase) -> None:
    """Stopped and begun anew at any bar, it says what it says of all candles at once, bit for bit."""
    if type(case.ready).advance is Signal.advance:
        return  # it learns nothing after its fit: there is nothing to go on from
    ground = case.ground
    folder = case.models / "followed"
    for symbol, candles in ground.market.items():
        whole = case.table(case.ready, case.ready.recent(candles, ground.start))
        begin = int(candles.time.searchsorted(ground.start))
        for rows in (begin + 1, begin + 2, begin + 90, begin + TEST, len(candles)):
            signal, known = case.loaded(), candles.rows(0, rows)
            signal.resume(folder, symbol)
            table = prediction_table(signal, signal.recent(known, known.time[-1]), advance=True)
            signal.keep(folder, symbol)
            differs = first_difference(whole.loc[table.index[-1:]], table.iloc[-1:])
            if differs:
                bar, _, before, after = differs
                raise PluginError(
                    f"{case.file}: after it was stopped and begun anew it says {after} of {symbol} at {moment(bar)}; of all candles at "
                    f"once it says {before}. Everything that it has learned must be in what keep writes and resume reads."
                )


def check_parameters(case: SignalCase) -> None:
    """Every parameter of the plugin's own has a comment that says what it is."""
    require_comments(case.file, case.plugin)


def require_comments(file: str, plugin: Plugin) -> None:
    """A PluginError for the first parameter that the plugin did not inherit and that no comment explains."""
    inherited: set[str] = set()
    for base in plugin.load().__mro__[1:]:
        inherited |= {*vars(base), *getattr(getattr(base, "params", None), "_getkeys", list)()}
    for parameter in plugin.parameters():
        if not parameter.comment and parameter.name not in inherited:
            raise PluginError(
                f"{file}: nothing says what the parameter {parameter.name!r} is. Put a comment at the end of its line, with the "
                f"unit, as in `lookback: int = 10  # bars in each window`."
            )


def _content(candles: Candles) -> str:
    """A digest of the tables as they are now, columns, indexes and what is beside them included."""
    sha = hashlib.sha256()
    for name, table in (("", candles), *candles.beside.items()):
        frame = table.frame
        sha.update(f"{name} {list(frame.columns)} {frame.dtypes.tolist()} {len(frame)}".encode())
        sha.update(pd.util.hash_pandas_object(frame).to_numpy().tobytes())
    return sha.hexdigest()
