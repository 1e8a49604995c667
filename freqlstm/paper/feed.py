"""Backtrader's data and loop for candles that arrive one by one."""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import backtrader as bt
import pandas as pd

from freqlstm.candles import COLUMNS, Candles
from freqlstm.costs import MarketRules
from freqlstm.paper.decision import Decision

_DAY = 86_400_000.0  # milliseconds
BEFORE = 10_000  # bars, at least, that can be looked back on; before the first a look finds NaN, as in a backtest


class LiveDecisions:
    """The decisions of the newest row, by its number, as a desk reads them."""

    def __init__(self) -> None:
        self.row = -1
        self.enter_long: dict[int, bool] = {}
        self.exit_long: dict[int, bool] = {}
        self.enter_short: dict[int, bool] = {}
        self.exit_short: dict[int, bool] = {}
        self.share: dict[int, float] | None = None

    def append(self, decision: Decision) -> None:
        """Go on to the next row, in which this is decided."""
        self.row += 1
        self.enter_long = {self.row: decision.enter_long}
        self.exit_long = {self.row: decision.exit_long}
        self.enter_short = {self.row: decision.enter_short}
        self.exit_short = {self.row: decision.exit_short}
        self.share = None if decision.share is None else {self.row: decision.share}


class LiveFeed(bt.feed.DataBase):  # type: ignore[misc]
    """Closed candles of one symbol, pushed by the session; its lines hold those of the session and none before."""

    tick_open = tick_high = tick_low = tick_close = None  # what Backtrader asks for on every bar: there are no ticks

    def __init__(self, like: Candles, market_rules: MarketRules, *, decides: bool) -> None:
        """``like`` names symbol, timeframe and exchange; ``decides``: by conditions, not by lines of predictions."""
        super().__init__()
        self.candles = like.rows(0, 0)
        self.market_rules = market_rules
        self.allow_short = False  # a spot account has nothing to sell short
        self.open_ms = 0  # of the newest candle
        self.fresh = False  # whether that one came in time to enter on
        if decides:
            self.decisions = LiveDecisions()
        whole_days, rest = divmod(like.step, pd.Timedelta(days=1))
        self.p.timeframe = bt.TimeFrame.Minutes if rest else bt.TimeFrame.Days
        self.p.compression = max(1, like.step // pd.Timedelta(minutes=1)) if rest else whole_days

    @classmethod
    def with_lines(cls, names: tuple[str, ...]) -> type[LiveFeed]:
        """The same feed with further lines."""
        return type("LiveFeed", (cls,), {"lines": names}) if names else cls

    @property
    def symbol(self) -> str:
        return self.candles.symbol

    def islive(self) -> bool:
        return True

    def start(self) -> None:
        super().start()
        for name in self.lines.getlinealiases():
            line = getattr(self.lines, name)
            line.array = array.array("d", [math.nan] * BEFORE)
            line.idx = BEFORE - 1

    def push(self, open_ms: int, candle: tuple[float, ...], said: Mapping[str, float], fresh: bool) -> None:
        """Make the candle that has just closed the newest; ``said`` fills the lines of predictions that there are."""
        self.forward()
        lines = self.lines
        lines.datetime[0] = open_ms / _DAY + 719163.0
        for name, value in zip(COLUMNS, candle, strict=True):
            getattr(lines, name)[0] = value
        lines.openinterest[0] = 0.0
        for name in lines.getlinealiases()[7:]:
            getattr(lines, name)[0] = said.get(name, math.nan)
        self.open_ms, self.fresh = open_ms, fresh


class LiveCerebro(bt.Cerebro):  # type: ignore[misc]
    """Backtrader's loop for bars of all symbols at once: one step of the strategy for each that ``steps`` yields.

    Backtrader's own steps a strategy once for every feed that has moved, and so several times a bar.
    """

    def __init__(self, steps: Callable[[], Iterator[None]]) -> None:
        super().__init__()
        self.p.stdstats = False
        self._steps = steps

    def _runnext(self, runstrats: list[Any]) -> None:
        (strategy,) = runstrats
        for _ in self._steps():
            self._brokernotify()
            if self._event_stop:
                return
            strategy._next()
            self._broker.end_bar()
            forget(strategy)
            if self._event_stop:
                return


def forget(strategy: Any) -> None:
    """Let go of what Backtrader keeps of a run until its end, for one that has none: told orders, closed trades, old rows."""
    strategy._orders.clear()
    for of_data in strategy._trades.values():
        for trades in of_data.values():
            del trades[:-1]
    for line in _lines((strategy, *strategy.datas)):
        if len(line.array) >= 2 * BEFORE:
            old = len(line.array) - BEFORE
            del line.array[:old]
            line.idx -= old


def _lines(owners: Iterable[Any]) -> Iterator[Any]:
    """The lines of these, and of the indicators and observers that they have, and of theirs."""
    for owner in owners:
        yield from owner.lines
        for inside in getattr(owner, "_lineiterators", {}).values():
            yield from _lines(inside)
