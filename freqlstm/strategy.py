"""The base class of strategies: conditions over whole columns become orders, one decision a closed bar.

The rules, for every engine. At the close of bar t, for each symbol in order:

1. A position that has been held for ``max_holding`` bars, or whose exit condition is true, is closed at the next open.
2. Without a position, an entry condition buys (or sells short) at the next open. The size is
   ``exposure / max_positions`` of the equity at the close of t, at that close, cut down to whole lots. Long and short
   at once cancel each other. The order is good for the next candle only: where that one is missing, it lapses.
3. ``stop_loss`` and ``trailing_stop`` (stop orders) and ``take_profit`` (a limit order) are fractions of the price
   of the fill, and rest in the market from the bar after it. The trailing stop follows closes. When two could fill in
   one bar, the stop is taken to be first. Filling one cancels the others.

An order that cannot be paid for, is below the minimum notional or less than one lot is refused and listed as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import backtrader as bt
import numpy as np

from freqlstm.bars import Bars, Column, condition
from freqlstm.costs import MarketRules
from freqlstm.errors import UnknownName, UsageError

CONDITIONS = ("enter_long", "exit_long", "enter_short", "exit_short")


@dataclass(frozen=True)
class Decisions:
    """What the four conditions say at the close of each bar of one symbol; shape (bars,), bool, False where not ready."""

    enter_long: np.ndarray
    exit_long: np.ndarray
    enter_short: np.ndarray
    exit_short: np.ndarray
    columns: Mapping[str, Column]  # the conditions as the strategy made them, on all bars that it was given
    offset: int = 0  # bars of history that were cut off in front

    def since(self, row: int) -> Decisions:
        """The decisions from ``row`` on."""
        cut = {name: getattr(self, name)[row:] for name in CONDITIONS}
        return Decisions(**cut, columns=self.columns, offset=self.offset + row)

    def fired(self, name: str, row: int) -> str:
        """The comparisons inside condition ``name`` that were true at ``row``."""
        column = self.columns.get(name)
        terms = getattr(column, "terms", None) or {}
        return " & ".join(text for text, truth in terms.items() if truth[row + self.offset])

    def votes(self, name: str, row: int) -> str:
        """The points of the vote inside condition ``name`` at ``row``; empty where it has none."""
        votes = getattr(self.columns.get(name), "votes", None)
        return "" if votes is None else f"{votes[row + self.offset]:g}"


class Strategy(bt.Strategy):
    """Orders from predictions and indicators; the base class of strategy plugins.

    Override the conditions you need, each one expression over the columns of ``bars``; or override ``next()`` and do
    everything yourself, as in any Backtrader strategy, with ``self.prediction[0]`` at hand.
    """

    signals: ClassVar[dict[str, str]] = {}  # column of bars -> name of the signal that fills it
    warmup: ClassVar[int] = 0  # bars of history that the conditions look back on by themselves, without an indicator

    params: Any = dict(  # fractions unless said otherwise; 0 switches a rule off
        stop_loss=0.0,  # of the entry price
        take_profit=0.0,  # of the entry price
        trailing_stop=0.0,  # of the best close since the entry
        max_holding=0,  # bars
        exposure=0.95,  # of the equity, over all positions
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

    def next(self) -> None:
        for desk in self.desks:
            desk.step()

    def prenext(self) -> None:  # a portfolio in which not every symbol has begun to trade
        self.next()

    @cached_property
    def desks(self) -> list[Desk]:
        """One for each symbol."""
        return [Desk(self, data) for data in self.datas]

    @property
    def prediction(self) -> Any:
        """The line of predictions of the first symbol: ``self.prediction[0]`` is the newest."""
        return self.data.lines.prediction


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
    values = {name: getattr(rules.p, name) for name, _ in strategy.params._getitems()}
    for name, default in strategy.params._getitems():
        value = values[name]
        if isinstance(default, (int, float)) and not isinstance(default, bool) and not isinstance(value, (int, float)):
            raise UsageError(f"Parameter {name!r} of {strategy.__name__} is {value!r}. It must be a number, like {default}.")
    if issubclass(strategy, Strategy):
        for name in ("stop_loss", "trailing_stop"):
            if not 0 <= values[name] < 1:
                raise UsageError(f"Parameter {name!r} is {values[name]!r}. It is a fraction from 0 (off) up to 1: 0.02 is 2%.")
        for name in ("take_profit", "max_holding", "max_positions"):
            if values[name] < 0:
                raise UsageError(f"Parameter {name!r} is {values[name]!r}. It must not be negative; 0 switches it off.")
        if not 0 < values["exposure"] <= 1:
            raise UsageError(f"Parameter 'exposure' is {values['exposure']!r}. It is a fraction of the equity, above 0 up to 1.")
    return values


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
    columns = {}
    for name in CONDITIONS:
        column = condition(bars, getattr(rules, name)(bars), f"{strategy.__name__}.{name}")
        if column is not None:
            columns[name] = column
    ready = bars.ready() & (bars.candles.segment_age >= strategy.warmup)
    never = np.zeros(len(bars.candles), dtype=bool)
    masked = {name: columns[name].to_numpy() & ready if name in columns else never for name in CONDITIONS}
    return Decisions(**masked, columns=columns)


class Desk:
    """The orders of one strategy in one symbol: keeps the rules in this module's docstring."""

    def __init__(self, strategy: Strategy, data: Any) -> None:
        self.strategy = strategy
        self.data = data
        self.decisions: Decisions = data.decisions
        self.market: MarketRules = data.market_rules
        self.position = strategy.getposition(data)
        self.entry: Any = None  # the entry order that has not filled yet
        self.protection: list[Any] = []  # stop, trailing stop and limit orders in the market
        self.exit: Any = None  # the closing order that has not filled yet
        self.filled_at = 0  # bar of the entry's fill
        self.seen = 0  # candles of this symbol so far
        decisions = self.decisions
        self.enters = (decisions.enter_long | decisions.enter_short).tobytes()
        self.busy = False  # a position or an order exists

    def step(self) -> None:
        """Decide at the close of the newest candle, if there is one of this symbol."""
        seen = len(self.data)
        if seen == self.seen:
            return
        self.seen = seen
        row = seen - 1
        if self.busy:
            self._follow(row)
        if not self.busy and self.enters[row]:
            self._enter(row)

    def _follow(self, row: int) -> None:
        if self.entry is not None:
            if self.entry.alive():
                return
            filled, self.entry = self.entry.status == bt.Order.Completed, None
            if not filled:
                self.busy = False
                return
            self.filled_at = row
            self._protect()
        size = self.position.size
        if not size:
            self.busy, self.exit, self.protection = False, None, []
        elif self.exit is None or not self.exit.alive():
            p, decisions = self.strategy.p, self.decisions
            if (decisions.exit_long if size > 0 else decisions.exit_short)[row]:
                self._leave("exit_long" if size > 0 else "exit_short")
            elif p.max_holding and row - self.filled_at + 1 >= p.max_holding:
                self._leave("max_holding")

    def _enter(self, row: int) -> None:
        long, short = self.decisions.enter_long[row], self.decisions.enter_short[row]
        strategy, p = self.strategy, self.strategy.p
        limit = p.max_positions or len(strategy.desks)
        if (long and short) or sum(desk.busy for desk in strategy.desks) >= limit:
            return
        close = self.data.close[0]
        size = self.market.floor(strategy.broker.getvalue() * p.exposure / limit / close)
        reason = "enter_long" if long else "enter_short"
        refusal = self.market.refusal(size, close)
        if short and not self.data.allow_short:
            refusal = "this market does not allow selling short"
        if refusal:
            strategy.broker.refuse(self.data, size if long else -size, reason, refusal)
            return
        order = strategy.buy if long else strategy.sell
        self.entry = order(data=self.data, size=size, reason=reason, next_candle_only=True)
        self.busy = True

    def _protect(self) -> None:
        p, size, paid = self.strategy.p, self.position.size, self.position.price
        side = 1 if size > 0 else -1
        order = self.strategy.sell if size > 0 else self.strategy.buy
        group: dict[str, Any] = {"data": self.data, "size": abs(size)}

        def place(reason: str, **kind: Any) -> None:
            if self.protection:
                kind["oco"] = self.protection[0]
            self.protection.append(order(**group, reason=reason, **kind))

        if p.stop_loss:
            place("stop_loss", exectype=bt.Order.Stop, price=paid * (1 - side * p.stop_loss))
        if p.trailing_stop:
            place("trailing_stop", exectype=bt.Order.StopTrail, trailpercent=p.trailing_stop)
        if p.take_profit:
            place("take_profit", exectype=bt.Order.Limit, price=paid * (1 + side * p.take_profit))

    def _leave(self, reason: str) -> None:
        for order in self.protection:
            self.strategy.cancel(order)
        self.protection = []
        self.exit = self.strategy.close(data=self.data, reason=reason)
