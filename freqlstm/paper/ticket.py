"""An order of the strategy, and what stands for it at the exchange."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Protocol

import backtrader as bt

from freqlstm.paper.money import SymbolRules
from freqlstm.paper.records import LIMIT, MARKET, STOP, Intent, Order

KINDS = {
    bt.Order.Market: MARKET, bt.Order.Close: MARKET, bt.Order.Limit: LIMIT, bt.Order.Stop: STOP, bt.Order.StopTrail: STOP,
}  # fmt: skip


class Exchange(Protocol):
    """The way to the exchange; while a session is replayed, the journal answers in its place."""

    def client_order_id(self, symbol: str, open_ms: int, seq: int) -> str:
        """The id of the ``seq``-th order of that bar."""
        ...

    def submit(self, intent: Intent) -> Order:
        """Send an order. It is final where it was refused here; whatever else becomes of it comes as an event."""
        ...

    def cancel(self, cid: str) -> None: ...

    def replace(self, cid: str, intent: Intent) -> Order:
        """Cancel ``cid`` and send ``intent`` only if that succeeded."""
        ...

    def rules(self, symbol: str) -> SymbolRules: ...


@dataclass(eq=False)
class Ticket:
    """One order of the strategy."""

    order: Any  # Backtrader's
    cid: str  # under which it goes to the exchange
    reduces: bool
    group: int  # of the orders of which one that fills cancels the others
    open_ms: int  # of the bar at whose close it was decided, or last moved
    row: int  # of that bar when it was decided
    resting: str | None = None  # cid of the order at the exchange that has not ended
    price: Decimal | None = None  # of that order
    heard: bool = False  # the exchange has said that it stands there
    cancelling: bool = False
    waits: bool = False  # for coins that another order locks
    leaving: bool = False  # a protection that was touched: until everything is sold

    @property
    def symbol(self) -> str:
        return str(self.order.data.symbol)

    @property
    def kind(self) -> str:
        return KINDS[self.order.exectype]

    @property
    def reason(self) -> str:
        return str(self.order.info.get("reason", "") or "order")

    @property
    def level(self) -> float:
        """The price that it waits for, before it is rounded to the exchange's tick."""
        return float(self.order.created.price)


def reached_at(ticket: Ticket, tick: Decimal) -> Decimal:
    """The price on the exchange's grid that the market reaches exactly when it reaches the ticket's level.

    What waits below the market lies on the tick at or below its level, what waits above on the one at or above.
    """
    price = Decimal(repr(ticket.level))
    if not tick:
        return price
    below = (ticket.kind == STOP) == bool(ticket.order.issell())
    return (price / tick).to_integral_value(ROUND_FLOOR if below else ROUND_CEILING) * tick
