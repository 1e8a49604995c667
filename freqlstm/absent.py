"""The column of a signal that is switched off, so that the same rules can be run without it."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import pandas as pd

from freqlstm.errors import PluginError


class SignalNeeded(PluginError):
    """Rules that cannot be run without their signal, so that there is nothing to compare them with."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The rules cannot be run without the signal, because {why}, so no comparison is made. "
            f"Compare its columns with <, <=, >, >=, == or != and join the conditions with & and |."
        )


# What would turn a column into plain values, which cannot be told apart from those of a signal.
_VALUES = (
    "to_numpy", "values", "array", "to_list", "tolist", "item", "items", "to_frame", "to_dict", "iloc", "loc", "iat", "at",
)  # fmt: skip
_TESTS = ("gt", "ge", "lt", "le", "eq", "ne", "between", "isin", "isna", "isnull", "notna", "notnull")


class Absent:
    """A column of a signal that is switched off: every condition that it enters goes on without it.

    This is how the same rules are run without the network, to see what the network adds. What would silently take
    something else out of the rules with it, or make values out of nothing, raises :class:`SignalNeeded`.
    """

    __pandas_priority__ = 5000  # before Series (3000) and DataFrame (4000), so that they leave operators to this class

    def __init__(self, condition: bool = False) -> None:
        self._condition = condition  # whether it stands for truth values

    def __getattr__(self, name: str) -> Absent:
        if name.startswith("_") or name == "input_objs":  # what pandas asks every stranger for
            raise AttributeError(name)
        if name in _VALUES:
            raise SignalNeeded(f".{name} asks for its values")
        return Absent(self._condition or name in _TESTS)

    def __call__(self, *args: Any, **kwargs: Any) -> Absent:
        for value in (*args, *kwargs.values()):
            if _is_condition(value):
                raise SignalNeeded("a method of its column is given another condition")
        return Absent(self._condition)

    def __getitem__(self, key: Any) -> Absent:
        return self(key)

    def _changed(self) -> Absent:
        return Absent(self._condition)

    def _calculated(self, other: Any, *modulo: Any) -> Absent:
        if (self._condition and _has_values(other)) or _is_condition(other):
            raise SignalNeeded("arithmetic mixes a condition on it with another column")
        return Absent(self._condition)

    def _compared(self, other: Any) -> Absent:
        if (self._condition and _has_values(other)) or _is_condition(other):
            raise SignalNeeded("a condition on it is compared with another column")
        return Absent(condition=True)

    def _joined(self, other: Any) -> Any:
        return other if _has_values(other) else self

    def _either(self, other: Any) -> Absent:
        if _has_values(other):
            raise SignalNeeded("^ asks whether it differs from another condition")
        return self

    def _one_truth(self) -> NoReturn:
        raise SignalNeeded("one value is asked of its column")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise SignalNeeded("NumPy or pandas asks for its values")

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        present = [value for value in inputs if _has_values(value)]
        if function in (np.bitwise_and, np.bitwise_or, np.logical_and, np.logical_or):
            return present[0] if present else self
        if function in (np.bitwise_xor, np.logical_xor):
            return self._either(present[0] if present else None)
        tests = function in (np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal)
        for value in present:
            self._compared(value) if tests else self._calculated(value)
        return Absent(self._condition or tests)

    __and__ = __rand__ = __or__ = __ror__ = _joined
    __xor__ = __rxor__ = _either
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _compared  # type: ignore[assignment]
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _calculated
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = _calculated
    __neg__ = __pos__ = __abs__ = __invert__ = _changed
    __bool__ = __float__ = __int__ = __len__ = _one_truth
    __hash__ = None  # type: ignore[assignment]
    __iter__ = None  # or __getitem__ would make it endless


def _has_values(value: Any) -> bool:
    """Whether ``value`` is a column that is there: a series, an array or a list."""
    return isinstance(value, (pd.Series, np.ndarray, list)) and np.ndim(value) > 0


def _is_condition(value: Any) -> bool:
    """Whether ``value`` holds truth values, or the zeros and ones that were made of them; prices are no integers."""
    return _has_values(value) and np.asarray(value).dtype.kind in "biuO"
