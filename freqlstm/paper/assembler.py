"""Candles as they come, late, twice, out of order or not at all, made into bars that come once and in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from freqlstm.errors import BadAnswer
from freqlstm.paper.records import Bundle, Candle

STREAM, REST = "stream", "rest"


@dataclass(frozen=True)
class Revision:
    """Other values of a bar that was handed over already."""

    symbol: str
    candle: Candle
    source: str


@dataclass(frozen=True)
class Gap:
    """Candles of a bar that the exchange itself lacks."""

    open_ms: int
    symbols: tuple[str, ...]


Released = Bundle | Revision | Gap


@dataclass
class _Row:
    """What is known of one bar that was not handed over yet."""

    candles: dict[str, Candle] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)


class Assembler:
    """Hands over bars of every symbol together, each once, in order, without a hole that was not proved.

    ``next_ms`` is the open time of the bar that comes next. The values of a bar are those known when it is handed
    over; what differs later is a :class:`Revision`. Only closed candles may be offered.
    """

    def __init__(self, symbols: Sequence[str], step_ms: int, next_ms: int, stale_after: float) -> None:
        self.symbols = tuple(symbols)
        self.step_ms = step_ms
        self.next_ms = next_ms
        self._stale_ms = step_ms * stale_after
        self._rows: dict[int, _Row] = {}
        self._recent: dict[tuple[str, int], Candle] = {}  # handed over lately, to notice revisions

    def offer(self, symbol: str, candles: Iterable[Candle], source: str, now_ms: int) -> list[Released]:
        """Take closed candles of one symbol, in any order; what can be handed over now, in order."""
        revised: list[Released] = []
        for candle in candles:
            if candle.open_ms % self.step_ms:
                raise BadAnswer(
                    f"{symbol} has a candle that opens at {candle.open_ms} ms, which is no multiple of the timeframe."
                )
            if candle.open_ms < self.next_ms:
                known = self._recent.get((symbol, candle.open_ms))
                if known is not None and known != candle:
                    self._recent[symbol, candle.open_ms] = candle
                    revised.append(Revision(symbol, candle, source))
                continue
            row = self._rows.setdefault(candle.open_ms, _Row())
            if source == REST or row.sources.get(symbol) != REST:  # REST is the authority
                row.candles[symbol], row.sources[symbol] = candle, source
                row.absent.discard(symbol)
        return revised + self._release(now_ms)

    def prove_absent(self, symbol: str, opens: Iterable[int], now_ms: int) -> list[Released]:
        """The exchange has later candles of ``symbol`` but none that open at these times."""
        for open_ms in opens:
            row = self._rows.setdefault(open_ms, _Row())
            if open_ms >= self.next_ms and symbol not in row.candles:
                row.absent.add(symbol)
        return self._release(now_ms)

    def missing(self, symbol: str, now_ms: float, grace_ms: float) -> list[int]:
        """Open times of bars of ``symbol`` that closed more than ``grace_ms`` ago and did not come."""
        last = int((now_ms - grace_ms) // self.step_ms - 1) * self.step_ms
        opens = range(self.next_ms, last + 1, self.step_ms)
        return [open_ms for open_ms in opens if not self._has(symbol, open_ms)]

    def remember(self, symbol: str, candles: Iterable[Candle]) -> None:
        """Bars that were handed over before a restart."""
        self._recent.update({(symbol, candle.open_ms): candle for candle in candles})

    def _has(self, symbol: str, open_ms: int) -> bool:
        row = self._rows.get(open_ms)
        return row is not None and (symbol in row.candles or symbol in row.absent)

    def _release(self, now_ms: int) -> list[Released]:
        released: list[Released] = []
        while (row := self._rows.get(self.next_ms)) is not None:
            if len(row.candles) + len(row.absent) < len(self.symbols):
                break
            open_ms = self.next_ms
            if row.absent:
                released.append(Gap(open_ms, tuple(sorted(row.absent))))
            if row.candles:
                ordered = {symbol: row.candles[symbol] for symbol in self.symbols if symbol in row.candles}
                source = REST if REST in row.sources.values() else STREAM
                stale = now_ms - (open_ms + self.step_ms) > self._stale_ms
                released.append(Bundle(open_ms, ordered, now_ms, stale, source))
                self._recent.update({(symbol, open_ms): candle for symbol, candle in ordered.items()})
            del self._rows[open_ms]
            self.next_ms += self.step_ms
        self._forget()
        return released

    def _forget(self, bars: int = 120) -> None:
        if len(self._recent) > 2 * bars * len(self.symbols):
            oldest = self.next_ms - bars * self.step_ms
            self._recent = {key: candle for key, candle in self._recent.items() if key[1] >= oldest}


def streamed(kline: Mapping[str, Any]) -> Candle:
    """The candle of a stream's ``k``."""
    try:
        return _candle(int(kline["t"]), [kline[name] for name in "ohlcv"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise _unreadable(kline) from error


def listed(row: Sequence[Any]) -> Candle:
    """The candle of a row of REST klines."""
    try:
        return _candle(int(row[0]), row[1:6])
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
        raise _unreadable(row) from error


def _candle(open_ms: int, values: Sequence[Any]) -> Candle:
    prices = [Decimal(str(value)) for value in values]
    if not all(price.is_finite() for price in prices):
        raise ValueError(values)
    return Candle(open_ms, *prices)


def _unreadable(candle: object) -> BadAnswer:
    return BadAnswer(f"The exchange sent a candle that cannot be read: {str(candle)[:80]}")
