"""RSI, MACD, Bollinger bands and the rest of pandas-ta, on candles.

Every value is known at the close of its bar. No indicator spans a gap: each unbroken stretch is computed on its own,
and its first bars, whose values would depend on where it happens to begin, are NaN.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import UnknownName, UsageError

FORGOTTEN = 1e-9  # the weight below which what lies before a stretch no longer counts
BLOCK = 1 << 16  # rows of a moving mean at a time, so that what rounding adds up does not grow with the history
_ONE = RLock()  # what silences warnings is the same for all threads


def settle(alpha: float) -> int:
    """Bars until an exponential mean with the weight ``alpha`` for each new bar has forgotten where it began."""
    return math.ceil(math.log(FORGOTTEN) / math.log1p(-alpha)) if alpha < 1 else 1


def rsi_warmup(period: int = 14) -> int:
    """Bars of an unbroken stretch before its first RSI."""
    return _check_period("period", period) + settle(1 / period)


def rsi(candles: Candles, period: int = 14) -> pd.Series[float]:
    """Relative strength index (Wilder 1978), 0 to 100.

    NaN where the close has not moved for a third of the warm-up, at least one bar: what is left there is an echo of before.
    """
    warmup = rsi_warmup(period)

    def of_closes(close: np.ndarray, strength: np.ndarray) -> None:
        from freqlstm.indicator_kernels import relative_strength  # here, for numba takes half a second to import

        relative_strength(strength, close, period, max(1, warmup // 3))

    return _column(_of_closes(candles, of_closes, warmup, ["rsi"]))


def macd_warmup(fast: int = 12, slow: int = 26, signal: int = 9) -> int:
    """Bars of an unbroken stretch before its first MACD."""
    _check_macd(fast, slow, signal)
    return slow + signal + settle(2 / (slow + 1)) + settle(2 / (signal + 1))


def macd(candles: Candles, fast: int = 12, slow: int = 26, signal: int = 9) -> pd.DataFrame:
    """Moving average convergence and divergence (Appel 1979): the columns macd, signal, histogram, in units of the price."""
    warmup = macd_warmup(fast, slow, signal)

    def of_closes(close: np.ndarray, line: np.ndarray, smooth: np.ndarray, histogram: np.ndarray) -> None:
        from freqlstm.indicator_kernels import convergence

        convergence(line, smooth, histogram, close, fast, slow, signal)

    return _of_closes(candles, of_closes, warmup, ["macd", "signal", "histogram"])


def bollinger_warmup(period: int = 20) -> int:
    """Bars of an unbroken stretch before its first Bollinger bands."""
    return _check_period("period", period, least=2) - 1


def bollinger(candles: Candles, period: int = 20, deviations: float = 2.0) -> pd.DataFrame:
    """Bollinger bands (Bollinger 1983): the columns lower, middle, upper, in units of the price.

    ``deviations`` population standard deviations around the mean of ``period`` closes.
    """
    warmup = bollinger_warmup(period)
    if not deviations > 0:
        raise UsageError(f"deviations is {deviations!r}. It must be a positive number, as in 2.0.")

    def of_closes(close: np.ndarray, lower: np.ndarray, middle: np.ndarray, upper: np.ndarray) -> None:
        from freqlstm.indicator_kernels import bands

        bands(lower, middle, upper, close, period, float(deviations), max(BLOCK, period))

    return _of_closes(candles, of_closes, warmup, ["lower", "middle", "upper"])


def ta(candles: Candles, name: str, **arguments: Any) -> pd.Series[float] | pd.DataFrame:
    """Any indicator of pandas-ta by its name there, with its arguments: ``ta(candles, "atr", length=14)``.

    An indicator that looks ahead is refused. One that adds up from its first candle, such as ``obv``, never forgets
    where its stretch began: use its changes, not its level.
    """
    measured = _measure(name, _hashable(name, arguments))

    def of_stretch(stretch: Candles) -> list[np.ndarray] | None:
        made = _call(name, arguments, stretch)
        return None if made is None else list(_matrix(made, stretch).T)

    table = _of_stretches(candles, of_stretch, measured.warmup, list(measured.columns))
    return table if measured.several else _column(table)


def ta_warmup(name: str, **arguments: Any) -> int:
    """Bars of an unbroken stretch before its first value of :func:`ta`, as measured on a seeded random walk.

    An indicator that follows a state, such as ``psar``, can need longer on other candles.
    """
    return _measure(name, _hashable(name, arguments)).warmup


@contextmanager
def _pandas_ta() -> Iterator[Any]:
    """The library, imported at the first use, with its warnings about its own internals silenced; one thread at a time."""
    with _ONE, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        import pandas_ta_classic

        yield pandas_ta_classic


def _of_closes(candles: Candles, function: Callable[..., None], warmup: int, columns: list[str]) -> pd.DataFrame:
    """The columns that ``function`` fills, given the closes of an unbroken stretch longer than ``warmup`` and room for each."""
    values = np.empty((len(candles), len(columns)), order="F")
    close = np.ascontiguousarray(candles.close.to_numpy(np.float64)).view()
    close.flags.writeable = False  # whatever the candles are, kernels see one type
    for first, last in candles.segments():
        cold = min(first + warmup, last)
        if cold < last:
            function(close[first:last], *values[first:last].T)
        values[first:cold] = np.nan
    return pd.DataFrame(values, index=candles.time, columns=columns, copy=False)


def _of_stretches(
    candles: Candles, function: Callable[[Candles], list[np.ndarray] | None], warmup: int, columns: list[str]
) -> pd.DataFrame:
    """The columns that ``function`` makes of every unbroken stretch longer than ``warmup``, under the given names."""
    values = np.full((len(candles), len(columns)), np.nan, order="F")
    for first, last in candles.segments():
        made = function(candles.rows(first, last)) if last - first > warmup else None
        for place, column in enumerate(made or ()):
            values[first + warmup : last, place] = column[warmup:]
    return pd.DataFrame(values, index=candles.time, columns=columns, copy=False)


def _column(table: pd.DataFrame) -> pd.Series[float]:
    return table.iloc[:, 0]


def _check_period(name: str, period: int, least: int = 1) -> int:
    if isinstance(period, bool) or not isinstance(period, (int, np.integer)) or period < least:
        raise UsageError(f"{name} is {period!r}. It must be a whole number of bars, at least {least}.")
    return int(period)


def _check_macd(fast: int, slow: int, signal: int) -> None:
    for name, period in (("fast", fast), ("slow", slow), ("signal", signal)):
        _check_period(name, period)
    if fast >= slow:
        raise UsageError(f"fast is {fast} and slow is {slow}. The fast period must be the shorter one.")


PRICES = {"open_": "open", "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}
WITHHELD = {"talib", "fillna", "fill_method", "kwargs"}  # TA-Lib changes bits, filling backwards looks ahead


@lru_cache(maxsize=1)
def ta_names() -> tuple[str, ...]:
    """Every indicator of pandas-ta that needs nothing but candles."""
    with _pandas_ta() as library:
        names = {name for category in library.Category.values() for name in category}
        return tuple(sorted(name for name in names if _needs_only_candles(getattr(library, name, None))))


def _needs_only_candles(function: Any) -> bool:
    if not callable(function):
        return False
    parameters = inspect.signature(function).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return bool(required) and all(name in PRICES for name in required)


def _call(name: str, arguments: dict[str, Any], stretch: Candles) -> Any:
    with _pandas_ta() as library:
        function = getattr(library, name)
        parameters = inspect.signature(function).parameters
        columns = {given: stretch.frame[column].copy() for given, column in PRICES.items() if given in parameters}
        off = {"talib": False} if "talib" in parameters else {}
        made = function(**columns, **off, **arguments)
    return made[0] if isinstance(made, tuple) else made  # ichimoku has a second table, of the future spans


def _hashable(name: str, arguments: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The arguments as a key, after a check that the indicator exists and takes them."""
    if name not in ta_names():
        raise UnknownName("indicator", name, ta_names())
    with _pandas_ta() as library:
        function = getattr(library, name)
        known = set(inspect.signature(function).parameters) - set(PRICES) - WITHHELD
    text = function.__doc__ or ""
    for argument, value in arguments.items():
        if argument not in known and (argument in WITHHELD | set(PRICES) or f" {argument} (" not in text):
            raise UnknownName(f"argument of the indicator {name!r}", argument, known)
        if not isinstance(value, (bool, int, float, str, type(None), tuple)):
            raise UsageError(
                f"{argument} of the indicator {name!r} is {value!r}. It must be a number, a text or a tuple."
            )
    return tuple(sorted(arguments.items()))


