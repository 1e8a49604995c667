"""Methods of pandas that look back, applied to each unbroken stretch of candles on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd


class Stretches:
    """Which unbroken stretch each candle belongs to; ``segment`` has shape (bars,), as in Candles."""

    def __init__(self, time: pd.DatetimeIndex, segment: np.ndarray) -> None:
        self._segment = pd.Series(segment, index=time)

    def of(self, index: pd.Index) -> list[np.ndarray]:
        """The positions in ``index`` of each stretch, in order; what is no candle belongs to the stretch before it."""
        if index is self._segment.index or index.equals(self._segment.index):
            segment = self._segment.to_numpy()
        else:
            segment = self._segment.reindex(index).ffill().fillna(0).to_numpy()
        return np.split(np.arange(len(index)), np.flatnonzero(np.diff(segment)) + 1)


def by_stretch(
    stretches: Stretches | None, series: pd.Series[Any], method: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """``method(series, *args, **kwargs)``, of each stretch on its own; Series among the arguments are cut alike."""
    plain = pd.Series(series)
    parts = [np.arange(len(plain))] if stretches is None else stretches.of(plain.index)
    if len(parts) == 1:
        return method(plain, *args, **kwargs)

    def cut(value: Any, rows: np.ndarray) -> Any:
        alike = isinstance(value, (pd.Series, np.ndarray)) and len(value) == len(plain)
        return (value.iloc[rows] if isinstance(value, pd.Series) else value[rows]) if alike else value

    pieces = [
        method(plain.iloc[rows], *(cut(value, rows) for value in args), **{k: cut(v, rows) for k, v in kwargs.items()})
        for rows in parts
    ]
    return pd.concat(pieces) if all(isinstance(piece, (pd.Series, pd.DataFrame)) for piece in pieces) else pieces[-1]


class Window:
    """What ``close.rolling(10)`` gives: the aggregations of pandas, each of which yields a column."""

    def __init__(self, column: Any, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._column, self._kind, self._args, self._kwargs = column, kind, args, kwargs
        self._open(pd.Series(column))  # so that a wrong argument is told at once

    def _open(self, series: pd.Series[Any]) -> Any:
        return getattr(series, self._kind)(*self._args, **self._kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        getattr(self._open(pd.Series(self._column)), name)  # pandas says what it does not have

        def aggregate(*args: Any, **kwargs: Any) -> Any:
            def method(series: pd.Series[Any], *args: Any, **kwargs: Any) -> Any:
                return getattr(self._open(series), name)(*args, **kwargs)

            opened = called("", self._kind, self._args, self._kwargs)
            return self._column.made(method, f"{opened}{called('', name, args, kwargs)}", args, kwargs)

        return aggregate


def called(text: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """How a call reads in the trade list: ``close.ewm(span=10)``."""
    given = [_short(value) for value in args] + [f"{key}={_short(value)}" for key, value in kwargs.items()]
    return f"{text}.{name}({', '.join(given)})"


def _short(value: Any) -> str:
    if isinstance(value, pd.Series):
        return str(getattr(value, "text", None) or "series")
    if isinstance(value, (bool, str)) or value is None:
        return repr(value)
    return f"{value:.10g}" if isinstance(value, (int, float, np.number)) else "..."
