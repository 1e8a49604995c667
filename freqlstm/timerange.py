"""Moments and time ranges as people write them, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pandas as pd

from freqlstm.errors import UsageError

_SIDE = r"(\d{8}(?:T\d{4}(?:\d{2})?)?|\d{10}|\d{13})?"


def moment(text: str) -> pd.Timestamp:
    """2024-01-31, 20240131, ``2024-01-31 12:00``, or seconds or milliseconds since 1970; UTC unless it says otherwise."""
    if re.fullmatch(r"\d{10}|\d{13}", text):
        return pd.Timestamp(int(text), unit="s" if len(text) == 10 else "ms", tz="UTC")
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a time. Write 2024-01-31, 20240131 or '2024-01-31 12:00', in UTC.") from None
    return pd.Timestamp(read if read.tzinfo else read.replace(tzinfo=UTC)).tz_convert("UTC")


def parse_timerange(text: str) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """(start, end) of 20230101-20230401 or 20230101T0930-; either side may be left out; the end is not included."""
    found = re.fullmatch(f"{_SIDE}-{_SIDE}", text)
    if not found or not any(found.groups()):
        raise UsageError(
            f"The time range is {text!r}. It must be like 20230101-20230401 (UTC, end not included), or open: "
            f"20230101- or -20230401."
        )
    start, end = (None if side is None else moment(side) for side in found.groups())
    if start is not None and end is not None and start >= end:
        if start > end:
            raise UsageError(f"The time range {text!r} ends before it starts. Swap its two dates.")
        raise UsageError(f"The time range {text!r} is empty: the end is not included. Choose a later end.")
    return start, end


def timerange_text(start: pd.Timestamp, end: pd.Timestamp) -> str:
    """The opposite of :func:`parse_timerange`, for times in whole seconds."""

    def side(time: pd.Timestamp) -> str:
        if time == time.normalize():
            return f"{time:%Y%m%d}"
        return f"{time:%Y%m%dT%H%M%S}" if time.second else f"{time:%Y%m%dT%H%M}"

    return f"{side(start)}-{side(end)}"
