"""Features: known at their bar, finite, and the same wherever the history begins or ends."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm import catalogue
from freqlstm.candles import Candles, validate
from freqlstm.errors import PluginError, UnknownName, UsageError
from freqlstm.features import (
    DEFAULT_FEATURES,
    FEATURES,
    Feature,
    compute,
    ewma_volatility,
    ewma_warmup,
    feature,
    warmup,
)

EVERY = list(FEATURES)
LONGEST = warmup(EVERY)


def market(seed: int, rows: int, gap_at: int | None = None) -> Candles:
    """A random walk with the unpleasantness of real candles: frozen runs, no volume, jumps, large and tiny volumes."""
    random = np.random.default_rng(seed)
    returns = random.normal(0, 10.0 ** random.uniform(-5, -2), rows) * random.choice([0.1, 1, 5], rows)
    returns[random.random(rows) < 0.002] += 0.1
    for start in random.integers(0, rows, 4):
        returns[start : start + random.integers(1, 400)] = 0.0
    close = 10.0 ** random.uniform(-3, 4) * np.exp(np.cumsum(returns))
    open_ = np.concatenate([close[:1], close[:-1]]) * np.exp(random.normal(0, 1e-6, rows) * (returns != 0))
    wick = np.abs(random.normal(0, 5e-4, (2, rows))) * (returns != 0)
    volume = 10.0 ** random.uniform(-2, 4) * random.lognormal(0, 1, rows) * (random.random(rows) > 0.05)
    volume[returns == 0] = 0.0
    time_ = pd.date_range("2024-01-03 22:07", periods=rows, freq="min", tz="UTC", unit="ms", name="time")
    if gap_at is not None:
        time_ = time_.where(np.arange(rows) < gap_at, time_ + pd.Timedelta(minutes=90))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": volume,
        },
        index=time_,
    )
    validate(frame, "market")
    return Candles(frame, "BTC/USDT", "1m")


def changed_after(candles: Candles, t: int) -> Candles:
    """The same candles up to row t, wildly different ones after it."""
    frame = candles.frame.copy()
    frame.iloc[t + 1 :, :4] *= 7.3
    frame.iloc[t + 1 :, 4] = frame.iloc[t + 1 :, 4] * 100 + 3
    return Candles(frame, candles.symbol, candles.timeframe, candles.exchange)


def from_closes(closes: list[float] | np.ndarray, start: str = "2024-01-01") -> Candles:
    """Candles without wicks whose open is the close before, one unit of volume each."""
    close = np.asarray(closes, dtype=float)
    open_ = np.concatenate([close[:1], close[:-1]])
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
            "volume": 1.0,
        },
        index=pd.date_range(start, periods=len(close), freq="min", tz="UTC"),
    )
    return Candles.from_frame(frame, "BTC/USDT", "1m")


def assert_same_bits(one: np.ndarray, other: np.ndarray) -> None:
    one, other = np.ascontiguousarray(one), np.ascontiguousarray(other)
    assert one.shape == other.shape
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    present = ~np.isnan(one)
    np.testing.assert_array_equal(one[present].view(np.int64), other[present].view(np.int64))


def assert_equal_up_to_rounding(part: pd.DataFrame, whole: pd.DataFrame, tolerance: float = 1e-6) -> None:
    """Relative to the value, or to a hundredth of the spread of its feature where the value is about zero."""
    for name in part.columns:
        here, there = part[name].to_numpy(), whole[name].to_numpy()
        known = ~np.isnan(here)
        scale = np.maximum(np.abs(there), 1e-2 * max(float(np.nanstd(there)), 1e-3))
        worst = float(np.max(np.abs(here - there)[known] / scale[known], initial=0.0))
        assert worst <= tolerance, f"{name} differs by {worst}"


# What is promised of every feature


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.integers(0, 2499), gap_at=st.integers(1, 2499))
def test_no_bit_of_any_feature_depends_on_later_candles(seed: int, t: int, gap_at: int) -> None:
    candles = market(seed, 2500, gap_at if seed % 2 else None)
    whole = compute(EVERY, candles).to_numpy()[: t + 1]
    assert_same_bits(compute(EVERY, candles.rows(0, t + 1)).to_numpy(), whole)
    assert_same_bits(compute(EVERY, changed_after(candles, t)).to_numpy()[: t + 1], whole)


def test_no_bit_of_any_feature_depends_on_how_the_number_of_rows_fits_the_processor() -> None:
    candles = market(5, 1700)
    whole = compute(EVERY, candles).to_numpy()
    for rows in range(1600, 1665):
        assert_same_bits(compute(EVERY, candles.rows(0, rows)).to_numpy(), whole[:rows])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), start=st.integers(1, 2000))
def test_after_the_warm_up_no_feature_depends_on_where_the_history_begins(seed: int, start: int) -> None:
    candles = market(seed, 4000)
    whole = compute(EVERY, candles).iloc[start:]
    assert_equal_up_to_rounding(compute(EVERY, candles.rows(start, 4000)), whole)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), gap_at=st.integers(1, 3999))
def test_every_feature_is_a_number_after_its_warm_up_and_nan_before(seed: int, gap_at: int) -> None:
    candles = market(seed, 4000, gap_at)
    table = compute(EVERY, candles)
    assert table.index.equals(candles.time)
    assert (table.dtypes == np.float64).all()
    for name in EVERY:
        warm = candles.segment_age >= FEATURES[name].warmup
        np.testing.assert_array_equal(np.isfinite(table[name].to_numpy()), warm, err_msg=name)
        assert table[name][~warm].isna().all()


@pytest.mark.parametrize("name", EVERY)
def test_one_bar_less_of_warm_up_would_not_do(name: str) -> None:
    if name.startswith(("time_of_", "minute_of_", "close_position")):
        assert FEATURES[name].warmup == 0
        return
    candles = make_candles(LONGEST + 800, seed=3)
    start, last = 700, 700 + FEATURES[name].warmup
    whole = np.asarray(FEATURES[name].function(candles))[last]
    exact = np.asarray(FEATURES[name].function(candles.rows(start, last + 1)))[-1]
    assert exact == pytest.approx(whole, rel=1e-6, abs=1e-9)
    short = np.asarray(FEATURES[name].function(candles.rows(start + 1, last + 1)))[-1]
    assert name == "gap" or short != pytest.approx(whole, rel=1e-9, abs=1e-12)  # these candles have no gaps at all


def test_features_of_a_symbol_do_not_depend_on_its_price_level_or_the_unit_of_its_volume() -> None:
    candles = make_candles(2000)
    frame = candles.frame.copy()
    frame.iloc[:, :4] *= 1024.0
    frame.iloc[:, 4] *= 256.0
    scaled = Candles(frame, candles.symbol, candles.timeframe)
    assert_equal_up_to_rounding(compute(EVERY, scaled), compute(EVERY, candles))


def test_features_do_not_mutate_the_candles() -> None:
    candles = market(1, 2000)
    before = candles.frame.copy()
    compute(EVERY, candles)
    pd.testing.assert_frame_equal(candles.frame, before)


def test_two_processes_give_the_same_bits() -> None:
    code = (
        "import hashlib, sys; sys.path[:0] = ['.', 'tests']\n"
        "from test_features import compute, market, EVERY\n"
        "print(hashlib.sha256(compute(EVERY, market(4, 1800)).to_numpy().tobytes()).hexdigest())"
    )
    folder = Path(__file__).resolve().parents[1]
    made = [subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True) for _ in range(2)]
    assert len(made[0].stdout) == 65, made[0].stderr
    assert made[0].stdout == made[1].stdout


def test_the_default_features_of_ninety_days_of_minutes_take_about_a_second() -> None:
    candles = make_candles(130_000)
    began = time.perf_counter()
    compute(DEFAULT_FEATURES, candles)
    assert time.perf_counter() - began < 3  # 0.3 s on an idle core


def test_importing_features_loads_no_indicator_library() -> None:
    code = "import sys, freqlstm.features as f; print(sorted({'pandas_ta_classic', 'tensorflow', 'backtrader'} & set(sys.modules)))"
    folder = Path(__file__).resolve().parents[1]
    made = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert made.stdout == "[]\n", made.stderr


# Gaps


def test_no_feature_uses_the_hole_of_may_2021_as_if_it_were_a_minute(real_data: Path) -> None:
    for symbol, hours in (("SOL", 24.8), ("ADA", 19.0)):
        candles = read_real(real_data, f"BINANCE_{symbol}USDT_1m_20210402_20210615.parquet", f"{symbol}/USDT", "1m")
        distance = np.diff(candles.time.as_unit("ns").asi8) / 3.6e12
        after = int(np.argmax(distance)) + 1
        assert distance[after - 1] == pytest.approx(hours, abs=0.05)
        near = candles.rows(after - 3000, after + 3000)
        made = compute(EVERY, near)
        assert_same_bits(made.to_numpy()[3000:], compute(EVERY, near.rows(3000, 6000)).to_numpy())
        for name in EVERY:
            hole = made[name].to_numpy()[3000:]
            assert np.isnan(hole[: FEATURES[name].warmup]).all()
            assert np.isfinite(hole[FEATURES[name].warmup :]).all()


def test_every_gap_of_bitcoin_costs_each_feature_its_warm_up_and_nothing_more(real_data: Path) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    assert len(list(candles.segments())) == 8  # 7 gaps
    names = ["return_lag_0", "close_position", "bollinger_z_20", "volume_z_60", "rsi_14", "obv_60"]
    made = compute(names, candles)
    for name in names:
        np.testing.assert_array_equal(made[name].notna(), candles.segment_age >= FEATURES[name].warmup, err_msg=name)
        assert np.isfinite(made[name].dropna()).all()


def test_a_stretch_shorter_than_the_warm_up_has_no_value() -> None:
    candles = market(2, 500, gap_at=480)
    assert compute(["return_lag_0"], candles)["return_lag_0"].iloc[480:].isna().all()
    assert compute(["close_position"], candles)["close_position"].notna().all()


def test_no_candles_have_no_features_but_all_columns() -> None:
    made = compute(EVERY, make_candles(10).rows(0, 0))
    assert made.shape == (0, len(EVERY))
    assert list(made.columns) == EVERY


# Values worked out by hand


def test_in_a_market_that_steps_up_and_down_by_one_volatility_the_values_are_round_numbers() -> None:
    """Closes 100, 101, 100, 101, ...: every return is +- log 1.01, so the EWMA volatility is exactly log 1.01.

    1600 bars, the last closes at 101: its return is +1 volatility, the one before -1; five bars add up to +1.
    """
    names = [*EVERY]
    last = compute(names, from_closes([100.0, 101.0] * 800)).iloc[-1]
    step = math.log(1.01)
    expected = {
        "return_lag_0": 1,
        "return_lag_1": -1,
        "return_lag_4": 1,
        "momentum_5": 1 / math.sqrt(5),
        "momentum_60": 0,
        "volatility_ratio_15": 0,
        "volatility_ratio_1440": 0,
        "volatility_level": math.log(step),
        "range_1": 1,
        "range_60": math.log(1 / math.sqrt(4 * math.log(2))),
        "atr_14": 1,
        "close_position": 1,
        "gap": 0,
        "stochastic_14": 1,
        "bollinger_z_20": 1,  # ten closes of 100 and ten of 101: mean 100.5, deviation 0.5
        "bollinger_z_120": 1,
        "bollinger_width_20": math.log(0.5 / 100.5),
        "efficiency_60": 0,
        "reversal_60": -1,
        "volume_z_60": 0,
        "volume_level": math.log(2),
        "signed_volume": math.log(2),
        "obv_60": 0,
        "high_distance_60": 0,
        "low_distance_60": 1 / math.sqrt(60),
        "moving_average_20": math.log(101 / 100.5) / step / math.sqrt(20),
        "vwap_distance_60": math.log(101 / 100.5) / step / math.sqrt(60),
    }
    for name, value in expected.items():
        assert last[name] == pytest.approx(value, abs=1e-9), name


def test_the_rsi_of_period_two_is_worked_out_by_hand() -> None:
    """After a long rest the close moves +2, -1, +1; each gain or loss weighs half of the one a bar later.

    After +2, -1: gains 0.25 * 2, losses 0.5 * 1. After +1: gains 0.5 * 1 + 0.125 * 2, losses 0.25 * 1.
    """
    made = compute([catalogue.rsi(2)], from_closes([100.0] * 30 + [102.0, 101.0, 102.0]))["rsi_2"]
    assert made.iloc[29:].tolist() == pytest.approx([50.0, 100.0, 50.0, 75.0])


def test_wilders_rsi_is_approached_to_a_millionth() -> None:
    candles = make_candles(1000)
    move = candles.close.diff().fillna(0.0)
    gain = move.clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    loss = (-move).clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    made = compute(["rsi_14"], candles)["rsi_14"]
    np.testing.assert_allclose(made[300:], (100 * gain / (gain + loss))[300:], atol=2e-4)  # of 100


def test_the_macd_histogram_is_that_of_the_textbook_on_log_prices() -> None:
    candles = make_candles(1500)
    logarithm = np.log(candles.close)
    macd = logarithm.ewm(span=12, adjust=False).mean() - logarithm.ewm(span=26, adjust=False).mean()
    expected = (macd - macd.ewm(span=9, adjust=False).mean()) / ewma_volatility(candles)
    made = compute(["macd_histogram"], candles)["macd_histogram"]
    np.testing.assert_allclose(made[700:], expected[700:], atol=1e-4)  # the histogram spreads over +- 0.3


def test_the_bollinger_z_of_three_bars_is_worked_out_by_hand() -> None:
    made = compute([catalogue.bollinger_z(3)], from_closes([1.0, 2.0, 3.0, 2.0, 2.0, 2.0]))["bollinger_z_3"]
    third = math.sqrt(2 / 9)
    assert made.tolist() == pytest.approx(
        [math.nan, math.nan, 1 / math.sqrt(2 / 3), (2 - 7 / 3) / third, (2 - 7 / 3) / third, 0.0], nan_ok=True
    )


def test_the_time_of_an_open_is_read_off_the_clock_of_utc() -> None:
    monday = from_closes([1.0] * 1081, start="2024-01-01")  # a Monday
    made = compute(["time_of_day_sin", "time_of_day_cos", "time_of_week_cos", "minute_of_quarter"], monday)
    at = made.loc["2024-01-01 06:00"]
    assert at["time_of_day_sin"] == pytest.approx(1)
    assert made.loc["2024-01-01 12:00"]["time_of_day_cos"] == pytest.approx(-1)
    assert made.loc["2024-01-01 00:00"]["time_of_week_cos"] == 1
    assert made["minute_of_quarter"].iloc[:17].tolist() == [*map(float, range(15)), 0.0, 1.0]


def test_the_volatility_is_the_weighted_mean_of_the_squared_returns_of_five_half_lives() -> None:
    candles = make_candles(400)
    made = ewma_volatility(candles, halflife=10)
    squares = np.diff(np.log(candles.close.to_numpy())) ** 2
    weights = 0.5 ** (np.arange(50) / 10)
    assert made.isna().sum() == ewma_warmup(10) == 50
    for t in (50, 51, 200, 399):
        expected = math.sqrt(np.average(squares[t - 50 : t][::-1], weights=weights))
        assert made.iloc[t] == pytest.approx(expected, rel=1e-12)


def test_the_volatility_of_a_frozen_market_is_small_but_not_zero() -> None:
    made = ewma_volatility(from_closes([*np.linspace(1, 2, 50), *([2.0] * 400)])).iloc[-1]
    assert made == pytest.approx(1e-6, rel=1e-3)


def test_high_and_low_distances_and_vwap_equal_plain_loops() -> None:
    candles = make_candles(420)
    sigma = ewma_volatility(candles)
    made = compute(["high_distance_60", "low_distance_60", "vwap_distance_60", "momentum_15", "volume_z_60"], candles)
    for t in (300, 350, 419):
        window = candles.frame.iloc[t - 59 : t + 1]
        close, unit = float(candles.close.iloc[t]), float(sigma.iloc[t]) * math.sqrt(60)
        vwap = float((window["close"] * window["volume"]).sum() / window["volume"].sum())
        root = np.sqrt(window["volume"].to_numpy())
        assert made["high_distance_60"].iloc[t] == pytest.approx(math.log(window["high"].max() / close) / unit)
        assert made["low_distance_60"].iloc[t] == pytest.approx(math.log(close / window["low"].min()) / unit)
        assert made["vwap_distance_60"].iloc[t] == pytest.approx(math.log(close / vwap) / unit)
        assert made["volume_z_60"].iloc[t] == pytest.approx((root[-1] - root.mean()) / root.std())
        move = math.log(close / float(candles.close.iloc[t - 15])) / float(sigma.iloc[t]) / math.sqrt(15)
        assert made["momentum_15"].iloc[t] == pytest.approx(move)


# Names and one's own features


def test_there_are_enough_features_and_each_says_what_it_is() -> None:
    assert len(FEATURES) >= 28
    assert set(DEFAULT_FEATURES) <= set(FEATURES)
    assert all(name == each.name and each.description for name, each in FEATURES.items())


def test_an_unknown_feature_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"No feature named 'momentun_5'\. Did you mean 'momentum_5'\?"):
        compute(["momentun_5"], make_candles(10))


def test_a_feature_listed_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Feature 'gap' is listed twice\. List each feature once\."):
        compute(["gap", "close_position", "gap"], make_candles(10))


def test_ones_own_feature_is_a_decorated_function_beside_the_names() -> None:
    @feature(warmup=2)
    def acceleration(candles: Candles) -> pd.Series:  # type: ignore[type-arg]
        """Second difference of the close.

        More text.
        """
        return candles.close.diff().diff()

    made = compute([acceleration, "close_position", catalogue.momentum(30)], from_closes([1.0, 2.0, 4.0, 7.0]))
    assert list(made.columns) == ["acceleration", "close_position", "momentum_30"]
    assert made["acceleration"].tolist() == pytest.approx([math.nan, math.nan, 1, 1], nan_ok=True)
    assert acceleration.description == "Second difference of the close."
    assert warmup([acceleration, "volume_level"]) == 1439


def test_a_feature_that_does_not_give_one_number_a_bar_is_refused() -> None:
    candles = make_candles(10)
    for function, message in (
        (lambda c: c.close.to_numpy()[1:], r"Feature 'own' returned an array of shape \(9,\) for 10 candles\. It must"),
        (
            lambda c: c.close.reset_index(drop=True),
            r"Feature 'own' returned a Series whose index is not that of the can",
        ),
        (
            lambda c: np.array(["up"] * 10),
            r"Feature 'own' returned what is not numbers: .*'up'.*\. It must return floats",
        ),
    ):
        with pytest.raises(PluginError, match=message):
            compute([Feature("own", function, 0)], candles)


@pytest.mark.parametrize("bad", [-1, 1.5, True])
def test_a_warm_up_that_is_not_a_number_of_bars_is_refused(bad: int) -> None:
    with pytest.raises(UsageError, match=r"The warmup of feature 'own' is .*\. It must be a whole number of bars"):
        Feature("own", lambda candles: candles.close, bad)


def test_a_half_life_that_is_not_a_number_of_bars_is_refused() -> None:
    with pytest.raises(UsageError, match=r"The half-life is 0\. It must be a whole number of bars, at least 1\."):
        ewma_volatility(make_candles(10), 0)
