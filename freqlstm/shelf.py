"""Conditions on common bars as bits, with the logic of Kleene (1938): true, false or unknown.

What has to be computed from prices is kept under a key that says how it is made, so that it is made once for all who ask.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from freqlstm.columns import Column, vote
from freqlstm.memo import Memo

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


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number that is the same as a float64."""
    kind = type(value)
    if kind is float or kind is np.float64:
        return math.isfinite(value)
    return (kind is int or kind is np.int64) and -EXACT <= value <= EXACT


def joined(left: Truth, right: Truth, join: Callable[[Any, Any], Any]) -> Truth:
    """``left & right`` or ``left | right``, as ``join`` says."""

    def unknown() -> np.ndarray | None:
        mine, theirs = left.unknown(), right.unknown()
        if mine is None and theirs is None:
            return None
        decided = bits
        if join is operator.and_:  # one side known to be false decides it
            for side, missing in ((left.bits, mine), (right.bits, theirs)):
                decided = decided | (~side if missing is None else ~(side | missing))
        either = mine if theirs is None else theirs if mine is None else mine | theirs
        return np.asarray(either & ~decided)

    bits = join(left.bits, right.bits)
    return Truth(bits, unknown, lambda: join(left.whole(), right.whole()))


def negated(truth: Truth) -> Truth:
    """``~truth``: what is unknown stays so."""
    bits, unknown = ~truth.bits, truth.unknown()
    if unknown is not None:
        bits &= ~unknown
    return Truth(bits, truth.unknown, lambda: ~truth.whole())


def compared(shelf: Shelf, name: str, left: Values, right: Any) -> Truth:
    """How a column compares with another or with a number; ``name`` is that of the comparison in :mod:`operator`."""
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


def carried(name: str, votes: Votes, quorum: float) -> Truth:
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
