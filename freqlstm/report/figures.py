"""How numbers are written on the page."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd

ABSENT = "–"  # a statistic that is not defined


def percent(value: float | None, digits: int = 2) -> str:
    """A signed percentage of a fraction, ``+1.25%``."""
    return ABSENT if value is None or pd.isna(value) else _minus(f"{value * 100:+,.{digits}f}%")


def share(value: float | None, digits: int = 1) -> str:
    """An unsigned percentage of a fraction, ``52.5%``."""
    return ABSENT if value is None or pd.isna(value) else _minus(f"{value * 100:,.{digits}f}%")


def ratio(value: float | None, digits: int = 2) -> str:
    """A plain number, ``-1.30``."""
    return ABSENT if value is None or pd.isna(value) else _minus(f"{value:,.{digits}f}")


def count(value: float | None) -> str:
    """A whole number, ``1,204``."""
    return ABSENT if value is None or pd.isna(value) else f"{int(value):,}"


def probability(value: float | None) -> str:
    """A p-value, ``0.034``; what would read 0.000 is written ``< 0.001``."""
    if value is None or pd.isna(value):
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def significant(value: float | None, digits: int = 6) -> str:
    """Prices, sizes and errors: so many significant digits, without an exponent where that can be read."""
    if value is None or pd.isna(value):
        return ABSENT
    if value == 0:
        return "0"
    if 1e-7 < abs(value) < 1e12:
        exponent = int(f"{abs(value):e}".split("e")[1])
        text = f"{value:,.{max(digits - 1 - exponent, 0)}f}"
        return _minus(text.rstrip("0").rstrip(".") if "." in text else text)
    return _minus(f"{value:.{digits - 1}g}")


def moment(value: Any) -> str:
    """A UTC time to the minute, or to the second where that matters."""
    if value is None or pd.isna(value):
        return ABSENT
    time = pd.Timestamp(value)
    return f"{time:%Y-%m-%d %H:%M:%S}" if time.second else f"{time:%Y-%m-%d %H:%M}"


def text(value: Any) -> str:
    """Anything, escaped; what is missing as a dash."""
    if value is None or (isinstance(value, float) and pd.isna(value)) or value == "":
        return ABSENT
    return escape(str(value))


def tone(value: float | None) -> str:
    """The CSS class of a gain, a loss or neither."""
    if value is None or pd.isna(value) or value == 0:
        return ""
    return "gain" if value > 0 else "loss"


def _minus(number: str) -> str:
    return number.replace("-", "−")
