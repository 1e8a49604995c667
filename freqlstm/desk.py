"""The orders of one strategy in one symbol, by the rules in the docstring of :mod:`freqlstm.strategy`.

A desk decides at the close of one candle at a time and reads nothing of later rows, so that it serves candles that are
all known, as in a backtest, and those that arrive one by one. Where all are known, :class:`Ahead` tells on which row
something can happen next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import backtrader as bt
import numpy as np

from freqlstm.bars import Decisions
from freqlstm.candles import Candles
from freqlstm.costs import MarketRules


@dataclass(frozen=True)
class Brief:
    """What a desk needs to know of its symbol; the feed of the reference engine has the same four."""

    candles: Candles
    decisions: Decisions
    market_rules: MarketRules
    allow_short: bool


class Desk:
    """Turns decisions into orders, and follows what becomes of them."""

    def __init__(self, strategy: Any, data: Any, brief: Any) -> None:
        self.strategy = strategy
        self.data = data
        self.brief = brief
        self.decisions: Decisions = brief.decisions
        self.market: MarketRules = brief.market_rules
        self.allow_short: bool = brief.allow_short
        self.position = strategy.getposition(data)
        self.entry: Any = None  # the entry order that has not filled yet
        self.protection: list[Any] = []  # stop, trailing stop and limit orders in the market
        self.exit: Any = None  # the closing order that has not filled yet
        self.filled_at = 0  # row of the entry's fill
        self.seen = 0  # candles of this symbol so far
        self.busy = False  # a position or an order exists
        self._quiet_until = 0  # the row that the newest search for a row to act on has found

    def step(self) -> None:
        """Decide at the close of the newest candle, if there is one of this symbol."""
        seen = len(self.data)
        if seen == self.seen:
            return
        self.seen = seen
        row = seen - 1
        if row < self._quiet_until:
            return
        if self.busy:
            self._follow(row)
        if not self.busy and (self.decisions.enter_long[row] or self.decisions.enter_short[row]):
            self._enter(row)

    @property
    def taken(self) -> bool:
        """Whether a position or an entry order is open, as things stand at this moment."""
        return bool(self.position.size) or (self.entry is not None and self.entry.alive())

    @cached_property
    def ahead(self) -> Ahead:
        """The rows to come, where the candles and decisions of all are known."""
        return Ahead(self.brief)

    def next_row(self) -> int:
        """The row on which this desk may act, or one of its stops and limits fill; the number of rows if there is none."""
        if self.entry is not None:
            return self.seen
        if self.seen > self._quiet_until or not self._quiet_until:
            self._quiet_until = self._search()
        return self._quiet_until

    def _search(self) -> int:
        if not self.busy:
            return self.ahead.entry(self.seen)
        row = self.ahead.exit(self.seen, self.position.size > 0)
        limit = self.strategy.p.max_holding
        if limit:
            row = min(row, max(self.seen, self.filled_at + limit - 1))
        return self._touched(row) if self.protection else row

    def _touched(self, end: int) -> int:
        """The first row from the next on, before ``end``, whose candle touches a stop or a limit; else ``end``."""
        below, above, trail = -math.inf, math.inf, None
        for order in self.protection:
            if order.exectype == bt.Order.StopTrail:
                trail = order
            elif (order.exectype == bt.Order.Stop) == order.issell():
                below = max(below, order.created.price)
            else:
                above = min(above, order.created.price)
        level = trail.created.price if trail is not None else 0.0
        for first in range(self.seen, end, 1024):
            last = min(end, first + 1024)
            low, high = self.ahead.low[first:last], self.ahead.high[first:last]
            touched = (low <= below) | (high >= above)
            if trail is not None:
                levels = self._trail(trail, level, first, last)
                touched |= low <= levels[:-1] if trail.issell() else high >= levels[:-1]
                level = levels[-1]
            if touched.any():
                return first + int(np.argmax(touched))
        return end

    def _trail(self, order: Any, level: float, first: int, last: int) -> np.ndarray:
        """The trailing stop on each of the rows, and after them, if it is at ``level`` on the first. Shape (rows + 1,)."""
        close, share = self.ahead.close[first:last], order.created.trailpercent
        levels = close - close * share if order.issell() else close + close * share
        follow = np.maximum if order.issell() else np.minimum
        return np.asarray(follow.accumulate(np.concatenate([[level], levels])))

    def pass_over(self, row: int) -> None:
        """Let the trailing stop follow the closes from the next row up to ``row``, which nobody visits."""
        for order in self.protection:
            if order.exectype == bt.Order.StopTrail and row > self.seen:
                order.created.price = float(self._trail(order, order.created.price, self.seen, row)[-1])

    def _follow(self, row: int) -> None:
        filled = False
        if self.entry is not None:
            if self.entry.alive():
                return
            filled, self.entry = self.entry.status == bt.Order.Completed, None
            self.filled_at = row
        if not self.position.size:
            self.busy, self.exit, self.protection = False, None, []
        elif self.exit is not None and not self.exit.alive():  # an exchange that refused it, or filled a part
            self._leave(self.exit.info["reason"])
        elif self.exit is None:
            reason = self._reason_to_leave(row)
            if reason:
                self._leave(reason)
            elif filled:
                self._protect()

    def _enter(self, row: int) -> None:
        long, short = self.decisions.enter_long[row], self.decisions.enter_short[row]
        strategy, p = self.strategy, self.strategy.p
        limit = p.max_positions or len(strategy.desks)
        if (long and short) or sum(desk.taken for desk in strategy.desks) >= limit:
            return
        close = self.data.close[0]
        exposure = p.exposure if self.decisions.share is None else p.exposure * float(self.decisions.share[row])
        size = self._size(max(0.0, strategy.broker.getvalue()) * exposure / limit, close)
        reason = "enter_long" if long else "enter_short"
        refusal = self.market.refusal(size, close)
        if short and not self.allow_short:
            refusal = "this market does not allow selling short"
        if refusal:
            if hasattr(strategy.broker, "refuse"):  # not the broker of a Cerebro of the user's own
                strategy.broker.refuse(self.data, size if long else -size, reason, refusal)
            return
        order = strategy.buy if long else strategy.sell
        self.entry = order(data=self.data, size=size, reason=reason, next_candle_only=True)
        self.busy = True

    def _size(self, value: float, close: float) -> float:
        """The whole lots that ``value`` buys, slippage and commission included, if the next candle opens at ``close``."""
        broker = self.strategy.broker
        price = close * (1 + getattr(broker.p, "slip_perc", 0.0))
        unit = float(price + broker.getcommissioninfo(self.data).getcommission(1.0, price))
        size = self.market.floor(value / unit)
        if size * unit > max(value, broker.getcash()):  # the last bits of all the cash: a lot was rounded up
            size = self.market.floor(max(0.0, size * (1 - 2e-12) - self.market.lot_step))
        return size

    def _protect(self) -> None:
        p, size, paid = self.strategy.p, self.position.size, self.position.price
        side = 1 if size > 0 else -1
        if p.stop_loss:
            self._rest("stop_loss", exectype=bt.Order.Stop, price=paid * (1 - side * p.stop_loss))
        if p.trailing_stop:
            self._rest("trailing_stop", exectype=bt.Order.StopTrail, trailpercent=p.trailing_stop)
        if p.take_profit and -side * p.take_profit < 1:  # no price falls by all of itself
            self._rest("take_profit", exectype=bt.Order.Limit, price=paid * (1 + side * p.take_profit))

    def _rest(self, reason: str, **kind: Any) -> None:
        if self.protection:
            kind["oco"] = self.protection[0]
        self.protection.append(self._close(reason, **kind))

    def _reason_to_leave(self, row: int) -> str:
        long, limit = self.position.size > 0, self.strategy.p.max_holding
        if (self.decisions.exit_long if long else self.decisions.exit_short)[row]:
            return "exit_long" if long else "exit_short"
        return "max_holding" if limit and row - self.filled_at + 1 >= limit else ""

    def _leave(self, reason: str) -> None:
        for order in self.protection:
            self.strategy.cancel(order)
        self.protection = []
        self.exit = self._close(reason)

    def _close(self, reason: str, **kind: Any) -> Any:
        """An order that ends the position. It is not rehearsed against the cash: what is owed is paid."""
        return self.strategy.close(data=self.data, reason=reason, _checksubmit=False, **kind)


class Ahead:
    """On which rows the conditions of one symbol are true, and the candles of all rows."""

    def __init__(self, brief: Any) -> None:
        decisions: Decisions = brief.decisions
        self._rows = len(decisions.enter_long)
        self._entries = np.flatnonzero(decisions.enter_long | decisions.enter_short)
        self._exits = np.flatnonzero(decisions.exit_short), np.flatnonzero(decisions.exit_long)
        self.low, self.high, self.close = (brief.candles.frame[name].to_numpy() for name in ("low", "high", "close"))

    def entry(self, first: int) -> int:
        """The first row from ``first`` on with an entry; the number of rows if there is none."""
        return self._next(self._entries, first)

    def exit(self, first: int, long: bool) -> int:
        """The first row from ``first`` on with an exit from that side; the number of rows if there is none."""
        return self._next(self._exits[long], first)

    def _next(self, rows: np.ndarray, first: int) -> int:
        at = int(np.searchsorted(rows, first))
        return int(rows[at]) if at < len(rows) else self._rows
