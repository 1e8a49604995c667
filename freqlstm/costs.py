"""Commission, slippage, lot size, minimum notional."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from freqlstm.errors import UsageError


@dataclass(frozen=True)
class Costs:
    """What every fill costs, as fractions of its value, a side.

    ``slippage`` moves the fill price against the order: a buy fills at price x (1 + slippage), a sell at
    price x (1 - slippage), even beyond the high or low of the candle. Limit orders never fill beyond their limit.
    """

    commission: float = 0.001  # Binance spot, without discounts
    slippage: float = 0.0001

    def __post_init__(self) -> None:
        for name in ("commission", "slippage"):
            value = getattr(self, name)
            if not 0 <= value < 0.1:
                raise UsageError(
                    f"The {name} is {value!r}. It is a fraction of the value, a side, from 0 up to 0.1: 0.001 is 0.1%."
                )


@dataclass(frozen=True)
class MarketRules:
    """What an exchange accepts: sizes in whole lots and orders worth at least the minimum notional."""

    lot_step: float = 1e-8  # units of the base asset
    min_notional: float = 5.0  # units of the quote asset

    def __post_init__(self) -> None:
        if not 0 < self.lot_step < math.inf:
            raise UsageError(f"The lot step is {self.lot_step!r}. It is a positive number of units, such as 0.00001.")
        if not 0 <= self.min_notional < math.inf:
            raise UsageError(f"The minimum notional is {self.min_notional!r}. It is a value from 0 up, such as 5.")

    def floor(self, size: float) -> float:
        """``size`` cut down to whole lots."""
        lots = abs(size) / self.lot_step
        whole = math.floor(lots + max(1e-9, 1e-12 * lots))  # 0.3 / 0.1 is 2.9999999999999996
        return math.copysign(round(whole * self.lot_step, 12), size)

    def refusal(self, size: float, price: float) -> str:
        """Why an order of ``size`` at about ``price`` would be refused; empty if it would not."""
        whole = self.floor(size)
        if whole == 0:
            return f"smaller than one lot of {self.lot_step:.10g}"
        lots = abs(size) / self.lot_step
        if abs(lots - round(lots)) > 1e-3:  # sums of sizes are off by their last bits
            return f"{abs(size):.10g} is not a whole number of lots of {self.lot_step:.10g}: {abs(whole):.10g} would be"
        notional = abs(size) * price
        if notional < self.min_notional:
            return f"worth {notional:.2f}, below the minimum notional of {self.min_notional:g}"
        return ""


BINANCE_SPOT: Mapping[str, MarketRules] = {  # as Binance published them in September 2023
    "BTC/USDT": MarketRules(0.00001, 5.0),
    "ETH/USDT": MarketRules(0.0001, 5.0),
    "SOL/USDT": MarketRules(0.01, 5.0),
    "ADA/USDT": MarketRules(0.1, 5.0),
}


def market_rules(symbol: str, recorded: Mapping[str, float] | None = None) -> MarketRules:
    """The rules recorded with the candles of ``symbol``, else those of Binance spot, else the loosest."""
    if recorded is not None:
        return MarketRules(float(recorded["lot_step"]), float(recorded["min_notional"]))
    return BINANCE_SPOT.get(symbol, MarketRules())
