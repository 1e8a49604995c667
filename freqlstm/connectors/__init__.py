"""Where external series come from: each source in a module of its own, and the list of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from freqlstm.connectors.coingecko import CoinGecko
from freqlstm.connectors.defillama import DefiLlama
from freqlstm.connectors.fear_greed import FearGreed
from freqlstm.connectors.fred import Fred
from freqlstm.connectors.lunarcrush import LunarCrush
from freqlstm.connectors.source import Source
from freqlstm.connectors.stock_to_flow import StockToFlow

__all__ = ["SOURCES", "CoinGecko", "DefiLlama", "FearGreed", "Fred", "LunarCrush", "Source", "StockToFlow"]

SOURCES: Mapping[str, type[Source]] = MappingProxyType(
    {each.name: each for each in (FearGreed, DefiLlama, Fred, LunarCrush, CoinGecko, StockToFlow)}
)
