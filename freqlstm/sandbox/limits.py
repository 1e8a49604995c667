"""Request weights, order counts, and what happens to those who use too much."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from freqlstm.sandbox.refusal import Refusal

MINUTE, DAY = 60_000, 86_400_000  # milliseconds


@dataclass(frozen=True)
class Limits:
    """What Binance allowed in September 2023, on the clock of the exchange; connections and messages on this machine's."""

    weight: int = 6000  # a minute
    orders: int = 50  # in ten seconds
    daily_orders: int = 160_000
    patience: int = 10  # requests that are still refused with 429 before 418
    ban: int = 120  # seconds
    connections: int = 300  # in five minutes
    streams: int = 1024  # of one connection
    messages: int = 5  # a second, of one connection
    life: float = 24.0  # hours of a connection, on the clock of the exchange
    ping: float = 20.0  # seconds between two pings
    pong: float = 60.0  # seconds after which a connection without a pong is closed

    def listed(self) -> list[dict[str, object]]:
        """As exchangeInfo has them."""
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, self.weight),
            ("ORDERS", "SECOND", 10, self.orders),
            ("ORDERS", "DAY", 1, self.daily_orders),
        )
        names = ("rateLimitType", "interval", "intervalNum", "limit")
        return [dict(zip(names, row, strict=True)) for row in rows]


class Usage:
    """What was used so far: the weight of requests, and the orders of one account that are not filled."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.weight = 0
        self.banned_until = 0
        self._minute = 0
        self._refused = 0
        self._orders: dict[str, deque[int]] = {}  # by key: times of new orders

    def charge(self, weight: int, now: int) -> None:
        """Count a request, or refuse it."""
        if now < self.banned_until:
            raise self._banned(now)
        if now // MINUTE != self._minute:
            self._minute, self.weight, self._refused = now // MINUTE, 0, 0
        self.weight += weight
        if self.weight <= self.limits.weight:
            return
        self._refused += 1
        if self._refused > self.limits.patience:
            self.banned_until = now + self.limits.ban * 1000
            raise self._banned(now)
        raise Refusal(
            -1003,
            f"Too much request weight used; current limit is {self.limits.weight} request weight per 1 MINUTE. "
            f"Please use WebSocket Streams for live updates to avoid polling the API.",
            headers={"Retry-After": _seconds(MINUTE - now % MINUTE)},
        )

    def _banned(self, now: int) -> Refusal:
        return Refusal(
            -1003,
            f"Way too much request weight used; IP banned until {self.banned_until}. "
            f"Please use WebSocket Streams for live updates to avoid bans.",
            status=418,
            headers={"Retry-After": _seconds(self.banned_until - now)},
        )

    def count_order(self, key: str, now: int) -> None:
        """Count a new order of an account, or refuse it."""
        short, long = self.orders(key, now)
        for count, limit, span in ((short, self.limits.orders, "10 SECOND"), (long, self.limits.daily_orders, "1 DAY")):
            if count >= limit:  # Binance does not say here when to come back
                raise Refusal(-1015, f"Too many new orders; current limit is {limit} orders per {span}.")
        self._orders[key].append(now)

    def forgive(self, key: str) -> None:
        """An order was filled: it does not count any more."""
        if self._orders.get(key):
            self._orders[key].pop()

    def orders(self, key: str, now: int) -> tuple[int, int]:
        """The unfilled orders of an account in these ten seconds and today."""
        times = self._orders.setdefault(key, deque())
        while times and times[0] // DAY != now // DAY:
            times.popleft()
        return sum(time // 10_000 == now // 10_000 for time in times), len(times)


def _seconds(milliseconds: int) -> str:
    """Rounded up, as Retry-After has them."""
    return str(-(-milliseconds // 1000))
