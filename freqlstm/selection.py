"""Which candles: of which pairs, whose, at what timeframe, over what time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles, check_symbol, step_of
from freqlstm.demo import ASSETS, demo_market
from freqlstm.errors import NoCandles, TooFewCandles, UnknownName, UsageError
from freqlstm.external import ExternalSeries
from freqlstm.series_store import SeriesStore
from freqlstm.store import CandleStore, Project
from freqlstm.timerange import parse_timerange

Warn = list[str]  # what a person should know is added to it
DEMO = "demo"
LATE = 3  # usual distances between two values, after which the next one is missed


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The candles that somebody asks for, of the store or of the demo market."""

    pairs: tuple[str, ...] = ("BTC/USDT",)
    timeframe: str = "1m"
    exchange: str = ""  # whose stored candles; "demo": the synthetic market; empty: stored ones if there are any
    timerange: str = ""  # 20230101-20230401, end not included; empty: all there is
    accept_off_grid: bool = False

    def __post_init__(self) -> None:
        step_of(self.timeframe)
        object.__setattr__(self, "pairs", tuple(dict.fromkeys(check_symbol(pair) for pair in self.pairs)))
        if not self.pairs:
            raise UsageError("No pair is given. Name at least one, as in --pairs BTC/USDT.")
        if self.timerange:
            parse_timerange(self.timerange)

    def load(self, project: Project, warn: Warn) -> dict[str, Candles]:
        """Every candle that there is of these pairs, whatever the time range."""
        store = CandleStore(project.data)
        exchange = self.exchange or self._exchange_of(store, project, warn)
        if exchange == DEMO:
            unknown = [pair for pair in self.pairs if pair not in ASSETS]
            if unknown:
                raise UnknownName("pair of the demo market", unknown[0], ASSETS)
            return demo_market(self.timeframe, self.pairs)
        return {
            pair: store.read(exchange, pair, self.timeframe).require_grid(self.accept_off_grid) for pair in self.pairs
        }

    def _exchange_of(self, store: CandleStore, project: Project, warn: Warn) -> str:
        """The one exchange from which all pairs are stored; the demo market if nothing is and no time was asked for."""
        stored: dict[str, set[str]] = {}
        for series in store.series():
            if series.timeframe == self.timeframe and series.symbol in self.pairs:
                stored.setdefault(series.exchange, set()).add(series.symbol)
        complete = sorted(exchange for exchange, pairs in stored.items() if len(pairs) == len(self.pairs))
        if len(complete) > 1:
            raise UsageError(
                f"{', '.join(self.pairs)} are stored from {' and '.join(complete)}. Choose one with --exchange."
            )
        if complete:
            return complete[0]
        if not stored and not self.timerange and set(self.pairs) <= set(ASSETS):
            warn.append(
                "No candles are stored: this uses the demo market, which is SYNTHETIC. "
                "Its results say nothing about real ones."
            )
            return DEMO
        most = max(stored.values(), key=len, default=set())
        missing = next(pair for pair in self.pairs if pair not in most)
        raise NoCandles(
            f"No {self.timeframe} candles of {missing} are stored in {project.data}. "
            f"`freqlstm download -p {missing} -i {self.timeframe} --days 90` or `freqlstm import FILE` stores some; "
            f"--exchange demo uses the synthetic market."
        )

    def span(
        self, market: Mapping[str, Candles], warn: Warn, training: pd.Timedelta | None = None
    ) -> tuple[pd.Timestamp, pd.Timestamp]:
        """(open time of the first bar, end) of the time range, as far as there are candles.

        Without a time range: all candles, but for a first ``training`` that the first fit needs.
        """
        first = min(candles.time[0] for candles in market.values())
        last = max(candles.time[-1] for candles in market.values()) + step_of(self.timeframe)
        start, end = parse_timerange(self.timerange) if self.timerange else (None, None)
        there = f"{', '.join(market)} {self.timeframe} candles reach from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        if (start is not None and start >= last) or (end is not None and end <= first):
            raise NoCandles(
                f"The time range {self.timerange} lies outside the data: {there}. Choose one inside, or get more candles."
            )
        if start is not None and start < first:
            warn.append(f"It begins at {first:%Y-%m-%d %H:%M} UTC, not at {start:%Y-%m-%d}: {there}.")
        if end is not None and end > last:
            warn.append(f"It ends at {last:%Y-%m-%d %H:%M} UTC, not at {end:%Y-%m-%d}: {there}.")
        end = last if end is None else min(end, last)
        if start is None:
            start = (first + training).ceil("D") if training else first
            if start >= end:
                raise TooFewCandles(
                    f"The first fold needs {training.days if training is not None else 0} days of candles to train on, and {there}. "
                    f"Get more candles, or shorten min_train with --min-train."
                )
        return max(start, first), end


