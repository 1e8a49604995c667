"""Sums, means and memories along an array."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from freqlstm import rolling

RANDOM = np.random.default_rng(3).normal(0, 1, 300)


def test_changes_and_lags_are_worked_out_by_hand() -> None:
    values = np.array([1.0, 4.0, 9.0, 16.0])
    np.testing.assert_array_equal(rolling.change(values), [np.nan, 3, 5, 7])
    np.testing.assert_array_equal(rolling.change(values, 3), [np.nan, np.nan, np.nan, 15])
    np.testing.assert_array_equal(rolling.lagged(values, 2), [np.nan, np.nan, 1, 4])
    np.testing.assert_array_equal(rolling.lagged(values, 9), [np.nan] * 4)
    np.testing.assert_array_equal(rolling.lagged(values, 0), values)


def test_a_ratio_to_nothing_is_what_is_asked_for_and_a_ratio_to_nan_is_nan() -> None:
    made = rolling.ratio(np.array([1.0, 1.0, np.nan, 1.0]), np.array([2.0, 0.0, 0.0, np.nan]), otherwise=7.0)
    np.testing.assert_array_equal(made, [0.5, 7.0, np.nan, np.nan])


@pytest.mark.parametrize("rows", [1, 2, 20, 120])
def test_windows_end_at_their_row_and_hold_so_many_rows(rows: int) -> None:
    for function, plain in (
        (rolling.mean, np.mean),
        (rolling.deviation, np.std),
        (rolling.highest, np.max),
        (rolling.lowest, np.min),
    ):
        made = function(RANDOM, rows)
        assert np.isnan(made[: rows - 1]).all()
        expected = [plain(RANDOM[t - rows + 1 : t + 1]) for t in range(rows - 1, len(RANDOM))]
        np.testing.assert_allclose(made[rows - 1 :], expected, atol=1e-12)


def test_a_calm_deviation_is_exact_right_after_a_wild_one() -> None:
    calm = 1 + 1e-9 * RANDOM
    after_wild = np.concatenate([1e6 * RANDOM, calm])
    np.testing.assert_array_equal(rolling.deviation(after_wild, 20)[320:], rolling.deviation(calm, 20)[20:])


def unpleasant(seed: int) -> np.ndarray:
    """Numbers of very different size, some alike in a row, some missing, all of one sign or not."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, 700) * 10.0 ** random.integers(-9, 10, 700)
    values[100:160] = values[99]
    values[random.random(700) < 0.01 * (seed % 2)] = np.nan
    values[random.random(700) < 0.2 * (seed % 5 == 0)] = 0.0
    return np.abs(values) if seed % 3 == 0 else -np.abs(values) if seed % 3 == 1 else values


@pytest.mark.parametrize("rows", [1, 2, 20, 120, 187])
def test_windows_have_the_bits_of_pandas_and_numpy(rows: int) -> None:
    for seed in range(30):
        values = unpleasant(seed)
        windows = pd.Series(values).rolling(rows)
        np.testing.assert_array_equal(rolling.mean(values, rows), windows.mean())
        np.testing.assert_array_equal(rolling.highest(values, rows), windows.max())
        np.testing.assert_array_equal(rolling.lowest(values, rows), windows.min())
        written_out = np.lib.stride_tricks.sliding_window_view(values, rows).copy()
        np.testing.assert_array_equal(rolling.deviation(values, rows)[rows - 1 :], np.std(written_out, axis=1))


@pytest.mark.parametrize("alpha", [1.0, 2 / 27, 1 - 0.5 ** (1 / 60)])
def test_a_decayed_mean_has_the_bits_of_pandas(alpha: float) -> None:
    for seed in range(30):
        values = unpleasant(seed)
        known = np.nan_to_num(values)
        left = (1 - alpha) ** 100
        moved = np.concatenate([[0.0], known - left * np.concatenate([np.zeros(100), known[:-100]])])
        expected = pd.Series(moved).ewm(alpha=alpha, adjust=False).mean().to_numpy()[1:] / (1 - left)
        np.testing.assert_array_equal(rolling.decayed(values, alpha, 100), expected)


def test_a_decayed_mean_weighs_by_age_and_forgets_what_is_older_than_its_rows() -> None:
    made = rolling.decayed(RANDOM, alpha=0.1, rows=30)
    weights = 0.9 ** np.arange(30)
    expected = [np.average(RANDOM[t - 29 : t + 1][::-1], weights=weights) for t in range(29, 300)]
    np.testing.assert_allclose(made[29:], expected, rtol=1e-12, atol=1e-14)


def test_a_decayed_mean_counts_nan_as_zero() -> None:
    made = rolling.decayed(np.array([np.nan, 1.0, 3.0]), alpha=0.5, rows=2)
    np.testing.assert_allclose(made[1:], [2 / 3, (2 * 3 + 1) / 3])


def test_memory_is_the_number_of_values_that_hold_all_but_a_millionth_of_the_weight() -> None:
    assert rolling.memory(0.5) == 20  # 0.5 ** 20 is 0.95 millionths
    assert 0.9 ** rolling.memory(0.1) <= 1e-6 < 0.9 ** (rolling.memory(0.1) - 1)
    assert rolling.memory(1.0) == 1


def test_logarithms_of_what_is_too_small_are_those_of_the_least() -> None:
    np.testing.assert_array_equal(rolling.log(np.array([0.0, 1.0, np.nan]), 1e-6), [np.log(1e-6), 0.0, np.nan])
