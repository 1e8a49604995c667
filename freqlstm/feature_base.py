"""What a feature is, and the volatility that features are scaled by."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from freqlstm import rolling
from freqlstm.candles import Candles
from freqlstm.errors import PluginError, UsageError

SMALLEST_VOLATILITY = 1e-6  # of one bar's return, so that a frozen market can be divided by: 0.01 basis points
HALFLIFE = 60  # bars, of the volatility that features are scaled by
MEMORY = 5  # half-lives after which the EWMA volatility forgets, so that it is exact after so many bars


@dataclass(frozen=True)
class Feature:
    """A function of candles that gives one number a bar.

    ``function`` sees one unbroken stretch at a time. ``warmup`` is how many bars of it must lie before a bar for its
    value to be exact; the values of the first ``warmup`` bars are not used. ``beside`` names what it reads of
    ``candles.beside``: symbols and external series, which are loaded with the candles.
    """

    name: str
    function: Callable[[Candles], pd.Series[Any] | np.ndarray]
    warmup: int
    description: str = ""
    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.beside, tuple):
            raise UsageError(
                f'The feature {self.name!r} has beside={self.beside!r}. It must be a tuple of names, as in ("BTC/USDT",).'
            )
        if isinstance(self.warmup, bool) or not isinstance(self.warmup, int) or self.warmup < 0:
            raise UsageError(
                f"The warmup of feature {self.name!r} is {self.warmup!r}. It must be a whole number of bars, at least 0."
            )

    def __call__(self, candles: Candles) -> np.ndarray:
        """Shape (bars,), float64: the values on one unbroken stretch, NaN during the warm-up."""
        made = self.function(candles)
        if isinstance(made, pd.Series) and not made.index.equals(candles.time):
            raise PluginError(
                f"Feature {self.name!r} returned a Series whose index is not that of the candles. "
                f"It must have one value for each of the {len(candles)} bars, at candles.time."
            )
        try:
            values = np.array(made, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise PluginError(
                f"Feature {self.name!r} returned what is not numbers: {error}. It must return floats."
            ) from error
        if values.shape != (len(candles),):
            raise PluginError(
                f"Feature {self.name!r} returned an array of shape {values.shape} for {len(candles)} candles. "
                f"It must return one number a bar."
            )
        values[: self.warmup] = np.nan
        return values


def feature(
    warmup: int, beside: tuple[str, ...] = ()
) -> Callable[[Callable[[Candles], pd.Series[Any] | np.ndarray]], Feature]:
    """Make a feature of a function, for example in a signal's own file; its name is the function's.

    ``warmup`` is how many bars of an unbroken stretch must lie before a bar for its value to be exact. ``beside`` names
    the symbols ("BTC/USDT") and external series ("fear_greed") that it reads of ``candles.beside``.
    """

    def decorate(function: Callable[[Candles], pd.Series[Any] | np.ndarray]) -> Feature:
        description = (function.__doc__ or "").strip().partition("\n")[0]
        return Feature(function.__name__, function, warmup, description, beside)

    return decorate


def values_of(features: Sequence[Feature], candles: Candles) -> np.ndarray:
    """Shape (features, bars), float64: each on every unbroken stretch on its own, NaN in the warm-up of each stretch."""
    values = np.full((len(features), len(candles)), np.nan)
    shortest = min(each.warmup for each in features)
    for first, last in candles.segments():
        if last - first > shortest:
            stretch = candles if last - first == len(candles) else candles.rows(first, last)
            for row, each in zip(values, features, strict=True):
                row[first:last] = each(stretch)
    return values


def ewma_warmup(halflife: int = HALFLIFE) -> int:
    """Bars of an unbroken stretch before its first EWMA volatility."""
    if isinstance(halflife, bool) or not isinstance(halflife, int) or halflife < 1:
        raise UsageError(f"The half-life is {halflife!r}. It must be a whole number of bars, at least 1.")
    return MEMORY * halflife


SCALED = ewma_warmup()  # bars that anything scaled by the volatility needs


# Arrays of shape (bars,) on one unbroken stretch.


_MADE: WeakKeyDictionary[Candles, dict[Hashable, np.ndarray]] = WeakKeyDictionary()


def once(candles: Candles, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What most features are made of is made once for the same candles; nobody can change it."""
    made = _MADE.setdefault(candles, {})
    if key not in made:
        values = make()
        values.flags.writeable = False
        made[key] = values
    return made[key]


def array(candles: Candles, column: str) -> np.ndarray:
    """The values of a column, in one memory layout so that numpy takes one set of instructions."""
    return once(candles, column, lambda: np.array(candles.frame[column], np.float64))


def log(candles: Candles, column: str) -> np.ndarray:
    """Natural logarithm of a column of prices."""
    return once(candles, ("log", column), lambda: rolling.log(array(candles, column)))


def returns(candles: Candles) -> np.ndarray:
    """Log return of each bar."""
    return once(candles, "returns", lambda: rolling.change(log(candles, "close")))


def volatility(candles: Candles, halflife: int = HALFLIFE) -> np.ndarray:
    """EWMA volatility of one bar's log return."""

    def make() -> np.ndarray:
        variance = rolling.decayed(returns(candles) ** 2, 1 - 0.5 ** (1 / halflife), ewma_warmup(halflife))
        return np.asarray(np.sqrt(np.maximum(variance, SMALLEST_VOLATILITY**2)))

    return once(candles, ("volatility", halflife), make)


def scaled(candles: Candles, log_move: np.ndarray, bars: int = 1) -> np.ndarray:
    """A move of the log price in units of what is usual over so many bars."""
    return np.asarray(log_move / (volatility(candles) * math.sqrt(bars)))
