"""Social figures of a coin by the day (galaxy_score, alt_rank, sentiment, interactions …), from LunarCrush."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

import pandas as pd

from freqlstm.connectors.source import Source
from freqlstm.errors import UnknownName
from freqlstm.external import ExternalSeries

EARLIEST = pd.Timestamp("2019-01-01", tz="UTC")  # asked for if nothing else is


class LunarCrush(Source):
    """``GET /public/coins/COIN/time-series/v2?bucket=day``; needs a key.

    A bucket is stamped with the beginning of its day; it is taken to be known a day and an hour later, when it is closed.
    """

    name: ClassVar[str] = "lunarcrush"
    url: ClassVar[str] = "https://lunarcrush.com/api4"
    asks: ClassVar[tuple[str, ...]] = ("a coin", "a figure")
    example: ClassVar[tuple[str, ...]] = ("BTC", "galaxy_score")
    known_after: ClassVar[str] = "25h"
    key: ClassVar[str] = "LUNARCRUSH_API_KEY"
    key_needed: ClassVar[bool] = True

    def _fetch(self, what: Sequence[str], since: pd.Timestamp | None, now: pd.Timestamp) -> ExternalSeries:
        coin, figure = what
        wire = self._wire()
        start = EARLIEST if since is None else since
        body = wire.ask(
            f"/public/coins/{quote(coin, safe='')}/time-series/v2",
            {"bucket": "day", "start": int(start.timestamp()), "end": int(now.timestamp())},
            {"Authorization": f"Bearer {self.secret}"},
        )
        try:
            told = [(row["time"], row) for row in body["data"]]
            known = sorted({key for _, row in told for key in row} - {"time"})
        except (KeyError, TypeError) as error:
            raise wire.bad(f"another body than it documents ({error})") from None
        if told and figure not in known:
            raise UnknownName("figure of LunarCrush", figure, known)
        return self._series(what, [(stamp, row[figure]) for stamp, row in told if row.get(figure) is not None], wire)
