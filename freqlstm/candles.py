"""The candle table: what it is, its unbroken stretches, what is refused, resampling.

A candle is stamped with its OPEN time in UTC and is known only when it has closed, one timeframe later.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd

from freqlstm.errors import CandleError, OffGridCandles, UsageError
from freqlstm.external import ExternalSeries

COLUMNS = ("open", "high", "low", "close", "volume")

TIMEFRAMES: dict[str, int] = {  # seconds
    "1s": 1, "5s": 5, "15s": 15, "30s": 30,
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800,
    "1h": 3600, "2h": 7200, "4h": 14400, "6h": 21600, "8h": 28800, "12h": 43200,
    "1d": 86400,
}  # fmt: skip


def step_of(timeframe: str) -> pd.Timedelta:
    """The time between two candles, for example ``step_of("1m") == pd.Timedelta(minutes=1)``."""
    if timeframe not in TIMEFRAMES:
        raise UsageError(f"Timeframe {timeframe!r} is not known. It must be one of {', '.join(TIMEFRAMES)}.")
    return pd.Timedelta(seconds=TIMEFRAMES[timeframe])


def check_symbol(symbol: str) -> str:
    """``symbol`` in upper case if it is written BASE/QUOTE, an error otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9]+/[A-Za-z0-9]+(:[A-Za-z0-9]+)?", symbol):
        raise UsageError(f"Pair {symbol!r} is not written BASE/QUOTE, as in 'BTC/USDT'.")
    return symbol.upper()


