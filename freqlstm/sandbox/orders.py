"""Orders and trades: what they are and how Binance writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from freqlstm.sandbox.listing import text

ZERO = Decimal(0)
OPEN = ("NEW", "PARTIALLY_FILLED")
CONTINGENT = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")

Side = Literal["BUY", "SELL"]


@dataclass(frozen=True)
class Trade:
    """One fill of one order."""

    id: int
    symbol: str  # BTCUSDT
    order_id: int
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    buyer: bool
    maker: bool

    @property
    def amount(self) -> Decimal:
        """In the quote asset."""
        return self.price * self.quantity

    def listed(self) -> dict[str, Any]:
        """A row of myTrades."""
        return {
            "symbol": self.symbol, "id": self.id, "orderId": self.order_id, "orderListId": -1,
            "price": text(self.price), "qty": text(self.quantity), "quoteQty": text(self.amount),
            "commission": text(self.commission), "commissionAsset": self.commission_asset, "time": self.time,
            "isBuyer": self.buyer, "isMaker": self.maker, "isBestMatch": True,
        }  # fmt: skip

    def brief(self) -> dict[str, Any]:
        """A row of ``fills`` in the answer to a new order."""
        return {
            "price": text(self.price), "qty": text(self.quantity), "commission": text(self.commission),
            "commissionAsset": self.commission_asset, "tradeId": self.id,
        }  # fmt: skip


@dataclass(eq=False)
class Order:
    """One order and what became of it; times in milliseconds of the exchange's clock."""

    id: int
    key: str  # whose
    symbol: str  # BTCUSDT
    client_id: str
    side: Side
    type: str
    tif: str
    quantity: Decimal
    quote_quantity: Decimal
    price: Decimal
    stop_price: Decimal
    trailing_delta: int | None
    prevention: str
    created: int
    updated: int
    status: str = "NEW"
    executed: Decimal = ZERO
    amount: Decimal = ZERO  # of the quote asset, paid or received before commission
    locked: Decimal = ZERO  # of the asset that it gives
    working: int | None = None  # since when it has been in the book
    waiting: bool = False  # for its stop price
    active: bool = False  # a trailing stop that is tracking the price
    extreme: Decimal = ZERO  # the best price that a trailing stop has seen
    cancel_id: str = ""
    expiry_reason: str = ""
    visible_from: int = 0
    touched: int = 0  # the number of the move of the price that filled it last, as a maker
    trades: list[Trade] = field(default_factory=list)

    @property
    def buys(self) -> bool:
        return self.side == "BUY"

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def limited(self) -> bool:
        """Whether it has a limit price."""
        return self.type.endswith("LIMIT") or self.type == "LIMIT_MAKER"

    @property
    def trigger(self) -> Decimal:
        """The price at which it reacts next while it waits."""
        if self.trailing_delta is None or not self.active:
            return self.stop_price
        share = Decimal(self.trailing_delta) / 10_000
        return self.extreme * (1 + share if self.buys else 1 - share)

    @property
    def rising(self) -> bool:
        """Whether its stop price, or the start of its tracking, is met from below."""
        return self.buys == self.type.startswith("STOP_LOSS")

    def reached(self, price: Decimal) -> bool:
        """Whether ``price`` meets its stop price."""
        return price >= self.stop_price if self.rising else price <= self.stop_price

    def triggered_by(self, price: Decimal) -> bool:
        """Whether ``price`` sets it off; a trailing stop first follows the price."""
        if self.trailing_delta is None:
            return self.reached(price)
        if not self.active:
            if self.reached(price):
                self.active, self.extreme = True, price
            return False
        self.extreme = min(self.extreme, price) if self.buys else max(self.extreme, price)
        return price >= self.trigger if self.buys else price <= self.trigger

    def _core(self) -> dict[str, Any]:
        return {
            "price": text(self.price), "origQty": text(self.quantity), "executedQty": text(self.executed),
            "origQuoteOrderQty": text(self.quote_quantity), "cummulativeQuoteQty": text(self.amount),
            "status": self.status, "timeInForce": self.tif, "type": self.type, "side": self.side,
        }  # fmt: skip

    def _extras(self) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if self.stop_price:
            extras["stopPrice"] = text(self.stop_price)
        if self.trailing_delta is not None:
            extras["trailingDelta"] = self.trailing_delta
        if self.expiry_reason:
            extras["expiryReason"] = self.expiry_reason
        return extras

    def acknowledged(self) -> dict[str, Any]:
        """The ACK to a new order."""
        return {
            "symbol": self.symbol, "orderId": self.id, "orderListId": -1, "clientOrderId": self.client_id,
            "transactTime": self.updated,
        }  # fmt: skip

    def answered(self, kind: str) -> dict[str, Any]:
        """The ACK, RESULT or FULL answer to a new order."""
        if kind == "ACK":
            return self.acknowledged()
        answer = {**self.acknowledged(), **self._core(), **self._extras(), "selfTradePreventionMode": self.prevention}
        if self.working is not None:
            answer["workingTime"] = self.working
        if kind == "FULL":
            answer["fills"] = [trade.brief() for trade in self.trades]
        return answer

    def queried(self) -> dict[str, Any]:
        """What GET order says."""
        return {
            "symbol": self.symbol, "orderId": self.id, "orderListId": -1, "clientOrderId": self.client_id,
            **self._core(), "stopPrice": text(self.stop_price), "icebergQty": text(ZERO), "time": self.created,
            "updateTime": self.updated, "isWorking": not self.waiting, **self._extras(),
            "workingTime": -1 if self.working is None else self.working, "selfTradePreventionMode": self.prevention,
        }  # fmt: skip

    def cancelled(self) -> dict[str, Any]:
        """The answer to its cancellation, whose client order id is the cancellation's own."""
        return {
            "symbol": self.symbol, "origClientOrderId": self.client_id, "orderId": self.id, "orderListId": -1,
            "clientOrderId": self.cancel_id, "transactTime": self.updated, **self._core(), **self._extras(),
            "selfTradePreventionMode": self.prevention,
        }  # fmt: skip
