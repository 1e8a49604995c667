"""External series from files: CSV, Parquet, Feather and JSON; nothing is repaired, nothing is guessed about time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.errors import SeriesError, StoreError, UnknownName, UsageError
from freqlstm.external import ExternalSeries
from freqlstm.folds import duration

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".feather", ".json")
YEARS = (1700, 2200)  # the first is a time's, the second is not
UTC_NAMES = ("UTC", "Etc/UTC", "UTC+00:00")


def read_series(
    path: Path,
    name: str,
    time: str,
    known_after: str | None,
    value: str | None = None,
    time_format: str | None = None,
    assume_utc: bool = False,
) -> ExternalSeries:
    """One column of a file as a series; each value becomes known ``known_after`` ("1d") the time in column ``time``.

    Without ``value`` the file must have one other column of numbers. Times are ISO 8601 or as ``time_format`` says
    ("%d/%m/%Y"); without a zone they are refused unless ``assume_utc``. Rows from the newest to the oldest are turned around.
    """
    if not known_after:
        raise UsageError(
            "It is not said when a value becomes known. Say how long after its time with --known-after: 1d for the value of "
            "a day that is published when the day is over, 0s for times of publication."
        )
    table = _table(path)
    if time not in table:
        raise UnknownName(f"column in {path.name}", time, map(str, table.columns))
    if not len(table):
        raise SeriesError(f"{path} holds no rows. There must be at least one below the header.")
    column = value if value is not None else _only_value(table, time, path)
    if column not in table:
        raise UnknownName(f"column in {path.name}", column, map(str, table.columns))
    times = _times(table[time], path, time_format, assume_utc)
    _refuse_snapshot(table.drop(columns=[time]), times, path)
    numbers = _numbers(table[column], column, times, path)
    if len(times) > 1 and times.is_monotonic_decreasing:
        times, numbers = times[::-1], numbers[::-1]
    steps = np.diff(times.as_unit("ns").asi8)
    if (steps <= 0).any():
        row = int((steps <= 0).argmax()) + 1
        again = times[row]
        what = "twice" if (times[:row] == again).any() else "after a later one"
        raise SeriesError(
            f"{path}: the time {again:%Y-%m-%d %H:%M} comes {what}, in row {row + 1}. Each must come once, in order."
        )
    return ExternalSeries.of(name, times, numbers, times + duration(known_after))


def _table(path: Path) -> pd.DataFrame:
    """The raw rows; those of a CSV file as texts, so that a bad one can be named as it is written."""
    readers: dict[str, Callable[[bytes], pd.DataFrame]] = {
        ".parquet": lambda content: pd.read_parquet(io.BytesIO(content)),
        ".feather": lambda content: pd.read_feather(io.BytesIO(content)),
        ".json": _records,
    }
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path} is of no known type. A series is read from {', '.join(SUFFIXES)}.")
    try:
        content = path.read_bytes()
        table = readers.get(suffix, _csv)(content)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}. Check the spelling.") from None
    except (OSError, ValueError, csv.Error) as error:
        brief = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise StoreError(
            f"{path} could not be read ({brief}). Is it whole, and of the type that its name says?"
        ) from error
    if isinstance(table.index, pd.DatetimeIndex):
        table = table.reset_index(names=str(table.index.name or "time"))
    if not table.columns.is_unique:
        again = table.columns[table.columns.duplicated()][0]
        raise SeriesError(
            f"{path} has several columns named {str(again)!r}. Each needs a name of its own: rename them."
        )
    return table


def _csv(content: bytes) -> pd.DataFrame:
    text = content.decode("utf-8-sig")
    if not text.strip():
        raise ValueError("it is empty")
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator, strict=True) if any(row)]
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} has {len(row)} fields and the header {len(rows[0])}")
    return pd.DataFrame(rows[1:], columns=[each.strip() for each in rows[0]], dtype=object)


def _records(content: bytes) -> pd.DataFrame:
    rows = json.loads(content)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not a list of objects")
    return pd.DataFrame(rows)


def _only_value(table: pd.DataFrame, time: str, path: Path) -> str:
    """The one column of numbers beside the time."""
    others = [column for column in table if column != time and _is_number(table[column].iloc[0])]
    if len(others) != 1:
        raise UsageError(
            f"{path} has {len(others)} columns of numbers beside {time!r}, of {', '.join(map(str, table.columns))}. "
            f"Say which one with --value."
        )
    return str(others[0])


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return not isinstance(cell, bool)


def _times(column: pd.Series, path: Path, time_format: str | None, assume_utc: bool) -> pd.DatetimeIndex:
    if pd.api.types.is_datetime64_any_dtype(column):
        times = pd.DatetimeIndex(column)
    else:
        times = _parsed(column, path, time_format)
    if times.hasnans:
        raise SeriesError(f"{path}: row {int(times.isna().argmax()) + 1} has no time. Every value needs one.")
    if times.tz is None:
        if not assume_utc:
            raise SeriesError(
                f"{path}: the times have no time zone, the first is {times[0]}. If you know that they are UTC, and that a day "
                f"begins at midnight UTC, say so with --assume-utc."
            )
        times = times.tz_localize("UTC")
    outside = (times.year < YEARS[0]) | (times.year >= YEARS[1])
    if outside.any():
        row = int(outside.argmax())
        raise SeriesError(
            f"{path}: the time in row {row + 1} is {column.iloc[row]}. It must lie between the years {YEARS[0]} and {YEARS[1]}: "
            f"correct the row or remove it."
        )
    if str(times.tz) not in UTC_NAMES:
        raise SeriesError(
            f"{path}: the times are in {times.tz}, the first is {times[0]}. They must be UTC: convert them first."
        )
    return times.tz_convert("UTC")


def _parsed(column: pd.Series, path: Path, time_format: str | None) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(column):
        raise SeriesError(
            f"{path}: the times are numbers, the first is {column.iloc[0]}. Write them as in 2024-01-31T00:00:00Z."
        )
    text = column.astype(str).str.strip().str.replace(r"\s*UTC$", "+00:00", regex=True)
    right = (
        f"as --time-format {time_format!r} says"
        if time_format
        else "ISO 8601, as in 2024-01-31 or 2024-01-31T00:00:00Z"
    )
    for row, cell in enumerate(text, start=1):  # one by one: the first that is wrong is to be named
        try:
            pd.to_datetime(cell, format=time_format or "ISO8601")
        except ValueError:
            raise SeriesError(
                f"{path}: the time in row {row} is {column.iloc[row - 1]!r}. It must be {right}; "
                f"--time-format tells another way, as in --time-format '%d/%m/%Y'."
            ) from None
    try:
        return pd.DatetimeIndex(pd.to_datetime(text, format=time_format or "ISO8601"))
    except ValueError:
        raise SeriesError(f"{path}: some times have another zone than others. Write all of them in UTC.") from None


def _numbers(column: pd.Series, name: str, times: pd.DatetimeIndex, path: Path) -> np.ndarray:
    for row, cell in enumerate(column, start=1):
        if not _is_number(cell) or not np.isfinite(float(cell)):
            raise SeriesError(
                f"{path}: {name!r} in row {row} ({times[row - 1]:%Y-%m-%d %H:%M}) is {cell!r}. It must be a number: "
                f"correct the row or remove it."
            )
    return column.astype(np.float64).to_numpy()


def _refuse_snapshot(table: pd.DataFrame, times: pd.DatetimeIndex, path: Path) -> None:
    """Refuse a last row that holds one number in every column where no other row does."""
    if table.shape[1] < 3 or len(table) < 3:
        return
    same = (table.eq(table.iloc[:, 0], axis=0)).all(axis=1).to_numpy()
    if same[-1] and not same[:-1].any():
        cell: Any = table.iloc[-1, 0]
        raise SeriesError(
            f"{path}: the last row ({times[-1]:%Y-%m-%d %H:%M}) holds {cell} in all of its {table.shape[1]} columns, as no "
            f"other row does: it is damaged or of a period that was not over. Remove it."
        )
