"""The columns that a strategy's conditions are made of.

Everything in a row is known at the close of that bar. A condition remembers the comparisons that it was made of, so
that the trade list can say which of them were true when a trade was decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from freqlstm import indicators
from freqlstm.candles import Candles
from freqlstm.errors import PluginError


class Absent:
    """A column of a signal that is switched off: every condition that it enters goes on without it.

    This is how the same rules are run without the network, to see what the network adds.
    """

    def _absent(self, *args: Any, **kwargs: Any) -> Absent:
        return self

    def _other(self, other: Any) -> Any:
        return other

    def __getattr__(self, name: str) -> Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    __and__ = __rand__ = __or__ = __ror__ = _other
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _absent  # type: ignore[assignment]
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _absent
    __neg__ = __abs__ = __invert__ = __call__ = __getitem__ = _absent
    __hash__ = None  # type: ignore[assignment]


def _text(value: Any) -> str:
    if isinstance(value, pd.Series):
        return str(value.name) if value.name is not None else "expression"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else "expression"


class Column(pd.Series):  # type: ignore[type-arg]
    """One value a bar: a pandas Series whose comparisons yield conditions with a memory.

    ``terms`` maps the text of each comparison inside a condition to its truth, shape (bars,); ``votes`` holds the
    points of a :func:`vote`, shape (bars,), if there was one.
    """

    _metadata = ["terms", "votes"]
    terms: dict[str, np.ndarray] | None
    votes: np.ndarray | None

    @property
    def _constructor(self) -> type[Column]:
        return Column

    @classmethod
    def of(cls, series: pd.Series[Any], name: str) -> Column:
        """A column of that name with the values of ``series``."""
        column = cls(series.to_numpy(), index=series.index, name=name, copy=False)
        column.terms = column.votes = None
        return column

    def _remember(self, result: Any, text: str) -> Any:
        if isinstance(result, Column):
            votes, terms = getattr(self, "votes", None), getattr(self, "terms", None)
            result.terms = terms if votes is not None else {text: result.to_numpy()}
            result.votes = votes
        return result

    def _merge(self, other: Any, result: Any) -> Any:
        if isinstance(result, Column):
            theirs = getattr(other, "terms", None)
            result.terms = {**(getattr(self, "terms", None) or {}), **(theirs or {})} or None
            mine = getattr(self, "votes", None)
            result.votes = mine if mine is not None else getattr(other, "votes", None)
        return result

    def __and__(self, other: Any) -> Any:
        return self if isinstance(other, Absent) else self._merge(other, super().__and__(other))

    def __or__(self, other: Any) -> Any:
        return self if isinstance(other, Absent) else self._merge(other, super().__or__(other))

    def __invert__(self) -> Any:
        result = super().__invert__()
        result.terms = {f"not ({text})": ~truth for text, truth in (getattr(self, "terms", None) or {}).items()}
        result.votes = getattr(self, "votes", None)
        return result


def _comparison(symbol: str, compare: Callable[[Any, Any], Any]) -> Callable[[Column, Any], Any]:
    def method(self: Column, other: Any) -> Any:
        if isinstance(other, Absent):
            return other
        result = compare(super(Column, self), other)
        return self._remember(result, f"{_text(self)} {symbol} {_text(other)}")

    return method


for _symbol, _name in ((">", "__gt__"), (">=", "__ge__"), ("<", "__lt__"), ("<=", "__le__")):
    setattr(Column, _name, _comparison(_symbol, lambda series, other, _n=_name: getattr(series, _n)(other)))


def _arithmetic(name: str) -> Callable[[Column, Any], Any]:
    def method(self: Column, other: Any) -> Any:
        return other if isinstance(other, Absent) else getattr(super(Column, self), name)(other)

    return method


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv"):
    setattr(Column, f"__{_name}__", _arithmetic(f"__{_name}__"))


def vote(**ballots: tuple[float, Any]) -> Any:
    """The points of weighed conditions, to be compared with a quorum.

    ``vote(lstm=(2.0, bars.prediction > 0), rsi=(1.0, bars.rsi(14) < 30)) >= 2`` is true where the conditions that hold
    weigh at least 2. The trade list shows each ballot that was cast and their sum. A ballot whose signal is switched
    off is not cast.
    """
    cast = {name: ballot for name, ballot in ballots.items() if not isinstance(ballot[1], Absent)}
    if not cast:
        return Absent()
    first = next(iter(cast.values()))[1]
    points = np.zeros(len(first))
    terms = {}
    for name, (weight, condition) in cast.items():
        truth = np.asarray(condition, dtype=bool)
        points += weight * truth
        terms[f"{name} {weight:+g}"] = truth
    column = Column(points, index=first.index, name="vote")
    column.terms, column.votes = terms, points
    return column


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

    ``predictions`` has one column for each name in the strategy's ``signals`` (with ``_low`` and ``_high`` beside it
    where the signal gives an interval), indexed like the candles. Each indicator is computed once. ``without`` names
    the columns that are switched off, see :class:`Absent`.
    """

    def __init__(
        self, candles: Candles, predictions: pd.DataFrame | None = None, without: frozenset[str] = frozenset()
    ) -> None:
        self.candles = candles
        self.symbol = candles.symbol
        self.time = candles.time
        self.warmup = 0  # bars of an unbroken stretch that the indicators handed out so far need
        self._predictions = predictions if predictions is not None else pd.DataFrame(index=candles.time)
        self._without = without
        self._memory: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Column | Absent:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._without:
            return Absent()
        if name in ("open", "high", "low", "close", "volume"):
            return self._once(name, lambda: Column.of(self.candles.frame[name], name))
        if name in self._predictions.columns:
            return self._once(name, lambda: Column.of(self._predictions[name], name))
        raise AttributeError(
            f"bars has no column {name!r}. It has open, high, low, close, volume, rsi(), macd(), bollinger(), ta and "
            f"{', '.join(self._predictions.columns) or 'no predictions: name a signal in the strategy'}."
        )

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    def _need(self, bars: int) -> None:
        self.warmup = max(self.warmup, bars)

    def rsi(self, period: int = 14) -> Column:
        """Relative strength index (Wilder 1978), 0 to 100."""
        self._need(indicators.rsi_warmup(period))
        name = f"rsi({period})"
        return self._once(name, lambda: Column.of(indicators.rsi(self.candles, period), name))  # type: ignore[no-any-return]

    def macd(self, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
        """MACD, its signal line and their difference, in units of the price."""
        self._need(indicators.macd_warmup(fast, slow, signal))
        name = f"macd({fast}, {slow}, {signal})"

        def make() -> Macd:
            table = indicators.macd(self.candles, fast, slow, signal)
            return Macd(*(Column.of(table[part], f"{name}.{part}") for part in Macd._fields))

        return self._once(name, make)  # type: ignore[no-any-return]

    def bollinger(self, period: int = 20, deviations: float = 2.0) -> Bollinger:
        """The bands ``deviations`` population standard deviations around the mean of ``period`` closes."""
        self._need(indicators.bollinger_warmup(period))
        name = f"bollinger({period}, {deviations:g})"

        def make() -> Bollinger:
            table = indicators.bollinger(self.candles, period, deviations)
            return Bollinger(*(Column.of(table[part], f"{name}.{part}") for part in Bollinger._fields))

        return self._once(name, make)  # type: ignore[no-any-return]

    @property
    def ta(self) -> TechnicalAnalysis:
        """Every other indicator of pandas-ta by its name: ``bars.ta.atr(length=14)``."""
        return TechnicalAnalysis(self)

    def ready(self) -> np.ndarray:
        """Shape (bars,), bool: where every indicator handed out is warm and every prediction is there."""
        ready = self.candles.segment_age >= self.warmup
        for name in self._predictions.columns:
            if name not in self._without and not name.endswith(("_low", "_high")):
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
            label = f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})"

            def make() -> Any:
                result = indicators.ta(bars.candles, name, **arguments)
                if isinstance(result, pd.Series):
                    return Column.of(result, label)
                return {part: Column.of(result[part], f"{label}.{part}") for part in result.columns}

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
            f"{where} returned {type(made).__name__} of shape {values.shape} and type {values.dtype}. "
            f"It must be one True or False a bar, here {len(bars.candles)} of them: compare columns of bars with <, >, & and |."
        )
    if isinstance(made, Column):
        return made
    return Column.of(pd.Series(values, index=bars.time), "condition")


