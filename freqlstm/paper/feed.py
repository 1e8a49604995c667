"""Backtrader's data and loop for candles that arrive one by one."""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import backtrader as bt
import pandas as pd

from freqlstm.candles import COLUMNS, Candles
from freqlstm.costs import MarketRules
from freqlstm.paper.decision import Decision

_DAY = 86_400_000.0  # milliseconds
BEFORE = 10_000  # bars before the first: a look back at them finds NaN, as in a backtest


class LiveDecisions:
    """The decisions so far, row by row, as a desk reads them."""

    def __init__(self) -> None:
        self.enter_long: list[bool] = []
        self.exit_long: list[bool] = []
        self.enter_short: list[bool] = []
        self.exit_short: list[bool] = []
        self.share: list[float] | None = None

    def append(self, decision: Decision) -> None:
        """Add the decision of the newest row."""
        if decision.share is not None:
            if self.share is None:
                self.share = [math.nan] * len(self.enter_long)
            self.share.append(decision.share)
        elif self.share is not None:
            self.share.append(math.nan)
        self.enter_long.append(decision.enter_long)
        self.exit_long.append(decision.exit_long)
        self.enter_short.append(decision.enter_short)
        self.exit_short.append(decision.exit_short)


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
        self.times: list[int] = []  # open times of all candles so far, milliseconds
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
        self.times.append(open_ms)


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
            if self._event_stop:
                return
