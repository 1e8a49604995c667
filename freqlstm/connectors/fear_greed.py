"""The Crypto Fear & Greed Index of alternative.me, from 0 (extreme fear) to 100 (extreme greed)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pandas as pd

from freqlstm.connectors.source import Source
from freqlstm.external import ExternalSeries


class FearGreed(Source):
    """``GET /fng/?limit=0``; needs no key.

    A value is stamped with the midnight UTC of its day and shown during that day; it is taken to be known when the day is over.
    """

    name: ClassVar[str] = "fear_greed"
    url: ClassVar[str] = "https://api.alternative.me"
    known_after: ClassVar[str] = "1d"

    def _fetch(self, what: Sequence[str], since: pd.Timestamp | None, now: pd.Timestamp) -> ExternalSeries:
        wire = self._wire()
        body = wire.ask("/fng/", {"limit": 0, "format": "json"})
        try:
            if body["metadata"]["error"] is not None:
                raise wire.bad(f"the error {body['metadata']['error']!r}")
            rows = [(row["timestamp"], row["value"]) for row in body["data"]]
        except (KeyError, TypeError) as error:
            raise wire.bad(f"another body than it documents ({error})") from None
        return self._series(what, rows, wire)
