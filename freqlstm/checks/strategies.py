"""What every strategy must keep; each check raises an error that names the file, the culprit and the first bar."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.bars import ENDINGS, Bars
from freqlstm.candles import Candles
from freqlstm.checks.case import SignalCase, fresh
from freqlstm.checks.contract import require_comments
from freqlstm.checks.ground import FUTURES, Market, futures_of
from freqlstm.checks.strategy_case import Forecasts, StrategyCase, Trading, told
from freqlstm.checks.verdict import first_difference, moment
from freqlstm.errors import LookAheadError, PluginError
from freqlstm.strategy import Strategy, decide

BEFORE = 300  # bars that conditions are asked about before the bar after which the future is changed
LATE = 90  # bars before the end, after the last gap
EARLIER = 600  # bars that conditions trade before it
AFTER = 30  # bars of that future that trading goes on
SHOCKS = ("tripled in price", "cut to a third in price")


def check_conditions(case: StrategyCase) -> None:
    """No condition, nor any comparison in it, changes when only later candles and predictions change."""
    if not case.of_conditions:
        return
    symbols = list(case.ground.market)
    for number, (cut, alone) in enumerate(_telling_cuts(case)):
        symbol = alone or symbols[number % len(symbols)]
        whole_market = {symbol: case.ground.market[symbol]}
        step = case.ground.first.step
        start, end = (
            (case.ground.start, case.ground.end) if number % 8 == 0 else (cut - BEFORE * step, cut + AFTER * step)
        )
        start = max(start, whole_market[symbol].time[0])
        others = []
        for way in FUTURES if number % 6 == 0 else ("removed", "changed", SHOCKS[number % 2]):
            market = futures_of(whole_market, cut, way)
            job = case.job(market, start, cut + step if way == "removed" else end + 100 * step)
            with _blamed(case, cut, way, "its conditions"):
                others.append((way, case.conditions(fresh(case.plugin), job, case.forecasts(market, cut), symbol)))
        whole = case.conditions(
            fresh(case.plugin), case.job(whole_market, start, end), case.forecasts(whole_market), symbol
        )
        for way, other in others:
            case.past(cut, way).require_tables("its {}", {symbol: whole}, {symbol: other})


def check_trading(case: StrategyCase) -> None:
    """Orders, fills and equity up to a bar stay as they are when only later candles and predictions change.

    Where there is nothing to compare, nothing is proven.
    """
    ground, step = case.ground, case.ground.first.step
    fresh(case.plugin)
    forecasts = case.forecasts(ground.market)
    probe = case.trading(case.kind, case.job(ground.market, case.start, ground.end), forecasts)
    decided = sorted({time for time, _ in probe.orders if time < ground.first.time[-2]})
    few = [decided[len(decided) * part // 6] for part in range(6)] if decided else []
    cuts = sorted({*few, *(time - step for time in few[:3]), *ground.few_cuts})
    for number, cut in enumerate(cuts):
        if any(len(candles.between(None, cut)) < case.history for candles in ground.market.values()):
            continue  # nothing happens there, and Backtrader cannot do with so few candles
        start, end = case.start, cut + AFTER * step
        if case.of_conditions:  # which remember nothing but the position
            start = max(start, cut - EARLIER * step)
        others = []
        for way in FUTURES if number % 4 == 0 else ("removed", "changed", SHOCKS[number % 2]):
            market = futures_of(ground.market, cut, way)
            job = case.job(market, start, cut + step if way == "removed" else end + 100 * step)
            with _blamed(case, cut, way, "its trading"):
                others.append((way, case.trading(fresh(case.plugin), job, case.forecasts(market, cut))))
        whole = case.trading(fresh(case.plugin), case.job(ground.market, start, end), forecasts)
        for way, other in others:
            require_same_trading(case, cut, way, whole, other)
    if not probe.orders:
        raise _unproven(case, "it placed no order")
    if case.of_conditions:
        job = case.job(ground.market, case.start, ground.end)
        made = [case.decisions(case.kind, job, forecasts, symbol) for symbol in ground.market]
        for name in ("enter_long", "enter_short"):
            if any(name in each.columns for each in made) and not any(getattr(each, name).any() for each in made):
                raise _unproven(case, f"its condition {name} was never true")


def check_whole_pipeline(case: StrategyCase) -> None:
    """From candles to equity, with the signals' own predictions: all is the same up to the bar where two futures part."""
    ground, step = case.ground, case.ground.first.step
    if not case.signals:
        return
    whole = case.trading(
        case.kind,
        case.job(ground.market, case.start, ground.end),
        _joined({a: s.whole.table for a, s in case.signals.items()}),
    )
    slow = {alias: signal for alias, signal in case.signals.items() if signal.needs_fit}
    for cut, way, market, _ in next(iter((slow or dict(case.signals)).values())).pipelines:
        made = {alias: _of_pipeline(signal, cut, way, market) for alias, signal in case.signals.items()}
        end = min(min(table.index[-1] for tables in made.values() for table in tables.values()) + step, ground.end)
        with _blamed(case, cut, way, "its trading"):
            other = case.trading(fresh(case.plugin), case.job(market, case.start, end), _joined(made))
        require_same_trading(case, cut, way, whole, other)


