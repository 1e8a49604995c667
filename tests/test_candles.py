"""The candle table: what is refused, unbroken stretches, resampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqlstm.candles import Candles, check_symbol, resample, step_of, validate
from freqlstm.errors import CandleError, OffGridCandles, UsageError

BTC = "BINANCE_BTCUSDT_1m_20210101_20231231.parquet"
OFF_GRID = "BINANCE_BTCUSDT_1m_20171201_20180228_offgrid.parquet"
HOURS = "BINANCE_BTCUSDT_1h_20180101_20241231.parquet"


def table(rows: int = 5, minutes: list[int] | None = None) -> pd.DataFrame:
    """Candles of 100, 101, 99, 100.5 and volume 1, at the given minutes of 2024."""
    values = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 1.0}
    at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(
        minutes if minutes is not None else range(rows), unit="min"
    )
    return pd.DataFrame(values, index=pd.DatetimeIndex(at))


def candles_at(minutes: list[int], timeframe: str = "1m") -> Candles:
    return Candles.from_frame(table(minutes=minutes), "BTC/USDT", timeframe)


def real(folder: Path, name: str, timeframe: str = "1m") -> Candles:
    frame = pd.read_parquet(folder / "candles" / name).set_index("time")
    return Candles.from_frame(frame, "BTC/USDT", timeframe, "binance")


def refusal(frame: pd.DataFrame) -> str:
    with pytest.raises(CandleError) as caught:
        validate(frame, "BTC/USDT 1m")
    return str(caught.value)


def test_a_missing_column_is_named() -> None:
    assert refusal(table().drop(columns="volume")) == (
        "BTC/USDT 1m: column 'volume' is missing among open, high, low, close. Candles need open, high, low, close, volume."
    )


def test_times_without_a_zone_are_refused() -> None:
    assert refusal(table().tz_localize(None)) == (
        "BTC/USDT 1m: the times have no time zone, the first is 2024-01-01 00:00:00. They must be UTC: localize them, or "
        "import with --assume-utc if you know that they are."
    )


def test_times_of_another_zone_are_refused() -> None:
    assert refusal(table().tz_convert("Europe/Berlin")) == (
        "BTC/USDT 1m: the times are in Europe/Berlin. They must be UTC: convert them first."
    )


def test_an_index_that_holds_no_times_is_refused() -> None:
    assert refusal(table().reset_index(drop=True)) == (
        "BTC/USDT 1m: the index must hold open times in UTC. Received: int64."
    )


def test_a_row_without_a_time_is_refused() -> None:
    frame = table()
    frame.index = pd.DatetimeIndex([*frame.index[:2], pd.NaT, *frame.index[3:]])
    assert refusal(frame) == "BTC/USDT 1m: row 2 has no time. Every candle needs its open time."


def test_duplicated_rows_are_refused() -> None:
    assert refusal(table(minutes=[0, 1, 1, 2])) == (
        "BTC/USDT 1m: 1 rows are duplicated, the first at 2024-01-01 00:01:00+00:00. Each open time must occur once."
    )


def test_rows_out_of_order_are_refused() -> None:
    assert refusal(table(minutes=[0, 2, 1])) == (
        "BTC/USDT 1m: the rows are not in order of time, the first that goes back is 2024-01-01 00:01:00+00:00. Sort them."
    )


def test_times_finer_than_a_millisecond_are_refused_rather_than_cut() -> None:
    frame = table()
    frame.index = frame.index.as_unit("us") + pd.Timedelta(microseconds=1)
    assert refusal(frame) == (
        "BTC/USDT 1m: the open time 2024-01-01 00:00:00.000001+00:00 is finer than a millisecond. Round the times to "
        "milliseconds."
    )


def test_times_of_a_mistaken_epoch_unit_are_refused() -> None:
    frame = table()
    frame.index = (frame.index.as_unit("s").tz_localize(None) + np.timedelta64(100_000 * 365, "D")).tz_localize("UTC")
    assert "The unit of the epoch times is probably another" in refusal(frame)


def test_text_among_the_prices_is_refused() -> None:
    frame = table().astype({"close": object})
    frame.iloc[3, 3] = "n/a"
    assert refusal(frame) == (
        "BTC/USDT 1m: a price or volume is not a number: could not convert string to float: 'n/a'. Remove or correct that row."
    )


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("close", np.nan, "a value that is not a number"),
        ("volume", np.inf, "an infinite value"),
        ("low", 0.0, "a price that is not positive"),
        ("volume", -1.0, "a negative volume"),
        ("high", 100.2, "a high or low that does not enclose open and close"),
        ("low", 100.2, "a high or low that does not enclose open and close"),
    ],
)
def test_values_that_cannot_be_are_refused_and_shown(column: str, value: float, problem: str) -> None:
    frame = table()
    frame.loc[frame.index[2], column] = value
    message = refusal(frame)
    assert message.startswith(
        f"BTC/USDT 1m: 1 rows have {problem}, the first at 2024-01-01 00:02:00+00:00: open 100.0, "
    )
    assert f"{column} {value}" in message
    assert message.endswith("Remove or correct them: nothing is repaired silently.")


def test_an_empty_table_is_candles_without_rows() -> None:
    candles = candles_at([])
    assert len(candles) == 0
    assert list(candles.segments()) == []
    assert len(candles.segment) == len(candles.segment_age) == len(resample(candles, "1h")) == 0


def test_a_pair_is_written_base_quote() -> None:
    assert check_symbol("btc/usdt") == "BTC/USDT"
    assert check_symbol("btc/usdt:usdt") == "BTC/USDT:USDT"
    for wrong in ("BTCUSDT", "../x", "BTC/USDT/..", ""):
        with pytest.raises(UsageError, match="is not written BASE/QUOTE, as in 'BTC/USDT'"):
            check_symbol(wrong)


def test_an_unknown_timeframe_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"Timeframe '2m' is not known. It must be one of 1s, 5s, .*1d"):
        step_of("2m")


def test_a_stretch_ends_at_every_gap() -> None:
    candles = candles_at([0, 1, 2, 5, 6, 9])
    assert candles.segment.tolist() == [0, 0, 0, 1, 1, 2]
    assert candles.segment_age.tolist() == [0, 1, 2, 0, 1, 0]
    assert candles.starts.tolist() == [0, 3, 5]
    for bars in range(5):
        assert candles.aged(bars).tolist() == (candles.segment_age >= bars).tolist()
    assert list(candles.segments()) == [(0, 3), (3, 5), (5, 6)]


@given(st.sets(st.integers(0, 60), min_size=1))
def test_stretches_tile_the_rows_and_have_no_gap_inside(minutes: set[int]) -> None:
    candles = candles_at(sorted(minutes))
    stretches = list(candles.segments())
    assert [row for first, last in stretches for row in range(first, last)] == list(range(len(candles)))
    for first, last in stretches:
        assert (np.diff(candles.time[first:last]) == candles.step).all()
        assert candles.segment_age[first:last].tolist() == list(range(last - first))
    for _, last in stretches[:-1]:
        assert candles.time[last] - candles.time[last - 1] > candles.step


def test_a_function_by_stretch_never_sees_the_other_side_of_a_gap() -> None:
    candles = candles_at([0, 1, 2, 3, 10, 11, 20, 21, 22])
    sums = candles.by_segment(lambda stretch: stretch.volume.cumsum().rename("sum"), warmup=2)
    assert sums["sum"].fillna(0).tolist() == [0, 0, 3, 4, 0, 0, 0, 0, 3]
    assert sums.index.equals(candles.time)


def test_between_takes_the_start_and_leaves_the_end() -> None:
    candles = candles_at([0, 1, 2, 3])
    start, end = candles.time[1], candles.time[3]
    assert candles.between(start, end).time.tolist() == candles.time[1:3].tolist()
    assert len(candles.between(None, None)) == 4
    hair = pd.Timedelta(nanoseconds=1)
    assert candles.between(start + hair, end + hair).time.tolist() == candles.time[2:4].tolist()


def test_the_digest_tells_every_difference() -> None:
    candles = candles_at([0, 1, 2])
    other = table(minutes=[0, 1, 2])
    other.iloc[1, 4] = np.nextafter(1.0, 2.0)
    different = [
        candles_at([0, 1, 3]),
        candles_at([0, 1]),
        candles_at([0, 1, 2], "5m"),
        Candles.from_frame(other, "BTC/USDT", "1m"),
        Candles.from_frame(table(3), "ETH/USDT", "1m"),
        Candles.from_frame(table(3), "BTC/USDT", "1m", "binance"),
    ]
    assert candles.digest == candles_at([0, 1, 2]).digest
    assert len({candles.digest, *(each.digest for each in different)}) == 7


def test_resampling_leaves_out_what_lacks_a_candle() -> None:
    coarse = resample(candles_at([0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]), "5m")
    assert [str(time.time()) for time in coarse.time] == ["00:00:00", "00:10:00"]
    assert coarse.frame.iloc[0].tolist() == [100.0, 101.0, 99.0, 100.5, 5.0]


def test_resampling_to_what_is_no_multiple_is_refused() -> None:
    with pytest.raises(UsageError, match="5m candles cannot be resampled to 1m: it must be a multiple of 5m"):
        resample(candles_at([0, 5], "5m"), "1m")


def test_no_resampled_candle_holds_what_was_unknown_when_it_closed() -> None:
    """Off-grid candles: whatever closes after the end of a bucket must not change it."""
    frame = table(40)
    frame.index = frame.index + pd.Timedelta(seconds=20.8)
    whole = resample(Candles.from_frame(frame, "BTC/USDT", "1m"), "5m")
    for time in whole.time:
        end = time + pd.Timedelta(minutes=5)
        known = Candles.from_frame(frame[frame.index + pd.Timedelta(minutes=1) <= end], "BTC/USDT", "1m")
        assert resample(known, "5m").frame.loc[time].equals(whole.frame.loc[time])


def test_resampled_real_minutes_are_the_hours_of_the_exchange(real_data: Path) -> None:
    minutes, hours = resample(real(real_data, BTC), "1h").frame, real(real_data, HOURS, "1h").frame
    both = hours.reindex(minutes.index)
    assert len(minutes) == 26_259
    # the exchange itself published six of 105,036 prices otherwise, and volumes to fewer digits
    assert int((minutes.iloc[:, :4] != both.iloc[:, :4]).to_numpy().sum()) == 6
    assert (minutes["volume"] / both["volume"] - 1).abs().median() < 1e-9


def test_real_off_grid_candles_are_refused_until_resampled(real_data: Path) -> None:
    candles = real(real_data, OFF_GRID)
    with pytest.raises(OffGridCandles) as caught:
        candles.require_grid()
    assert str(caught.value) == (
        "21,602 of 127,340 candles of BTC/USDT 1m do not open on the 1m grid, the first at 2017-12-04 06:00:20.799000 UTC. "
        "Resample them with `freqlstm data resample`, or take them as they are with --accept-off-grid."
    )
    assert candles.require_grid(accept_off_grid=True) is candles
    for timeframe in ("1m", "5m", "1h"):
        on_grid = resample(candles, timeframe)
        assert on_grid.require_grid() is on_grid
        validate(on_grid.frame, "resampled")
    assert len(resample(candles, "1m")) == 127_340
