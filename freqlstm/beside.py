"""Features of what was known beside a symbol's own candles: of other symbols, and of external series.

Both are read from ``candles.beside``, which holds nothing that became known after the last candle's close.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from freqlstm.candles import Candles, check_symbol
from freqlstm.errors import CandleError, NoCandles, NoSeries, UsageError
from freqlstm.external import ExternalSeries, check_series_name
from freqlstm.feature_base import Feature, values_of

ACROSS = "@"  # momentum_5@BTC/USDT
SERIES = "series:"  # series:fear_greed


def across(feature: Feature, symbol: str) -> Feature:
    """``feature`` of another symbol, at the bar that closed at the same moment; of that symbol itself, its own.

    It is computed on the other's candles, with their gaps. NaN where the other has no such candle, or fewer than ``warmup``
    before it without a gap.
    """
    symbol = check_symbol(symbol)
    if feature.beside:
        raise UsageError(
            f"{feature.name!r} is not of a symbol's own candles, so there is no {feature.name}{ACROSS}{symbol}. "
            f"Put {ACROSS} behind a feature of a symbol's own candles, as in 'momentum_5{ACROSS}{symbol}'."
        )
    name = f"{feature.name}{ACROSS}{symbol}"

    def value(candles: Candles) -> np.ndarray:
        if candles.symbol == symbol:
            return feature(candles)
        other = companion(candles, symbol, name)
        return pd.Series(values_of([feature], other)[0], other.time).reindex(candles.time).to_numpy(np.float64)

    return Feature(name, value, feature.warmup, f"{feature.description or feature.name} of {symbol}", (symbol,))


def of_series(series: str) -> Feature:
    """The newest value of an external series that was known at the close of each bar; NaN before the first."""
    name = f"{SERIES}{check_series_name(series)}"

    def value(candles: Candles) -> np.ndarray:
        return known_series(candles, series, name).as_of(candles.time + candles.step)

    return Feature(name, value, 0, f"external series {series}, as of when it became known", (series,))


def companion(candles: Candles, symbol: str, asking: str) -> Candles:
    """The candles of another symbol beside these; an error that says what to do if they are not there."""
    other = candles.beside.get(symbol)
    if not isinstance(other, Candles):
        raise NoCandles(
            f"{asking!r} needs the candles of {symbol} beside those of {candles.symbol}, and they are not there. "
            f"`freqlstm download -p {symbol} -i {candles.timeframe}` stores them; in code, candles.with_beside(...) adds them."
        )
    if other.timeframe != candles.timeframe:
        raise CandleError(
            f"{asking!r}: beside the {candles.timeframe} candles of {candles.symbol} lie {other.timeframe} candles of {symbol}. "
            f"Both must be of one timeframe: use `freqlstm data resample`."
        )
    return other


def known_series(candles: Candles, series: str, asking: str) -> ExternalSeries:
    """The external series beside these candles; an error that says what to do if it is not there."""
    found = candles.beside.get(series)
    if not isinstance(found, ExternalSeries):
        raise NoSeries(
            f"{asking!r} needs the external series {series!r} beside the candles of {candles.symbol}, and it is not there. "
            f"`freqlstm import-series {series} FILE --time COLUMN --known-after 1d` stores it; in code, candles.with_beside(...) adds it."
        )
    return found
