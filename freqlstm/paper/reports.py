"""What the exchange says of an order, in its three dialects: execution reports, REST answers and lists of trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from freqlstm.paper.records import BUY, SELL, Fill, State

STATES: Mapping[str, State] = {
    "NEW": State.OPEN,
    "PENDING_NEW": State.OPEN,
    "PENDING_CANCEL": State.OPEN,
    "PARTIALLY_FILLED": State.PARTIAL,
    "FILLED": State.FILLED,
    "CANCELED": State.CANCELED,
    "REJECTED": State.REJECTED,
    "EXPIRED": State.EXPIRED,
    "EXPIRED_IN_MATCH": State.EXPIRED,
}


@dataclass(frozen=True)
class Report:
    """What one message says of one order."""

    cid: str
    symbol: str
    exchange_id: int
    state: State
    executed: Decimal  # so far
    fills: tuple[Fill, ...] = ()
    note: str = ""


def streamed(message: Mapping[str, Any], symbol: str) -> Report:
    """Of an ``executionReport``."""
    cid = message.get("C") or message["c"]  # of a cancelled order, c is the cancellation's own id
    fills: tuple[Fill, ...] = ()
    if message["x"] == "TRADE":
        fill = Fill(
            symbol, int(message["t"]), cid, message["S"].lower(), Decimal(message["L"]), Decimal(message["l"]),
            Decimal(message["n"] or "0"), message["N"] or "", int(message["T"]), bool(message["m"]), _told(message.get("Y")),
        )  # fmt: skip
        fills = (fill,)
    note = str(message.get("r") or "")
    state = STATES.get(message["X"], State.OPEN)
    return Report(cid, symbol, int(message["i"]), state, Decimal(message["z"]), fills, "" if note == "NONE" else note)


def answered(body: Mapping[str, Any], symbol: str) -> Report:
    """Of what REST says of an order: when it is placed, asked for or cancelled."""
    cid = body.get("origClientOrderId") or body["clientOrderId"]
    side = body.get("side", "").lower()
    time_ms = int(body.get("transactTime") or body.get("updateTime") or 0)
    fills = tuple(
        Fill(
            symbol, int(one["tradeId"]), cid, side, Decimal(one["price"]), Decimal(one["qty"]), Decimal(one["commission"]),
            one["commissionAsset"], time_ms, False,
        )
        for one in body.get("fills", ())
    )  # fmt: skip
    total = _told(body.get("cummulativeQuoteQty"))
    if fills and total is not None and sum(fill.quantity for fill in fills) == Decimal(body["executedQty"]):
        rest = total - sum((fill.worth for fill in fills[:-1]), Decimal(0))  # it tells the sum alone
        fills = (*fills[:-1], replace(fills[-1], quoted=rest))
    state = STATES.get(body["status"], State.OPEN)
    note = str(body.get("expiryReason") or "")
    return Report(cid, symbol, int(body["orderId"]), state, Decimal(body["executedQty"]), fills, note)


def traded(row: Mapping[str, Any], symbol: str, cid: str) -> Fill:
    """Of a row of ``myTrades``."""
    return Fill(
        symbol, int(row["id"]), cid, BUY if row["isBuyer"] else SELL, Decimal(row["price"]), Decimal(row["qty"]),
        Decimal(row["commission"]), row["commissionAsset"], int(row["time"]), bool(row["isMaker"]), _told(row.get("quoteQty")),
    )  # fmt: skip


def _told(amount: str | None) -> Decimal | None:
    """What was paid, if it was said: nobody pays nothing, and below 0 means that the exchange does not know."""
    return Decimal(amount) if amount and Decimal(amount) > 0 else None
