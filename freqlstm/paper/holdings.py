"""What a session holds: cash, positions and dust, from fills alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

from backtrader.position import Position

from freqlstm.engines import fills as engine
from freqlstm.paper.feed import LiveFeed
from freqlstm.paper.money import SymbolRules, plain
from freqlstm.paper.records import BUY, Fill

Tell = Callable[[str, str], None]
"""(kind, text): something that a person should hear of."""


class Holdings:
    """Exact sums in Decimal, and beside them the same in Backtrader's terms.

    Commission in the base asset makes a position smaller, as at the exchange; Backtrader is told of the smaller size at
    the price of the fill, with the commission's worth in the quote asset, which costs the same cash.
    """

    def __init__(self, cash: float, rules: Callable[[str], SymbolRules], kept: int | None = None) -> None:
        """``kept``: so many of the newest fills are remembered; None: all."""
        self.money = Decimal(repr(float(cash)))  # quote asset
        self.held: dict[str, Decimal] = {}  # symbol -> base asset, commission taken off
        self.dust: dict[str, Decimal] = {}  # symbol -> base asset that is too little to be sold
        self.positions: dict[Any, Position] = {}  # feed -> the same in floats
        self.feeds: dict[str, LiveFeed] = {}
        self.fills: deque[engine.Fill] = deque(maxlen=kept)  # with rows of the session's bars, as a backtest has them
        self.sales = 0  # so far
        self._rules = rules
        self._price: dict[str, float] = {}  # symbol -> price of its newest fill
        self._seen: dict[tuple[str, int], None] = {}  # (symbol, trade id) of the fills that are booked, in that order

    def attach(self, feed: LiveFeed) -> None:
        """Hold this feed's symbol."""
        self.feeds[feed.symbol] = feed
        self.positions[feed] = Position()
        self.held[feed.symbol] = self.dust[feed.symbol] = Decimal(0)

    def worth(self, feed: LiveFeed) -> float:
        """Position and dust at the newest close, in units of the quote asset."""
        if not len(feed):
            return 0.0
        return float((self.positions[feed].size + float(self.dust[feed.symbol])) * feed.close[0])

    @property
    def value(self) -> float:
        """Equity at the newest closes, in units of the quote asset."""
        return float(self.money) + sum(self.worth(feed) for feed in self.feeds.values())

    def knows(self, fill: Fill) -> bool:
        """Whether a fill is booked."""
        return (fill.symbol, fill.trade_id) in self._seen

    def forget(self, kept: int) -> None:
        """Know only so many of the newest fills, when no news of older ones can come any more."""
        for key in list(islice(self._seen, max(0, len(self._seen) - kept))):
            del self._seen[key]

    def take(self, fill: Fill, order: Any, row: int | None, reason: str) -> bool:
        """Book a fill, once; whether it was new. ``order`` is Backtrader's, None for one that the strategy did not ask for."""
        key = (fill.symbol, fill.trade_id)
        if key in self._seen or fill.symbol not in self.feeds:
            return False
        self._seen[key] = None
        symbol, feed, rules = fill.symbol, self.feeds[fill.symbol], self._rules(fill.symbol)
        bought, worth = fill.side == BUY, fill.worth
        in_base, in_quote = fill.commission_asset == rules.base, fill.commission_asset == rules.quote
        change = (fill.quantity if bought else -fill.quantity) - (fill.commission if in_base else 0)
        self.money += (-worth if bought else worth) - (fill.commission if in_quote else 0)
        paid = float(fill.commission * fill.price if in_base else fill.commission if in_quote else 0)
        held = self.held[symbol] + change
        if held < 0:  # dust of before was sold with it
            self.dust[symbol] += held
            held = Decimal(0)
        self.held[symbol] = held
        self._price[symbol] = float(fill.price)
        size = float(change) if bought or held else -self.positions[feed].size
        self._move(feed, order, size, float(fill.price), paid, row, reason)
        return True

    def sellable(self, symbol: str) -> bool:
        """Whether what is held is more than dust, at the newest close."""
        held = self.held[symbol]
        return held > 0 and not self._rules(symbol).is_dust(held, Decimal(repr(float(self.feeds[symbol].close[0]))))

    def sweep(self, symbol: str, order: Any, row: int, reason: str, tell: Tell) -> None:
        """What an exit left and cannot be sold now is dust: kept apart, and sold with the next exit."""
        held = self.held[symbol]
        if held <= 0:
            return
        feed, rules, price = self.feeds[symbol], self._rules(symbol), self._price[symbol]
        self.held[symbol] = Decimal(0)
        self.dust[symbol] += held
        self._move(feed, order, -self.positions[feed].size, price, 0.0, row, reason)
        tell("dust", f"{symbol}: {plain(held)} {rules.base} cannot be sold, and are kept as dust")

    def _move(
        self, feed: LiveFeed, order: Any, size: float, price: float, commission: float, row: int | None, reason: str
    ) -> None:
        """Move the position, and tell the order in Backtrader's terms."""
        if not size:
            return
        self.sales += size < 0
        newest = len(feed) - 1
        decided = newest if row is None else row
        self.fills.append(
            engine.Fill(feed.symbol, decided, newest + 1, size, price, commission, 0.0, reason)
        )  # the candle in which it happened is yet to close
        position = self.positions[feed]
        before = position.price
        held, paid, opened, closed = position.update(size, price)
        if order is None:
            return
        info = order.data._env.broker.getcommissioninfo(feed)
        part = commission / abs(size)
        order.execute(
            feed.datetime[0], size, price,
            closed, info.getvaluesize(-closed, before) if closed else 0.0, part * abs(closed),
            opened, info.getvaluesize(opened, price) if opened else 0.0, part * abs(opened),
            info.margin, info.profitandloss(-closed, before, price) if closed else 0.0, held, paid,
        )  # fmt: skip
        order.addcomminfo(info)