def candles_of(project: Project, warn: Warn, **given: Any) -> dict[str, Candles]:
    """The candles of a selection over its time range; what is empty in ``given`` is as in :class:`Selection`."""
    selection = Selection(**{name: value for name, value in given.items() if value})
    market = selection.load(project, warn)
    start, end = selection.span(market, warn)
    return {symbol: candles.between(start, end) for symbol, candles in market.items()}


def with_beside(
    market: Mapping[str, Candles],
    names: Collection[str],
    project: Project,
    warn: Warn,
    *,
    since: pd.Timestamp | None = None,
    accept_off_grid: bool = False,
) -> dict[str, Candles]:
    """The market with what ``names`` stand for beside each symbol's candles: other symbols, and stored external series.

    Other symbols' candles are those of the same exchange and timeframe, whether or not they are in the market; a symbol
    is not put beside itself. What lacks from ``since`` on is added to ``warn``.
    """
    loaded: dict[str, Candles | ExternalSeries] = {}
    made = dict(market)
    for symbol, candles in market.items() if names else ():
        for name in names:
            if name not in loaded and name != symbol:
                loaded[name] = _companion(name, symbol, candles, project, accept_off_grid)
        made[symbol] = candles.with_beside({name: loaded[name] for name in names if name != symbol})
        for name, other in made[symbol].beside.items():
            warn.extend(_lacking(made[symbol], name, other, since))
    return made


def _companion(
    name: str, symbol: str, candles: Candles, project: Project, accept_off_grid: bool
) -> Candles | ExternalSeries:
    if "/" not in name:
        return SeriesStore(project.data).read(name)
    try:
        selection = Selection(
            pairs=(name,), timeframe=candles.timeframe, exchange=candles.exchange, accept_off_grid=accept_off_grid
        )
        return selection.load(project, [])[name]
    except (NoCandles, UnknownName) as error:
        raise NoCandles(
            f"A feature of {symbol} reads the candles of {name}, of the same exchange and timeframe. {error}"
        ) from error


def _lacking(candles: Candles, name: str, other: Candles | ExternalSeries, since: pd.Timestamp | None) -> list[str]:
    """Sentences about either end of the candles, if nothing is beside them there, or nothing new."""
    first = max(candles.time[0], since or candles.time[0]) + candles.step
    last = candles.time[-1] + candles.step
    ends = f"the candles of {candles.symbol} close from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    known = other.known_at if isinstance(other, ExternalSeries) else other.time + other.step
    if not len(known) or known[0] > last:
        return [f"Nothing of {name} was known in time: {ends}. Predictions that need it are missing."]
    told = []
    if known[0] > first:
        told.append(
            f"{name} is known from {known[0]:%Y-%m-%d %H:%M} UTC on only; {ends}. Before, predictions that need it are missing."
        )
    usual = np.median(np.diff(known.as_unit("ns").asi8)) if len(known) > 1 else last.as_unit("ns").value
    if (last - known[-1]).value > LATE * usual:
        told.append(
            f"Nothing of {name} that is newer than {known[-1]:%Y-%m-%d %H:%M} UTC is stored; {ends}. Get the newest."
        )
    return told
