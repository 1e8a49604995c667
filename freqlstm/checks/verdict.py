"""What counts as unchanged, and how a change is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd

from freqlstm.errors import LookAheadError

Tables = Mapping[str, pd.DataFrame]  # symbol -> one row a bar, indexed by open times
Event = tuple[pd.Timestamp, str]  # open time of the bar on which it happened, and what happened


@dataclass(frozen=True)
class Past:
    """What may not change: everything in ``file`` up to and including the bar that opened at ``cut``."""

    file: str
    cut: pd.Timestamp
    way: str  # what was done to the later candles

    def require_tables(self, culprit: str, whole: Tables, other: Tables) -> None:
        """A LookAheadError that names the first bar at which two tables differ; {} in ``culprit`` is the column."""
        found = [
            (*differs, symbol)
            for symbol in whole
            if (differs := first_difference(whole[symbol].loc[: self.cut], other[symbol].loc[: self.cut]))
        ]
        if found:
            bar, column, before, after, symbol = min(found, key=lambda each: each[0])
            of = f" of {symbol}" if symbol else ""
            self.fail(culprit.format(column), f"at {moment(bar)}{of}, from {before} to {after}")

    def require_events(self, culprit: str, whole: Sequence[Event], other: Sequence[Event]) -> None:
        """A LookAheadError that names the first bar at which something else happened."""
        before = [event for event in whole if event[0] <= self.cut]
        after = [event for event in other if event[0] <= self.cut]
        for one, two in zip_longest(before, after):
            if one != two:
                bar = min(event[0] for event in (one, two) if event)
                was, now = (event[1] if event else "nothing" for event in (one, two))
                self.fail(culprit, f"at {moment(bar)}, from {was} to {now}")

    def fail(self, culprit: str, how: str) -> None:
        """Say that ``culprit`` changed."""
        raise LookAheadError(
            f"{self.file} looks ahead: {culprit} up to {moment(self.cut)} changed when only later candles were {self.way}. "
            f"The first change is {how}. Use nothing but candles up to the bar itself."
        )


def first_difference(
    one: pd.DataFrame, two: pd.DataFrame, tolerance: float = 0.0
) -> tuple[pd.Timestamp, str, str, str] | None:
    """(bar, column, value in ``one``, value in ``two``) where two tables first differ; NaN equals NaN, None: nowhere.

    A column that only one of them has differs from its first value that is not missing.
    """
    columns = [*one.columns, *(name for name in two.columns if name not in one)]
    index = one.index.union(two.index)
    present = {True: "a bar", False: "no bar"}
    strangers = index[index.isin(one.index) != index.isin(two.index)]
    if len(strangers):
        return strangers[0], "bars", present[strangers[0] in one.index], present[strangers[0] in two.index]
    best: tuple[int, str] | None = None
    nothing = np.full(len(index), np.nan)
    values = {}
    for name in columns:
        a, b = (table[name].to_numpy(np.float64) if name in table else nothing for table in (one, two))
        values[name] = a, b
        with np.errstate(invalid="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance)
        if not same.all():
            row = int(np.argmin(same))
            if best is None or row < best[0]:
                best = row, str(name)
    if best is None:
        return None
    row, name = best
    before, after = values[name]
    truth = all(name not in table or table[name].dtype == bool for table in (one, two))
    return index[row], name, _shown(before[row], truth), _shown(after[row], truth)


def _shown(value: float, truth: bool) -> str:
    """A value so that two numbers that differ in the last bit look different."""
    if np.isnan(value):
        return "nothing"
    return repr(bool(value)) if truth else repr(float(value))


def moment(time: pd.Timestamp) -> str:
    """An open time as in every message of freqlstm."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time.second else f"{time:%Y-%m-%d %H:%M}"
