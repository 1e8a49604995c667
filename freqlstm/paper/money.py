"""Exact money: what an exchange accepts of quantities and prices, in Decimal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from freqlstm.costs import MarketRules
from freqlstm.errors import BadAnswer
from freqlstm.paper.records import LIMIT, MARKET, SELL, STOP, Intent

WIRE_TYPES = {MARKET: "MARKET", LIMIT: "LIMIT", STOP: "STOP_LOSS"}


def floor_step(quantity: Decimal, step: Decimal) -> Decimal:
    """``quantity`` cut down to whole steps; as it is where the step is 0."""
    return (quantity // step) * step if step else quantity


def nearest_tick(price: Decimal, tick: Decimal) -> Decimal:
    """``price`` moved to the nearest multiple of ``tick``; as it is where the tick is 0."""
    return (price / tick).to_integral_value(ROUND_HALF_EVEN) * tick if tick else price


def plain(value: Decimal) -> str:
    """``value`` as the exchange writes it: no exponent, no trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class SymbolRules:
    """The filters of one symbol, as the exchange lists them; 0 means that there is no such limit."""

    symbol: str
    id: str  # the exchange's own name: BTCUSDT
    base: str
    quote: str
    trading: bool
    order_types: frozenset[str]
    lot_step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_step: Decimal
    max_market_quantity: Decimal
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    min_notional: Decimal
    max_notional: Decimal
    min_notional_of_market: bool  # whether market orders too must be worth that much
    max_notional_of_market: bool = False  # whether they too must not be worth more

    @classmethod
    def listed(cls, symbol: str, listing: Mapping[str, Any]) -> SymbolRules:
        """Of an entry of ``symbols`` in the exchange's ``exchangeInfo``."""
        filters = {one["filterType"]: one for one in listing.get("filters", ())}

        def number(kind: str, name: str) -> Decimal:
            return Decimal(str(filters.get(kind, {}).get(name, "0")))

        kind = "NOTIONAL" if "NOTIONAL" in filters else "MIN_NOTIONAL"
        least = filters.get(kind, {})
        lot = number("LOT_SIZE", "stepSize")
        if lot <= 0:
            raise BadAnswer(f"The exchange lists {symbol} without a lot size. Choose another pair.")
        return cls(
            symbol=symbol,
            id=listing["symbol"],
            base=listing["baseAsset"],
            quote=listing["quoteAsset"],
            trading=listing.get("status") == "TRADING",
            order_types=frozenset(listing.get("orderTypes", ())),
            lot_step=lot,
            min_quantity=number("LOT_SIZE", "minQty"),
            max_quantity=number("LOT_SIZE", "maxQty"),
            market_step=number("MARKET_LOT_SIZE", "stepSize"),
            max_market_quantity=number("MARKET_LOT_SIZE", "maxQty"),
            tick=number("PRICE_FILTER", "tickSize"),
            min_price=number("PRICE_FILTER", "minPrice"),
            max_price=number("PRICE_FILTER", "maxPrice"),
            min_notional=number(kind, "minNotional"),
            max_notional=number(kind, "maxNotional"),
            min_notional_of_market=bool(least.get("applyMinToMarket", least.get("applyToMarket", True))),
            max_notional_of_market=bool(least.get("applyMaxToMarket", False)),
        )

    @property
    def step(self) -> Decimal:
        """What every order is a whole number of: market orders may have to be of larger lots, and any position is sold by one."""
        return max(self.lot_step, self.market_step)

    @property
    def market_rules(self) -> MarketRules:
        """The same as a backtest wants them."""
        return MarketRules(float(self.step), float(self.min_notional))

    def floor(self, quantity: Decimal) -> Decimal:
        """``quantity`` cut down to whole lots."""
        return floor_step(quantity, self.step)

    def is_dust(self, quantity: Decimal, price: Decimal) -> bool:
        """Whether a position is too small ever to be sold: less than a lot, or worth less than the minimum."""
        whole = self.floor(quantity)
        return whole < max(self.min_quantity, self.step) or (
            self.min_notional_of_market and price * whole < self.min_notional
        )

    def refusal(self, intent: Intent, last: Decimal | None) -> str:
        """Why the exchange would refuse ``intent``, the last price being ``last``; empty if it would not."""
        quantity, price = intent.quantity, intent.price
        if not self.trading:
            return f"{self.symbol} is halted at the exchange"
        if WIRE_TYPES[intent.kind] not in self.order_types:
            return f"{self.symbol} does not accept {intent.kind} orders"
        if quantity <= 0 or quantity != self.floor(quantity):
            return f"{plain(quantity)} {self.base} is not a whole number of lots of {plain(self.step)}"
        if quantity < self.min_quantity:
            return f"{plain(quantity)} {self.base} is below the smallest order of {plain(self.min_quantity)}"
        largest = [limit for limit in (self.max_quantity, self.max_market_quantity * (intent.kind != LIMIT)) if limit]
        if largest and quantity > min(largest):
            return f"{plain(quantity)} {self.base} is above the largest order of {plain(min(largest))}"
        if (intent.kind == MARKET) != (price is None):
            return f"a {intent.kind} order {'has no price' if price is not None else 'needs a price'}"
        if price is not None:
            if price <= 0 or (self.tick and price % self.tick):
                return f"the price {plain(price)} is not a multiple of the tick of {plain(self.tick)}"
            if price < self.min_price or (self.max_price and price > self.max_price):
                return f"the price {plain(price)} is outside {plain(self.min_price)} to {plain(self.max_price)}"
        reference = price if price is not None else last
        if reference is None:
            return ""
        worth, limited = reference * quantity, intent.kind == LIMIT
        if worth < self.min_notional and (limited or self.min_notional_of_market):
            return f"worth {plain(worth)} {self.quote}, below the minimum notional of {plain(self.min_notional)}"
        if 0 < self.max_notional < worth and (limited or self.max_notional_of_market):
            return f"worth {plain(worth)} {self.quote}, above the maximum notional of {plain(self.max_notional)}"
        return ""


def sellable(position: Decimal, free: Decimal, rules: SymbolRules) -> Decimal:
    """The whole lots of a position that can be sold: commission may have been taken from it."""
    return rules.floor(max(Decimal(0), min(position, free)))


def signed(side: str, quantity: Decimal) -> Decimal:
    """Positive for a buy, negative for a sell."""
    return -quantity if side == SELL else quantity