@dataclass(frozen=True, eq=False)
class Candles:
    """Closed candles of one symbol and timeframe, in order; immutable by convention and never repaired.

    ``frame`` has the columns open, high, low, close, volume (float64; volume in units of the base asset) and a
    strictly increasing UTC index named ``time``: the open time of each candle. Row t is known at ``time[t] + step``.
    ``beside`` holds what else was known, by symbol ("BTC/USDT") or name of a series ("fear_greed"): see
    :meth:`with_beside`.
    """

    frame: pd.DataFrame
    symbol: str
    timeframe: str
    exchange: str = "demo"
    beside: Mapping[str, Candles | ExternalSeries] = field(default_factory=dict)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, symbol: str, timeframe: str, exchange: str = "demo") -> Candles:
        """Candles from a table that was checked: see :func:`validate` for what is refused."""
        validate(frame, f"{symbol} {timeframe}")
        step_of(timeframe)
        return cls(canonical(frame), symbol, timeframe, exchange)

    @property
    def time(self) -> pd.DatetimeIndex:
        """Open times, UTC."""
        index = self.frame.index
        assert isinstance(index, pd.DatetimeIndex)
        return index

    @property
    def open(self) -> pd.Series[float]:
        return self.frame["open"]

    @property
    def high(self) -> pd.Series[float]:
        return self.frame["high"]

    @property
    def low(self) -> pd.Series[float]:
        return self.frame["low"]

    @property
    def close(self) -> pd.Series[float]:
        return self.frame["close"]

    @property
    def volume(self) -> pd.Series[float]:
        return self.frame["volume"]

    @property
    def step(self) -> pd.Timedelta:
        """The time between two candles."""
        return step_of(self.timeframe)

    @property
    def synthetic(self) -> bool:
        """True for the demo market, whose results must always be labelled."""
        return self.exchange == "demo"

    def __len__(self) -> int:
        return len(self.frame)

    def between(self, start: pd.Timestamp | None, end: pd.Timestamp | None) -> Candles:
        """Candles that opened in [start, end)."""
        unit = self.time.unit  # a bound between two representable times counts as the later of them
        first = 0 if start is None else int(self.time.searchsorted(start.ceil(unit)))
        last = len(self) if end is None else int(self.time.searchsorted(end.ceil(unit)))
        return self.rows(first, last)

    def rows(self, first: int, last: int) -> Candles:
        """Candles number ``first`` up to but not including ``last``."""
        cut = Candles(self.frame.iloc[first:last], self.symbol, self.timeframe, self.exchange)
        return cut.with_beside(self.beside) if self.beside else cut

    def with_beside(self, beside: Mapping[str, Candles | ExternalSeries]) -> Candles:
        """These candles with others' candles and external series beside them, cut to the time of these.

        Of other candles those that open no earlier than the first of these and close no later than the last; of a
        series what was known by then, and of what was known at the first close only the newest value.
        """
        return replace(self, beside={name: self._known_with(other) for name, other in beside.items()})

    def _known_with(self, other: Candles | ExternalSeries) -> Candles | ExternalSeries:
        if not len(self):
            return other.rows(0, 0)
        last_close = self.time[-1] + self.step
        if isinstance(other, ExternalSeries):
            return other.known_between(self.time[0] + self.step, last_close)
        alone = replace(other, beside={}) if other.beside else other
        return alone.between(self.time[0], last_close - other.step + pd.Timedelta(1, "ns"))

    @cached_property
    def starts(self) -> np.ndarray:
        """Shape (stretches,), int: the first row of every unbroken stretch.

        A new stretch begins wherever the distance to the candle before is not exactly one step.
        """
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        broken = np.diff(self.time.asi8) != self.step // pd.Timedelta(1, self.time.unit)
        return np.concatenate([[0], np.flatnonzero(broken) + 1])

    @cached_property
    def segment(self) -> np.ndarray:
        """Shape (rows,), int: the number of the unbroken stretch each row belongs to, counted from 0."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self)))

    @cached_property
    def segment_age(self) -> np.ndarray:
        """Shape (rows,), int: how many bars of the same unbroken stretch lie before each row."""
        return np.asarray(np.arange(len(self)) - np.repeat(self.starts, np.diff(self.starts, append=len(self))))

    def segments(self) -> Iterator[tuple[int, int]]:
        """(first row, row after the last) of every unbroken stretch."""
        yield from pairwise([*self.starts.tolist(), len(self)])

    def aged(self, bars: int) -> np.ndarray:
        """Shape (rows,), bool: where at least so many bars of the same unbroken stretch lie before."""
        aged = np.ones(len(self), dtype=bool)
        for first, last in self.segments():
            aged[first : min(first + bars, last)] = False
        return aged

    def by_segment(self, function: Callable[[Candles], pd.DataFrame | pd.Series], warmup: int) -> pd.DataFrame:
        """``function`` applied to each unbroken stretch on its own, its first ``warmup`` rows replaced by NaN.

        So no value mixes candles from the two sides of a gap, and none depends on where the stretch begins.
        Stretches no longer than ``warmup`` are not computed at all.
        """
        pieces = []
        for first, last in self.segments():
            if last - first > warmup:
                piece = function(self if last - first == len(self) else self.rows(first, last))
                table = piece.to_frame() if isinstance(piece, pd.Series) else piece
                pieces.append(table.iloc[warmup:])
        if not pieces:  # the columns are still wanted: ask for those of a table without rows
            piece = function(self.rows(0, 0))
            pieces.append(piece.to_frame() if isinstance(piece, pd.Series) else piece)
        table = pieces[0] if len(pieces) == 1 else pd.concat(pieces)
        return table if table.index.identical(self.time) else table.reindex(self.time)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over symbol, timeframe, exchange, times, values and all that is beside them: equal if and only if they are."""
        sha = hashlib.sha256(f"{self.exchange} {self.symbol} {self.timeframe}".encode())
        sha.update(self.time.as_unit("ns").asi8.tobytes())
        sha.update(self.frame[list(COLUMNS)].to_numpy(np.float64).tobytes())
        for name in sorted(self.beside):
            sha.update(f" {name} {self.beside[name].digest}".encode())
        return sha.hexdigest()

    def require_grid(self, accept_off_grid: bool = False) -> Candles:
        """These candles if every open time is a multiple of the timeframe, or if off-grid ones are accepted."""
        off = off_grid(self.time, self.step)
        if off.any() and not accept_off_grid:
            raise OffGridCandles(
                f"{int(off.sum()):,} of {len(self):,} candles of {self.symbol} {self.timeframe} do not open on the "
                f"{self.timeframe} grid, the first at {self.time[off][0]:%Y-%m-%d %H:%M:%S.%f} UTC. Resample them with "
                f"`freqlstm data resample`, or take them as they are with --accept-off-grid."
            )
        return self


def off_grid(time: pd.DatetimeIndex, step: pd.Timedelta) -> np.ndarray:
    """Shape (rows,), bool: the open times that are not multiples of ``step`` since 1970 UTC."""
    return np.asarray(time.as_unit("ns").asi8 % step.value != 0)


