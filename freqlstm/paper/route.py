"""The way that the broker's orders take: to the gateway, or into the past while a session is gone through again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from freqlstm.paper.gateway import Gateway
from freqlstm.paper.journal import Journal
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.records import Intent, Order, OrderEvent, State

UNSENT = "it was not sent when it was decided, and now it is too late"


class Route:
    """An :class:`~freqlstm.paper.ticket.Exchange` that never sends what belongs to a bar of the past.

    While ``past`` is true an order is only looked up: what became of it reaches the strategy when it did then. An order
    that was decided then and not written down is sent only if ``late_enough`` says that its bar can still be acted upon.
    """

    def __init__(self, gateway: Gateway, journal: Journal) -> None:
        self.gateway = gateway
        self.journal = journal
        self.past = False
        self.still: Callable[[Intent], bool] = lambda intent: False
        self.unsent: list[Intent] = []  # of the past, that were not written down

    def client_order_id(self, symbol: str, open_ms: int, seq: int) -> str:
        return self.gateway.client_order_id(symbol, open_ms, seq)

    def rules(self, symbol: str) -> SymbolRules:
        return self.gateway.rules(symbol)

    def submit(self, intent: Intent) -> Order:
        return self._known(intent) or self._as_news(self.gateway.submit(intent))

    def replace(self, cid: str, intent: Intent) -> Order:
        return self._known(intent) or self._as_news(self.gateway.replace(cid, intent))

    def cancel(self, cid: str) -> None:
        if not self.past:
            self.gateway.cancel(cid)

    def _known(self, intent: Intent) -> Order | None:
        """What to tell of an intent of the past; None: it is to be sent."""
        if not self.past:
            return None
        order = self.journal.order(intent.cid)
        if order is None and self.still(intent):
            return None
        if order is None:
            self.unsent.append(intent)
            return Order(intent, self.journal.epoch, State.REJECTED, note=UNSENT)
        if order.state is State.REJECTED and order.sent_ms is None:
            return order
        return _sent(order)

    def _as_news(self, order: Order) -> Order:
        """What became of an order that was sent before a restart comes as an event: so the next restart finds it in the diary."""
        if order.sent_ms is None or not (order.state.final or order.executed):
            return order
        self.gateway.order_events.put(OrderEvent(order, tuple(self.journal.fills(cid=order.cid))))
        return _sent(order)


def _sent(order: Order) -> Order:
    """As it was before anything was known of it."""
    return replace(order, state=State.SENT, executed=order.executed * 0)
