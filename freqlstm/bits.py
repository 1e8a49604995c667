"""Conditions as bits: the logic of Kleene (1938) on one bit a bar, for many conditions on the same bars.

A column that looks like one of :class:`freqlstm.columns.Column`, made without pandas. What it cannot do itself, pandas does:
it then turns into the very column that the same expression makes in the ordinary way.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from freqlstm.absent import Absent
from freqlstm.columns import ARITHMETIC, COMPARISONS, Column, vote
from freqlstm.memo import Memo
from freqlstm.stretches import Window

BALLOTS = 8  # of a vote; the bits of one with more are not worth their making
AGGREGATIONS = ("mean", "std", "var", "min", "max", "sum", "median")  # that make one number a bar
EXACT = 2**53  # whole numbers up to here are exact as floats


class Shelf(NamedTuple):
    """What all columns on the same bars share."""

    time: pd.DatetimeIndex
    memo: Memo

    def pack(self, truth: np.ndarray) -> np.ndarray:
        """Shape (bars / 8,), uint8: eight truth values in each byte; what is left over is 0."""
        return np.packbits(truth)

    def unpack(self, bits: np.ndarray) -> np.ndarray:
        """Shape (bars,), bool."""
        return np.unpackbits(bits, count=len(self.time)).view(np.bool_)


class Truth:
    """A condition: where it is true, where it is unknown (asked for when needed), and how pandas would make it."""

    __slots__ = ("_unknown", "bits", "whole")

    def __init__(self, bits: np.ndarray, unknown: Callable[[], np.ndarray | None], whole: Callable[[], Column]) -> None:
        self.bits, self.whole = bits, whole
        self._unknown: Any = unknown

    def unknown(self) -> np.ndarray | None:
        """Packed; None where everything is known."""
        if callable(self._unknown):
            self._unknown = self._unknown()
        return self._unknown  # type: ignore[no-any-return]


class Values:
    """A column of numbers under a key that says how it is made, computed when its values are asked for."""

    __slots__ = ("_derived", "_make", "key", "shelf")

    def __init__(self, shelf: Shelf, key: Hashable, make: Callable[[], Column], derived: bool = False) -> None:
        self.shelf, self.key, self._make = shelf, key, make
        self._derived = derived  # from another column, so that pandas would make one that can be changed in place

    def column(self) -> Column:
        """The column as pandas makes it, shared: not to be changed."""

        if not self._derived:
            return self._make()

        def make() -> tuple[Column, int]:
            column = self._make()
            return column, column.to_numpy().nbytes

        return self.shelf.memo.once(self.key, make)  # type: ignore[no-any-return]

    def array(self) -> np.ndarray:
        """Shape (bars,), float64."""
        return self.column().to_numpy()

    def whole(self) -> Column:
        """A column of one's own."""
        column = self.column()
        values = column.to_numpy()
        made = Column(values.copy() if self._derived else values, index=column.index, name=column.name, copy=False)
        made.stretches, made.text = column.stretches, column.text
        return made

    def missing(self) -> np.ndarray | None:
        """Packed: where there is no value; None if nowhere."""

        def make() -> tuple[np.ndarray, int]:
            missing = np.isnan(self.array())
            bits = self.shelf.pack(missing) if missing.any() else _NONE
            return bits, bits.nbytes

        bits = self.shelf.memo.once(("missing", self.key), make)
        return None if bits is _NONE else bits


class Votes(NamedTuple):
    """The points of a vote that are not added up before they are compared."""

    ballots: dict[str, tuple[Any, Truth]]

    def whole(self) -> Column:
        return vote(**{name: (weight, truth.whole()) for name, (weight, truth) in self.ballots.items()})  # type: ignore[no-any-return]


_NONE = np.zeros(0, dtype=np.uint8)


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

    def __invert__(self) -> Any:  # type: ignore[misc]
        node = self.__dict__["_node"]
        if type(node) is not Truth:
            return ~self._turn()
        bits, unknown = ~node.bits, node.unknown()
        if unknown is not None:
            bits &= ~unknown
        return Bits.on(self.__dict__["_shelf"], Truth(bits, node.unknown, lambda: ~node.whole()))

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


def _turning(name: str) -> property:
    def get(self: Bits) -> Any:
        return getattr(self._turn(), name)

    return property(get)


for _name in ("terms", "votes", "unknown", "text", "stretches"):  # which an ordinary column has None of by default
    setattr(Bits, _name, _turning(_name))


def _alike(column: Bits, other: Any, kind: type) -> Any:
    """What is in ``other``, if it is of that kind and on the same shelf."""
    if type(other) is not Bits or other.__dict__["_shelf"] is not column.__dict__["_shelf"]:
        return None
    node = other.__dict__["_node"]
    return node if type(node) is kind else None


