"""The base class of strategies: conditions over whole columns become orders, one decision a closed bar.

The rules, for every engine. At the close of bar t, for each symbol that has a candle there, in order:

1. A position whose exit condition is true, or which has been held for ``max_holding`` bars (the bar of its fill is the
   first), is closed at the open of the symbol's next candle, however late that comes.
2. Without a position, an entry condition buys (or sells short) at the next open. The size is
   ``share * exposure / max_positions`` of the equity at the close of t, slippage and commission included, as if the
   next candle opened at that close, cut down to whole lots. Where it opens higher, the order costs more: what the cash
   does not cover is refused, so an ``exposure`` of 1 buys only where no gap follows. Long and short at once cancel each
   other, and there is no entry while ``max_positions`` positions and entry orders are open. The order is good for the
   next candle only: where that one is missing, it lapses.
3. ``stop_loss`` and ``trailing_stop`` (stop orders) and ``take_profit`` (a limit order) are fractions of the price
   of the fill. They are placed at the close of the bar of the fill, so that bar itself cannot trigger them, unless that
   close already decides to leave. The trailing stop follows closes, that one being the first. A stop that the market
   opens beyond fills at that open. When two could fill in one bar, the stop is taken to be first. Filling one cancels
   the others, and so does leaving.

Where an indicator is still warming up or a prediction that the conditions read is missing, no condition is true: no
trade begins there, and an open one ends by its stops or ``max_holding`` only.

An entry that is below the minimum notional, is off the lot step or less than one lot, sells short where that is not allowed, or cannot be
paid for (at the close of t, or at the open when it fills) is refused and listed as such. An exit always fills. Short
positions pay no interest and are never liquidated.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import backtrader as bt
import numpy as np
import pandas as pd

from freqlstm.absent import SignalNeeded
from freqlstm.bars import CONDITIONS as CONDITIONS
from freqlstm.bars import ENDINGS, Bars, condition, share
from freqlstm.bars import Decisions as Decisions
from freqlstm.candles import COLUMNS, TIMEFRAMES, Candles, step_of
from freqlstm.columns import Column
from freqlstm.costs import MarketRules
from freqlstm.desk import Brief, Desk
from freqlstm.errors import FreqlstmError, PluginError, UnknownName, UsageError


class Strategy(bt.Strategy):  # type: ignore[misc]
    """Orders from predictions and indicators; the base class of strategy plugins.

    Override the conditions you need, each one expression over the columns of ``bars``; or override ``next()`` and do
    everything yourself, as in any Backtrader strategy, with ``self.prediction[0]`` at hand.

    It also runs in a Cerebro of your own, on any feed that is loaded before the run, where any size and short positions
    are allowed; predictions are read from lines of the feed that have the names in ``signals``. Values still do not span
    a gap: of candles that pause, as those of stocks at weekends, every pause begins the indicators anew.
    """

    signals: ClassVar[dict[str, str]] = {}  # column of bars -> name of the signal that fills it
    warmup: ClassVar[int] = 0  # bars of history that the conditions look back on by themselves, without an indicator

    params: Any = dict(  # fractions unless said otherwise; 0 switches a rule off
        stop_loss=0.0,  # of the entry price
        take_profit=0.0,  # of the entry price
        trailing_stop=0.0,  # of the best close since the entry
        max_holding=0,  # bars
        exposure=0.95,  # of the equity, over all positions, costs included; near 1 an open above the close is refused
        max_positions=0,  # positions open at once; 0: as many as there are symbols
    )

    def enter_long(self, bars: Bars) -> Any:
        """Where to buy: one truth value a bar, known at its close. None: never."""
        return None

    def exit_long(self, bars: Bars) -> Any:
        """Where to sell what was bought. None: never."""
        return None

    def enter_short(self, bars: Bars) -> Any:
        """Where to sell short, in markets that allow it. None: never."""
        return None

    def exit_short(self, bars: Bars) -> Any:
        """Where to buy back what was sold short. None: never."""
        return None

    def share(self, bars: Bars) -> Any:
        """Share of ``exposure`` that an entry takes: one number from 0 to 1 a bar, known at its close. None: all of it.

        Where it is 0 or missing, there is no entry.
        """
        return None

    def next(self) -> None:
        for desk in self.desks:
            desk.step()

    def prenext(self) -> None:  # a portfolio in which not every symbol has begun to trade
        if not overrides_next(type(self)):
            self.next()

    @cached_property
    def desks(self) -> list[Desk]:
        """One for each symbol."""
        return [Desk(self, data, data if hasattr(data, "decisions") else self._brief(data)) for data in self.datas]

    def _brief(self, data: Any) -> Brief:
        """The decisions on a feed of the user's own Cerebro, from its candles, which must be loaded before the run."""
        candles = candles_of(data, type(self).__name__)
        lines = data.getlinealiases()
        signals = signals_of(type(self))
        for column, signal in signals.items():
            if column not in lines:
                raise PluginError(
                    f"{type(self).__name__} decides by the signal {signal!r}, but its data has no line {column!r}. Run it with "
                    f"`freqlstm backtest`, or give the feed a line of that name with the predictions."
                )
        named = [f"{column}{end}" for column in signals for end in ENDINGS if f"{column}{end}" in lines]
        predictions = {name: np.asarray(getattr(data.lines, name).array)[: len(candles)] for name in named}
        bars = Bars(candles, pd.DataFrame(predictions, index=candles.time))
        decisions = decide(type(self), dict(self.p._getitems()), bars)
        return Brief(candles, decisions, MarketRules(min_notional=0.0), allow_short=True)

    @property
    def prediction(self) -> Any:
        """The line of predictions of the first symbol: ``self.prediction[0]`` is the newest, NaN where there is none."""
        if "prediction" not in self.data.getlinealiases():
            name = type(self).__name__
            raise PluginError(
                f"{name} reads self.prediction, but no signal of {name} has that name. Add one to signals."
            )
        return self.data.lines.prediction