def check_history(case: StrategyCase) -> None:
    """Conditions on a history that was cut off in front are those on all of it, wherever they are ready."""
    if not case.of_conditions:
        return
    symbol, candles = case.ground.first.symbol, case.ground.first
    forecasts = case.forecasts({symbol: candles})[symbol]
    strategy: Any = case.kind

    def decided(part: Candles) -> tuple[pd.DataFrame, np.ndarray]:
        bars = Bars(part, forecasts.loc[part.time])
        table = told(decide(strategy, case.values(strategy), bars), part.time)
        return table, bars.ready() & (part.segment_age >= strategy.warmup)

    whole, _ = decided(candles)
    for row in (len(candles) // 3, len(candles) // 2 + 7, len(candles) - 2 * BEFORE, len(candles) - LATE):
        table, ready = decided(candles.rows(row, len(candles)))
        differs = first_difference(whole.loc[table.index[ready]], table[ready])
        if differs:
            bar, name, before, after = differs
            raise PluginError(
                f"{case.file}: its {name} depends on how much history there is. Without the first {row} candles it is "
                f"{after} at {moment(bar)} instead of {before}. State how many bars it looks back on as the "
                f"class attribute warmup."
            )


def check_missing_predictions(case: StrategyCase) -> None:
    """A missing prediction never trades."""
    if not case.of_conditions or not case.signals:
        return
    ground = case.ground
    nothing = {symbol: table * np.nan for symbol, table in case.forecasts(ground.market).items()}
    orders = case.trading(case.kind, case.job(ground.market, case.start, ground.end), nothing).orders
    if orders:
        raise PluginError(
            f"{case.file}: it decides on {orders[0][1]} at {moment(orders[0][0])}, where its prediction is missing."
        )


def check_same_result(case: StrategyCase) -> None:
    """Another run over the same candles, or one after a run over others, does the same."""
    ground = case.ground
    job = case.job(ground.market, case.start, ground.end)
    cut = ground.first.time[len(ground.first) // 3]
    changed = futures_of(ground.market, cut, "changed")
    alone = case.trading(fresh(case.plugin), job, case.forecasts(ground.market))
    kind = fresh(case.plugin)
    case.trading(kind, case.job(changed, case.start, ground.end), case.forecasts(changed, cut))
    again = case.trading(kind, job, case.forecasts(ground.market))
    for one, two in ((alone.orders, again.orders), (alone.fills, again.fills)):
        for first, second in zip([*one, (ground.end, "nothing")], [*two, (ground.end, "nothing")], strict=False):
            if first != second:
                raise PluginError(
                    f"{case.file}: it does not do the same twice. After a run over other candles there is {second[1]} at "
                    f"{moment(second[0])} instead of {first[1]} at {moment(first[0])}. Keep what it remembers in self, set in __init__, and draw "
                    f"no random numbers without a seed."
                )


def check_candles_are_left_alone(case: StrategyCase) -> None:
    """The candles and predictions that a strategy is given are afterwards as they were."""
    ground = case.ground
    forecasts = case.forecasts(ground.market)
    given = [*(candles.frame for candles in ground.market.values()), *forecasts.values()]
    before = [_content(frame) for frame in given]
    case.trading(case.kind, case.job(ground.market, case.start, ground.end), forecasts)
    if [_content(frame) for frame in given] != before:
        raise PluginError(
            f"{case.file}: it changes the candles or predictions that it is given. Work on a copy: bars.close.copy()."
        )


def check_parameters(case: StrategyCase) -> None:
    """Every parameter of the plugin's own has a comment that says what it is; plain Backtrader strategies are taken as they are."""
    if issubclass(case.kind, Strategy):
        require_comments(case.file, case.plugin)


STRATEGY_CHECKS: tuple[Callable[[StrategyCase], None], ...] = (
    check_same_result,
    check_conditions,
    check_trading,
    check_whole_pipeline,
    check_history,
    check_missing_predictions,
    check_candles_are_left_alone,
    check_parameters,
)


def require_same_trading(case: StrategyCase, cut: pd.Timestamp, way: str, whole: Trading, other: Trading) -> None:
    """Compare two runs up to and including the bar that opened at ``cut``."""
    past = case.past(cut, way)
    past.require_events("its orders", whole.orders, other.orders)
    past.require_events("its trades", whole.fills, other.fills)
    past.require_tables("its {}", {"": whole.equity}, {"": other.equity})


def _unproven(case: StrategyCase, why: str) -> PluginError:
    return PluginError(
        f"{case.file} was not proven: {why} on the candles of the check. Check it on candles on which it trades: -p, -i, "
        f"--timerange."
    )


def _telling_cuts(case: StrategyCase) -> list[tuple[pd.Timestamp, str]]:
    """The ground's cuts, and bars before and on which a condition, or a comparison in it, turns true or false."""
    ground = case.ground
    found: list[tuple[pd.Timestamp, str]] = [(cut, "") for cut in ground.cuts]
    job = case.job(ground.market, case.start, ground.end)
    for number, symbol in enumerate(ground.market):
        table = case.conditions(fresh(case.plugin), job, case.forecasts(ground.market), symbol)
        for column, name in enumerate(table):
            turns = np.flatnonzero(np.diff(table[name].to_numpy(np.float64)[:-2]) != 0)  # the bar before the turn
            if len(turns) and (column + number) % 2:
                row = int(turns[len(turns) // 2])
                found += [(table.index[row], symbol), (table.index[row + 1], symbol)]
    return sorted(set(found))


@contextmanager
def _blamed(case: StrategyCase, cut: pd.Timestamp, way: str, what: str) -> Iterator[None]:
    """An error that only another future brings about is a look ahead too."""
    try:
        yield
    except Exception as error:
        raise LookAheadError(
            f"{case.file} cannot do without later candles: when those after {moment(cut)} were {case.past(cut, way).way}, {what} stopped "
            f"with: {error}"
        ) from error


def _of_pipeline(signal: SignalCase, cut: pd.Timestamp, way: str, market: Market) -> Mapping[str, pd.DataFrame]:
    """A signal's walk-forward predictions on a market, remembered if it has made them."""
    for other_cut, other_way, _, made in signal.pipelines:
        if (other_cut, other_way) == (cut, way):
            return made.table
    return signal.walk(market, signal.ground.end if way != "removed" else cut + signal.ground.first.step).table


def _joined(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> Forecasts:
    """Predictions of several signals as the columns of bars."""
    columns: dict[str, dict[str, pd.Series[float]]] = {}
    for alias, by_symbol in tables.items():
        for symbol, table in by_symbol.items():
            for ending in ENDINGS:
                columns.setdefault(symbol, {})[f"{alias}{ending}"] = table[f"prediction{ending}"]
    return {symbol: pd.DataFrame(made) for symbol, made in columns.items()}


def _content(frame: pd.DataFrame) -> str:
    told = f"{list(frame.columns)} {len(frame)}".encode()
    return hashlib.sha256(told + frame.to_numpy(np.float64).tobytes()).hexdigest()
