"""Columns whose conditions are bits, for many conditions on the same bars.

Such a column looks like one of :class:`freqlstm.columns.Column`, and is made without pandas. What it cannot do itself, pandas
does: it then turns into the very column that the same expression makes in the ordinary way.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.absent import Absent
from freqlstm.columns import ARITHMETIC, COMPARISONS, Column
from freqlstm.shelf import EXACT, Shelf, Truth, Values, Votes, carried, compared, is_number, joined, negated
from freqlstm.stretches import Window

BALLOTS = 8  # of a vote; the bits of one with more are not worth their making
FUNCTIONS = (
    np.log, np.log2, np.log10, np.log1p, np.exp, np.expm1, np.sqrt, np.square, np.tanh, np.sign, np.absolute, np.negative,
)  # fmt: skip
AGGREGATIONS = ("mean", "std", "var", "min", "max", "sum", "median")  # that make one number a bar


class Bits(Column):
    """A column of a :class:`Shelf`, without pandas until pandas is needed."""

    @classmethod
    def on(cls, shelf: Shelf, node: Truth | Values | Votes) -> Any:
        column = object.__new__(cls)
        column.__dict__["_shelf"], column.__dict__["_node"] = shelf, node
        return column

    def _turn(self) -> Column:
        """Be an ordinary column from now on."""
        mine = self.__dict__
        whole = mine["_node"].whole()
        mine.clear()
        object.__setattr__(self, "__class__", Column)
        mine.update(whole.__dict__)
        return self

    def __getattr__(self, name: str) -> Any:  # type: ignore[misc]  # asked for what is not there yet
        return getattr(self._turn(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._turn(), name, value)

    @property  # type: ignore[misc]
    def index(self) -> Any:
        return self.__dict__["_shelf"].time

    @property
    def dtype(self) -> Any:
        return _BOOL if type(self.__dict__["_node"]) is Truth else _FLOAT

    @property
    def shape(self) -> tuple[int]:
        return (len(self.__dict__["_shelf"].time),)

    def __len__(self) -> int:
        return len(self.__dict__["_shelf"].time)

    def __and__(self, other: Any) -> Any:
        return _joined(self, other, operator.and_)

    def __or__(self, other: Any) -> Any:
        return _joined(self, other, operator.or_)

    def __rand__(self, other: Any) -> Any:
        return _joined(self, other, operator.and_, mirrored=True)

    def __ror__(self, other: Any) -> Any:
        return _joined(self, other, operator.or_, mirrored=True)

    def __invert__(self) -> Any:  # type: ignore[misc]
        node = self.__dict__["_node"]
        if type(node) is not Truth:
            return ~self._turn()
        return Bits.on(self.__dict__["_shelf"], negated(node))

    def __neg__(self) -> Any:  # type: ignore[misc]
        return _made_alone(self, operator.neg)

    def __abs__(self) -> Any:  # type: ignore[misc]
        return _made_alone(self, operator.abs)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:  # type: ignore[misc]
        if ufunc in FUNCTIONS and method == "__call__" and not kwargs:
            return _made_alone(self, ufunc)
        if ufunc in _MIRRORED and method == "__call__" and np.ndim(inputs[0]) == 0 and not kwargs:
            number = np.asarray(inputs[0]).item()  # what numpy makes of np.float64(2) > column
            return getattr(self, _MIRRORED[ufunc])(number)
        return getattr(ufunc, method)(*map(_whole, inputs), **kwargs)

    @classmethod
    def voted(cls, cast: dict[str, tuple[Any, Any]]) -> Any:
        """The points of a vote whose conditions are all on one shelf; None where they are not."""
        shelves: list[Any] = [
            condition.__dict__.get("_shelf") for _, condition in cast.values() if type(condition) is cls
        ]
        if len(shelves) < len(cast) or len(cast) > BALLOTS or any(shelf is not shelves[0] for shelf in shelves):
            return None
        if any(abs(weight) > EXACT for weight, _ in cast.values()):
            return None
        ballots = {name: (weight, condition.__dict__["_node"]) for name, (weight, condition) in cast.items()}
        return cls.on(shelves[0], Votes(ballots))


_BOOL, _FLOAT = np.dtype(np.bool_), np.dtype(np.float64)
_MIRRORED: dict[np.ufunc, str] = {
    np.greater: "__lt__", np.greater_equal: "__le__", np.less: "__gt__", np.less_equal: "__ge__", np.equal: "__eq__",
    np.not_equal: "__ne__", np.add: "__radd__", np.subtract: "__rsub__", np.multiply: "__rmul__", np.divide: "__rtruediv__",
}  # fmt: skip


def _turning(name: str) -> property:
    def get(self: Bits) -> Any:
        return getattr(self._turn(), name)

    return property(get)


for _name in ("terms", "votes", "unknown", "text", "stretches"):  # which an ordinary column has None of by default
    setattr(Bits, _name, _turning(_name))


def _whole(value: Any) -> Any:
    return value._turn() if type(value) is Bits else value


def _alike(column: Bits, other: Any, kind: type) -> Any:
    """What is in ``other``, if it is of that kind and on the same shelf."""
    if type(other) is not Bits or other.__dict__["_shelf"] is not column.__dict__["_shelf"]:
        return None
    node = other.__dict__["_node"]
    return node if type(node) is kind else None


def _joined(column: Bits, other: Any, join: Callable[[Any, Any], Any], mirrored: bool = False) -> Any:
    if isinstance(other, Absent):
        return column
    mine, theirs = column.__dict__["_node"], _alike(column, other, Truth)
    if type(mine) is not Truth or theirs is None:
        whole = column._turn()
        return join(_whole(other), whole) if mirrored else join(whole, _whole(other))
    return Bits.on(column.__dict__["_shelf"], joined(mine, theirs, join))


def _comparison(name: str) -> Callable[[Bits, Any], Any]:
    compare = getattr(operator, name)

    def method(self: Bits, other: Any) -> Any:
        shelf, node = self.__dict__["_shelf"], self.__dict__["_node"]
        theirs = _alike(self, other, Values)
        if type(node) is Values and (theirs is not None or is_number(other)):
            return Bits.on(shelf, compared(shelf, name, node, theirs if theirs is not None else other))
        if type(node) is Votes and is_number(other):
            return Bits.on(shelf, carried(name, node, float(other)))
        if isinstance(other, Absent):
            return other._compared(self)
        return compare(self._turn(), _whole(other))

    return method


def _derived(column: Bits, key: Hashable, make: Callable[[Column], Any]) -> Any:
    """What pandas makes of a column of numbers: another one, on the same bars."""
    shelf, node = column.__dict__["_shelf"], column.__dict__["_node"]
    return Bits.on(shelf, Values(shelf, (node.key, key), lambda: make(node.whole()), derived=True))


def _made_alone(column: Bits, function: Callable[[Any], Any]) -> Any:
    """``function`` of a column and of nothing else."""
    if type(column.__dict__["_node"]) is Values:
        return _derived(column, function, function)
    return function(column._turn())


def _arithmetic(name: str, mirrored: bool) -> Callable[[Bits, Any], Any]:
    calculate = getattr(operator, name)
    known = name in ("add", "sub", "mul", "truediv")

    def method(self: Bits, other: Any) -> Any:
        node, theirs = self.__dict__["_node"], _alike(self, other, Values)
        if known and type(node) is Values and theirs is not None:
            return _derived(self, (name, theirs.key), lambda whole: calculate(whole, theirs.whole()))
        if known and type(node) is Values and is_number(other):
            key = (name, mirrored, type(other), float(other).hex())
            return _derived(self, key, lambda whole: calculate(other, whole) if mirrored else calculate(whole, other))
        if isinstance(other, Absent):
            return other._calculated(self)
        whole, other = self._turn(), _whole(other)
        return calculate(other, whole) if mirrored else calculate(whole, other)

    return method


for _name in COMPARISONS:
    setattr(Bits, f"__{_name}__", _comparison(_name))
for _name in ARITHMETIC:
    setattr(Bits, f"__{_name}__", _arithmetic(_name, mirrored=False))
    setattr(Bits, f"__r{_name}__", _arithmetic(_name, mirrored=True))


def _settled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """Arguments as a key, if they are plain numbers; None otherwise."""
    given = [*args, *kwargs.values()]
    if not all(type(value) in (int, float, bool) and math.isfinite(value) for value in given):
        return None
    return tuple((type(value), float(value).hex()) for value in given) + tuple(kwargs)


def _looking_back(name: str) -> Callable[..., Any]:
    def method(self: Bits, *args: Any, **kwargs: Any) -> Any:
        key = _settled(args, kwargs)
        if key is None or type(self.__dict__["_node"]) is not Values:
            return getattr(self._turn(), name)(*args, **kwargs)
        return _derived(self, (name, key), lambda whole: getattr(whole, name)(*args, **kwargs))

    return method


for _name in ("shift", "diff", "pct_change", "abs", "clip"):
    setattr(Bits, _name, _looking_back(_name))


_EMPTY = pd.Series(dtype=np.float64)


class BitsWindow(Window):
    """What ``close.rolling(10)`` gives of a column of numbers on a shelf."""

    def __init__(self, column: Bits, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], key: Hashable) -> None:
        self._column, self._kind, self._args, self._kwargs, self._key = column, kind, args, kwargs, key
        self._open(_EMPTY)  # so that a wrong argument is told at once

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def aggregate(*args: Any, **kwargs: Any) -> Any:
            column = self._column
            if type(column) is Bits and name in AGGREGATIONS and not args and not kwargs:
                key = (self._kind, self._key, name)
                return _derived(column, key, lambda whole: getattr(self._windows(whole), name)())
            return getattr(self._windows(column), name)(*args, **kwargs)

        return aggregate

    def _windows(self, column: Column) -> Any:
        return getattr(Column, self._kind)(column, *self._args, **self._kwargs)


def _window(kind: str) -> Callable[..., Any]:
    def method(self: Bits, *args: Any, **kwargs: Any) -> Any:
        key = _settled(args, kwargs)
        if key is None or type(self.__dict__["_node"]) is not Values:
            return getattr(self._turn(), kind)(*args, **kwargs)
        return BitsWindow(self, kind, args, kwargs, key)

    return method


for _name in ("rolling", "ewm", "expanding"):
    setattr(Bits, _name, _window(_name))
