"""External series: values from outside the market, each with the moment at which it became known."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from freqlstm.errors import SeriesError, UsageError

FIELDS = ("time", "value")


def check_series_name(name: str) -> str:
    """``name`` if a series can have it: lower-case letters, digits and underscores, so that it is no symbol."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise UsageError(
            f"Series name {name!r} cannot be used. It must be lower-case letters, digits and underscores, as in 'fear_greed'."
        )
    return name


@dataclass(frozen=True, eq=False)
class ExternalSeries:
    """One number for each of some moments or periods, in order; immutable by convention.

    ``frame`` has the columns ``time`` (UTC: what moment, or the beginning of what period, a value is about) and
    ``value`` (float64), under a strictly increasing UTC index ``known_at``. A row may be used from ``known_at`` on and
    not before, whatever its ``time`` says.
    """

    frame: pd.DataFrame
    name: str

    @classmethod
    def of(cls, name: str, time: pd.DatetimeIndex, value: np.ndarray, known_at: pd.DatetimeIndex) -> ExternalSeries:
        """A series from its columns, checked: UTC, in order, finite, and nothing known before the moment it is about."""
        check_series_name(name)
        for what, index in (("times", time), ("known_at", known_at)):
            if str(index.tz) not in ("UTC", "Etc/UTC", "UTC+00:00"):
                raise SeriesError(f"Series {name}: the {what} have the zone {index.tz}. They must be UTC.")
        if not len(time) == len(value) == len(known_at):
            raise SeriesError(
                f"Series {name}: {len(time)} times, {len(value)} values and {len(known_at)} known_at. Each row needs all three."
            )
        numbers = np.asarray(value, dtype=np.float64)
        if not np.isfinite(numbers).all():
            row = int(np.argmin(np.isfinite(numbers)))
            raise SeriesError(
                f"Series {name}: the value at {time[row]} is {numbers[row]}. It must be a number: leave the row out."
            )
        time, known_at = time.as_unit("ms"), known_at.as_unit("ms")
        for what, index in (("time", time), ("known_at", known_at)):
            steps = np.diff(index.asi8)
            if (steps <= 0).any():
                again = index[1:][steps <= 0][0]
                raise SeriesError(
                    f"Series {name}: the {what} {again} comes twice or after a later one. Each must occur once, in order."
                )
        if (known_at < time).any():
            early = time[known_at < time][0]
            raise SeriesError(
                f"Series {name}: the value at {early} is said to be known before. known_at must not lie before the time."
            )
        frame = pd.DataFrame({"time": time, "value": numbers}, index=known_at.rename("known_at"))
        return cls(frame, name)

    @property
    def known_at(self) -> pd.DatetimeIndex:
        """When each row became known, UTC."""
        index = self.frame.index
        assert isinstance(index, pd.DatetimeIndex)
        return index

    @property
    def time(self) -> pd.DatetimeIndex:
        """What moment, or the beginning of what period, each row is about, UTC."""
        return pd.DatetimeIndex(self.frame["time"])

    @property
    def value(self) -> np.ndarray:
        """Shape (rows,), float64."""
        return self.frame["value"].to_numpy(np.float64)

    def __len__(self) -> int:
        return len(self.frame)

    def as_of(self, moments: pd.DatetimeIndex) -> np.ndarray:
        """Shape (moments,), float64: the newest value known at each moment, NaN before the first."""
        row = self._known.searchsorted(moments.as_unit("ns").asi8, side="right") - 1
        return np.where(row >= 0, np.append(self.value, np.nan)[row], np.nan)

    def rows(self, first: int, last: int) -> ExternalSeries:
        """Rows number ``first`` up to but not including ``last``."""
        return ExternalSeries(self.frame.iloc[first:last], self.name)

    def known_between(self, first: pd.Timestamp, last: pd.Timestamp) -> ExternalSeries:
        """What was known at ``last``, without what had been replaced by a newer value at ``first``."""
        begin, end = self._known.searchsorted([first.as_unit("ns").value, last.as_unit("ns").value], side="right")
        return self.rows(max(0, int(begin) - 1), int(end))

    @cached_property
    def _known(self) -> np.ndarray:
        """When each row became known, in nanoseconds since 1970 UTC."""
        return self.known_at.as_unit("ns").asi8

    @cached_property
    def digest(self) -> str:
        """SHA-256 over name, times, values and when they became known: equal if and only if the series are."""
        sha = hashlib.sha256(self.name.encode())
        for index in (self.known_at, self.time):
            sha.update(index.as_unit("ns").asi8.tobytes())
        sha.update(self.value.tobytes())
        return sha.hexdigest()
