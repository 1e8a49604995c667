"""What clients can ask of the exchange, by REST and by WS-API alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from freqlstm.sandbox import market_data, trading
from freqlstm.sandbox.accounts import Account
from freqlstm.sandbox.venue import Venue

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """One thing to ask; ``weight`` may depend on the parameters."""

    rest: tuple[str, str] | None  # method, path under /api/v3
    ws: str | None
    run: Callable[..., Any]
    weight: int | Callable[[Parameters], int] = 1
    signed: bool = False
    order: bool = False  # counts as a new order

    def cost(self, parameters: Parameters) -> int:
        """Its weight with these parameters."""
        return self.weight(parameters) if callable(self.weight) else self.weight

    def __call__(self, venue: Venue, parameters: Parameters, account: Account | None) -> Any:
        return self.run(venue, account, parameters) if self.signed else self.run(venue, parameters)


def _depth_weight(parameters: Parameters) -> int:
    limit = str(parameters.get("limit", "100"))
    return (
        5
        if not limit.isdigit() or int(limit) <= 100
        else 25
        if int(limit) <= 500
        else 50
        if int(limit) <= 1000
        else 250
    )


def _all_or_one(one: int, many: int) -> Callable[[Parameters], int]:
    return lambda parameters: one if parameters.get("symbol") else many


OPERATIONS = (
    Operation(("GET", "ping"), "ping", market_data.ping),
    Operation(("GET", "time"), "time", market_data.time),
    Operation(("GET", "exchangeInfo"), "exchangeInfo", market_data.exchange_info, 20),
    Operation(("GET", "klines"), "klines", market_data.klines, 2),
    Operation(("GET", "depth"), "depth", market_data.depth, _depth_weight),
    Operation(("GET", "ticker/24hr"), "ticker.24hr", market_data.ticker_day, _all_or_one(2, 80)),
    Operation(("GET", "ticker/price"), "ticker.price", market_data.ticker_price, _all_or_one(2, 4)),
    Operation(("GET", "ticker/bookTicker"), "ticker.book", market_data.ticker_book, _all_or_one(2, 4)),
    Operation(("GET", "avgPrice"), "avgPrice", market_data.average_price, 2),
    Operation(("POST", "order"), "order.place", trading.place, signed=True, order=True),
    Operation(("POST", "order/test"), "order.test", trading.test, signed=True),
    Operation(("GET", "order"), "order.status", trading.status, 4, signed=True),
    Operation(("DELETE", "order"), "order.cancel", trading.cancel, signed=True),
    Operation(
        ("POST", "order/cancelReplace"), "order.cancelReplace", trading.cancel_replace, signed=True, order=True
    ),
    Operation(("GET", "openOrders"), "openOrders.status", trading.open_orders, _all_or_one(6, 80), signed=True),
    Operation(("DELETE", "openOrders"), "openOrders.cancelAll", trading.cancel_all, signed=True),
    Operation(("GET", "allOrders"), "allOrders", trading.all_orders, 20, signed=True),
    Operation(
        ("GET", "myTrades"), "myTrades", trading.my_trades,
        lambda parameters: 5 if parameters.get("orderId") else 20, signed=True,
    ),
    Operation(("GET", "account"), "account.status", trading.account_status, 20, signed=True),
    Operation(("GET", "account/commission"), "account.commission", trading.commission, 20, signed=True),
    Operation(("GET", "rateLimit/order"), "account.rateLimits.orders", trading.order_limits, 40, signed=True),
)  # fmt: skip

BY_REQUEST = {(each.rest[0], f"/api/v3/{each.rest[1]}"): each for each in OPERATIONS if each.rest}
BY_METHOD = {each.ws: each for each in OPERATIONS if each.ws}