@dataclass(frozen=True)
class _Measured:
    columns: tuple[str, ...]
    several: bool
    warmup: int


@lru_cache(maxsize=1024)
def _measure(name: str, key: tuple[tuple[str, Any], ...]) -> _Measured:
    """What an indicator is like, found by trying it on a random walk: its columns, its warm-up, that it is causal."""
    arguments = dict(key)
    longest = max([abs(int(value)) for value in arguments.values() if isinstance(value, (int, float))], default=0)
    sample = _random_walk(4096 + 32 * min(longest, 2000))
    try:
        made = _call(name, arguments, sample)
    except Exception as error:  # whatever the library raises for arguments that it does not check
        raise UsageError(f"The indicator {name!r} failed with {arguments}: {error}.") from error
    if made is None:
        raise UsageError(f"The indicator {name!r} gave nothing for {arguments}. See its documentation in pandas-ta.")
    several = isinstance(made, pd.DataFrame)
    columns = tuple(map(str, made.columns)) if several else (str(made.name or name),)
    whole = _matrix(made, sample)
    for rows in (len(sample) // 2, len(sample) - 700, len(sample) - 1):
        before = _matrix(_call(name, arguments, sample.rows(0, rows)), sample.rows(0, rows))
        if before.shape != (rows, len(columns)) or not np.array_equal(before, whole[:rows], equal_nan=True):
            raise UsageError(
                f"The indicator {name!r} with {arguments or 'its defaults'} looks ahead: values changed when only later "
                f"candles were removed. Take another one, or other arguments."
            )
    valid = np.isfinite(whole).any(axis=1)
    first_value = int(np.argmax(valid)) if valid.any() else 0
    scale = np.nanstd(np.where(np.isfinite(whole), whole, np.nan), axis=0)
    warmup, settles = first_value, True
    for start in (1, 101, 307, 500, 701, 1111, 1511, 2011):
        stretch = sample.rows(start, len(sample))
        part = _matrix(_call(name, arguments, stretch), stretch)
        same = (np.abs(part - whole[start:]) <= 1e-8 * scale) | (np.isnan(part) & np.isnan(whole[start:]))
        differing = np.flatnonzero(~same.all(axis=1))
        last = int(differing[-1]) + 1 if len(differing) else 0
        settles &= last < 0.8 * len(stretch)
        warmup = max(warmup, last)
    return _Measured(columns, several, warmup if settles else first_value)


def _matrix(made: Any, candles: Candles) -> np.ndarray:
    if made is None:
        return np.zeros((len(candles), 0))
    return np.asarray(made, dtype=np.float64).reshape(len(made), -1)


@lru_cache(maxsize=4)
def _random_walk(rows: int) -> Candles:
    random = np.random.default_rng(20240101)
    close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, rows)))
    open_ = np.concatenate([[100.0], close[:-1]])
    wick = np.abs(random.normal(0, 5e-4, (2, rows)))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": random.lognormal(0, 1, rows),
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC", name="time", unit="ms"),
    )
    return Candles(frame, "SAMPLE/WALK", "1m")
