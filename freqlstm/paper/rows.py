"""Rows of a journal's tables and the records they hold."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from freqlstm.paper.records import Candle, Fill, Intent, Order, State

ORDER = (
    "cid, epoch, symbol, open_ms, side, kind, quantity, stop_price, limit_price, reason, reduces, deadline_ms, state, "
    "exchange_id, executed, sent_ms, window_ms, resolved_ms, note"
)
FILL = "symbol, trade_id, cid, side, price, quantity, commission, commission_asset, time_ms, maker, quoted"
CANDLE = "open_ms, open, high, low, close, volume"


def text(value: Any) -> Any:
    """Decimals as decimal text; anything else as it is."""
    return f"{value:f}" if isinstance(value, Decimal) else value


def candle_row(candle: Candle) -> tuple[Any, ...]:
    prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return (candle.open_ms, *map(text, prices))


def candle_of(row: Sequence[Any]) -> Candle:
    open_ms, *prices = row
    return Candle(open_ms, *map(Decimal, prices))


def order_row(order: Order) -> tuple[Any, ...]:
    intent = order.intent
    values = (
        intent.cid, order.epoch, intent.symbol, intent.open_ms, intent.side, intent.kind, intent.quantity, intent.stop_price,
        intent.limit_price, intent.reason, int(intent.reduces), intent.deadline_ms, str(order.state), order.exchange_id,
        order.executed, order.sent_ms, order.window_ms, order.resolved_ms, order.note,
    )  # fmt: skip
    return tuple(map(text, values))


def order_of(row: Sequence[Any]) -> Order:
    (
        cid, epoch, symbol, open_ms, side, kind, quantity, stop, limit, reason, reduces, deadline, state, exchange_id, executed,
        sent_ms, window_ms, resolved_ms, note,
    ) = row  # fmt: skip
    stop, limit = (None if price is None else Decimal(price) for price in (stop, limit))
    intent = Intent(cid, symbol, side, kind, Decimal(quantity), open_ms, reason, stop, limit, bool(reduces), deadline)
    return Order(intent, epoch, State(state), exchange_id, Decimal(executed), sent_ms, window_ms, resolved_ms, note)


def fill_row(fill: Fill) -> tuple[Any, ...]:
    values = (
        fill.symbol, fill.trade_id, fill.cid, fill.side, fill.price, fill.quantity, fill.commission, fill.commission_asset,
        fill.time_ms, int(fill.maker), fill.quoted,
    )  # fmt: skip
    return tuple(map(text, values))


def fill_of(row: Sequence[Any]) -> Fill:
    symbol, trade_id, cid, side, price, quantity, commission, asset, time_ms, maker, quoted = row
    amounts = (Decimal(price), Decimal(quantity), Decimal(commission))
    return Fill(
        symbol, trade_id, cid, side, *amounts, asset, time_ms, bool(maker), None if quoted is None else Decimal(quoted)
    )
