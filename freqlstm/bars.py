"""The columns that a strategy's conditions are made of; everything in a row is known at the close of that bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from freqlstm import indicators
from freqlstm.candles import COLUMNS, Candles
from freqlstm.columns import Absent, Column
from freqlstm.errors import PluginError
from freqlstm.stretches import Stretches

ENDINGS = ("", "_low", "_high", "_spread")  # of the columns that one signal fills
CONDITIONS = ("enter_long", "exit_long", "enter_short", "exit_short")


class Macd(NamedTuple):
    """Moving average convergence and divergence (Appel 1979), in units of the price."""

    macd: Column
    signal: Column
    histogram: Column


class Bollinger(NamedTuple):
    """Bollinger bands (Bollinger 1983), in units of the price."""

    lower: Column
    middle: Column
    upper: Column


class Bars:
    """The columns of one symbol: candles, predictions, indicators; row t holds what is known at the close of bar t.

    ``predictions`` has one column for each name in the strategy's ``signals`` (with ``_low``, ``_high`` and ``_spread``
    beside it where the signal gives an interval or averages several models), indexed like the candles. Each indicator is
    computed once. ``without`` names the columns that are switched off, see :class:`Absent`.
    """

    def __init__(
        self, candles: Candles, predictions: pd.DataFrame | None = None, without: frozenset[str] = frozenset()
    ) -> None:
        self.candles = candles
        self.symbol = candles.symbol
        self.time = candles.time
        self.warmup = 0  # bars of an unbroken stretch that the indicators handed out so far need
        self._predictions = predictions if predictions is not None else pd.DataFrame(index=candles.time)
        self.without = without
        self._memory: dict[Any, Any] = {}
        self._stretches = Stretches(candles.time, candles.segment) if len(candles.starts) > 1 else None

    def __getattr__(self, name: str) -> Column | Absent:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self.without:
            return Absent()
        if name in COLUMNS:
            return self._once(name, lambda: self._column(self.candles.frame[name], name))  # type: ignore[no-any-return]
        if name in self._predictions.columns:
            return self._once(name, lambda: self._column(self._predictions[name], name))  # type: ignore[no-any-return]
        raise AttributeError(
            f"bars has no column {name!r}. It has {', '.join(COLUMNS)}, rsi(), macd(), bollinger(), ta and "
            f"{', '.join(self._predictions.columns) or 'no predictions: name a signal in the strategy'}"
        )

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    @property
    def asked(self) -> frozenset[Any]:
        """Which columns and indicators, with which arguments, were handed out so far."""
        return frozenset(self._memory)

    def _column(self, values: pd.Series[Any], name: str) -> Column:
        return Column.of(values, name, self._stretches)

    def _need(self, bars: int) -> None:
        self.warmup = max(self.warmup, bars)

    def rsi(self, period: int = 14) -> Column:
        """Relative strength index (Wilder 1978), 0 to 100."""
        self._need(indicators.rsi_warmup(period))

        def make() -> Column:
            return self._column(indicators.rsi(self.candles, period), f"rsi({period})")

        return self._once(("rsi", period), make)  # type: ignore[no-any-return]

    def macd(self, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
        """MACD, its signal line and their difference, in units of the price."""
        self._need(indicators.macd_warmup(fast, slow, signal))

        def make() -> Macd:
            table = indicators.macd(self.candles, fast, slow, signal)
            return Macd(*(self._column(table[part], f"macd({fast},{slow},{signal}).{part}") for part in Macd._fields))

        return self._once(("macd", fast, slow, signal), make)  # type: ignore[no-any-return]

    def bollinger(self, period: int = 20, deviations: float = 2.0) -> Bollinger:
        """The bands ``deviations`` population standard deviations around the mean of ``period`` closes."""
        self._need(indicators.bollinger_warmup(period))

        def make() -> Bollinger:
            table = indicators.bollinger(self.candles, period, deviations)
            name = f"bollinger({period},{deviations:g})"
            return Bollinger(*(self._column(table[part], f"{name}.{part}") for part in Bollinger._fields))

        return self._once(("bollinger", period, deviations), make)  # type: ignore[no-any-return]

    @property
    def handed_out(self) -> frozenset[str]:
        """The columns of predictions that were asked for so far."""
        return frozenset(name for name in map(str, self._predictions.columns) if name in self._memory)

    @property
    def ta(self) -> TechnicalAnalysis:
        """Every other indicator of pandas-ta by its name: ``bars.ta.atr(length=14)``."""
        return TechnicalAnalysis(self)

    def ready(self) -> np.ndarray:
        """Shape (bars,), bool: where every indicator handed out is warm and every prediction handed out is there."""
        ready = self.candles.aged(self.warmup)
        for name in self._predictions.columns:
            if name in self._memory:
                ready &= self._predictions[name].notna().to_numpy()
        return ready


class TechnicalAnalysis:
    """Calls pandas-ta by attribute, on the candles of some bars."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        bars = self._bars

        def call(**arguments: Any) -> Any:
            label = f"{name}({','.join(f'{key}={value}' for key, value in arguments.items())})"

            def make() -> Any:
                result = indicators.ta(bars.candles, name, **arguments)
                if isinstance(result, pd.Series):
                    return bars._column(result, label)
                return {part: bars._column(result[part], f"{label}.{part}") for part in result.columns}

            bars._need(indicators.ta_warmup(name, **arguments))
            return bars._once(label, make)

        return call


