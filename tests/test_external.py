"""External series: what a row is, when it may be used, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from freqlstm.errors import FreqlstmError, SeriesError, UsageError
from freqlstm.external import ExternalSeries

DAYS = pd.date_range("2024-01-01", periods=5, freq="D", tz="UTC")
DAY = pd.Timedelta(days=1)


def daily(values: list[float] | None = None, after: pd.Timedelta = DAY) -> ExternalSeries:
    numbers = np.array([10.0, 11.0, 12.0, 13.0, 14.0] if values is None else values)
    return ExternalSeries.of("mood", DAYS, numbers, DAYS + after)


def moments(*texts: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(texts, tz="UTC")


def test_a_value_is_used_from_the_moment_it_is_known_and_not_from_its_date() -> None:
    asked = moments("2024-01-01 12:00", "2024-01-01 23:59", "2024-01-02 00:00", "2024-01-02 23:59", "2024-01-03 00:00")
    np.testing.assert_array_equal(daily().as_of(asked), [np.nan, np.nan, 10.0, 10.0, 11.0])


def test_the_newest_value_stays_after_the_last_row_and_nothing_is_known_of_an_empty_series() -> None:
    far = moments("2030-01-01")
    assert daily().as_of(far).tolist() == [14.0]
    assert np.isnan(daily().rows(0, 0).as_of(far)).all()


def test_a_cut_holds_what_was_known_and_no_older_value_than_the_newest_known_at_its_beginning() -> None:
    cut = daily().known_between(pd.Timestamp("2024-01-03 12:00", tz="UTC"), pd.Timestamp("2024-01-05", tz="UTC"))
    assert cut.value.tolist() == [11.0, 12.0, 13.0]
    assert daily().known_between(DAYS[0] - DAY, DAYS[0]).value.tolist() == []


def test_the_digest_tells_every_difference() -> None:
    series = daily()
    others = [
        daily([10.0, 11.0, 12.0, 13.0, 15.0]), daily(after=2 * DAY), series.rows(0, 4), replace(series, name="other"),
    ]  # fmt: skip
    assert series.digest == daily().digest
    assert len({series.digest, *(other.digest for other in others)}) == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ExternalSeries.of("mood", DAYS.tz_localize(None), np.zeros(5), DAYS),
            "Series mood: the times have the zone None. They must be UTC.",
        ),
        (
            lambda: ExternalSeries.of("mood", DAYS, np.zeros(5), DAYS.tz_convert("Europe/Berlin")),
            "Series mood: the known_at have the zone Europe/Berlin. They must be UTC.",
        ),
        (
            lambda: ExternalSeries.of("mood", DAYS, np.zeros(4), DAYS),
            "Series mood: 5 times, 4 values and 5 known_at. Each row needs all three.",
        ),
        (
            lambda: daily([1.0, np.nan, 2.0, 3.0, 4.0]),
            "Series mood: the value at 2024-01-02 00:00:00+00:00 is nan. It must be a number: leave the row out.",
        ),
        (
            lambda: ExternalSeries.of("mood", DAYS[[0, 1, 1]], np.zeros(3), DAYS[[1, 2, 3]]),
            "Series mood: the time 2024-01-02 00:00:00+00:00 comes twice or after a later one. Each must occur once, in order.",
        ),
        (
            lambda: ExternalSeries.of("mood", DAYS, np.zeros(5), DAYS[[1, 2, 4, 3, 4]]),
            "Series mood: the known_at 2024-01-04 00:00:00+00:00 comes twice or after a later one. Each must occur once, in order.",
        ),
        (
            lambda: daily(after=-DAY),
            "Series mood: the value at 2024-01-01 00:00:00+00:00 is said to be known before. known_at must not lie before the time.",
        ),
        (
            lambda: ExternalSeries.of("BTC/USDT", DAYS, np.zeros(5), DAYS),
            "Series name 'BTC/USDT' cannot be used. It must be lower-case letters, digits and underscores, as in 'fear_greed'.",
        ),
    ],
)
def test_what_cannot_be_a_series_is_refused(make: Callable[[], ExternalSeries], message: str) -> None:
    with pytest.raises((SeriesError, UsageError)) as refused:
        make()
    assert str(refused.value) == message
    assert isinstance(refused.value, FreqlstmError)
