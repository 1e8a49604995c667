"""The candles of one symbol as the exchange lives through them: closed ones, and the one that is forming.

Within a candle the price goes from the open to the nearer of high and low, then to the other, then to the close, in
straight lines. Nothing of a candle is shown before the moment at which it would have happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from freqlstm.candles import COLUMNS, Candles
from freqlstm.sandbox.listing import text

DAY = 86_400_000  # milliseconds

INTERVALS = {  # of klines, in milliseconds
    "1s": 1000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000,
    "1h": 3_600_000, "2h": 7_200_000, "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000,
    "1d": DAY, "3d": 3 * DAY,
}  # fmt: skip


@dataclass
class Kline:
    """A candle, closed or forming; ``open_time`` and ``step`` in milliseconds."""

    open_time: int
    step: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool = True

    @property
    def close_time(self) -> int:
        """The last millisecond that belongs to it."""
        return self.open_time + self.step - 1

    @property
    def amount(self) -> float:
        """About what was traded, in the quote asset."""
        return self.volume * (self.open + self.high + self.low + self.close) / 4

    @property
    def trades(self) -> int:
        """About how many trades it has: one for 200 units of the quote asset."""
        return int(self.amount / 200) + (self.volume > 0)

    def row(self) -> list[object]:
        """The twelve fields of the REST API."""
        return [
            self.open_time, text(self.open), text(self.high), text(self.low), text(self.close), text(self.volume),
            self.close_time, text(self.amount), self.trades, text(self.volume / 2), text(self.amount / 2), "0",
        ]  # fmt: skip

    def payload(self, name: str, interval: str, now: int) -> dict[str, object]:
        """The event of the kline stream."""
        return {
            "e": "kline", "E": now, "s": name,
            "k": {
                "t": self.open_time, "T": self.close_time, "s": name, "i": interval, "f": -1, "L": -1,
                "o": text(self.open), "c": text(self.close), "h": text(self.high), "l": text(self.low),
                "v": text(self.volume), "n": self.trades, "x": self.closed, "q": text(self.amount),
                "V": text(self.volume / 2), "Q": text(self.amount / 2), "B": "0",
            },
        }  # fmt: skip


class Tape:
    """All candles of one symbol, and how far the replay has come."""

    def __init__(self, candles: Candles, tick: Decimal) -> None:
        self.candles = candles
        self.tick = tick
        self.step = int(candles.step / pd.Timedelta(milliseconds=1))
        self.opens = candles.time.as_unit("ms").asi8
        self.values = candles.frame[list(COLUMNS)].to_numpy(np.float64)
        self.hidden: set[int] = set()  # open times of candles that never happened: a maintenance
        self.forming: Kline | None = None
        self.closed = 0  # candles that are closed
        self.last = 0.0  # price
        self._path: list[float] = []

    def begin(self, start: int) -> None:
        """Everything that opened before ``start`` is closed and known."""
        self.closed = int(np.searchsorted(self.opens, start))
        self.forming = None
        self.last = float(self.values[self.closed - 1, 3] if self.closed else self.values[0, 0])

    def open_candle(self, moment: int, ticks: int) -> bool:
        """Begin the candle that opens at ``moment``, if there is one."""
        self.forming = None
        if self.closed >= len(self.opens) or self.opens[self.closed] != moment or moment in self.hidden:
            return False
        open_, high, low, close, _ = self.values[self.closed].tolist()
        self._path = price_path(open_, high, low, close, ticks)
        self.forming = Kline(moment, self.step, open_, open_, open_, open_, 0.0, closed=False)
        self.last = open_
        return True

    def advance(self, tick: int) -> float | None:
        """The price at tick number ``tick`` of the forming candle, which is brought up to it."""
        if self.forming is None:
            return None
        price = self.on_tick(self._path[tick])
        forming, values = self.forming, self.values[self.closed]
        forming.close = self.last = price
        forming.high, forming.low = max(forming.high, price), min(forming.low, price)
        forming.volume = round(float(values[4]) * tick / (len(self._path) - 1), 8)
        return price

    def close_candle(self, moment: int) -> Kline | None:
        """End the candle that opened at ``moment``; None if there was none."""
        done = None
        if self.closed < len(self.opens) and self.opens[self.closed] == moment:
            if moment not in self.hidden:
                done = Kline(moment, self.step, *self.values[self.closed].tolist())
                self.last = done.close
            self.closed += 1
        self.forming = None
        return done

    def klines(self, step: int, first: int, last: int, limit: int, oldest: bool) -> list[Kline]:
        """Candles of ``step`` milliseconds that opened in [first, last], the newest or the oldest ``limit`` of them.

        ``step`` is a multiple of the tape's own. The one that is forming is the last.
        """
        low = int(np.searchsorted(self.opens, first // step * step))
        high = min(self.closed, int(np.searchsorted(self.opens, last // step * step + step)))
        rows = limit * (step // self.step) + step // self.step
        low, high = (low, min(high, low + rows)) if oldest else (max(low, high - rows), high)
        known = [
            Kline(int(self.opens[row]), self.step, *self.values[row].tolist())
            for row in range(low, high)
            if not self.hidden or int(self.opens[row]) not in self.hidden
        ]
        if self.forming is not None and (high == self.closed):
            known.append(self.forming)
        made = [kline for kline in joined(known, step) if first <= kline.open_time <= last]
        if made and made[-1].closed and self.ends < made[-1].open_time + step:
            made[-1].closed = False
        return made[:limit] if oldest else made[-limit:]

    @property
    def ends(self) -> int:
        """The close of the newest closed candle, in milliseconds."""
        return int(self.opens[self.closed - 1]) + self.step if self.closed else 0

    def on_tick(self, price: float) -> float:
        """The nearest price that the symbol's tick allows."""
        digits = max(0, -int(self.tick.normalize().as_tuple().exponent))
        return round(round(price / float(self.tick)) * float(self.tick), digits)


def joined(klines: list[Kline], step: int) -> list[Kline]:
    """Finer candles put together to ones of ``step``, whatever is there of each."""
    made: list[Kline] = []
    for kline in klines:
        if kline.step == step:
            made.append(kline)
            continue
        start = kline.open_time // step * step
        if not made or made[-1].open_time != start:
            made.append(Kline(start, step, kline.open, kline.high, kline.low, kline.close, 0.0))
        whole = made[-1]
        whole.high, whole.low, whole.close = max(whole.high, kline.high), min(whole.low, kline.low), kline.close
        whole.volume += kline.volume
        whole.closed = kline.closed
    return made


def price_path(open_: float, high: float, low: float, close: float, ticks: int) -> list[float]:
    """``ticks`` prices, four at least, that begin at the open, touch high and low, and end at the close."""
    first, second = (high, low) if high - open_ <= open_ - low else (low, high)
    corners = [0, max(1, (ticks - 1) // 3), max(2, 2 * (ticks - 1) // 3), ticks - 1]
    return [float(price) for price in np.interp(range(ticks), corners, [open_, first, second, close])]