def _joined(column: Bits, other: Any, join: Callable[[Any, Any], Any]) -> Any:
    if isinstance(other, Absent):
        return column
    mine, theirs = column.__dict__["_node"], _alike(column, other, Truth)
    if type(mine) is not Truth or theirs is None:
        return join(column._turn(), other)

    def unknown() -> np.ndarray | None:
        left, right = mine.unknown(), theirs.unknown()
        if left is None and right is None:
            return None
        decided = bits
        if join is operator.and_:  # one side known to be false decides it
            for side, missing in ((mine.bits, left), (theirs.bits, right)):
                decided = decided | (~side if missing is None else ~(side | missing))
        either = left if right is None else right if left is None else left | right
        return np.asarray(either & ~decided)

    bits = join(mine.bits, theirs.bits)
    return Bits.on(column.__dict__["_shelf"], Truth(bits, unknown, lambda: join(mine.whole(), theirs.whole())))


def _number(value: Any) -> bool:
    """Whether ``value`` is a finite number that is the same as a float64."""
    kind = type(value)
    if kind is float or kind is np.float64:
        return math.isfinite(value)
    return (kind is int or kind is np.int64) and -EXACT <= value <= EXACT


def _comparison(name: str) -> Callable[[Bits, Any], Any]:
    compare = getattr(operator, name)

    def method(self: Bits, other: Any) -> Any:
        shelf, node = self.__dict__["_shelf"], self.__dict__["_node"]
        theirs = _alike(self, other, Values)
        if type(node) is Values and (theirs is not None or _number(other)):
            return Bits.on(shelf, _compared(shelf, name, node, theirs if theirs is not None else other))
        if type(node) is Votes and _number(other):
            return Bits.on(shelf, _carried(name, node, float(other)))
        if isinstance(other, Absent):
            return other._compared(self)
        return compare(self._turn(), other)

    return method


def _compared(shelf: Shelf, name: str, left: Values, right: Any) -> Truth:
    compare = getattr(operator, name)
    column = type(right) is Values

    def unknown() -> np.ndarray | None:
        mine, theirs = left.missing(), right.missing() if column else None
        return mine if theirs is None else theirs if mine is None else mine | theirs

    def make() -> tuple[np.ndarray, int]:
        with np.errstate(all="ignore"):
            bits = shelf.pack(compare(left.array(), right.array() if column else right))
        missing = unknown() if name == "ne" else None  # NaN != 1 is true in numpy
        if missing is not None:
            bits &= ~missing
        return bits, bits.nbytes

    bits = shelf.memo.once((name, left.key, right.key if column else float(right)), make)
    return Truth(bits, unknown, lambda: compare(left.whole(), right.whole() if column else right))


def _carried(name: str, votes: Votes, quorum: float) -> Truth:
    """Where the points of a vote compare with ``quorum``, by going through what the ballots can add up to."""
    compare = getattr(operator, name)
    ballots = [(float(weight), truth) for weight, truth in votes.ballots.values()]
    known: dict[tuple[int, float], Any] = {}

    def after(count: int, points: float) -> Any:
        """Where the quorum is met if the first ``count`` ballots gave ``points``: True, False or bits."""
        if count == len(ballots):
            return bool(compare(points, quorum))
        if (count, points) not in known:
            weight, truth = ballots[count]
            known[count, points] = _choice(truth.bits, after(count + 1, points + weight), after(count + 1, points))
        return known[count, points]

    def unknown() -> np.ndarray | None:
        missing = None
        for _, truth in ballots:
            theirs = truth.unknown()
            missing = theirs if missing is None else missing if theirs is None else missing | theirs
        return missing

    bits = after(0, 0.0)
    if isinstance(bits, bool):
        bits = np.full_like(ballots[0][1].bits, 255 if bits else 0)
    missing = unknown()
    if missing is not None:
        bits = bits & ~missing
    return Truth(bits, lambda: missing, lambda: compare(votes.whole(), quorum))


def _choice(bits: np.ndarray, true: Any, false: Any) -> Any:
    """``true`` where the bits are set, ``false`` elsewhere; each is True, False or bits."""
    if true is false:
        return true
    if true is True:
        return bits if false is False else bits | false
    if true is False:
        return ~bits if false is True else ~bits & false
    if false is False:
        return bits & true
    if false is True:
        return ~bits | true
    return (bits & true) | (~bits & false)


def _derived(column: Bits, key: Hashable, make: Callable[[Column], Any]) -> Any:
    """What pandas makes of a column of numbers: another one, on the same bars."""
    shelf, node = column.__dict__["_shelf"], column.__dict__["_node"]
    return Bits.on(shelf, Values(shelf, (node.key, key), lambda: make(node.whole()), derived=True))


def _arithmetic(name: str, mirrored: bool) -> Callable[[Bits, Any], Any]:
    calculate = getattr(operator, name)
    known = name in ("add", "sub", "mul", "truediv")

    def method(self: Bits, other: Any) -> Any:
        node, theirs = self.__dict__["_node"], _alike(self, other, Values)
        if known and type(node) is Values and theirs is not None:
            return _derived(self, (name, theirs.key), lambda whole: calculate(whole, theirs.whole()))
        if known and type(node) is Values and _number(other):
            key = (name, mirrored, type(other), float(other).hex())
            return _derived(self, key, lambda whole: calculate(other, whole) if mirrored else calculate(whole, other))
        if isinstance(other, Absent):
            return other._calculated(self)
        whole = self._turn()
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