def validate(frame: pd.DataFrame, what: str) -> None:
    """Refuse a table that cannot be candles: say what is wrong, where it is first, and what would be right.

    ``what`` names the table in the message, for example ``"BTC/USDT 1m"`` or a file.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise CandleError(
            f"{what}: column {missing[0]!r} is missing among {', '.join(map(str, frame.columns))}. "
            f"Candles need {', '.join(COLUMNS)}."
        )
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        raise CandleError(f"{what}: the index must hold open times in UTC. Received: {index.dtype}.")
    if index.tz is None:
        raise CandleError(
            f"{what}: the times have no time zone, the first is {index[0] if len(index) else 'absent'}. They must be UTC: "
            f"localize them, or import with --assume-utc if you know that they are."
        )
    if str(index.tz) not in ("UTC", "Etc/UTC", "tzutc()", "UTC+00:00"):
        raise CandleError(f"{what}: the times are in {index.tz}. They must be UTC: convert them first.")
    if index.hasnans:
        raise CandleError(f"{what}: row {int(np.argmax(index.isna()))} has no time. Every candle needs its open time.")
    if not len(frame):
        return
    if index.min().year < 1970 or index.max().year > 2261:
        raise CandleError(
            f"{what}: the times go from the year {index.min().year} to {index.max().year}. "
            f"The unit of the epoch times is probably another: seconds, milliseconds or microseconds."
        )
    nanoseconds = index.as_unit("ns").asi8
    if (nanoseconds % 1_000_000).any():
        time = index[int(np.argmax(nanoseconds % 1_000_000 != 0))]
        raise CandleError(f"{what}: the open time {time} is finer than a millisecond. Round the times to milliseconds.")
    distance = np.diff(nanoseconds)
    if (distance == 0).any():
        raise CandleError(
            f"{what}: {int((distance == 0).sum()):,} rows are duplicated, the first at {index[1:][distance == 0][0]}. "
            f"Each open time must occur once."
        )
    if (distance < 0).any():
        raise CandleError(
            f"{what}: the rows are not in order of time, the first that goes back is {index[1:][distance < 0][0]}. Sort them."
        )
    try:
        values = frame[list(COLUMNS)].to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise CandleError(f"{what}: a price or volume is not a number: {error}. Remove or correct that row.") from None
    prices = values[:, :4]

    def refuse(bad: np.ndarray | np.bool, problem: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            raise CandleError(
                f"{what}: {int(bad.sum()):,} rows have {problem}, the first at {index[row]}: "
                f"open {prices[row, 0]}, high {prices[row, 1]}, low {prices[row, 2]}, close {prices[row, 3]}, "
                f"volume {values[row, 4]}. Remove or correct them: nothing is repaired silently."
            )

    refuse(np.isnan(values).any(axis=1), "a value that is not a number")
    refuse(np.isinf(values).any(axis=1), "an infinite value")
    refuse((prices <= 0).any(axis=1), "a price that is not positive")
    refuse(values[:, 4] < 0, "a negative volume")
    refuse(ohlc_violations(values), "a high or low that does not enclose open and close")


def ohlc_violations(values: np.ndarray) -> np.ndarray:
    """Shape (rows,), bool: rows whose high or low does not enclose open and close. ``values`` starts with OHLC."""
    body = values[:, [0, 3]]
    return np.asarray((values[:, 1] < body.max(axis=1)) | (values[:, 2] > body.min(axis=1)))


def canonical(frame: pd.DataFrame) -> pd.DataFrame:
    """The five columns as float64 under an index named ``time``, UTC, in milliseconds."""
    table = frame[list(COLUMNS)].astype(np.float64)
    index = pd.DatetimeIndex(table.index)
    table.index = index.tz_convert("UTC").as_unit("ms").rename("time")
    return table


def resample(candles: Candles, timeframe: str) -> Candles:
    """Candles of a coarser (or the same, for off-grid ones) ``timeframe``, on its grid.

    A candle belongs to the bucket in which it *closes*, so no result holds anything that was unknown when its bucket
    ended; for candles on the grid that is the bucket in which they open. A bucket that lacks a candle is left out.
    Candles beside these are resampled with them.
    """
    step = step_of(timeframe)
    if step % candles.step != pd.Timedelta(0):
        raise UsageError(
            f"{candles.timeframe} candles cannot be resampled to {timeframe}: it must be a multiple of {candles.timeframe}."
        )
    last_moment = candles.time.as_unit("ns").asi8 + candles.step.value - 1
    bucket = pd.DatetimeIndex(last_moment // step.value * step.value, tz="UTC")
    grouped = candles.frame.groupby(bucket)
    table = grouped.agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    complete = grouped.size().to_numpy() >= step // candles.step
    made = Candles(canonical(table[complete]), candles.symbol, timeframe, candles.exchange)
    beside = {
        name: resample(each, timeframe) if isinstance(each, Candles) else each for name, each in candles.beside.items()
    }
    return made.with_beside(beside) if beside else made
