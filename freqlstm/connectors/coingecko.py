"""Price, market capitalisation or volume of a coin in US dollars, from CoinGecko."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

import pandas as pd

from freqlstm.connectors.source import Source
from freqlstm.errors import UnknownName
from freqlstm.external import ExternalSeries

COLUMNS = ("prices", "market_caps", "total_volumes")
DAY = 86_400_000  # milliseconds
FREE = pd.Timedelta(days=365)  # without a plan that is paid for, nothing older is shown


class CoinGecko(Source):
    """``GET /coins/ID/market_chart/range?interval=daily``; the key of a demo plan is optional.

    A value is that of its midnight UTC; the source publishes it 35 minutes later, and it is taken to be known after an hour.
    """

    name: ClassVar[str] = "coingecko"
    url: ClassVar[str] = "https://api.coingecko.com/api/v3"
    asks: ClassVar[tuple[str, ...]] = ("a coin's id", f"one of {', '.join(COLUMNS)}")
    example: ClassVar[tuple[str, ...]] = ("bitcoin", "market_caps")
    known_after: ClassVar[str] = "1h"
    key: ClassVar[str] = "COINGECKO_API_KEY"

    def _fetch(self, what: Sequence[str], since: pd.Timestamp | None, now: pd.Timestamp) -> ExternalSeries:
        coin, column = what
        if column not in COLUMNS:
            raise UnknownName("column of CoinGecko", column, COLUMNS)
        wire = self._wire()
        start = (now - FREE).ceil("D") if since is None else since
        body = wire.ask(
            f"/coins/{quote(coin, safe='')}/market_chart/range",
            {"vs_currency": "usd", "from": int(start.timestamp()), "to": int(now.timestamp()), "interval": "daily"},
            {"x-cg-demo-api-key": self.secret} if self.secret else {},
        )
        try:
            pairs = [(stamp, value) for stamp, value in body[column]]
            daily = [(stamp, value) for stamp, value in pairs if stamp % DAY == 0]  # the last one is of this moment
        except (KeyError, TypeError, ValueError) as error:
            raise wire.bad(f"a body whose {column} are not pairs ({type(error).__name__})") from None
        return self._series(what, [(stamp // 1000, value) for stamp, value in daily if value is not None], wire)
