"""What every source of an external series is."""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from freqlstm.connectors.wire import Wire
from freqlstm.errors import AccessDenied, NoSeries, UsageError
from freqlstm.external import ExternalSeries
from freqlstm.folds import duration

Row = tuple[Any, Any]  # seconds since 1970 UTC, and a value


class Source(ABC):
    """A place from which an external series can be fetched; ``base_url`` is another server that speaks like it."""

    name: ClassVar[str]
    url: ClassVar[str] = ""
    asks: ClassVar[tuple[str, ...]] = ()  # what has to be said, in words
    example: ClassVar[tuple[str, ...]] = ()
    known_after: ClassVar[str]  # how long after its time a value is taken to be known
    key: ClassVar[str] = ""  # the environment variable that holds the key
    key_needed: ClassVar[bool] = False

    def __init__(self, base_url: str | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.secret = os.environ.get(self.key) or None if self.key else None
        self._base_url, self._sleep = base_url, sleep

    def fetch(
        self, what: Sequence[str], since: pd.Timestamp | None = None, now: pd.Timestamp | None = None
    ) -> ExternalSeries:
        """The series from ``since`` on, or all there is; only rows that are known by ``now``, since others may change."""
        if len(what) != len(self.asks):
            wanted = " ".join(self.asks) or "nothing more"
            example = " ".join(("freqlstm download-series", self.name, *self.example))
            raise UsageError(
                f"{self.name} was given {' '.join(what) or 'nothing'}. It needs {wanted}, as in `{example}`."
            )
        if self.key_needed and not self.secret:
            raise AccessDenied(f"{self.name} needs a key. Put it into the environment variable {self.key}.")
        moment = (pd.Timestamp.now("UTC") if now is None else now).floor("s")
        series = self._fetch(what, since, moment)
        first = 0 if since is None else int(series.time.searchsorted(since.ceil("s")))
        last = int(series.known_at.searchsorted(moment, side="right"))
        if first >= last:
            raise NoSeries(
                f"{self.name} has no value of {' '.join(what) or 'it'} that was known by now. Ask for an earlier time."
            )
        return series.rows(first, last)

    @abstractmethod
    def _fetch(self, what: Sequence[str], since: pd.Timestamp | None, now: pd.Timestamp) -> ExternalSeries:
        """At least what is asked for."""

    def _wire(self, url: str = "") -> Wire:
        return Wire(self.name, self._base_url or url or self.url, self.secret, self._sleep)

    def _series(self, what: Sequence[str], rows: Iterable[Row], wire: Wire) -> ExternalSeries:
        """A series of rows in any order, each known ``known_after`` its time; a time that comes again must have the same value."""
        found: dict[int, float] = {}
        for stamp, value in rows:
            try:
                seconds, number = int(stamp), float(value)
            except (TypeError, ValueError):
                raise wire.bad(f"the row {stamp!r}, {value!r}, which is not a time and a number") from None
            if not np.isfinite(number) or not 0 < seconds < 10**10:
                raise wire.bad(f"the row {stamp!r}, {value!r}, which cannot be right")
            if found.setdefault(seconds, number) != number:
                raise wire.bad(f"two values for {pd.Timestamp(seconds, unit='s')}, {found[seconds]} and {number}")
        order = sorted(found)
        time = pd.to_datetime(np.array(order, dtype=np.int64), unit="s", utc=True)
        value = np.array([found[each] for each in order])
        return ExternalSeries.of(self.series_name(what), time, value, time + duration(self.known_after))

    @classmethod
    def series_name(cls, what: Sequence[str]) -> str:
        """What the series is called unless it is given another name: ``coingecko_bitcoin_market_caps``."""
        return re.sub(r"[^a-z0-9]+", "_", "_".join((cls.name, *what)).lower()).strip("_")
