"""Parameters of a signal: its annotated class attributes, their types and their limits."""

from __future__ import annotations

import math
import typing
from types import NoneType
from typing import Any, ClassVar, Literal

import numpy as np

from freqlstm.errors import PluginError, UsageError


def declared(cls: type) -> dict[str, Any]:
    """Name and type of every annotated class attribute over the MRO, those of the base classes first.

    What is a ClassVar, or begins or ends with an underscore, is no parameter. Each needs a default.
    """
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        raise PluginError(
            f"{cls.__name__} has an annotation that cannot be understood: {error}. Correct it."
        ) from error
    parameters = {}
    for name, hint in hints.items():
        if ClassVar in (hint, typing.get_origin(hint)) or name.startswith("_") or name.endswith("_"):
            continue
        if not hasattr(cls, name):
            raise PluginError(
                f"Parameter {name!r} of {cls.__name__} has no default. Give it one, as in {name}: int = 1."
            )
        parameters[name] = hint
    return parameters


def checked(cls: type, name: str, value: Any) -> Any:
    """``value`` as the type that parameter ``name`` of ``cls`` is annotated with; a UsageError if it is another or out of limits.

    Limits are (lowest, highest), both allowed, in the class attribute ``limits`` of the class or of one of its bases.
    """
    hint = declared(cls)[name]
    fits, value = _as_type(value, hint)
    if not fits:
        raise UsageError(f"Parameter {name!r} of {cls.__name__} is {value!r}. It must be {_in_words(hint)}.")
    for base in cls.__mro__:
        if name in vars(base).get("limits", {}):
            try:
                low, high = vars(base)["limits"][name]
            except (TypeError, ValueError) as error:
                raise PluginError(
                    f"The limits of {name!r} of {base.__name__} are {vars(base)['limits'][name]!r}. They must be (lowest, highest)."
                ) from error
            if not low <= value <= high:
                bounds = f"at least {low}" if high == math.inf else f"between {low} and {high}"
                raise UsageError(f"Parameter {name!r} of {cls.__name__} is {value!r}. It must be {bounds}.")
            break
    return value


def _as_type(value: Any, hint: Any) -> tuple[bool, Any]:
    """Whether ``value`` is of the type ``hint``, and the value as that type: 1 as 1.0, a list as a tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments, value
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        if not isinstance(value, (list, tuple)):
            return False, value
        items = [_as_type(item, arguments[0]) for item in value]
        return all(fits for fits, _ in items), tuple(item for _, item in items)
    if arguments:
        for each in arguments if origin is not tuple else ():  # a union
            fits, made = _as_type(value, each)
            if fits:
                return True, made
        return origin is tuple and isinstance(value, tuple), value
    if isinstance(value, np.generic):
        value = value.item()
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return math.isfinite(value), float(value)
    if hint is int and isinstance(value, bool):
        return False, value
    return not isinstance(hint, type) or isinstance(value, hint), value


def _in_words(hint: Any) -> str:
    """A type as a person would say it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list, each {_in_words(arguments[0])}"
    if arguments:
        return " or ".join(map(_in_words, arguments))
    words = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", NoneType: "None"}
    return words.get(hint, f"a {getattr(hint, '__name__', hint)}")
