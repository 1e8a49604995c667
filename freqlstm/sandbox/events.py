"""What the user data stream says of orders and balances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from freqlstm.sandbox.accounts import Balance
from freqlstm.sandbox.listing import text
from freqlstm.sandbox.orders import ZERO, Order, Trade

Event = dict[str, Any]


def execution_report(order: Order, kind: str, now: int, trade: Trade | None = None, reason: str = "NONE") -> Event:
    """One step in the life of an order: NEW, TRADE, CANCELED, EXPIRED, REJECTED or TRADE_PREVENTION."""
    cancelled = kind == "CANCELED"
    event: Event = {
        "e": "executionReport", "E": now, "s": order.symbol,
        "c": order.cancel_id if cancelled else order.client_id, "S": order.side, "o": order.type, "f": order.tif,
        "q": text(order.quantity), "p": text(order.price), "P": text(order.stop_price), "F": text(ZERO), "g": -1,
        "C": order.client_id if cancelled else "", "x": kind, "X": order.status, "r": reason, "i": order.id,
        "l": text(trade.quantity if trade else ZERO), "z": text(order.executed),
        "L": text(trade.price if trade else ZERO),
        "n": text(trade.commission) if trade else "0", "N": trade.commission_asset if trade else None,
        "T": order.updated, "t": trade.id if trade else -1, "I": order.id * 2 + 1,
        "w": order.open and order.working is not None and not order.waiting, "m": bool(trade and trade.maker),
        "M": trade is not None, "O": order.created, "Z": text(order.amount),
        "Y": text(trade.amount if trade else ZERO), "Q": text(order.quote_quantity), "V": order.prevention,
    }  # fmt: skip
    if order.trailing_delta is not None:
        event["d"] = order.trailing_delta
    if order.working is not None:
        event["W"] = order.working
    if order.expiry_reason and kind == "EXPIRED":
        event["eR"] = order.expiry_reason
    return event


def account_position(balances: Mapping[str, Balance], assets: Iterable[str], now: int) -> Event:
    """The balances that an order may have changed."""
    return {
        "e": "outboundAccountPosition", "E": now, "u": now,
        "B": [{"a": name, "f": text(balances[name].free), "l": text(balances[name].locked)} for name in assets],
    }  # fmt: skip


def balance_update(asset: str, delta: Decimal, now: int) -> Event:
    """A deposit, a withdrawal or a transfer."""
    return {"e": "balanceUpdate", "E": now, "a": asset, "d": text(delta), "T": now}


def stream_terminated(now: int) -> Event:
    """The last event of a user data stream that the exchange ends."""
    return {"e": "eventStreamTerminated", "E": now}


def server_shutdown(now: int) -> Event:
    """Sent to every connection some time before it is closed."""
    return {"e": "serverShutdown", "E": now}