def condition(bars: Bars, made: Any, where: str) -> Column | None:
    """What a condition method returned, checked: one truth value a bar, or None for a condition that is not used."""
    if made is None or isinstance(made, Absent):
        return None
    values = np.asarray(made)
    if values.shape != (len(bars.candles),) or values.dtype != np.bool_:
        raise PluginError(
            f"{where} returned a {type(made).__name__} of shape {values.shape} and type {values.dtype}. It must be one "
            f"True or False a bar, here {len(bars.candles)} of them: compare columns of bars with <, >, & and |."
        )
    if isinstance(made, pd.Series) and not isinstance(made.index, pd.RangeIndex) and not made.index.equals(bars.time):
        raise PluginError(
            f"{where} returned a {type(made).__name__} with other times than those of bars. Keep the index."
        )
    return made if isinstance(made, Column) else Column.of(pd.Series(values, index=bars.time), "condition")


def share(bars: Bars, made: Any, where: str) -> np.ndarray | None:
    """What a strategy's ``share`` returned, checked: one number a bar from 0 to 1, NaN where unknown; None for all of it."""
    if made is None or isinstance(made, Absent):
        return None
    try:
        values = np.asarray(made, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{where} returned what is not numbers: {error}. It must return one number a bar.") from error
    if values.shape != (len(bars.candles),):
        raise PluginError(
            f"{where} returned a {type(made).__name__} of shape {values.shape}. It must be one number a bar, here "
            f"{len(bars.candles)} of them, each from 0 to 1."
        )
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        raise PluginError(
            f"{where} is {values[outside[0]]:g} at {bars.time[outside[0]]:%Y-%m-%d %H:%M} UTC. It must be a share of the exposure, "
            f"from 0 to 1: limit it with clip(0, 1)."
        )
    return values


@dataclass(frozen=True)
class Decisions:
    """What the four conditions say at the close of each bar of one symbol; shape (bars,), bool, False where not ready."""

    enter_long: np.ndarray
    exit_long: np.ndarray
    enter_short: np.ndarray
    exit_short: np.ndarray
    columns: Mapping[str, Column]  # the conditions as the strategy made them, on all bars that it was given
    offset: int = 0  # bars of history that were cut off in front
    share: np.ndarray | None = None  # shape (bars,), of the exposure that an entry takes, above 0 up to 1; None: all

    def since(self, row: int) -> Decisions:
        """The decisions from ``row`` on."""
        return replace(
            self, **{name: getattr(self, name)[row:] for name in CONDITIONS}, offset=self.offset + row,
            share=None if self.share is None else self.share[row:],
        )  # fmt: skip

    def fired(self, name: str, row: int) -> str:
        """The comparisons inside condition ``name`` that were true at ``row``."""
        column = self.columns.get(name)
        terms = getattr(column, "terms", None) or {}
        return " & ".join(text for text, truth in terms.items() if truth[row + self.offset])

    def votes(self, name: str, row: int) -> str:
        """The points of the vote inside condition ``name`` at ``row``; empty where it has none."""
        votes = getattr(self.columns.get(name), "votes", None)
        return "" if votes is None else f"{votes[row + self.offset]:g}"
