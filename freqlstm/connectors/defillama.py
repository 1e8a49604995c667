"""Total value locked in a chain or a protocol, in US dollars, from DefiLlama."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

import pandas as pd

from freqlstm.connectors.source import Source
from freqlstm.errors import UnknownName
from freqlstm.external import ExternalSeries


class DefiLlama(Source):
    """``GET /v2/historicalChainTvl/CHAIN`` or ``/protocol/NAME``; needs no key.

    One value a day; it is taken to be known a day later. History is recomputed by the source now and then: what was stored
    first stays.
    """

    name: ClassVar[str] = "defillama"
    url: ClassVar[str] = "https://api.llama.fi"
    asks: ClassVar[tuple[str, ...]] = ("chain or protocol", "its name")
    example: ClassVar[tuple[str, ...]] = ("chain", "Arbitrum")
    known_after: ClassVar[str] = "1d"

    def _fetch(self, what: Sequence[str], since: pd.Timestamp | None, now: pd.Timestamp) -> ExternalSeries:
        kind, of = what
        if kind not in ("chain", "protocol"):
            raise UnknownName("kind of DefiLlama's series", kind, ("chain", "protocol"))
        wire = self._wire()
        path = f"/v2/historicalChainTvl/{quote(of, safe='')}" if kind == "chain" else f"/protocol/{quote(of, safe='')}"
        body = wire.ask(path)
        try:
            if kind == "chain":
                rows = [(row["date"], row["tvl"]) for row in body]
            else:
                rows = [(row["date"], row["totalLiquidityUSD"]) for row in body["tvl"]]
        except (KeyError, TypeError) as error:
            raise wire.bad(f"another body than it documents ({error})") from None
        return self._series(what, rows, wire)
