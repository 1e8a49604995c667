"""The space that tuning searches: for each parameter of a signal a range or a list of choices."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from freqlstm.errors import FreqlstmError, PluginError, UnknownName, UsageError
from freqlstm.parameters import checked, declared
from freqlstm.signal import Signal

FIXED = ("horizon", "target", "seed")  # they say what is forecast, and by what luck
EXAMPLE = "as in units=8:64, units=8:64:log or units=16,32,64"


@dataclass(frozen=True)
class Range:
    """All values from ``low`` to ``high``, both included; on a logarithmic scale if ``log``."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # whole numbers only

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low}:{self.high}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


Space = dict[str, Range | Choices]


def space_of(kind: type[Signal], given: Iterable[str] = ()) -> Space:
    """The space of a signal: ``search`` of its class and of those that it is made from, or else what ``given`` names.

    A base class may name parameters that only some of those made from it have.
    """
    texts = list(given)
    if texts:
        return dict(_parsed(kind, text) for text in texts)
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        found.update(vars(base).get("search", {}))
    known = declared(kind)
    for name in vars(kind).get("search", {}):
        if name not in known:
            raise PluginError(f"{kind.__name__} searches {name!r}, which is no parameter of it. Correct its search.")
    space = {name: _checked(kind, name, domain) for name, domain in found.items() if name in known}
    if not space:
        raise UsageError(f"{kind.__name__} names nothing to search. Name parameters with --space, {EXAMPLE}.")
    return space


def as_text(space: Mapping[str, Range | Choices]) -> dict[str, str]:
    """The space as --space would have it."""
    return {name: str(domain) for name, domain in sorted(space.items())}


def _parsed(kind: type[Signal], text: str) -> tuple[str, Range | Choices]:
    """What ``--space NAME=…`` means."""
    name, equals, domain = (part.strip() for part in text.partition("="))
    if not equals or not name or not domain:
        raise UsageError(f"--space received {text!r}. It must be a parameter and where to search, {EXAMPLE}.")
    if name not in declared(kind):
        raise UnknownName("parameter", name, declared(kind))
    if ":" not in domain:
        return name, _checked(kind, name, [_value(part) for part in domain.split(",") if part.strip()])
    low, high, *scale = (part.strip() for part in domain.split(":"))
    if scale not in ([], ["log"]):
        raise UsageError(f"--space received {text!r}. After the two ends only 'log' may stand, {EXAMPLE}.")
    return name, _checked(kind, name, (_value(low), _value(high), *scale))


def _value(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text.strip()}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return read["value"] if len(read) == 1 else text


def _checked(kind: type[Signal], name: str, domain: Any) -> Range | Choices:
    """A (low, high), a (low, high, "log") or a list of choices, every value of which the parameter may have."""
    if name in FIXED:
        raise UsageError(
            f"{name!r} cannot be searched: another one is another question, not a better answer. Set it with --set {name}=VALUE."
        )
    if isinstance(domain, list):
        if not domain:
            raise UsageError(f"The search of {name!r} is empty. Give at least one value, {EXAMPLE}.")
        return Choices(tuple(dict.fromkeys(checked(kind, name, value) for value in domain)))
    hint = declared(kind)[name]
    if hint not in (int, float) or not isinstance(domain, tuple) or len(domain) not in (2, 3):
        what = f"The search of {name!r} is {domain!r}."
        if hint not in (int, float):
            raise UsageError(f"{what} It is no number, so it must be a list of choices, as in {name}=a,b.")
        raise UsageError(f"{what} It must be (low, high), (low, high, 'log') or a list of choices.")
    try:
        low, high = (checked(kind, name, value) for value in domain[:2])
    except FreqlstmError as error:
        raise UsageError(f"The search of {name!r} is {':'.join(map(str, domain))}. {error}") from error
    log = domain[2:] == ("log",)
    if not low < high or not math.isfinite(high) or (log and low <= 0):
        raise UsageError(
            f"The search of {name!r} is {':'.join(map(str, domain))}, which is empty or has no logarithm. Its first end must lie below "
            f"its second{', and above 0' if log else ''}."
        )
    return Range(low, high, log, whole=hint is int)
