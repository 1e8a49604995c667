"""The quality report counts and locates every defect, and repairs none."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqlstm.errors import CandleError
from freqlstm.quality import Gap, Quality, report

START = pd.Timestamp("2024-01-01", tz="UTC")
MINUTE = pd.Timedelta(minutes=1)


def table(minutes: list[float]) -> pd.DataFrame:
    """Candles whose close rises by a tenth, opening these minutes after START, in this order."""
    number = np.arange(len(minutes), dtype=float)
    close = 100 + number / 10
    values = {"open": close, "high": close + 0.1, "low": close - 0.1, "close": close + 0.05, "volume": 1 + number}
    return pd.DataFrame(values, index=pd.DatetimeIndex([START + MINUTE * each for each in minutes], tz="UTC"))


def quality(frame: pd.DataFrame) -> Quality:
    return report(frame, "BTC/USDT", "1m")


def real(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "candles" / name).set_index("time")


def test_a_perfect_table_scores_100_and_has_no_findings() -> None:
    found = quality(table(list(range(100))))
    assert (found.rows, found.expected, found.missing, found.coverage, found.score) == (100, 100, 0, 1.0, 100.0)
    assert (found.first, found.last) == (START, START + 99 * MINUTE)
    assert found.findings() == []


def test_three_real_years_have_exactly_their_known_defects(real_data: Path) -> None:
    found = quality(real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet"))
    assert (found.rows, found.expected, found.missing, len(found.gaps)) == (1_575_727, 1_576_800, 1_073, 7)
    assert (found.zero_volume, found.longest_zero_volume_run, found.frozen) == (161, 81, 161)
    assert (found.duplicates, found.out_of_order, found.off_grid, found.ohlc_violations) == (0, 0, 0, 0)
    assert (found.non_positive, found.not_finite) == (0, 0)
    assert 0 < found.outlier_wicks < 100
    assert found.score == 99.9
    assert max(found.gaps, key=lambda gap: gap.missing) == Gap(
        pd.Timestamp("2021-04-25 04:01", tz="UTC"), pd.Timestamp("2021-04-25 08:45", tz="UTC"), 284
    )
    assert found.findings()[0] == (
        "284 candles of BTC/USDT 1m are missing between 2021-04-25 04:01 and 2021-04-25 08:45 UTC."
    )
    assert "161 rows of BTC/USDT 1m have no volume, up to 81 in a row." in found.findings()


def test_real_off_grid_candles_are_reported_as_such_and_not_as_missing(real_data: Path) -> None:
    found = quality(real(real_data, "BINANCE_BTCUSDT_1m_20171201_20180228_offgrid.parquet"))
    assert found.off_grid == 21_602
    assert found.first_off_grid == pd.Timestamp("2017-12-04 06:00:20.799", tz="UTC")
    assert [gap.missing for gap in found.gaps] == [13, 64, 125, 2_010, 15, 34]
    assert found.missing == 2_261
    assert found.expected == 127_340 + 2_261
    assert "21,602 rows of BTC/USDT 1m do not open on the 1m grid." in found.findings()


def test_evenly_shifted_candles_are_off_grid_but_none_is_missing() -> None:
    found = quality(table([number + 20.8 / 60 for number in range(50)]))
    assert (found.off_grid, found.missing, found.gaps, found.coverage) == (50, 0, [], 1.0)
    assert found.first_off_grid == START + pd.Timedelta(seconds=20.8)
    assert found.score == 50.0


def test_a_gap_is_the_time_in_which_no_candle_opened() -> None:
    found = quality(table([0, 1, 5, 6]))
    assert found.gaps == [Gap(START + 2 * MINUTE, START + 5 * MINUTE, 3)]
    assert (found.expected, found.missing) == (7, 3)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_rows_and_missing_candles_fill_the_time_exactly(minutes: set[int]) -> None:
    found = quality(table(sorted(minutes)))
    assert found.expected == max(minutes) - min(minutes) + 1 == found.rows + found.missing
    inside = {
        number for gap in found.gaps for number in range((gap.start - START) // MINUTE, (gap.end - START) // MINUTE)
    }
    assert inside == set(range(min(minutes), max(minutes) + 1)) - minutes


@given(st.permutations(list(range(8))))
def test_disorder_changes_no_count_of_gaps(order: list[int]) -> None:
    found = quality(table(list(range(8))).iloc[order])
    assert (found.missing, found.duplicates) == (0, 0)
    assert found.out_of_order == sum(after < before for before, after in pairwise(order))


def test_disorder_and_duplicates_lower_the_score() -> None:
    assert quality(table([0, 2, 1, 3])).score == 75.0
    assert quality(table([0, 1, 1, 2])).score == 75.0


def test_duplicates_are_counted_once_each() -> None:
    found = quality(table([0, 1, 1, 1, 2]))
    assert (found.duplicates, found.out_of_order, found.missing, found.expected) == (2, 0, 0, 3)


@pytest.mark.parametrize(
    ("column", "value", "heading"),
    [
        ("close", np.nan, "not_finite"),
        ("volume", np.inf, "not_finite"),
        ("low", -1.0, "non_positive"),
        ("volume", -1.0, "non_positive"),
        ("high", 100.0, "ohlc_violations"),
        ("low", 100.52, "ohlc_violations"),
        ("volume", 0.0, "zero_volume"),
        ("high", 130.0, "outlier_wicks"),
        ("low", 80.0, "outlier_wicks"),
    ],
)
def test_a_defect_is_counted_under_its_heading_and_lowers_the_score(column: str, value: float, heading: str) -> None:
    frame = table(list(range(50)))
    frame.loc[frame.index[5], column] = value
    found = quality(frame)
    headings = ("not_finite", "non_positive", "ohlc_violations", "zero_volume", "outlier_wicks", "frozen")
    assert {name: getattr(found, name) for name in headings} == {name: int(name == heading) for name in headings}
    assert found.score < 100
    assert len(found.findings()) == 1


def test_frozen_candles_are_those_of_one_price_that_repeat_or_have_no_volume() -> None:
    frame = table(list(range(5)))
    frame.iloc[1, :4] = 50.0  # one price, but a new one and with volume: a quiet minute
    frame.iloc[2, :4] = 50.0  # the same again
    frame.iloc[4, :5] = [60.0, 60.0, 60.0, 60.0, 0.0]
    assert (quality(frame).frozen, quality(frame).zero_volume) == (2, 1)


def test_the_longest_run_without_volume_is_measured_in_candles() -> None:
    frame = table(list(range(12)))
    frame.loc[frame.index[[0, 3, 4, 5, 10, 11]], "volume"] = 0.0
    assert quality(frame).longest_zero_volume_run == 3


def test_text_and_missing_times_are_counted_too() -> None:
    frame = table(list(range(5))).astype({"close": object})
    frame.iloc[2, 3] = "n/a"
    frame.index = pd.DatetimeIndex([*frame.index[:4], pd.NaT])
    found = quality(frame)
    assert (found.rows, found.not_finite, found.expected) == (5, 2, 4)


def test_an_empty_table_scores_nothing() -> None:
    found = quality(table([]))
    assert (found.rows, found.first, found.last, found.coverage, found.score, found.findings()) == (
        0,
        None,
        None,
        0,
        0,
        [],
    )


def test_a_table_without_the_columns_is_refused() -> None:
    with pytest.raises(CandleError) as caught:
        quality(table([0]).drop(columns="low"))
    assert str(caught.value) == (
        "BTC/USDT 1m: column 'low' is missing. Candles need open, high, low, close, volume and an index of open times."
    )
    with pytest.raises(CandleError, match="BTC/USDT 1m: the index holds no times"):
        quality(table([0]).reset_index(drop=True))


def test_the_report_is_json() -> None:
    found = quality(table([0, 1, 4.5]))
    written = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (
        written["gaps"] == [{"start": "2024-01-01T00:02:00+00:00", "end": "2024-01-01T00:04:30+00:00", "missing": 3}]
        or written["gaps"][0]["missing"] == 2
    )
    assert written["first"] == "2024-01-01T00:00:00+00:00"
    assert written["score"] == found.score


def test_many_gaps_are_told_longest_first_and_then_summed() -> None:
    found = quality(table([number for number in range(200) if number % 20 and not 50 < number < 58])).findings()
    assert found[0].startswith("7 candles of BTC/USDT 1m are missing between 2024-01-01 00:51")
    assert len(found) == 10
    more = quality(table([number for number in range(400) if number % 20])).findings()
    assert len(more) == 11
    assert more[-1] == "9 more candles are missing in 9 shorter gaps."


def test_the_table_is_left_as_it_was() -> None:
    frame = table([3, 1, 1, 2])
    before = frame.copy(deep=True)
    quality(frame)
    pd.testing.assert_frame_equal(frame, before)
