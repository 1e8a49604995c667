"""The combinations of a strategy's parameters that a sweep tries: counted at once, made one at a time."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from freqlstm.errors import UsageError
from freqlstm.search import Choices
from freqlstm.strategy import Strategy, check_parameters, rules_of

EXAMPLE = "as in threshold=0:0.002:21 (from:to:count) or rsi_period=7,14,21"
MOST = 2**63  # whole numbers of the results lie below it
DIGITS = 15  # significant ones of a value between two ends: 0.0003 and not 0.00030000000000000003


@dataclass(frozen=True)
class Steps:
    """``count`` values from ``first`` to ``last``, both included, at equal distances; at equal ratios if ``log``."""

    first: float
    last: float
    count: int
    whole: bool = False  # whole numbers only
    log: bool = False

    def value(self, number: int) -> float:
        """The one of that number, which counts from 0."""
        if number in (0, self.count - 1):
            return self.last if number else self.first
        part = number / (self.count - 1)
        if self.whole:
            return int(self.first) + (int(self.last) - int(self.first)) * number // (self.count - 1)
        if self.log:
            return float(f"{self.first * (self.last / self.first) ** part:.{DIGITS}g}")
        return float(f"{self.first + (self.last - self.first) * part:.{DIGITS}g}")

    def __str__(self) -> str:
        return f"{self.first}:{self.last}:{self.count}{':log' if self.log else ''}"


Axis = Steps | Choices


def size(axis: Axis) -> int:
    """How many values there are."""
    return axis.count if isinstance(axis, Steps) else len(axis.values)


def value(axis: Axis, number: int) -> Any:
    """The value of that number, which counts from 0."""
    return axis.value(number) if isinstance(axis, Steps) else axis.values[number]


@dataclass(frozen=True)
class Grid:
    """Every combination of the values of some parameters; of the axes the last changes fastest."""

    axes: Mapping[str, Axis]

    @property
    def count(self) -> int:
        """How many combinations there are, however many."""
        return math.prod(size(axis) for axis in self.axes.values())

    def places(self, number: int) -> list[int]:
        """Which value of each axis the combination of that number has; numbers count from 0."""
        found = []
        for axis in reversed(self.axes.values()):  # type: ignore[call-overload]
            number, place = divmod(number, size(axis))
            found.append(place)
        return found[::-1]

    def combination(self, number: int) -> dict[str, Any]:
        """The parameters of the combination of that number."""
        return self.at(self.places(number))

    def at(self, places: Sequence[int]) -> dict[str, Any]:
        """The parameters at the given place of each axis."""
        return {name: value(axis, place) for (name, axis), place in zip(self.axes.items(), places, strict=True)}

    def combinations(self, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
        """Those from number ``start`` to ``stop`` (not included), made when they are asked for."""
        last = self.count if stop is None else min(stop, self.count)
        number = start
        while number < last:
            yield self.combination(number)
            number += 1

    def ordered(self, names: Sequence[str]) -> Grid:
        """The same combinations with the axes in another order."""
        return Grid({name: self.axes[name] for name in names})

    def as_dict(self) -> dict[str, Any]:
        """The axes as a run file has them."""
        return {name: str(axis) if isinstance(axis, Steps) else list(axis.values) for name, axis in self.axes.items()}


def grid_of(strategy: type[Any], told: Mapping[str, Any]) -> Grid:
    """The grid over parameters of ``strategy``: each a text ``from:to:count`` or a list of values, all of them checked."""
    axes = {name: _axis(strategy, name, asked) for name, asked in told.items()}
    if all(size(axis) == 1 for axis in axes.values()):
        raise UsageError(
            f"Nothing is swept: no parameter has more than one value. Give some with --set, {EXAMPLE}; `freqlstm backtest` runs one combination."
        )
    return Grid(axes)


def is_swept(asked: Any) -> bool:
    """Whether what ``--set NAME=`` was followed by, read as TOML, is more than one value."""
    return isinstance(asked, list) or (isinstance(asked, str) and ("," in asked or ":" in asked or not asked))


def _axis(strategy: type[Any], name: str, asked: Any) -> Axis:
    rules_of(strategy, {name: None})  # which knows whether there is such a parameter
    default = dict(strategy.params._getitems())[name]
    given = f"{name}={','.join(map(str, asked)) if isinstance(asked, list) else asked}"
    if isinstance(asked, str) and ":" in asked and not isinstance(default, str):
        axis: Axis = _steps(given, asked, default)
        examples = [value(axis, place) for place in sorted({0, min(1, size(axis) - 1), size(axis) - 1})]
    else:
        values = asked if isinstance(asked, list) else [asked]
        if isinstance(asked, str):
            listed = _read(f"[{asked}]")  # texts in quotes may have commas
            values = listed if isinstance(listed, list) else [_read(each) for each in asked.split(",") if each.strip()]
        if any(isinstance(each, (list, dict)) for each in values):
            raise UsageError(
                f"{given!r} has a list or a table among its values. Each must be a number, true, false or a text."
            )
        _require_moderate(given, *values)
        if not values:
            raise UsageError(f"{given!r} names no value. Give at least one, {EXAMPLE}.")
        some_float = isinstance(default, float) or any(isinstance(each, float) for each in values)
        axis = Choices(tuple(dict.fromkeys(_as_float(each) if some_float else each for each in values)))
        examples = list(axis.values)
    for each in examples:
        check_parameters(strategy, {name: each})
    return axis


def _require_moderate(given: str, *several: Any) -> None:
    """A UsageError for a whole number that a column of the results cannot hold."""
    if any(isinstance(each, int) and abs(each) >= MOST for each in several):
        raise UsageError(f"{given!r} has a whole number beyond 9 x 10^18. Give smaller ones.")


def _steps(given: str, asked: str, default: Any) -> Steps:
    """What from:to:count means for a parameter with that default."""
    parts = [part.strip() for part in asked.split(":")]
    log = parts[-1] == "log"
    first, last, count = (_read(part) for part in (*parts[: len(parts) - log], *[""] * 3)[:3])
    _require_moderate(given, first, last, count)
    if len(parts) - log != 3 or not all(_is_number(each) for each in (first, last)):
        raise UsageError(f"{given!r} is no range. It must be from:to:count, {EXAMPLE}.")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(f"{given!r} asks for {parts[2]} values. The count must be a whole number, 1 or more.")
    if first > last:
        raise UsageError(
            f"{given!r} runs from {first} down to {last}. Write the lower end first: {last}:{first}:{count}."
        )
    if (first == last) != (count == 1):
        right = f"{parts[0]}:{parts[1]}:2 or more" if count == 1 else f"one value, {given.partition('=')[0]}={first}"
        raise UsageError(f"{given!r} is an empty range: {count} values from {first} to {last}. Write {right}.")
    if log and first <= 0:
        raise UsageError(f"{given!r} has no logarithm at {first}. A range on a logarithmic scale must begin above 0.")
    if isinstance(default, float):
        return Steps(float(first), float(last), count, log=log)
    whole = isinstance(first, int) and isinstance(last, int)
    if whole and not log and count > last - first + 1:
        raise UsageError(
            f"{given!r} asks for {count:,} values, and there are {last - first + 1:,} whole numbers. Ask for no more, or write {first}.0:{last}.0:{count}."
        )
    if whole and not log and count > 1 and (last - first) % (count - 1):
        raise UsageError(
            f"{given!r} would have values such as {first + (last - first) / (count - 1):g}, and {parts[0]} and {parts[1]} are whole numbers. "
            f"Choose a count that divides {last - first} into whole steps, such as {_fitting(last - first, count)}, or write {first}.0:{last}.0:{count}."
        )
    if whole and log:
        raise UsageError(f"{given!r} is on a logarithmic scale, which has no whole numbers. List them: {EXAMPLE}.")
    return Steps(first, last, count, whole=whole, log=log)


def _fitting(distance: int, count: int) -> int:
    """The count nearest to the one asked for that makes whole steps."""
    steps = (step for away in range(count) for step in (count - 1 - away, count - 1 + away))
    return next((step + 1 for step in islice(steps, 100_000) if step > 0 and distance % step == 0), 2)


def _read(text: str) -> Any:
    """One value as TOML has it; anything else as the text itself."""
    try:
        read = tomllib.loads(f"value = {text.strip()}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return read["value"] if len(read) == 1 else text


def _is_number(each: Any) -> bool:
    return isinstance(each, (int, float)) and not isinstance(each, bool) and math.isfinite(each)


def _as_float(each: Any) -> Any:
    """A whole number as a float, so that 0 and 0.0 are one value and a column of the results has one type."""
    return float(each) if isinstance(each, int) and not isinstance(each, bool) else each


BASE = tuple(Strategy.params._getkeys())  # parameters of every strategy, which conditions need not read