def candles_of(data: Any, name: str) -> Candles:
    """The candles of any Backtrader feed that was loaded before the run; ``name`` is the strategy that asks."""
    rows = data.buflen()
    days = np.asarray(data.lines.datetime.array)[:rows]
    if not data._env._dopreload or data.islive() or not rows:
        raise PluginError(
            f"{name} decides over whole columns, but its data is not loaded before the run. Run the Cerebro with "
            f"preload=True and exactbars=False, on a feed that is neither live, resampled nor replayed."
        )
    time = pd.to_datetime(np.round((days - 719163.0) * 86_400_000.0).astype(np.int64), unit="ms", utc=True)
    step = time.to_series().diff().min()
    timeframe = next((known for known in TIMEFRAMES if step_of(known) == step), None)
    if timeframe is None:
        raise PluginError(
            f"The candles that {name} got are {step} apart, which is no timeframe. They must be apart by one of "
            f"{', '.join(TIMEFRAMES)}."
        )
    values = {column: np.asarray(getattr(data.lines, column).array)[:rows] for column in COLUMNS}
    table = pd.DataFrame(values, index=time)
    table["volume"] = table["volume"].fillna(0.0)  # feeds without one give NaN
    return Candles.from_frame(table, str(data._name or "DATA"), timeframe)


def rules_of(strategy: type[bt.Strategy], parameters: Mapping[str, Any]) -> Any:
    """An instance whose conditions can be asked without a running Cerebro."""
    rules = object.__new__(strategy)
    rules.p = rules.params = strategy.params()
    known = dict(strategy.params._getitems())
    for name, value in parameters.items():
        if name not in known:
            raise UnknownName(f"parameter of {strategy.__name__}", name, known)
        setattr(rules.p, name, value)
    return rules


