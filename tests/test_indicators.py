"""Indicators: pandas-ta's values, on each unbroken stretch, the same wherever the history begins or ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from hypothesis import given, settings
from hypothesis import strategies as st
from test_features import assert_same_bits, changed_after, from_closes, market

from freqlstm import indicators
from freqlstm.candles import Candles
from freqlstm.errors import UnknownName, UsageError
from freqlstm.indicator_kernels import bands, window_variance
from freqlstm.indicators import bollinger, bollinger_warmup, macd, macd_warmup, rsi, rsi_warmup, ta, ta_names, ta_warmup

LOOK_AHEAD = {"dpo", "ichimoku", "tos_stdevall", "vp"}  # with the arguments that pandas-ta gives them
NEED_MORE = {"beta", "correl"}  # a second market
CAUSAL = sorted(set(ta_names()) - LOOK_AHEAD - NEED_MORE)

SHIPPED: dict[str, tuple[Callable[[Candles], pd.Series | pd.DataFrame], int]] = {  # type: ignore[type-arg]
    "rsi": (rsi, rsi_warmup()),
    "rsi(2)": (lambda candles: rsi(candles, 2), rsi_warmup(2)),
    "macd": (macd, macd_warmup()),
    "macd(3, 5, 3)": (lambda candles: macd(candles, 3, 5, 3), macd_warmup(3, 5, 3)),
    "bollinger": (bollinger, bollinger_warmup()),
    "bollinger(120)": (lambda candles: bollinger(candles, 120, 1.5), bollinger_warmup(120)),
    "atr": (lambda candles: ta(candles, "atr", length=14), ta_warmup("atr", length=14)),
    "stoch": (lambda candles: ta(candles, "stoch"), ta_warmup("stoch")),
}


def table(made: pd.Series | pd.DataFrame) -> np.ndarray:  # type: ignore[type-arg]
    return made.to_numpy().reshape(len(made), -1)


# Values worked out by hand


def test_the_rsi_of_a_market_that_steps_up_and_down_is_worked_out_by_hand() -> None:
    """Period 2, steps of +1 and -1: gain = (gain + 1) / 2 after a rise, gain / 2 after a fall, and so settles at 2/3, 1/3.

    After a rise RSI = 100 * (2/3) / (2/3 + 1/3), after a fall 100 * (1/3) / (1/3 + 2/3).
    """
    made = rsi(from_closes([100.0, 101.0] * 40), period=2)
    assert made.iloc[-2:].tolist() == pytest.approx([100 / 3, 200 / 3])
    assert made.isna().sum() == rsi_warmup(2) == 32


def test_the_macd_of_a_ramp_that_ends_is_worked_out_by_hand() -> None:
    """An exponential mean of n bars lags a rise of 1 a bar by (n - 1) / 2: 1 for n = 3, 2 for n = 5, so MACD is 1.

    One bar after the rise ends the lags have shrunk to 1 * 1/2 and 2 * 2/3: MACD 5/6, its signal line of 3 bars is
    half way from 1 to 5/6.
    """
    made = macd(from_closes([*range(100, 300), 299]), fast=3, slow=5, signal=3)
    assert list(made.columns) == ["macd", "signal", "histogram"]
    assert made.iloc[-2].tolist() == pytest.approx([1, 1, 0])
    assert made.iloc[-1].tolist() == pytest.approx([5 / 6, 11 / 12, -1 / 12])


def test_the_bollinger_bands_of_four_bars_are_worked_out_by_hand() -> None:
    """Of 1, 2, 3, 4: mean 2.5, population variance (2.25 + 0.25 + 0.25 + 2.25) / 4 = 1.25."""
    made = bollinger(from_closes([1.0, 2.0, 3.0, 4.0, 4.0]), period=4, deviations=2)
    assert list(made.columns) == ["lower", "middle", "upper"]
    assert made.iloc[:3].isna().all(axis=None)
    spread = 2 * math.sqrt(1.25)
    assert made.iloc[3].tolist() == pytest.approx([2.5 - spread, 2.5, 2.5 + spread])
    assert made["middle"].iloc[4] == pytest.approx(3.25)


def test_the_rsi_equals_wilders_own_recursion() -> None:
    candles = make_candles(600)
    moves = np.diff(candles.close.to_numpy())
    gain, loss = np.maximum(moves[:14], 0).mean(), np.maximum(-moves[:14], 0).mean()
    expected = []
    for move in moves[14:]:
        gain, loss = (gain * 13 + max(move, 0)) / 14, (loss * 13 + max(-move, 0)) / 14
        expected.append(100 - 100 / (1 + gain / loss))
    np.testing.assert_allclose(rsi(candles)[rsi_warmup() :], expected[rsi_warmup() - 15 :], rtol=1e-7)


def test_the_rsi_of_one_bar_says_whether_it_rose_or_fell() -> None:
    made = rsi(from_closes([100.0, 101.0, 103.0, 102.0, 102.0, 104.0, 101.0]), period=1)
    assert rsi_warmup(1) == 2
    np.testing.assert_array_equal(made, [np.nan, np.nan, 100.0, 0.0, np.nan, 100.0, 0.0])


def test_an_rsi_of_nothing_is_nan_and_comes_back_with_the_first_move() -> None:
    made = rsi(from_closes([*make_candles(500).close, *[100.0] * 200, 101.0, 100.0]))
    still = rsi_warmup() // 3
    assert made.iloc[rsi_warmup() : 500 + still].notna().all()
    assert made.iloc[501 + still : 700].isna().all()
    assert made.iloc[700:].notna().all()


# What is promised of every indicator


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.integers(0, 1199), gap_at=st.integers(1, 1199))
def test_no_bit_of_an_indicator_depends_on_later_candles(seed: int, t: int, gap_at: int) -> None:
    candles = market(seed, 1200, gap_at if seed % 2 else None)
    for indicator, _ in SHIPPED.values():
        whole = table(indicator(candles))[: t + 1]
        assert_same_bits(table(indicator(candles.rows(0, t + 1))), whole)
        assert_same_bits(table(indicator(changed_after(candles, t)))[: t + 1], whole)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), start=st.integers(1, 1500))
def test_after_the_warm_up_no_indicator_depends_on_where_the_history_begins(seed: int, start: int) -> None:
    candles = make_candles(2500, seed=seed)
    for name, (indicator, warmup) in SHIPPED.items():
        whole, part = table(indicator(candles))[start:], table(indicator(candles.rows(start, 2500)))
        np.testing.assert_array_equal(np.isnan(part).any(axis=1), np.arange(len(part)) < warmup, err_msg=name)
        unit = np.nanstd(whole, axis=0) if name.startswith("macd") else np.abs(whole[warmup:])
        assert (np.abs(part - whole)[warmup:] <= 1e-6 * unit).all(), name


def test_indicators_do_not_mutate_the_candles() -> None:
    candles = market(1, 800)
    before = candles.frame.copy()
    for indicator, _ in SHIPPED.values():
        indicator(candles)
    pd.testing.assert_frame_equal(candles.frame, before)


def test_bollinger_bands_do_not_notice_where_a_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    candles = make_candles(500)
    whole = bollinger(candles)
    monkeypatch.setattr(indicators, "BLOCK", 64)
    np.testing.assert_allclose(bollinger(candles), whole, rtol=1e-13)
    assert_same_bits(table(bollinger(candles.rows(0, 321))), table(bollinger(candles))[:321])


def test_no_indicator_uses_the_hole_of_may_2021_as_if_it_were_a_minute(real_data: Path) -> None:
    for symbol in ("SOL", "ADA"):
        candles = read_real(real_data, f"BINANCE_{symbol}USDT_1m_20210402_20210615.parquet", f"{symbol}/USDT", "1m")
        after = int(np.argmax(np.diff(candles.time.asi8))) + 1
        near = candles.rows(after - 1000, after + 1000)
        for name, (indicator, warmup) in SHIPPED.items():
            made = table(indicator(near))[1000:]
            assert np.isnan(made[:warmup]).any(axis=1).all(), name
            assert np.isfinite(made[warmup:]).all(), name
            assert_same_bits(made, table(indicator(near.rows(1000, 2000))))


def test_the_frozen_hours_of_bitcoin_leave_no_echo_in_any_indicator(real_data: Path) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    frozen = np.flatnonzero(candles.volume.to_numpy() == 0)
    assert len(frozen) == 161
    for first in frozen[::40]:
        whole = candles.rows(first - 1500, first + 1500)
        part = candles.rows(first - 100, first + 1500)
        for name, (indicator, _) in SHIPPED.items():
            there, here = table(indicator(whole))[1400:], table(indicator(part))
            known = ~np.isnan(here)
            unit = np.nanstd(there) if name.startswith("macd") else np.maximum(np.abs(there), 1e-3)
            assert (np.abs(here - there) <= 1e-6 * unit)[known].all(), name


def test_every_gap_of_bitcoin_costs_bollinger_bands_their_warm_up_and_nothing_more(real_data: Path) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    made = bollinger(candles)
    assert made.index.equals(candles.time)
    np.testing.assert_array_equal(made["middle"].notna(), candles.segment_age >= bollinger_warmup())


# Any other indicator of pandas-ta


def test_any_indicator_has_the_values_of_pandas_ta_after_its_warm_up() -> None:
    import pandas_ta_classic

    candles = make_candles(700)
    made = ta(candles, "atr", length=10)
    expected = pandas_ta_classic.atr(candles.high, candles.low, candles.close, length=10)
    assert isinstance(made, pd.Series)
    warmup = ta_warmup("atr", length=10)
    assert made.iloc[:warmup].isna().all()
    np.testing.assert_array_equal(made.iloc[warmup:], expected.iloc[warmup:])
    stoch = ta(candles, "stoch", k=10)
    assert list(stoch.columns) == ["STOCHk_10_3_3", "STOCHd_10_3_3"]
    assert isinstance(ta(candles.rows(0, 3), "stoch"), pd.DataFrame)
    assert ta(candles.rows(0, 0), "atr").empty


def test_warm_ups_are_measured_and_longer_for_longer_memories() -> None:
    assert ta_warmup("sma", length=30) == 29
    assert ta_warmup("mom", length=10) == 10
    assert ta_warmup("ema", length=10) < ta_warmup("ema", length=100) < 1000


@pytest.mark.parametrize("name", sorted(LOOK_AHEAD))
def test_an_indicator_that_looks_ahead_is_refused(name: str) -> None:
    with pytest.raises(
        UsageError, match=f"The indicator '{name}' with its defaults looks ahead: values changed when only"
    ):
        ta(make_candles(300), name)


def test_an_indicator_that_looks_ahead_by_its_arguments_is_refused_and_a_causal_one_is_taken() -> None:
    with pytest.raises(UsageError, match=r"The indicator 'sma' with \{'offset': -1\} looks ahead"):
        ta(make_candles(300), "sma", offset=-1)
    assert ta(make_candles(300), "dpo", centered=False).notna().any()
    assert ta(make_candles(300), "ichimoku", include_chikou=False).notna().any(axis=None)


def test_unknown_indicators_and_arguments_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"No indicator named 'stock'\. Did you mean 'stoch'\?"):
        ta(make_candles(300), "stock")
    with pytest.raises(
        UnknownName, match=r"No argument of the indicator 'atr' named 'lenght'\. Did you mean 'length'\?"
    ):
        ta(make_candles(300), "atr", lenght=3)
    for withheld in ("fill_method", "fillna", "talib", "close"):
        with pytest.raises(UnknownName, match=f"No argument of the indicator 'sma' named '{withheld}'"):
            ta(make_candles(300), "sma", **{withheld: "bfill"})
    with pytest.raises(
        UsageError, match=r"length of the indicator 'sma' is \[3\]\. It must be a number, a text or a tuple"
    ):
        ta_warmup("sma", length=[3])
    with pytest.raises(
        UsageError, match=r"The indicator 'beta' gave nothing for \{\}\. See its documentation in pandas-ta"
    ):
        ta(make_candles(300), "beta")
    with pytest.raises(UsageError, match=r"The indicator 'sma' failed with \{'length': 'ten'\}: "):
        ta(make_candles(300), "sma", length="ten")


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSAL)
def test_no_bit_of_any_indicator_of_pandas_ta_depends_on_later_candles(name: str) -> None:
    candles = market(11, 900)
    whole = table(ta(candles, name))
    for t in (450, 899 - 3, 898):
        assert_same_bits(table(ta(candles.rows(0, t + 1), name)), whole[: t + 1])
        assert_same_bits(table(ta(changed_after(candles, t), name))[: t + 1], whole[: t + 1])


# Parameters that cannot be right


def test_periods_that_are_not_numbers_of_bars_are_refused() -> None:
    candles = make_candles(50)
    for call, message in (
        (lambda: rsi(candles, 0), r"period is 0\. It must be a whole number of bars, at least 1\."),
        (lambda: rsi(candles, 14.5), r"period is 14\.5\. It must be a whole number"),  # type: ignore[arg-type]
        (lambda: macd(candles, True), r"fast is True\. It must be a whole number"),
        (lambda: macd(candles, 26, 12), r"fast is 26 and slow is 12\. The fast period must be the shorter one\."),
        (lambda: bollinger(candles, 1), r"period is 1\. It must be a whole number of bars, at least 2\."),
        (lambda: bollinger(candles, 20, 0), r"deviations is 0\. It must be a positive number, as in 2\.0\."),
    ):
        with pytest.raises(UsageError, match=message):
            call()


def test_fewer_candles_than_the_warm_up_have_no_indicator() -> None:
    for indicator, warmup in SHIPPED.values():
        assert np.isnan(table(indicator(make_candles(warmup)))).all()
        assert np.isfinite(table(indicator(make_candles(warmup + 1)))[-1]).all()
        assert len(indicator(make_candles(5).rows(0, 0))) == 0


# Compiled loops


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), rows=st.integers(1, 900), period=st.integers(2, 700), level=st.sampled_from([1e-3, 1.0, 1e5])
)  # fmt: skip
def test_the_variance_of_every_window_is_that_of_numpy_to_the_bit(
    seed: int, rows: int, period: int, level: float
) -> None:
    values = level * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 1e-3, rows)))
    made = np.full(rows, np.nan)
    window_variance(made, values, period)
    assert np.isnan(made[: period - 1]).all()
    windows = np.lib.stride_tricks.sliding_window_view(values, period) if period <= rows else np.empty((0, period))
    assert made[period - 1 :].tolist() == windows.var(axis=1).tolist()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), rows=st.integers(1, 700), period=st.integers(2, 60), block=st.integers(60, 800),
    wild=st.sampled_from([1e-3, 1.0, 9.0]), still=st.sampled_from([0.0, 0.5, 0.97]),
)  # fmt: skip
def test_the_middle_of_bollinger_bands_is_the_rolling_mean_of_pandas_to_the_bit(
    seed: int, rows: int, period: int, block: int, wild: float, still: float
) -> None:
    random = np.random.default_rng(seed)
    values = np.exp(np.cumsum(random.normal(0, wild, rows) * (random.random(rows) >= still)).clip(-300, 300))
    lower, middle, upper = np.full((3, rows), np.nan)
    bands(lower, middle, upper, values, period, 2.0, block)
    for first in range(0, rows, block):
        before = min(first, period - 1)
        part = pd.Series(values[first - before : first + block]).rolling(period).mean()[before:]
        assert_same_bits(middle[first : first + block], part.to_numpy())
    assert (lower[period - 1 :] <= upper[period - 1 :]).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), periods=st.sets(st.integers(1, 40), min_size=3, max_size=3))
def test_rsi_macd_and_bollinger_bands_are_those_of_pandas_ta(seed: int, periods: set[int]) -> None:
    import pandas_ta_classic

    candles = make_candles(900, seed=seed)
    fast, slow, signal = sorted(periods)
    deviations = 0.5 + signal / 10
    pairs = [
        (rsi(candles, signal), pandas_ta_classic.rsi(candles.close, length=signal), rsi_warmup(signal)),
        (macd(candles, fast, slow, signal), pandas_ta_classic.macd(candles.close, fast=fast, slow=slow, signal=signal).iloc[:, [0, 2, 1]],
         macd_warmup(fast, slow, signal)),
        (bollinger(candles, slow, deviations), pandas_ta_classic.bbands(candles.close, length=slow, std=deviations).iloc[:, :3],
         bollinger_warmup(slow)),
    ]  # fmt: skip
    for made, expected, warmup in pairs:
        assert np.isnan(table(made)[:warmup]).all()
        np.testing.assert_allclose(table(made)[warmup:], table(expected)[warmup:], rtol=1e-12, atol=1e-12 * 100)
