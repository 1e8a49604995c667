"""Moments and time ranges as people write them."""

from __future__ import annotations

import pandas as pd
import pytest

from freqlstm.errors import UsageError
from freqlstm.timerange import moment, parse_timerange, timerange_text


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@pytest.mark.parametrize(
    "text",
    ["2024-01-31", "20240131", "2024-01-31 00:00", "2024-01-31T01:00+01:00", "1706659200", "1706659200000"],
)
def test_moments_are_read_as_utc_unless_they_say_otherwise(text: str) -> None:
    assert moment(text) == utc("2024-01-31")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("20230101-20230401", (utc("2023-01-01"), utc("2023-04-01"))),
        ("20230101-", (utc("2023-01-01"), None)),
        ("-20230401", (None, utc("2023-04-01"))),
        ("20230101T0930-20230101T1000", (utc("2023-01-01 09:30"), utc("2023-01-01 10:00"))),
        ("20230101T093015-", (utc("2023-01-01 09:30:15"), None)),
    ],
)
def test_a_time_range_is_read(text: str, span: tuple[pd.Timestamp | None, pd.Timestamp | None]) -> None:
    assert parse_timerange(text) == span


@pytest.mark.parametrize("text", ["2023", "yesterday-today", "-", "2023-01-01", "20230101-20230401-20230501"])
def test_what_is_not_a_time_range_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"It must be like 20230101-20230401 \(UTC, end not included\), or open"):
        parse_timerange(text)


def test_a_day_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'20231301' is not a time\. Write 2024-01-31, 20240131 or"):
        parse_timerange("20231301-")


@pytest.mark.parametrize("end", ["2023-01-02", "2023-01-02 03:04", "2023-01-02 03:04:05"])
def test_a_time_range_written_down_reads_back_the_same(end: str) -> None:
    span = (utc("2023-01-01"), utc(end))
    assert parse_timerange(timerange_text(*span)) == span
