"""Columns of values, one a bar, and the conditions that comparing them makes.

A condition remembers the comparisons that it was made of, so that the trade list can say which of them were true when
a trade was decided; and it remembers where it is unknown because a value was missing (NaN), which is neither true nor
false, so that ``~`` never makes a trade out of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from freqlstm.absent import Absent as Absent
from freqlstm.errors import PluginError
from freqlstm.stretches import Stretches, Window, by_stretch, called

COMPARISONS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
ARITHMETIC = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
}  # fmt: skip


class Column(pd.Series):
    """One value a bar: a pandas Series whose comparisons yield conditions with a memory.

    ``terms`` maps the text of each comparison inside a condition to its truth, shape (bars,); ``votes`` holds the
    points of a :func:`vote`, shape (bars,), if there was one; ``unknown`` says where the condition is neither true nor
    false, shape (bars,), or is None where it is known throughout. What pandas makes of a column has none of the three.
    ``text`` is how the column reads in the trade list. What looks back (``shift``, ``diff``, ``pct_change``, ``rolling``,
    ``ewm``, ``expanding``) begins anew after every gap of the candles, as if nothing came before.
    """

    _metadata = ["_name", "stretches"]  # what pandas hands on to everything that it makes of a column
    stretches: Stretches | None = None  # None: unbroken
    text: str | None = None

    terms: dict[str, np.ndarray] | None = None
    votes: np.ndarray | None = None
    unknown: np.ndarray | None = None

    def __bool__(self) -> NoReturn:  # type: ignore[misc]
        raise ValueError(
            "a column has a value for each bar, not one truth for all. Between conditions write & for and, | for or, ~ for not"
        )

    @property
    def _constructor(self) -> type[Column]:
        return Column

    @classmethod
    def of(cls, series: pd.Series[Any], name: str, stretches: Stretches | None = None) -> Column:
        """A column of that name with the values of ``series``, which it shares and cannot change."""
        column = cls(series.to_numpy(), index=series.index, name=name, copy=False)
        column.stretches, column.text = stretches, name
        return column

    def rename(self, index: Any = None, **kwargs: Any) -> Any:
        result: Any = super().rename(index, **kwargs)
        if isinstance(result, Column) and isinstance(index, str):
            result.text = index
        return result

    def made(self, method: Callable[..., Any], call: str, args: Any, kwargs: Any) -> Any:
        """The column that ``method`` makes of each unbroken stretch of this one; it reads ``close`` + ``call``."""
        result = by_stretch(self.stretches, self, method, args, kwargs)
        if not isinstance(result, pd.Series):
            return result
        column = Column(result, copy=False).rename(f"{_operand(self)}{call}")
        column.stretches = self.stretches
        return column

    def rolling(self, *args: Any, **kwargs: Any) -> Any:
        return Window(self, "rolling", args, kwargs)

    def ewm(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]  # final only in the stubs of pandas
        return Window(self, "ewm", args, kwargs)

    def expanding(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]
        return Window(self, "expanding", args, kwargs)

    def __and__(self, other: Any) -> Any:
        return self if isinstance(other, Absent) else _join("&", self, other, super().__and__(other))

    def __or__(self, other: Any) -> Any:
        return self if isinstance(other, Absent) else _join("|", self, other, super().__or__(other))

    def __rand__(self, other: Any) -> Any:
        return self.__and__(other)

    def __ror__(self, other: Any) -> Any:
        return self.__or__(other)

    def __invert__(self) -> Any:  # type: ignore[misc]  # final only in the stubs of pandas
        result: Any = super().__invert__().rename(f"not ({_text(self)})")
        if self.unknown is not None:
            result = result.where(~self.unknown, False)
        result.terms = {f"not ({text})": ~truth for text, truth in _terms(self).items()}
        result.votes, result.unknown = self.votes, self.unknown
        return result


def _reads(fresh: Any, text: str) -> Any:
    """What pandas has just made, with the text as its name."""
    fresh.name = fresh.text = text
    return fresh


def _text(value: Any) -> str:
    if isinstance(value, Column):  # what pandas made of a column kept its name, but is another
        return value.text or ("expression" if value.name is None else f"f({value.name})")
    if isinstance(value, pd.Series):
        return str(value.name) if value.name is not None else "expression"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return "expression"
    return f"{value:.10g}"


def _operand(value: Any) -> str:
    text = _text(value)
    return f"({text})" if isinstance(value, pd.Series) and _has_operator(text) else text


def _has_operator(text: str) -> bool:
    """Whether there is a blank outside all parentheses: those between the arguments of a call are inside."""
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == " " and not depth:
            return True
    return False


def _unknown(value: Any) -> np.ndarray | None:
    """Where ``value`` is missing; None if it is nowhere."""
    if isinstance(value, Column) and value.unknown is not None:
        return value.unknown
    kind = value.dtype.kind if isinstance(value, pd.Series) else ""
    if kind in ("b", "i", "u"):
        return None
    missing = (
        np.isnan(value.to_numpy()) if kind == "f" and isinstance(value.dtype, np.dtype) else np.asarray(pd.isna(value))
    )
    return missing if missing.any() else None


def _either(mine: np.ndarray | None, theirs: np.ndarray | None) -> np.ndarray | None:
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    return np.asarray(mine | theirs)


def _terms(condition: Any) -> dict[str, np.ndarray]:
    if isinstance(condition, Column) and condition.terms is not None:
        return condition.terms
    return {_text(condition): condition.to_numpy()} if isinstance(condition, pd.Series) else {}


def _both(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The terms of both sides; of different ones that read alike, the later get a number."""
    terms = dict(mine)
    for text, truth in theirs.items():
        key, number = text, 1
        while key in terms and not np.array_equal(terms[key], truth):
            number += 1
            key = f"{text} ({number})"
        terms[key] = truth
    return terms


