"""Economic series of the Federal Reserve Bank of St. Louis (FRED), as they were first published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from freqlstm.connectors.source import Source
from freqlstm.connectors.wire import Wire
from freqlstm.external import ExternalSeries
from freqlstm.folds import duration

EARLIEST = pd.Timestamp("2009-01-01", tz="UTC")  # asked for if nothing else is: there was no bitcoin before
YEARS = 5  # of publications asked for at once: FRED refuses more than 2,000 of them
PAGE = 100_000  # rows, the most that FRED gives at once
MISSING = "."


class Fred(Source):
    """``GET /fred/series/observations`` over all publications since a date; needs a key.

    Each observation has the value of its first publication, not that of later revisions, and is taken to be known 30 hours
    after the beginning of the day of that publication, which is when that day is over in St. Louis.
    """

    name: ClassVar[str] = "fred"
    url: ClassVar[str] = "https://api.stlouisfed.org"
    asks: ClassVar[tuple[str, ...]] = ("the id of a series",)
    example: ClassVar[tuple[str, ...]] = ("DGS10",)
    known_after: ClassVar[str] = "30h"
    key: ClassVar[str] = "FRED_API_KEY"
    key_needed: ClassVar[bool] = True

    def _fetch(self, what: Sequence[str], since: pd.Timestamp | None, now: pd.Timestamp) -> ExternalSeries:
        wire = self._wire()
        first: dict[str, tuple[str, float]] = {}  # date of an observation -> day of its first publication, value
        begin = EARLIEST if since is None else since
        while begin <= now:
            end = min(begin + pd.DateOffset(years=YEARS) - pd.Timedelta(days=1), now)
            for row in self._published(wire, what[0], begin, end):
                try:
                    date, published, text = str(row["date"]), str(row["realtime_start"]), str(row["value"])
                    if text != MISSING:
                        known = first.get(date)
                        if known is None or published < known[0]:
                            first[date] = published, float(text)
                except (KeyError, TypeError, ValueError) as error:
                    raise wire.bad(f"the observation {row!r} ({type(error).__name__})") from None
            begin = end + pd.Timedelta(days=1)
        return self._as_published(what, first, wire)

    def _published(self, wire: Wire, series: str, begin: pd.Timestamp, end: pd.Timestamp) -> list[dict[str, Any]]:
        """Every observation as of every publication in [begin, end]; what was published before has ``begin`` as its day."""
        rows: list[dict[str, Any]] = []
        while True:
            body = wire.ask(
                "/fred/series/observations",
                {"series_id": series, "api_key": self.secret, "file_type": "json", "limit": PAGE, "offset": len(rows),
                 "realtime_start": f"{begin:%Y-%m-%d}", "realtime_end": f"{end:%Y-%m-%d}"},
            )  # fmt: skip
            try:
                page, count = list(body["observations"]), int(body["count"])
            except (KeyError, TypeError, ValueError) as error:
                raise wire.bad(f"another body than it documents ({error})") from None
            rows += page
            if not page or len(rows) >= count:
                return rows

    def _as_published(self, what: Sequence[str], first: dict[str, tuple[str, float]], wire: Wire) -> ExternalSeries:
        """Of several observations known at a moment, only the newest: the others were never the newest that was known."""
        try:
            dates = sorted(first)
            time = pd.to_datetime(dates, format="%Y-%m-%d", utc=True)
            published = pd.to_datetime([first[date][0] for date in dates], format="%Y-%m-%d", utc=True)
        except ValueError as error:
            raise wire.bad(f"a date that is none ({error})") from None
        known_at = published + duration(self.known_after)
        known = known_at.as_unit("ns").asi8
        later = np.minimum.accumulate(known[::-1])[::-1]  # when this or a newer one was first known
        newest = np.append(known[:-1] < later[1:], True)[: len(dates)]
        newest &= np.asarray(known_at >= time)
        value = np.array([first[date][1] for date in dates])
        return ExternalSeries.of(self.series_name(what), time[newest], value[newest], known_at[newest])