def check_parameters(strategy: type[bt.Strategy], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of ``strategy`` with those given in place, or an error for one that cannot be right."""
    rules = rules_of(strategy, parameters)
    values: dict[str, Any] = {}
    for name, default in strategy.params._getitems():
        value = values[name] = getattr(rules.p, name)
        said = f"Parameter {name!r} of {strategy.__name__} is {value!r}."
        kind = bool if isinstance(default, bool) else str if isinstance(default, str) else None
        if kind is not None and not isinstance(value, kind):
            raise UsageError(f"{said} It must be {'True or False' if kind is bool else 'a text'}, like {default!r}.")
        if kind is None and isinstance(default, (int, float)) and not _is_number(value):
            raise UsageError(f"{said} It must be a number, like {default}.")
        if issubclass(strategy, Strategy) and name in _BASE_PARAMETERS:
            fits, right = _BASE_PARAMETERS[name]
            if not (_is_number(value) and fits(value)):
                raise UsageError(f"{said} It must be {right}.")
    return values


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return bool(value >= 0 and value == int(value))


_BASE_PARAMETERS: dict[str, tuple[Any, str]] = {
    "stop_loss": (lambda value: 0 <= value < 1, "a fraction from 0 (off) up to 1: 0.02 is 2%"),
    "trailing_stop": (lambda value: 0 <= value < 1, "a fraction from 0 (off) up to 1: 0.02 is 2%"),
    "take_profit": (lambda value: value >= 0, "a fraction from 0 (off) up: 0.02 is 2%"),
    "max_holding": (_is_count, "a whole number of bars, 0 for no limit"),
    "max_positions": (_is_count, "a whole number of positions, 0 for as many as there are symbols"),
    "exposure": (lambda value: 0 < value <= 1, "a fraction of the equity, above 0 up to 1"),
}


def signals_of(strategy: type[bt.Strategy]) -> dict[str, str]:
    """Column of bars -> name of the signal that fills it, checked. A plain Backtrader strategy has none."""
    named = strategy.signals if issubclass(strategy, Strategy) else {}
    right = "a dict of column to signal, as in dict(prediction='lstm')"
    if not isinstance(named, dict) or not all(isinstance(each, str) for pair in named.items() for each in pair):
        raise PluginError(f"The signals of {strategy.__name__} are {named!r}. They must be {right}.")
    taken = {*_TAKEN, *dir(Bars), *(f"{column}{end}" for column in named for end in ENDINGS[1:])}
    for column in named:
        if not column.isidentifier() or column.startswith("_") or column in taken:
            raise PluginError(
                f"{strategy.__name__} calls the column of a signal {column!r}, which cannot be read as a column of bars or means "
                f"something else there. Call it prediction, or another word of letters, digits and '_'."
            )
    return named


_TAKEN = (*COLUMNS, "candles", "symbol", "time", "warmup", "without")


def overrides_next(strategy: type[bt.Strategy]) -> bool:
    """Whether the strategy decides bar by bar instead of by conditions over columns."""
    return not issubclass(strategy, Strategy) or strategy.next is not Strategy.next


def history_needed(strategy: type[Strategy], parameters: Mapping[str, Any], bars: Bars) -> int:
    """How many bars before the first decision the conditions need; found by asking them about a few ``bars``."""
    decide(strategy, parameters, bars)
    return max(bars.warmup, strategy.warmup)


def decide(strategy: type[Strategy], parameters: Mapping[str, Any], bars: Bars) -> Decisions:
    """The conditions of ``strategy`` over all ``bars``; none is true before indicators and predictions are ready."""
    rules = rules_of(strategy, parameters)
    columns: dict[str, Column] = {}

    def asked(name: str) -> Any:
        where = f"{strategy.__name__}.{name}"
        try:
            return getattr(rules, name)(bars)
        except FreqlstmError:
            raise
        except (Exception, SystemExit) as error:  # a plugin that leaves the program would look like success
            if bars.without:
                raise SignalNeeded(f"{where} stopped with {type(error).__name__}: {str(error).rstrip('.')}") from error
            raise failure(strategy, where, error) or PluginError(f"{where} failed: {error}.") from error

    for name in CONDITIONS:
        column = condition(bars, asked(name), f"{strategy.__name__}.{name}")
        if column is not None:
            columns[name] = column
    taken = share(bars, asked("share"), f"{strategy.__name__}.share")
    ready = bars.ready() & bars.candles.aged(strategy.warmup)
    never = np.zeros(len(bars.candles), dtype=bool)

    def known(name: str) -> np.ndarray:
        return np.asarray(columns[name]) & ready if name in columns else never

    def entered(name: str) -> np.ndarray:
        return known(name) if taken is None else known(name) & (taken > 0)

    return Decisions(
        entered("enter_long"), known("exit_long"), entered("enter_short"), known("exit_short"), columns, share=taken
    )


def failure(strategy: type[bt.Strategy], where: str, error: BaseException) -> PluginError | None:
    """``error`` as that of the plugin, if it was raised under a line of its file, or while it decides bar by bar."""
    file = getattr(sys.modules.get(strategy.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if not lines and not overrides_next(strategy):
        return None
    place = f" at line {lines[-1]} of its file" if lines else ""
    return PluginError(f"{where} stopped{place} with {type(error).__name__}: {str(error).rstrip('.')}.")
