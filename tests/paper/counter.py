"""An exchange in memory, for tests of what lies on our side of the wire: it fills as a backtest does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from freqlstm.candles import Candles
from freqlstm.paper.broker import PaperBroker
from freqlstm.paper.decision import Decision
from freqlstm.paper.feed import LiveCerebro, LiveFeed
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.records import BUY, LIMIT, MARKET, SELL, STOP, Fill, Intent, Order, OrderEvent, State


def rules_of(symbol: str, lot_step: str = "0.00001", tick: str = "0.01", min_notional: str = "5") -> SymbolRules:
    """The rules of a symbol that trades, with no other limits than these."""
    base, _, quote = symbol.partition("/")
    none = Decimal(0)
    types = frozenset({"MARKET", "LIMIT", "STOP_LOSS"})
    return SymbolRules(
        symbol, base + quote, base, quote, True, types, Decimal(lot_step), none, none, none, none, Decimal(tick), none, none,
        Decimal(min_notional), none, True,
    )  # fmt: skip


class Counter:
    """Market orders fill at the next open, stops and limits within a candle; commission in the asset received, or not."""

    def __init__(self, commission: str = "0.001", in_base: bool = True, **rules: str) -> None:
        self.commission = Decimal(commission)
        self.in_base = in_base
        self.rules_given = rules
        self.orders: dict[str, Order] = {}
        self.events: list[OrderEvent] = []
        self.sent: list[Intent] = []
        self._trades = itertools.count(1)

    def client_order_id(self, symbol: str, open_ms: int, seq: int) -> str:
        return f"{symbol}-{open_ms}-{seq}"

    def rules(self, symbol: str) -> SymbolRules:
        return rules_of(symbol, **self.rules_given)

    def submit(self, intent: Intent) -> Order:
        assert intent.cid not in self.orders
        self.sent.append(intent)
        order = self.orders[intent.cid] = Order(intent, 1, State.SENT, sent_ms=0)
        if intent.kind != MARKET:
            self.events.append(OrderEvent(replace(order, state=State.OPEN)))
        return order

    def cancel(self, cid: str) -> None:
        order = self.orders[cid]
        if not order.state.final:
            self._end(order, State.CANCELED)

    def replace(self, cid: str, intent: Intent) -> Order:
        self._end(self.orders[cid], State.CANCELED)
        return self.submit(intent)

    def working(self, symbol: str) -> list[Order]:
        """What has not ended."""
        return [each for each in self.orders.values() if each.intent.symbol == symbol and not each.state.final]

    def trade(self, symbol: str, candle: tuple[float, ...]) -> None:
        """Let a candle pass: what was waiting for its open first, then stops, then limits."""
        open_, high, low, _, _ = candle
        for order in self.working(symbol):
            if order.intent.kind == MARKET:
                self._fill(order, open_)
        for kind in (STOP, LIMIT):
            for order in self.working(symbol):
                intent = order.intent
                if intent.kind != kind or intent.price is None:
                    continue
                price, below = float(intent.price), (kind == STOP) == (intent.side == SELL)
                if (low <= price) if below else (high >= price):
                    self._fill(order, min(open_, price) if below else max(open_, price))

    def _fill(self, order: Order, price: float) -> None:
        intent, paid = order.intent, Decimal(repr(float(price)))
        base, _, quote = intent.symbol.partition("/")
        in_base = self.in_base and intent.side == BUY
        fee = self.commission * intent.quantity * (1 if in_base else paid)
        fill = Fill(
            intent.symbol, next(self._trades), intent.cid, intent.side, paid, intent.quantity, fee,
            base if in_base else quote, 0, False,
        )  # fmt: skip
        self._end(replace(order, executed=intent.quantity), State.FILLED, (fill,))

    def _end(self, order: Order, state: State, fills: tuple[Fill, ...] = ()) -> None:
        done = self.orders[order.cid] = replace(order, state=state)
        self.events.append(OrderEvent(done, fills))


def trade_live(
    strategy: type, market: Mapping[str, Candles], decisions: Mapping[str, list[Decision]] | None, counter: Counter,
    broker: PaperBroker, predictions: Mapping[str, Any] | None = None, **parameters: Any,
) -> Any:  # fmt: skip
    """Run ``strategy`` over candles that come one by one; the strategy that ran."""
    stamps = sorted({int(stamp) for candles in market.values() for stamp in candles.time.as_unit("ms").asi8})
    rows = {symbol: {int(t): row for row, t in enumerate(c.time.as_unit("ms").asi8)} for symbol, c in market.items()}
    values = {symbol: candles.frame.to_numpy() for symbol, candles in market.items()}
    names = tuple(next(iter(predictions.values())).columns) if predictions else ()
    kind = LiveFeed.with_lines(names)
    feeds = {
        symbol: kind(candles, counter.rules(symbol).market_rules, decides=decisions is not None)
        for symbol, candles in market.items()
    }

    def deliver() -> None:
        while counter.events:
            broker.dispatch.take(counter.events.pop(0))

    def steps() -> Iterator[None]:
        for stamp in stamps:
            there = [symbol for symbol in market if stamp in rows[symbol]]
            for symbol in there:
                counter.trade(symbol, tuple(values[symbol][rows[symbol][stamp]]))
            deliver()
            for symbol in there:
                row = rows[symbol][stamp]
                if decisions is not None:
                    feeds[symbol].decisions.append(decisions[symbol][row])
                said = {} if not predictions else predictions[symbol].iloc[row].to_dict()
                feeds[symbol].push(stamp, tuple(values[symbol][row]), said, fresh=True)
            broker.dispatch.begin_bar(stamp)
            yield
            deliver()

    cerebro = LiveCerebro(steps)
    cerebro.broker = broker
    for symbol, feed in feeds.items():
        cerebro.adddata(feed, name=symbol)
        broker.holdings.attach(feed)
    cerebro.addstrategy(strategy, **parameters)
    return cerebro.run()[0]
