"""Features: named, pure functions of candles up to and including their own bar.

A feature's value is known at the close of its bar. Returns are divided by the volatility that was usual just before
(`ewma_volatility`), so that a model sees the same numbers in calm and in wild times, for any symbol.
No value spans a gap, and none depends on where its unbroken stretch began: every memory here is finite, `warmup` bars.

Write one's own with `@feature(warmup=...)`, or take one of `catalogue` with another length: `catalogue.momentum(30)`.
`momentum_5@BTC/USDT` is that feature of another symbol at the same closed bar, `series:fear_greed` an external series as
of the moment at which it became known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from freqlstm import catalogue
from freqlstm.beside import ACROSS, SERIES, across, of_series
from freqlstm.candles import Candles
from freqlstm.errors import UnknownName, UsageError
from freqlstm.feature_base import HALFLIFE, Feature, ewma_warmup, feature, once, values_of, volatility

__all__ = [
    "DEFAULT_FEATURES",
    "FEATURES",
    "HALFLIFE",
    "Feature",
    "across",
    "companions",
    "compute",
    "ewma_volatility",
    "ewma_warmup",
    "feature",
    "of_series",
    "resolve",
    "warmup",
]

FEATURES: Mapping[str, Feature] = MappingProxyType({each.name: each for each in (*catalogue.DEFAULT, *catalogue.MORE)})
DEFAULT_FEATURES: tuple[str, ...] = tuple(each.name for each in catalogue.DEFAULT)


def compute(names: Sequence[str | Feature], candles: Candles) -> pd.DataFrame:
    """One float64 column for each feature, aligned to ``candles.time``; NaN in the warm-up of each unbroken stretch."""
    features = [resolve(name) for name in names]
    columns = [each.name for each in features]
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise UsageError(f"Feature {repeated[0]!r} is listed twice. List each feature once.")
    if not features:
        return pd.DataFrame(index=candles.time)

    return pd.DataFrame(values_of(features, candles).T, candles.time, columns)


def resolve(name: str | Feature) -> Feature:
    """The feature of that name, or the feature itself."""
    if isinstance(name, Feature):
        return name
    if name.startswith(SERIES):
        return of_series(name.removeprefix(SERIES))
    if ACROSS in name:
        own, _, symbol = name.partition(ACROSS)
        return across(resolve(own), symbol)
    if name not in FEATURES:
        raise UnknownName("feature", name, FEATURES)
    return FEATURES[name]


def warmup(names: Sequence[str | Feature]) -> int:
    """Bars of an unbroken stretch that must lie before a bar for all these features to be there."""
    return max((resolve(name).warmup for name in names), default=0)


def companions(names: Sequence[str | Feature]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(symbols, external series) that these features read beside a symbol's own candles, each once, sorted."""
    read = sorted({other for name in names for other in resolve(name).beside})
    symbols = tuple(name for name in read if "/" in name)
    return symbols, tuple(name for name in read if name not in symbols)


def ewma_volatility(candles: Candles, halflife: int = HALFLIFE) -> pd.Series[float]:
    """Volatility of one bar's log return, known at the close of the bar: the root of the EWMA of squared returns.

    The mean is over the last ``ewma_warmup(halflife)`` returns, each weighing half of the one ``halflife`` bars later.
    NaN in the warm-up of each unbroken stretch, never below a hundredth of a basis point.
    """
    own = Feature("ewma_volatility", lambda stretch: volatility(stretch, halflife), ewma_warmup(halflife))
    values = once(candles, (own.name, halflife), lambda: values_of([own], candles)[0])
    return pd.Series(values, candles.time, name=own.name)
