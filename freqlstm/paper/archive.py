"""The candles of a session: what the exchange had before it, and the bars that it was handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from freqlstm.candles import COLUMNS, Candles, canonical, step_of
from freqlstm.errors import NoCandles
from freqlstm.paper.journal import Journal
from freqlstm.paper.records import Candle
from freqlstm.progress import Progress, silent
from freqlstm.store import CandleStore

PAGE = 10_000  # candles that are fetched and stored at once

Fetch = Callable[[str, int, int], Sequence[Candle]]
"""(symbol, first open time, end) in milliseconds -> closed candles by REST."""


class Archive:
    """Keeps candles from before the session in its folder. Those of the session are the journal's, whatever else is said later."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.facts = journal.facts
        self.exchange = journal.facts.exchange
        self.step_ms = int(step_of(journal.facts.timeframe) / pd.Timedelta(milliseconds=1))
        self._journal = journal
        self._store = CandleStore(folder)

    def bring(self, since_ms: int, until_ms: int, fetch: Fetch, progress: Progress = silent) -> None:
        """Fetch what is not here yet of the candles that open in [since_ms, until_ms)."""
        for symbol in self.facts.pairs:
            start, end = moment(since_ms), moment(until_ms)
            spans = self._store.spans_missing(self.exchange, symbol, self.facts.timeframe, start, end)
            for first, last in spans:
                low, high = int(first.value // 1_000_000), int(last.value // 1_000_000)
                for page in range(low, high, PAGE * self.step_ms):
                    stop = min(high, page + PAGE * self.step_ms)
                    progress(page - low, high - low, f"fetching {symbol} from {moment(page):%Y-%m-%d %H:%M}")
                    found = fetch(symbol, page, stop)
                    if found:
                        self._store.write(self._candles(symbol, found))
                    self._note_absent(symbol, page, found)

    def _note_absent(self, symbol: str, first: int, found: Sequence[Candle]) -> None:
        """What an exchange lacks before candles that it has, it lacks tomorrow: nobody asks again."""
        opens = [first - self.step_ms, *(candle.open_ms for candle in found)]
        for before, after in pairwise(opens):
            if after - before > self.step_ms:
                self._store.note_absent(
                    self.exchange, symbol, self.facts.timeframe, moment(before + self.step_ms), moment(after)
                )

    def reaches(self, until_ms: int) -> bool:
        """Whether the last candle before that moment is here, of every symbol."""
        last = until_ms - self.step_ms
        return all(len(self.candles(symbol, last, until_ms)) for symbol in self.facts.pairs)

    def candles(self, symbol: str, since_ms: int, until_ms: int) -> Candles:
        """The candles that open in [since_ms, until_ms); of a bar that was handed over, what was handed over."""
        bars = [candle for candle in self._journal.bars(symbol, since_ms) if candle.open_ms < until_ms]
        end = bars[0].open_ms if bars else until_ms
        past = self._candles(symbol, [])
        if since_ms < end:
            with suppress(NoCandles):
                past = self._store.read(self.exchange, symbol, self.facts.timeframe, moment(since_ms), moment(end))
        if not bars:
            return past
        own = self._candles(symbol, bars)
        return Candles(pd.concat([past.frame, own.frame]), symbol, past.timeframe, past.exchange) if len(past) else own

    def _candles(self, symbol: str, rows: Sequence[Candle]) -> Candles:
        times = pd.DatetimeIndex(pd.to_datetime([row.open_ms for row in rows], unit="ms", utc=True))
        values = np.array([row.floats for row in rows], dtype=np.float64).reshape(len(rows), len(COLUMNS))
        frame = canonical(pd.DataFrame(values, index=times, columns=list(COLUMNS)))
        return Candles(frame, symbol, self.facts.timeframe, self.exchange)


def moment(milliseconds: int) -> pd.Timestamp:
    """A time of the journal as a time of candles."""
    return pd.Timestamp(milliseconds, unit="ms", tz="UTC").as_unit("ms")
