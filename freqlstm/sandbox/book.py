"""The order book around a replayed price: the same for the same seed, and as thin as it is told to be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from freqlstm.sandbox.listing import Listing, floored
from freqlstm.sandbox.orders import ZERO

Level = tuple[Decimal, Decimal]  # price, quantity


@dataclass(frozen=True)
class Liquidity:
    """How much the market offers on each side of the last price."""

    levels: int = 20
    amount: Decimal = Decimal(50_000)  # of the quote asset, at each level, half to one and a half times that
    spread: int = 1  # ticks from the best bid, which is the last price, to the best ask; 0: both are the last price
    gap: Decimal = Decimal("0.00002")  # between two levels, as a share of the price, one tick at least

    def thinned(self, levels: int, amount: Decimal) -> Liquidity:
        """The same with fewer levels, or less at each."""
        return replace(self, levels=levels, amount=amount)


class Book:
    """Bids and asks of the rest of the market for one symbol; what is taken comes back with the next price."""

    def __init__(self, listing: Listing, liquidity: Liquidity, seed: int) -> None:
        self.listing = listing
        self.liquidity = liquidity
        self.seed = seed
        self.update = 0  # lastUpdateId
        self.price = ZERO
        self._moment = 0
        self._taken: dict[tuple[bool, Decimal], Decimal] = {}

    def move(self, price: Decimal, moment: int) -> None:
        """Rebuild it around ``price``."""
        self.price, self._moment = price, moment
        self.update += 1
        self._taken.clear()

    def take(self, buying: bool, price: Decimal, quantity: Decimal) -> None:
        """Remove what an order took at one level."""
        side = (buying, price)
        self._taken[side] = self._taken.get(side, ZERO) + quantity
        self.update += 1

    def offers(self, buying: bool, liquidity: Liquidity | None = None) -> Iterator[Level]:
        """What a buyer (the asks) or a seller (the bids) can take, best first."""
        shape = liquidity or self.liquidity
        tick, sign = self.listing.tick, 1 if buying else -1
        gap = max(1, int(self.price * shape.gap / tick)) * tick
        first = self.price + shape.spread * tick if buying else self.price
        for level in range(shape.levels):
            price = first + sign * level * gap
            if price < tick:
                return
            quantity = floored(shape.amount * self._share(buying, level) / price, self.listing.step)
            left = quantity - self._taken.get((buying, price), ZERO)
            if left > 0:
                yield price, left

    def _share(self, buying: bool, level: int) -> Decimal:
        """From 0.5 to 1.5, drawn for the seed, symbol, moment, side and level."""
        name = f"{self.seed} {self.listing.symbol} {self._moment} {buying} {level}"
        draw = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")
        return Decimal("0.5") + Decimal(draw % 1_000_001) / 1_000_000
