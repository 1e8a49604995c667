"""The newest candles of one symbol, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from freqlstm.candles import COLUMNS, Candles
from freqlstm.external import ExternalSeries

COLUMN_NAMES = pd.Index(COLUMNS)


class Tail:
    """The newest ``bars`` candles of a symbol, and what was predicted at the close of each.

    ``columns`` name the predictions; those of candles that came before anything was predicted are NaN.
    """

    def __init__(self, history: Candles, bars: int, columns: tuple[str, ...] = ()) -> None:
        self.bars = bars
        self.columns = columns
        self._names = pd.Index(columns, dtype=str)
        self._like = history.rows(0, 0)
        room = 2 * bars + 1024  # rows, before the newest are moved to the front
        self._times = np.zeros(room, dtype=np.int64)  # open times, milliseconds
        self._values = np.full((room, len(COLUMNS) + len(columns)), np.nan)
        kept = history.rows(max(0, len(history) - bars), len(history))
        self._end = len(kept)
        self._times[: self._end] = kept.time.as_unit("ms").asi8
        self._values[: self._end, : len(COLUMNS)] = kept.frame[list(COLUMNS)].to_numpy()

    @property
    def last_ms(self) -> int | None:
        """Open time of the newest candle, None if there is none."""
        return int(self._times[self._end - 1]) if self._end else None

    def append(self, open_ms: int, candle: tuple[float, float, float, float, float]) -> None:
        """Add the candle that follows: open, high, low, close, volume."""
        last = self.last_ms
        if last is not None and open_ms <= last:
            raise ValueError(f"the candle of {open_ms} follows that of {last}")
        if self._end == len(self._times):
            kept = slice(self._end - self.bars, self._end)
            self._times[: self.bars] = self._times[kept].copy()
            self._values[: self.bars] = self._values[kept].copy()
            self._end = self.bars
        self._times[self._end] = open_ms
        self._values[self._end, : len(COLUMNS)] = candle
        self._values[self._end, len(COLUMNS) :] = np.nan
        self._end += 1

    def predict(self, said: Mapping[str, float]) -> None:
        """Note what is predicted at the close of the newest candle."""
        for number, name in enumerate(self.columns, len(COLUMNS)):
            self._values[self._end - 1, number] = said.get(name, np.nan)

    def candles(self, bars: int, beside: Mapping[str, Candles | ExternalSeries] | None = None) -> Candles:
        """The newest ``bars`` candles, or as many as there are."""
        first = max(0, self._end - min(bars, self.bars))
        frame = pd.DataFrame(self._values[first : self._end, : len(COLUMNS)], self._index(first), COLUMN_NAMES)
        made = Candles(frame, self._like.symbol, self._like.timeframe, self._like.exchange)
        return made.with_beside(beside) if beside else made

    def predictions(self, bars: int) -> pd.DataFrame:
        """What was predicted at the close of each of the newest ``bars`` candles."""
        first = max(0, self._end - min(bars, self.bars))
        return pd.DataFrame(self._values[first : self._end, len(COLUMNS) :], self._index(first), self._names)

    def _index(self, first: int) -> pd.DatetimeIndex:
        stamps = self._times[first : self._end].view("datetime64[ms]")
        return pd.DatetimeIndex(stamps, tz="UTC", name="time")
