"""Whether a condition depends on nothing but its parameters and the bars, as its compiled code shows.

Only what is known to be harmless passes. Whatever else a method does, keeping something in ``self`` or in a module, reading what may
change, drawing random numbers, it is not called wrong: it is just asked again every time.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import math
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.bars import ENDINGS
from freqlstm.columns import vote

# What may be asked of columns, bars and NumPy: nothing here changes a value in place or draws one at random.
HARMLESS = """
    open high low close volume time symbol rsi macd bollinger ta histogram signal lower middle upper p params
    shift diff pct_change rolling ewm expanding mean std var min max sum median quantile skew kurt count corr cov abs clip fillna ffill
    where mask between gt ge lt le eq ne add sub mul div truediv pow mod isna notna isnull notnull isin astype to_numpy values
    cumsum cummax cummin cumprod rank round index hour minute second dayofweek weekday day month year dt all any
    log log2 log10 log1p exp expm1 sqrt tanh sign square maximum minimum fmax fmin isnan isfinite logical_and logical_or logical_not
    nan inf pi e floor ceil float64 bool_ absolute arange zeros ones full zeros_like ones_like full_like asarray Series
"""
BUILTINS = "abs min max len range sum float int bool str round any all tuple list zip enumerate sorted isinstance"
MODULES = (np, pd, math)
FORBIDDEN = """
    STORE_GLOBAL DELETE_GLOBAL STORE_NAME DELETE_NAME LOAD_NAME STORE_ATTR DELETE_ATTR STORE_SUBSCR DELETE_SUBSCR STORE_SLICE
    IMPORT_NAME IMPORT_FROM LOAD_BUILD_CLASS LOAD_CLASSDEREF LOAD_FROM_DICT_OR_DEREF LOAD_FROM_DICT_OR_GLOBALS LOAD_LOCALS
    YIELD_VALUE RETURN_GENERATOR SEND GET_AWAITABLE LOAD_SUPER_ATTR LOAD_SUPER_METHOD MATCH_CLASS
"""
CONSTANTS = (int, float, bool, str, bytes, type(None))


class Impure(Exception):
    """Something that is not known to be harmless."""


def exact(value: Any) -> Hashable:
    """``value`` as a key that no other value has: 1, 1.0 and True are three, 0.0 and -0.0 two. None if it is no plain value."""
    kind = type(value)
    if kind is float or kind is np.float64:
        return kind, float(value).hex()
    if kind is ModuleType:
        return kind, value.__name__
    return (kind, value) if kind in CONSTANTS or kind is np.int64 else None


class Dependencies:
    """The constants and functions outside of a condition that it reads; their values belong to its memory's key."""

    def __init__(self) -> None:
        self._read: dict[Hashable, tuple[Callable[[], Any], Any]] = {}

    def add(self, key: Hashable, get: Callable[[], Any]) -> None:
        """Something that ``get`` reads; ``key`` says what."""
        value = get()
        self._read[key] = get, value if type(value) is FunctionType else None

    def now(self) -> tuple[Hashable, ...] | None:
        """The values of the constants; None if something is no longer what was looked into."""
        values = []
        for get, function in self._read.values():
            value = get()
            if function is not None and value is function:
                continue
            values.append(exact(value))
            if values[-1] is None:
                return None
        return tuple(values)


_GONE = object()


def dependencies(strategy: type, base: type, names: tuple[str, ...]) -> Dependencies | None:
    """What the methods ``names`` of ``strategy`` read beside parameters and bars; None if they may depend on more.

    ``base`` is the class that strategies inherit from; what it defines itself is not looked into.
    """
    own = {name for kind in strategy.__mro__ if kind not in base.__mro__ for name in vars(kind)}
    if own & {"__getattr__", "__getattribute__", "__setattr__", "__new__"}:
        return None
    found = _Search(strategy, own)
    try:
        for name in names:
            found.method(name)
    except Impure:
        return None
    return found.dependencies


class _Search:
    """Goes through the code of methods and of all that they call."""

    def __init__(self, strategy: Any, own: set[str]) -> None:
        self.dependencies = Dependencies()
        self._strategy, self._own = strategy, own - {"p", "params"}
        parameters = set(dict(strategy.params._getitems()))
        signals = {f"{column}{end}" for column in strategy.signals for end in ENDINGS}
        self._taken = {*dir(pd.Series), *dir(np.ndarray), *dir(pd.DataFrame)}
        self._allowed = {*HARMLESS.split(), *((parameters | signals) - self._taken)}
        self._done: set[Any] = set()

    def method(self, name: str) -> None:
        """Look into what ``strategy`` has under that name."""
        value = inspect.getattr_static(self._strategy, name)
        self._value(value)
        self.dependencies.add(name, lambda: getattr(self._strategy, name, _GONE))

    def _function(self, function: FunctionType) -> None:
        if function in self._done:
            return
        self._done.add(function)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._value(default)
        for cell in function.__closure__ or ():
            try:
                self._value(cell.cell_contents)
            except ValueError:
                raise Impure("an empty cell") from None
            self.dependencies.add(("cell", id(cell)), partial(getattr, cell, "cell_contents"))
        if vars(function):
            raise Impure("a function with attributes")
        self._code(function.__code__, function.__globals__)

    def _code(self, code: CodeType, names: dict[str, Any]) -> None:
        if "inplace" in set(_texts(code.co_consts)):
            raise Impure("inplace")
        forbidden = FORBIDDEN.split()
        before = ""
        for instruction in dis.get_instructions(code):
            if instruction.opname in forbidden or _in_place(instruction):
                raise Impure(instruction.opname)
            if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                if before != "ta":  # any indicator of pandas-ta
                    self._attribute(instruction.argval)
                before = instruction.argval
            else:
                before = ""
                if instruction.opname == "LOAD_GLOBAL":
                    self._global(instruction.argval, names)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._code(constant, names)

    def _attribute(self, name: str) -> None:
        if name in self._own and name not in self._taken:
            self.method(name)
        elif name in self._own or name not in self._allowed:
            raise Impure(name)

    def _global(self, name: str, names: dict[str, Any]) -> None:
        if name in names:
            self._value(names[name])
            self.dependencies.add((id(names), name), lambda: names.get(name, _GONE))
        elif name not in BUILTINS.split() or not hasattr(builtins, name):
            raise Impure(name)

    def _value(self, value: Any) -> None:
        if type(value) is FunctionType:
            if value is not vote:
                self._function(value)
        elif isinstance(value, ModuleType) != any(value is module for module in MODULES) or exact(value) is None:
            raise Impure(value)


def _in_place(instruction: dis.Instruction) -> bool:
    """Whether it is ``a += b`` or the like, which changes the column itself."""
    return instruction.opname == "BINARY_OP" and instruction.argrepr.endswith("=")


def _texts(constants: Any) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from _texts(constant)
