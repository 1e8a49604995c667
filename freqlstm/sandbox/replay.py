"""The replayed market and its clock: all symbols in step, stepped by hand or driven by time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from freqlstm.candles import Candles
from freqlstm.sandbox.listing import Listing
from freqlstm.sandbox.tape import Kline, Tape


@dataclass
class Moment:
    """What happened in the market at one tick."""

    time: int  # milliseconds
    closed: dict[str, Kline] = field(default_factory=dict)
    prices: dict[str, tuple[Decimal, bool]] = field(default_factory=dict)  # and whether the price jumped there


class Replay:
    """Candles by symbol, of one timeframe, from ``start`` on; what came before is history.

    ``speed`` is how many seconds of the market pass in one second, 0: only as it is stepped. A stepped clock goes on
    ticking with the seconds of this machine, but never into the next candle by itself.
    """

    def __init__(
        self, tapes: Mapping[str, Tape], start: int, end: int, ticks: int, speed: float = 0.0,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.tapes = dict(tapes)  # by name: BTCUSDT
        self.step = next(iter(tapes.values())).step
        self.start, self.end, self.ticks = start, end, ticks
        self.speed = speed
        self.skew = 0  # milliseconds by which the exchange's clock is wrong
        self._seconds = seconds
        self.open_time = start  # of the candle that is forming
        self.tick = 0  # of it, the newest that has happened
        self._anchor = (start, seconds())

    @property
    def over(self) -> bool:
        """Whether every candle has been replayed."""
        return self.open_time >= self.end

    @property
    def now(self) -> int:
        """The exchange's clock, in milliseconds."""
        since, read = self._anchor
        elapsed = int((self._seconds() - read) * 1000 * (self.speed or 1.0))
        latest = self.due - 1 if not self.over else since + elapsed
        return min(since + elapsed, max(latest, since)) + self.skew

    @property
    def due(self) -> int:
        """When the next tick happens, on the clock of the market."""
        if self.speed == 0:
            return self.open_time + self.step
        return self._time_of(self.tick + 1)

    def _time_of(self, tick: int) -> int:
        return self.open_time + self.step * tick // self.ticks

    def wait(self) -> float:
        """Seconds until the next tick, at this speed."""
        since, read = self._anchor
        return max(0.0, read + (self.due - since) / (1000 * self.speed) - self._seconds())

    def run(self, speed: float) -> None:
        """Go on at another speed from here."""
        now = self.now - self.skew
        self.speed = speed
        self._anchor = (now, self._seconds())

    def begin(self, open_time: int | None = None) -> Moment:
        """The first moment: the first candles open."""
        self.open_time = self.start if open_time is None else open_time
        self.tick = 0
        for tape in self.tapes.values():
            tape.begin(self.open_time)
        self._settle(self.open_time)
        return self._opened(Moment(self.open_time))

    def advance(self) -> Moment:
        """The next tick; with the last of a candle it closes and the next one opens."""
        if self.tick + 1 < self.ticks:
            self.tick += 1
            moment = Moment(self._time_of(self.tick))
            for name, tape in self.tapes.items():
                price = tape.advance(self.tick)
                if price is not None:
                    moment.prices[name] = (_decimal(price), False)
            self._settle(moment.time)
            return moment
        before, self.open_time, self.tick = self.open_time, self.open_time + self.step, 0
        moment = Moment(self.open_time)
        for name, tape in self.tapes.items():
            done = tape.close_candle(before)
            if done is not None:
                moment.closed[name] = done
        self._settle(moment.time)
        return self._opened(moment)

    def _opened(self, moment: Moment) -> Moment:
        for name, tape in self.tapes.items():
            if not self.over and tape.open_candle(self.open_time, self.ticks):
                tape.advance(0)
            moment.prices[name] = (_decimal(tape.last), True)
        return moment

    def _settle(self, moment: int) -> None:
        """The clock has come to ``moment``, unless it has by itself: it never goes back."""
        since, read = self._anchor
        elapsed = (self._seconds() - read) * 1000 * (self.speed or 1.0)
        if moment >= since + elapsed or (self.speed == 0 and moment == self.open_time):
            self._anchor = (moment, self._seconds())


def replay_of(
    market: Mapping[str, Candles],
    listings: Mapping[str, Listing],
    start: int | None,
    end: int | None,
    ticks: int,
    speed: float,
) -> Replay:
    """A replay of ``market`` by symbol (BTC/USDT); without ``start``, of all but the first candle."""
    tapes = {listing.name: Tape(market[listing.symbol], listing.tick) for listing in listings.values()}
    step = next(iter(tapes.values())).step
    first = min(int(tape.opens[0]) for tape in tapes.values()) + step
    last = max(int(tape.opens[-1]) for tape in tapes.values()) + step
    begin = first if start is None else -(-start // step) * step
    return Replay(tapes, begin, last if end is None else min(end, last), ticks, speed)


def _decimal(price: float) -> Decimal:
    return Decimal(repr(price))
