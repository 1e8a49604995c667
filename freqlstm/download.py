"""Bring candles from an exchange into the store: only what is missing, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles, check_symbol, step_of
from freqlstm.errors import UsageError
from freqlstm.exchange import Exchange
from freqlstm.progress import Progress, silent
from freqlstm.store import CandleStore

FINAL = pd.Timedelta(days=1)  # a hole younger than this is asked for again: exchanges publish late after an outage

Span = tuple[pd.Timestamp, pd.Timestamp]  # half-open: [start, end)


@dataclass(frozen=True)
class Missing:
    """What has to be fetched of one symbol and timeframe: half-open spans of open times, none if it is all there."""

    symbol: str
    timeframe: str
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        """How many candles the spans hold if none is missing at the exchange."""
        return sum((end - start) // step_of(self.timeframe) for start, end in self.spans)


@dataclass
class Fetched:
    """What came of one symbol and timeframe: rows new in the store, and spans the exchange turned out not to have."""

    symbol: str
    timeframe: str
    rows: int = 0
    absent: list[Span] = field(default_factory=list)

    @property
    def absent_rows(self) -> int:
        """How many candles the exchange does not have."""
        return sum(-((start - end) // step_of(self.timeframe)) for start, end in self.absent)


@dataclass
class Summary:
    """What a download brought, per symbol and timeframe in the order it was asked for."""

    exchange: str
    series: list[Fetched] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows new in the store."""
        return sum(fetched.rows for fetched in self.series)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON, times as ISO 8601."""
        found = asdict(self)
        for series, fetched in zip(found["series"], self.series, strict=True):
            series["absent"] = [[start.isoformat(), end.isoformat()] for start, end in fetched.absent]
        return found


class DownloadInterrupted(KeyboardInterrupt):
    """Ctrl-C during a download; ``summary`` holds what had been stored by then."""

    def __init__(self, summary: Summary) -> None:
        super().__init__()
        self.summary = summary


def plan(
    exchange: Exchange,
    store: CandleStore,
    symbols: Sequence[str],
    timeframes: Sequence[str],
    since: pd.Timestamp,
    until: pd.Timestamp | None = None,
) -> list[Missing]:
    """What is neither stored nor known to be absent of the closed candles that opened in [since, until).

    ``until`` is never later than what has closed by the exchange's clock. Unknown names are refused before any work.
    """
    if until is not None and until <= since:
        raise UsageError(
            f"The time range {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} is empty: it must end later."
        )
    wanted = [(check_symbol(symbol), timeframe) for symbol in symbols for timeframe in timeframes]
    wanted = list(dict.fromkeys(wanted))
    for symbol, timeframe in wanted:
        exchange.check(symbol, timeframe)
    missing = []
    for symbol, timeframe in wanted:
        step = step_of(timeframe)
        closed = exchange.closed_before(timeframe).ceil(step)  # the grid's first open time that has not closed
        end = closed if until is None else min(until, closed)
        spans = store.spans_missing(exchange.name, symbol, timeframe, since, end) if since < end else []
        missing.append(Missing(symbol, timeframe, tuple(spans)))
    if since >= exchange.now():
        raise UsageError(
            f"The time range begins at {since:%Y-%m-%d %H:%M} UTC, but it is {exchange.now():%Y-%m-%d %H:%M} UTC at "
            f"{exchange.name}. Candles can only be downloaded once they have closed."
        )
    return missing


def download(
    exchange: Exchange,
    store: CandleStore,
    symbols: Sequence[str],
    timeframes: Sequence[str],
    since: pd.Timestamp,
    until: pd.Timestamp | None = None,
    progress: Progress = silent,
) -> Summary:
    """Store what :func:`plan` finds missing, each page before the next one is asked for, and the market rules.

    Interrupted at any moment, it loses one page at most, and the same call goes on from there. Spans that the
    exchange does not have are noted in the store a day after they end, and never asked for again.
    """
    missing = plan(exchange, store, symbols, timeframes, since, until)
    total = sum(series.rows for series in missing)
    summary = Summary(exchange.name)
    done = 0
    try:
        for symbol in dict.fromkeys(series.symbol for series in missing):
            store.write_market_rules(exchange.name, symbol, exchange.market_rules(symbol))
        for series in missing:
            fetched = Fetched(series.symbol, series.timeframe)
            summary.series.append(fetched)
            step = step_of(series.timeframe)
            for start, end in series.spans:
                text = f"{series.symbol} {series.timeframe} {start:%Y-%m-%d %H:%M}"
                progress(done, total, text)
                at = start  # everything that opens before it is stored or absent
                for page in exchange.candles(series.symbol, series.timeframe, start, end):
                    opens = pd.DatetimeIndex(page.index)
                    _note_holes(exchange, store, fetched, at, opens)
                    candles = Candles(page, series.symbol, series.timeframe, exchange.name)
                    fetched.rows += store.write(candles)
                    at = opens[-1] + step
                    progress(
                        done + (at - start) // step, total, f"{series.symbol} {series.timeframe} {at:%Y-%m-%d %H:%M}"
                    )
                if at < end:
                    _note_absent(exchange, store, fetched, at, end)
                done += (end - start) // step
        progress(total, total, "done")
    except KeyboardInterrupt as error:
        raise DownloadInterrupted(summary) from error
    return summary


def _note_holes(
    exchange: Exchange, store: CandleStore, fetched: Fetched, at: pd.Timestamp, opens: pd.DatetimeIndex
) -> None:
    """Note what is missing from ``at`` to the first of the open times, and between them."""
    step = step_of(fetched.timeframe)
    if opens[0] - at >= step:
        _note_absent(exchange, store, fetched, at, opens[0])
    distance = np.diff(opens.as_unit("ns").asi8)
    for row in np.flatnonzero(distance >= 2 * step.value).tolist():
        _note_absent(exchange, store, fetched, opens[row] + step, opens[row + 1])


def _note_absent(
    exchange: Exchange, store: CandleStore, fetched: Fetched, start: pd.Timestamp, end: pd.Timestamp
) -> None:
    fetched.absent.append((start, end))
    final = min(end, (exchange.now() - FINAL).floor(step_of(fetched.timeframe)))
    if start < final:
        store.note_absent(exchange.name, fetched.symbol, fetched.timeframe, start, final)
