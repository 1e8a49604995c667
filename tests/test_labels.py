"""Labels: what came, only within one unbroken stretch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.labels import direction, forward_return, log_past_variance, log_realised_variance

LABELS = {"return": forward_return, "direction": direction, "volatility": log_realised_variance}


def from_closes(closes: list[float], gap_at: int | None = None) -> Candles:
    time = pd.date_range("2024-01-01", periods=len(closes), freq="min", tz="UTC", unit="ms", name="time")
    if gap_at is not None:
        time = time.where(np.arange(len(closes)) < gap_at, time + pd.Timedelta(hours=1))
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), index=time).assign(volume=1.0)
    return Candles.from_frame(frame, "BTC/USDT", "1m")


def with_a_gap(candles: Candles, gap_at: int) -> Candles:
    frame = candles.frame.copy()
    frame.index = candles.time.where(np.arange(len(candles)) < gap_at, candles.time + pd.Timedelta(hours=25))
    return Candles(frame, candles.symbol, candles.timeframe)


def test_returns_directions_and_variances_of_five_candles_are_worked_out_by_hand() -> None:
    """Closes 100, 110, 99, 99, 108.9: steps of +10%, -10%, 0 and +10%."""
    candles = from_closes([100.0, 110.0, 99.0, 99.0, 108.9])
    up, down = math.log(1.1), math.log(0.9)
    nan = math.nan
    assert forward_return(candles, 1).tolist() == pytest.approx([up, down, 0, up, nan], nan_ok=True)
    assert forward_return(candles, 2).tolist() == pytest.approx([up + down, down, up, nan, nan], nan_ok=True)
    assert direction(candles, 1).tolist() == pytest.approx([1, 0, nan, 1, nan], nan_ok=True)
    assert direction(candles, 2).tolist() == pytest.approx([0, 0, 1, nan, nan], nan_ok=True)
    two = [math.log(up**2 + down**2), math.log(down**2), math.log(up**2)]
    assert log_realised_variance(candles, 2).tolist() == pytest.approx([*two, nan, nan], nan_ok=True)
    assert log_past_variance(candles, 2).tolist() == pytest.approx([nan, nan, *two], nan_ok=True)


def test_the_variance_of_a_frozen_market_has_a_logarithm() -> None:
    made = log_realised_variance(from_closes([5.0] * 6), 3)
    assert made.tolist() == pytest.approx([math.log(3e-12)] * 3 + [math.nan] * 3, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), horizon=st.integers(1, 40), t=st.integers(0, 199))
def test_a_label_is_known_at_the_close_of_bar_t_plus_horizon_and_not_a_bar_earlier(
    seed: int, horizon: int, t: int
) -> None:
    candles = make_candles(240, seed=seed)
    for label in LABELS.values():
        whole = label(candles, horizon).iloc[t]
        known = label(candles.rows(0, t + horizon + 1), horizon)
        np.testing.assert_array_equal(known.iloc[t], whole)
        assert np.isfinite(whole)
        assert math.isnan(label(candles.rows(0, t + horizon), horizon).iloc[t])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), horizon=st.integers(1, 40), gap_at=st.integers(1, 199))
def test_no_label_spans_a_gap(seed: int, horizon: int, gap_at: int) -> None:
    candles = with_a_gap(make_candles(200, seed=seed), gap_at)
    rows = np.arange(200)
    stretch_end = np.where(rows < gap_at, gap_at, 200)
    for label in LABELS.values():
        np.testing.assert_array_equal(label(candles, horizon).notna(), rows + horizon < stretch_end)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), bars=st.integers(1, 40), t=st.integers(0, 198))
def test_no_bit_of_the_past_variance_depends_on_later_candles(seed: int, bars: int, t: int) -> None:
    candles = make_candles(200, seed=seed)
    frame = candles.frame.copy()
    frame.iloc[t + 1 :, :4] *= 3.0
    changed = Candles(frame, candles.symbol, candles.timeframe)
    whole = log_past_variance(candles, bars).iloc[: t + 1]
    np.testing.assert_array_equal(log_past_variance(changed, bars).iloc[: t + 1], whole)
    np.testing.assert_array_equal(log_past_variance(candles.rows(0, t + 1), bars), whole)


def test_the_past_variance_begins_anew_after_a_gap() -> None:
    candles = with_a_gap(make_candles(200), 120)
    made = log_past_variance(candles, 15)
    np.testing.assert_array_equal(made.notna(), candles.segment_age >= 15)
    np.testing.assert_array_equal(made.iloc[120:], log_past_variance(candles.rows(120, 200), 15))


def test_past_and_realised_variance_are_the_same_sum_a_horizon_apart() -> None:
    candles = make_candles(300)
    past, realised = log_past_variance(candles, 15), log_realised_variance(candles, 15)
    np.testing.assert_array_equal(past.iloc[15:], realised.iloc[:-15])
    returns = np.diff(np.log(candles.close.to_numpy()))
    assert realised.iloc[100] == pytest.approx(math.log((returns[100:115] ** 2).sum()))


def test_no_label_uses_the_hole_of_may_2021_as_if_it_were_a_minute(real_data: Path) -> None:
    for symbol in ("SOL", "ADA"):
        candles = read_real(real_data, f"BINANCE_{symbol}USDT_1m_20210402_20210615.parquet", f"{symbol}/USDT", "1m")
        last_before = int(np.argmax(np.diff(candles.time.asi8)))
        assert str(candles.time[last_before].date()) in ("2021-05-14", "2021-05-13", "2021-05-15")
        for label in (forward_return, log_realised_variance):
            made = label(candles, 5).to_numpy()
            assert np.isnan(made[last_before - 4 : last_before + 1]).all()
            assert np.isfinite(made[[last_before - 5, last_before + 1]]).all()


def test_the_seven_gaps_of_bitcoin_cost_one_horizon_each(real_data: Path) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    for horizon in (1, 5, 60):
        assert forward_return(candles, horizon).isna().sum() == 8 * horizon
    assert direction(candles, 1).isna().sum() == (candles.close.diff() == 0).sum() + 8 - sum(
        candles.close.iloc[first] == candles.close.iloc[first - 1] for first, _ in list(candles.segments())[1:]
    )


def test_fewer_candles_than_the_horizon_have_no_label() -> None:
    for label in LABELS.values():
        assert label(make_candles(5), 5).isna().all()
        assert len(label(make_candles(5).rows(0, 0), 5)) == 0


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "5"])
def test_a_horizon_that_is_not_a_number_of_bars_is_refused(bad: int) -> None:
    with pytest.raises(UsageError, match=r"horizon is .*\. It must be a whole number of bars, at least 1\."):
        forward_return(make_candles(9), bad)
    with pytest.raises(UsageError, match=r"bars is .*\. It must be a whole number of bars, at least 1\."):
        log_past_variance(make_candles(9), bad)
