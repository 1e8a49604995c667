"""The symbols that the sandbox lists, with the filters that Binance had for them in September 2023.

Types of orders are those of today: STOP_LOSS and TAKE_PROFIT, which end as market orders, came later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from freqlstm.candles import Candles

EIGHT = Decimal("1e-8")

ORDER_TYPES = (
    "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT",
)  # fmt: skip


def text(value: Decimal | float) -> str:
    """A number as Binance writes it, with eight decimals."""
    return f"{value:.8f}"


def floored(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` that is not above ``value``."""
    return value // step * step


@dataclass(frozen=True)
class Listing:
    """One symbol and its filters; quantities are in the base asset, amounts in the quote asset."""

    symbol: str  # BTC/USDT
    tick: Decimal
    max_price: Decimal
    step: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional: Decimal = Decimal(5)
    max_notional: Decimal = Decimal(9_000_000)
    price_up: Decimal = Decimal(5)  # PERCENT_PRICE_BY_SIDE, times the average price
    price_down: Decimal = Decimal("0.2")
    average_minutes: int = 5
    max_orders: int = 200
    max_algo_orders: int = 5
    trailing: tuple[int, int] = (10, 2000)  # basis points
    max_position: Decimal | None = None
    status: str = "TRADING"

    @property
    def name(self) -> str:
        """BTCUSDT."""
        return self.symbol.replace("/", "")

    @property
    def base(self) -> str:
        return self.symbol.split("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.split("/")[1].split(":")[0]

    @property
    def min_quantity(self) -> Decimal:
        return self.step

    def with_status(self, status: str) -> Listing:
        """The same symbol, TRADING or in a BREAK."""
        return replace(self, status=status)

    def filters(self) -> list[dict[str, Any]]:
        """As exchangeInfo has them."""
        low, high = self.trailing
        up, down = (f"{value.normalize():f}" for value in (self.price_up, self.price_down))
        listed: list[dict[str, Any]] = [
            {"filterType": "PRICE_FILTER", "minPrice": text(self.tick), "maxPrice": text(self.max_price),
             "tickSize": text(self.tick)},
            {"filterType": "LOT_SIZE", "minQty": text(self.min_quantity), "maxQty": text(self.max_quantity),
             "stepSize": text(self.step)},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MARKET_LOT_SIZE", "minQty": text(Decimal(0)), "maxQty": text(self.max_market_quantity),
             "stepSize": text(Decimal(0))},
            {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": low, "maxTrailingAboveDelta": high,
             "minTrailingBelowDelta": low, "maxTrailingBelowDelta": high},
            {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": up, "bidMultiplierDown": down,
             "askMultiplierUp": up, "askMultiplierDown": down, "avgPriceMins": self.average_minutes},
            {"filterType": "NOTIONAL", "minNotional": text(self.min_notional), "applyMinToMarket": True,
             "maxNotional": text(self.max_notional), "applyMaxToMarket": False, "avgPriceMins": self.average_minutes},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": self.max_orders},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": self.max_algo_orders},
        ]  # fmt: skip
        if self.max_position is not None:
            listed.append({"filterType": "MAX_POSITION", "maxPosition": text(self.max_position)})
        return listed

    def info(self) -> dict[str, Any]:
        """What exchangeInfo says of the symbol."""
        return {
            "symbol": self.name, "status": self.status, "baseAsset": self.base, "baseAssetPrecision": 8,
            "quoteAsset": self.quote, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8, "orderTypes": list(ORDER_TYPES), "icebergAllowed": False,
            "ocoAllowed": False, "otoAllowed": False, "quoteOrderQtyMarketAllowed": True, "allowTrailingStop": True,
            "cancelReplaceAllowed": True, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
            "filters": self.filters(), "permissions": ["SPOT"], "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
            "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
        }  # fmt: skip


def _listing(symbol: str, tick: str, max_price: int, step: str, max_quantity: int, max_market: int) -> Listing:
    numbers = (Decimal(tick), Decimal(max_price), Decimal(step), Decimal(max_quantity), Decimal(max_market))
    return Listing(symbol, *numbers)


KNOWN = {
    listing.symbol: listing
    for listing in (
        _listing("BTC/USDT", "0.01", 1_000_000, "0.00001", 9_000, 168),
        _listing("ETH/USDT", "0.01", 1_000_000, "0.0001", 9_000, 3_346),
        _listing("SOL/USDT", "0.01", 10_000, "0.01", 90_000, 129_313),
        _listing("ADA/USDT", "0.0001", 1_000, "0.1", 900_000, 3_485_105),
    )
}


def listing_of(candles: Candles) -> Listing:
    """The known listing of a symbol; of any other one with a tick that its prices need and a step worth about a cent."""
    if candles.symbol in KNOWN and _on_grid(candles, KNOWN[candles.symbol].tick):
        return KNOWN[candles.symbol]
    digits = next((digits for digits in range(9) if _on_grid(candles, Decimal(1).scaleb(-digits))), 8)
    price = Decimal(repr(float(candles.close.iloc[-1])))
    step = Decimal(1).scaleb(max(-8, min(0, -2 - price.adjusted())))
    limit = Decimal(10) ** max(4, 9 - price.adjusted())
    return Listing(
        candles.symbol, Decimal(1).scaleb(-digits), Decimal(10) ** (price.adjusted() + 4), step, limit, limit
    )


def _on_grid(candles: Candles, tick: Decimal) -> bool:
    steps = candles.close.to_numpy() / float(tick)
    return bool(np.all(np.abs(steps - np.rint(steps)) < 1e-4))
