"""The paper trader with one thing done wrong, to see that the chaos run finds it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from freqlstm.paper import candle_stream, orders
from freqlstm.paper.gateway import Gateway
from freqlstm.paper.holdings import Holdings
from freqlstm.paper.journal import Journal
from freqlstm.paper.money import WIRE_TYPES, plain
from freqlstm.paper.records import Fill, Intent, Order, State


def naive_resend() -> None:
    """An order that was not answered is sent again."""

    async def resolve(self: Any, cid: str) -> None:
        self._mark(self._order(cid), state=State.INTENT)
        await self.send(cid)

    orders.Orders.resolve = resolve  # type: ignore[method-assign]


def no_fence() -> None:
    """An order that is not found at once is given up."""

    async def resolve(self: Any, cid: str) -> None:
        try:
            await self._look(self._order(cid))
        except orders.CallFailed:
            self._end(self._order(cid), State.NOT_ACCEPTED, "not found")

    orders.Orders.resolve = resolve  # type: ignore[method-assign]


def no_deduplication() -> None:
    """Fills are booked whenever they are told of, not once a trade id."""
    update, numbers = Journal.update_order, itertools.count(int(time.time() * 1000))

    def update_order(self: Journal, cid: str, fills: Iterable[Fill] = (), **changes: Any) -> Any:
        return update(self, cid, [replace(fill, trade_id=next(numbers)) for fill in fills], **changes)

    Journal.update_order = update_order  # type: ignore[method-assign]


def unfinished_candles() -> None:
    """Candles of the stream are taken before they have closed."""
    heard = candle_stream.CandleStream.on_kline

    def on_kline(self: Any, kline: Mapping[str, Any]) -> None:
        heard(self, {**kline, "x": True})

    candle_stream.CandleStream.on_kline = on_kline  # type: ignore[method-assign]


def position_from_orders() -> None:
    """What was ordered is taken to be held, whatever commission took from it."""
    take = Holdings.take

    def taken(self: Holdings, fill: Fill, *rest: Any) -> bool:
        return take(self, replace(fill, commission=Decimal(0)), *rest)

    Holdings.take = taken  # type: ignore[method-assign]


def journal_after() -> None:
    """An order is sent first and written down then."""
    submit = Gateway.submit

    def submitted(self: Gateway, intent: Intent) -> Order:
        if self.journal.order(intent.cid) is not None or self._refusal(intent):
            return submit(self, intent)
        body = {
            "symbol": self.rules(intent.symbol).id, "side": intent.side.upper(), "type": WIRE_TYPES[intent.kind],
            "quantity": plain(intent.quantity), "newClientOrderId": intent.cid,
        }  # fmt: skip
        if intent.stop_price is not None:
            body["stopPrice"] = plain(intent.stop_price)
        try:
            self._ask(self._room.client.ask("privatePostOrder", body, weight=1))
        except Exception:
            return submit(self, intent)
        time.sleep(0.5)
        now = self.now_ms()
        order = Order(intent, self.journal.epoch, State.SENT, sent_ms=now, window_ms=self._room.orders.window_ms)
        self.journal.add_order(order, now)
        self._spawn(lambda: self._room.orders.resolve(intent.cid))
        return order

    Gateway.submit = submitted  # type: ignore[method-assign]


MUTATIONS = {
    each.__name__: each
    for each in (naive_resend, no_fence, no_deduplication, unfinished_candles, position_from_orders, journal_after)
}
