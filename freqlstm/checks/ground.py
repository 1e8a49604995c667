"""The candles that plugins are checked on, and what can be done to their future."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from freqlstm.candles import COLUMNS, Candles
from freqlstm.errors import TooFewCandles
from freqlstm.external import ExternalSeries
from freqlstm.folds import FoldPlan

Market = dict[str, Candles]

TRAIN, TEST = 900, 240  # bars, at least, of a train span and exactly of a test span; there are two of those
BARS = 4_500  # at most, unless a warm-up needs more: three days of minutes and an hour or so
FEWEST_TRAIN = 300  # bars, where there are not so many candles
MISSING = 3  # candles in each gap
FROZEN = 4  # candles in each stretch without trading
WAVE = 97  # bars from crest to crest of what is laid over the demo market
LATE_GAP = 100  # bars between the second gap and the end

# A future is made of candles and the number of candles that stay as they are.


def removed(candles: Candles, known: int) -> Candles:
    """Nothing comes later."""
    return candles.rows(0, known)


def tripled(candles: Candles, known: int) -> Candles:
    """Prices three times as high, volumes seven times."""
    return _with_future(candles, known, lambda tail: tail * np.array([3, 3, 3, 3, 7]))


def cut_to_a_third(candles: Candles, known: int) -> Candles:
    """Prices a third as high, next to no volume."""
    return _with_future(candles, known, lambda tail: tail / np.array([3, 3, 3, 3, 100]))


def mirrored(candles: Candles, known: int) -> Candles:
    """Every later return has the other sign; volumes are halved. Nothing leaps, so nothing looks like an outlier."""
    pivot = float(candles.close.iloc[known - 1]) ** 2

    def turned(tail: np.ndarray) -> np.ndarray:
        price = pivot / tail[:, :4]
        return np.column_stack([price[:, 0], price[:, 2], price[:, 1], price[:, 3], tail[:, 4] / 2])

    return _with_future(candles, known, turned)


def postponed(candles: Candles, known: int) -> Candles:
    """The same candles after an outage of a hundred bars."""
    late = (candles.time[known:] + 100 * candles.step).as_unit(candles.time.unit)
    return replace(candles, frame=candles.frame.set_axis(candles.time[:known].append(late).rename("time")))


FUTURES: Mapping[str, Callable[[Candles, int], Candles]] = {
    "removed": removed,
    "changed": mirrored,
    "tripled in price": tripled,
    "cut to a third in price": cut_to_a_third,
    "postponed": postponed,
}


SCALES: Mapping[str, float] = {"changed": -1.0, "tripled in price": 3.0, "cut to a third in price": 1 / 3}  # of series


def with_future(candles: Candles, cut: pd.Timestamp, way: str) -> Candles:
    """The candles up to and including the bar that opened at ``cut`` as they are, and another future.

    So has all that is beside them: other symbols' candles after the same bar, a series after its close.
    """
    known = int(candles.time.searchsorted(cut, side="right"))
    if known in (0, len(candles)) and way != "removed":
        return candles
    made = FUTURES[way](candles, known)
    beside = {
        name: with_future(other, cut, way)
        if isinstance(other, Candles)
        else _series_with_future(other, cut, candles.step, way)
        for name, other in candles.beside.items()
    }
    return made.with_beside(beside)


def futures_of(market: Market, cut: pd.Timestamp, way: str) -> Market:
    """A market of which every symbol has another future."""
    return {symbol: with_future(candles, cut, way) for symbol, candles in market.items()}


def _with_future(candles: Candles, known: int, change: Callable[[np.ndarray], np.ndarray]) -> Candles:
    table = candles.frame[list(COLUMNS)].to_numpy(np.float64, copy=True)
    table[known:] = change(table[known:])
    return replace(candles, frame=pd.DataFrame(table, index=candles.time, columns=list(COLUMNS)))


def _series_with_future(series: ExternalSeries, cut: pd.Timestamp, step: pd.Timedelta, way: str) -> ExternalSeries:
    """What was known at the close of the bar that opened at ``cut`` as it is, and something else from then on."""
    known = int(series.known_at.searchsorted(cut + step, side="right"))
    if way == "removed":
        return series.rows(0, known)
    later = series.frame.iloc[known:]
    if way == "postponed":
        index = pd.DatetimeIndex(later.index + 100 * step).as_unit("ms").rename("known_at")
        later = later.assign(time=later["time"] + 100 * step).set_axis(index)
    else:
        later = later.assign(value=later["value"] * SCALES[way] + 1)
    return replace(series, frame=pd.concat([series.frame.iloc[:known], later]))


def ages(candles: Candles) -> np.ndarray:
    """Shape (bars,), int: how many bars without a gap lie before each, of all that is beside the candles too.

    -1 where another symbol has no such bar, or nothing of a series is known yet.
    """
    age = candles.segment_age
    for other in candles.beside.values():
        if isinstance(other, Candles):
            row = other.time.get_indexer(candles.time)
            age = np.minimum(age, np.where(row >= 0, np.append(other.segment_age, -1)[row], -1))
        else:
            age = np.where(np.isnan(other.as_of(candles.time + candles.step)), -1, age)
    return age


def made_up(name: str, candles: Candles) -> ExternalSeries:
    """A series that changes often enough to be found out: a new value every 25 bars, each known 40 bars after its time."""
    first, last = candles.time[0] - 50 * candles.step, candles.time[-1]
    time = pd.date_range(first, last, freq=25 * candles.step)
    value = np.random.default_rng(list(name.encode())).standard_normal(len(time))
    return ExternalSeries.of(name, time, value, time + 40 * candles.step)


@dataclass(frozen=True, eq=False)
class Ground:
    """A market with everything that a plugin must bear, and the time range over which it is checked.

    ``smooth`` has two gaps in each symbol; ``market`` has stretches without trading as well, for a cheat that fills in
    from later has to find something to fill. The range from ``start`` to ``end`` has two test spans.
    """

    smooth: Market
    market: Market
    start: pd.Timestamp
    end: pd.Timestamp
    plan: FoldPlan

    @classmethod
    def of(cls, market: Market, warmup: int, memory: int = 0) -> Ground:
        """Ground for plugins that need ``warmup`` bars and remember ``memory``, made of the first candles of ``market``.

        What is beside them belongs to it.
        """
        first = next(iter(market.values()))
        others = {name: other for candles in market.values() for name, other in candles.beside.items()}
        symbols = {**{name: each for name, each in others.items() if isinstance(each, Candles)}, **market}
        symbols = {symbol: symbols[symbol] for symbol in [*market, *sorted(symbols.keys() - market.keys())]}
        around = warmup + 60 + 2 * TEST + 20 * len(symbols)  # the first gap begins another warm-up
        bars = min(max(BARS, around + TRAIN, memory + 60 + 2 * TEST), len(first))
        if bars < around + FEWEST_TRAIN:
            raise TooFewCandles(
                f"{first.symbol} {first.timeframe} has {len(first):,} candles. A check with a warm-up of {warmup:,} bars needs "
                f"{around + FEWEST_TRAIN:,}: provide more, or another timeframe."
            )
        end = first.time[0] + bars * first.step
        start = end - 2 * TEST * first.step
        train = (bars - warmup - 2 * TEST) * first.step
        plan = FoldPlan(train=_text(train), test=_text(TEST * first.step), min_train=_text(train * 0.9))
        smooth, rough = {}, {}
        for number, (symbol, candles) in enumerate(symbols.items()):
            candles = candles.between(first.time[0], end)
            if candles.synthetic:
                candles = _lively(candles, number)
            early, late = 60 + 7 * number, bars - LATE_GAP - 7 * number
            kept = ~np.isin(np.arange(len(candles)), [*range(early, early + MISSING), *range(late, late + MISSING)])
            smooth[symbol] = _of_rows(candles, candles.frame[kept])
            begin = int(smooth[symbol].time.searchsorted(start))
            runs = [begin - TEST, *(begin + away + 7 * number for away in (37, 171, TEST + 40, 2 * TEST - 60))]
            rough[symbol] = _frozen(smooth[symbol], runs)
        for made in (smooth, rough):
            beside = {**others, **made}
            for symbol in market:
                made[symbol] = made[symbol].with_beside({name: beside[name] for name in market[symbol].beside})
            for symbol in symbols.keys() - market.keys():
                del made[symbol]
        return cls(smooth, rough, start, end, plan)

    @property
    def first(self) -> Candles:
        """The candles of the first symbol."""
        return next(iter(self.market.values()))

    @property
    def second_fold(self) -> pd.Timestamp:
        """Where the second test span begins."""
        return self.start + TEST * self.first.step

    @cached_property
    def cuts(self) -> list[pd.Timestamp]:
        """Bars after which the future is changed: in order, spread over the range and wherever something happens."""
        return self._cuts(spread=9, days=2)

    @cached_property
    def few_cuts(self) -> list[pd.Timestamp]:
        """Six of them, for what takes long."""
        cuts = self.cuts
        return [cuts[len(cuts) * part // 6] for part in range(6)]

    def _cuts(self, spread: int, days: int) -> list[pd.Timestamp]:
        candles = self.first
        time, close = candles.time, candles.close.to_numpy()
        begin = int(time.searchsorted(self.start))
        away = np.abs(np.diff(np.log(close[begin:])))
        frozen = np.flatnonzero(candles.volume.to_numpy()[begin:] == 0) + begin
        gaps = [last - 1 for _, last in candles.segments()][:-1]
        midnights = [int(time.searchsorted(day)) for day in time[begin:].normalize().unique()[-days:]]
        rows = [
            *np.linspace(begin, len(time) - 2, spread).astype(int),  # steps that share no factor with an hour
            begin - 1, begin, begin + 1,  # the first bar of a fold and its neighbours
            int(time.searchsorted(self.second_fold)) - 1, int(time.searchsorted(self.second_fold)),
            *(row for gap in gaps[-1:] for row in (gap - 1, gap, gap + 1)),  # the edge of a gap
            *(row + shift for row in midnights for shift in (-1, 0)),
            begin + int(np.argmax(away)), begin + int(np.argmax(away)) + 1,  # just before, and on, the largest move
            begin + int(np.argmax(candles.volume.to_numpy()[begin:])) - 1,
            *frozen[1:3], *frozen[-2:],
        ]  # fmt: skip
        return [time[row] for row in sorted({int(row) for row in rows if begin - 1 <= row < len(time) - 1})]


def _text(length: pd.Timedelta) -> str:
    return f"{int(length.total_seconds())}s"


def _of_rows(candles: Candles, frame: pd.DataFrame) -> Candles:
    return replace(candles, frame=frame.copy(), beside={})


def _frozen(candles: Candles, rows: list[int]) -> Candles:
    """Without trading for some candles from each of ``rows`` on: no volume, and the price stays where it was."""
    table = candles.frame[list(COLUMNS)].to_numpy(np.float64, copy=True)
    for row in rows:
        table[row : row + FROZEN, :4] = table[row - 1, 3]
        table[row : row + FROZEN, 4] = 0.0
    return _of_rows(candles, pd.DataFrame(table, index=candles.time, columns=list(COLUMNS)))


def _lively(candles: Candles, seed: int) -> Candles:
    """Waves that carry indicators from one end of their scale to the other, and closes that jump between bid and ask.

    Even a network of one epoch learns them. Where nothing is forecast the slope is 0, and a forecast of 0 would hide what
    it was made of.
    """
    close = candles.close.to_numpy()
    usual = float(np.std(np.diff(np.log(close))))
    bars = np.arange(len(close)) + 30 * seed
    wave = usual * WAVE / (2 * np.pi) * np.sin(2 * np.pi * bars / WAVE)
    moved = close * np.exp(wave + usual / 2 * np.random.default_rng(seed).standard_normal(len(close)))
    opened = np.concatenate([[candles.open.iloc[0]], moved[:-1]])
    table = {
        "open": opened,
        "high": np.maximum(opened, moved) * (candles.high / candles.frame[["open", "close"]].max(axis=1)).to_numpy(),
        "low": np.minimum(opened, moved) * (candles.low / candles.frame[["open", "close"]].min(axis=1)).to_numpy(),
        "close": moved,
        "volume": candles.volume.to_numpy(),
    }
    return _of_rows(candles, pd.DataFrame(table, index=candles.time))