def _join(symbol: str, left: Column, right: Any, result: Any) -> Any:
    """What ``left & right`` or ``left | right`` remembers: the terms of both, and what is unknown as Kleene (1938) has it."""
    if not isinstance(result, Column):
        return result
    result = _reads(result, f"{_operand(left)} {symbol} {_operand(right)}")
    result.terms = _both(_terms(left), _terms(right))
    result.votes = left.votes if left.votes is not None else getattr(right, "votes", None)
    mine, theirs = _unknown(left), _unknown(right)
    either = _either(mine, theirs)
    if either is not None:
        decided = result.to_numpy()
        if symbol == "&":  # one side known to be false decides it
            for side, unknown in ((left, mine), (right, theirs)):
                false = ~np.asarray(side, dtype=bool)
                decided = decided | (false if unknown is None else false & ~unknown)
        result.unknown = either & ~decided
    return result


def _comparison(name: str, symbol: str) -> Callable[[Column, Any], Any]:
    def method(self: Column, other: Any) -> Any:
        if isinstance(other, Absent):
            return other._compared(self)
        result = getattr(super(Column, self), f"__{name}__")(other)
        if not isinstance(result, Column):
            return result
        text = f"{_operand(self)} {symbol} {_operand(other)}"
        unknown = _either(_unknown(self), _unknown(other))
        if unknown is not None and name == "ne":  # NaN != 1 is true in pandas
            result = result.where(~unknown, False)
        result = _reads(result, text)
        result.terms = self.terms if self.votes is not None else {text: result.to_numpy()}
        result.votes, result.unknown = self.votes, unknown
        return result

    return method


def _arithmetic(name: str, symbol: str, mirrored: bool) -> Callable[[Column, Any], Any]:
    def method(self: Column, other: Any) -> Any:
        if isinstance(other, Absent):
            return other._calculated(self)
        result = getattr(super(Column, self), name)(other)
        left, right = (other, self) if mirrored else (self, other)
        return _reads(result, f"{_operand(left)} {symbol} {_operand(right)}") if isinstance(result, Column) else result

    return method


def _looking_back(name: str) -> Callable[..., Any]:
    def method(self: Column, *args: Any, **kwargs: Any) -> Any:
        return self.made(getattr(pd.Series, name), called("", name, args, kwargs), args, kwargs)

    return method


for _name in ("shift", "diff", "pct_change"):
    setattr(Column, _name, _looking_back(_name))
for _name, _symbol in COMPARISONS.items():
    setattr(Column, f"__{_name}__", _comparison(_name, _symbol))
for _name, _symbol in ARITHMETIC.items():
    setattr(Column, f"__{_name}__", _arithmetic(f"__{_name}__", _symbol, mirrored=False))
    setattr(Column, f"__r{_name}__", _arithmetic(f"__r{_name}__", _symbol, mirrored=True))


def vote(**ballots: tuple[float, Any]) -> Any:
    """The points of weighed conditions, to be compared with a quorum.

    ``vote(lstm=(2.0, bars.prediction > 0), rsi=(1.0, bars.rsi(14) < 30)) >= 2`` is true where the conditions that hold
    weigh at least 2. The trade list shows each ballot that was cast and their sum. The sum is NaN where a condition is
    unknown, and a ballot whose signal is switched off is not cast.
    """
    cast = {name: _ballot(name, ballot) for name, ballot in ballots.items()}
    cast = {name: ballot for name, ballot in cast.items() if not isinstance(ballot[1], Absent)}
    if not cast:
        return Absent()
    conditions = [condition for _, condition in cast.values()]
    voted = getattr(type(conditions[0]), "voted", None)  # conditions as bits count by themselves
    made = voted(cast) if voted is not None else None
    if made is not None:
        return made
    points = np.zeros(len(conditions[0]))
    terms = {}
    for name, (weight, condition) in cast.items():
        truth = np.asarray(condition)
        points += weight * truth
        unknown = _unknown(condition)
        if unknown is not None:
            points[unknown] = np.nan
        terms[f"{name} {weight:+g}"] = truth
    index = next((condition.index for condition in conditions if isinstance(condition, pd.Series)), None)
    column = Column(points, index=index, name="vote")
    column.text = "vote"
    column.terms, column.votes = terms, points
    return column


def _ballot(name: str, ballot: Any) -> tuple[float, Any]:
    """``ballot`` if it is a weight and a condition."""
    if isinstance(ballot, tuple) and len(ballot) == 2:
        weight, condition = ballot
        number = isinstance(weight, (int, float, np.number)) and not isinstance(weight, bool) and math.isfinite(weight)
        truth = isinstance(condition, Absent) or getattr(condition, "dtype", None) == np.bool_
        if number and truth:
            return weight, condition
    raise PluginError(
        f"The ballot {name!r} of a vote is a {type(ballot).__name__} that holds no weight and condition. "
        f"Write it like {name}=(1.0, bars.rsi(14) < 30)."
    )
