"""Conformal intervals: the recursion by hand, what it promises whatever comes, and what it may not know."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.conformal import LEVELS, calibrated, interval, miss_rates, rarity

ERRORS = np.random.default_rng(0).standard_t(4, 5000)
RARITIES = st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.9, 1.0]) | st.floats(0, 1) | st.just(float("nan"))


def rates(rarities: np.ndarray, bars: np.ndarray | None = None, since: int = -(10**9), **other: float) -> np.ndarray:
    given_or_usual = {"horizon": 1, "nominal": 0.2, "step": 0.1, "block": 3} | other
    return miss_rates(rarities, np.arange(len(rarities)) if bars is None else bars, since, **given_or_usual)  # type: ignore[arg-type]


# By hand


def test_six_bars_by_hand() -> None:
    """Blocks of 3 bars; the recursion of the second block begins at bar 0 with the nominal rate of 0.2.

    | bar | learns at its close                   | rate               |
    |-----|---------------------------------------|--------------------|
    | 0   | nothing                               | 0.20               |
    | 1   | bar 0 missed: 0.20 is above 0.10      | 0.20 - 0.08 = 0.12 |
    | 2   | bar 1 did not: 0.12 is not above 0.50 | 0.12 + 0.02 = 0.14 |
    | 3   | bar 2 missed: 0.14 is above 0.05      | 0.14 - 0.08 = 0.06 |
    | 4   | bar 3 did not                         | 0.06 + 0.02 = 0.08 |
    | 5   | bar 4 did not: 0.08 is not above 0.15 | 0.08 + 0.02 = 0.10 |
    """
    rarities = np.array([0.10, 0.50, 0.05, 0.90, 0.15, np.nan])
    np.testing.assert_allclose(rates(rarities), [0.20, 0.12, 0.14, 0.06, 0.08, 0.10], atol=1e-12)
    np.testing.assert_array_equal(np.isnan(rates(rarities, since=0)), [True] * 3 + [False] * 3)
    np.testing.assert_array_equal(np.isnan(rates(rarities, since=1)), [True] * 6)


def test_an_outcome_is_learned_from_when_its_horizon_has_passed_and_not_before() -> None:
    made = rates(np.array([0.0, 1, 1, 1, 1, 1]), horizon=3, block=6)
    np.testing.assert_allclose(made, [0.2, 0.2, 0.2, 0.12, 0.14, 0.16], atol=1e-12)


def test_a_bar_without_an_outcome_or_that_is_missing_changes_nothing() -> None:
    np.testing.assert_allclose(rates(np.array([0.0, np.nan, np.nan, 0.0]), block=4), [0.2, 0.12, 0.12, 0.12])
    bars = np.array([0, 4, 5])  # a gap of three bars
    np.testing.assert_allclose(rates(np.array([0.0, 1.0, 1.0]), bars, block=6), [0.2, 0.12, 0.14], atol=1e-12)


def test_the_interval_of_three_errors_by_hand() -> None:
    quantiles = calibrated(np.array([3.0, 1.0, 2.0]))  # of levels 1/4, 2/4 and 3/4
    low, high = interval(np.array([0.5, 0.75, 1.0]), quantiles)
    np.testing.assert_allclose([low, high], [[1, 1.5, 2], [3, 2.5, 2]], atol=1e-2)  # of 401 levels
    np.testing.assert_allclose(rarity(np.array([2.0, 1.0, 2.5, 0.0, 9.0]), quantiles), [1, 0.5, 0.75, 0, 0], atol=1e-2)


# What it promises


@settings(max_examples=50)
@given(
    st.lists(RARITIES.filter(lambda each: each == each), min_size=1, max_size=20),
    st.integers(1, 30),
    st.sampled_from([1, 3, 10]),
)
def test_whatever_comes_the_share_of_misses_in_a_block_is_near_the_nominal_one(
    pattern: list[float], each: int, horizon: int
) -> None:
    """Gibbs and Candes (2021), Proposition 4.1, for labels that come ``horizon`` bars late.

    A rate leaves [0, 1] by at most a step for each label under way, so its sum of steps over a block is bounded.
    """
    step, block = 0.2, 120
    known = np.resize(np.repeat(pattern, each), 2 * block)
    missed = rates(known, horizon=horizon, step=step, block=block) > known
    learned = missed[block : 2 * block - horizon]
    bound = (1 + 2 * horizon * step) / (step * len(learned))
    assert abs(learned.mean() - 0.2) <= bound + 1e-9


@given(st.lists(RARITIES, min_size=40, max_size=40), st.lists(RARITIES, min_size=40, max_size=40), st.integers(0, 39))
def test_no_later_outcome_changes_a_rate(one: list[float], two: list[float], cut: int) -> None:
    horizon = 4
    mixed = np.array([*one[: cut - horizon + 1], *two][:40]) if cut >= horizon else np.array(two)
    whole = rates(np.array(one), horizon=horizon, block=7)
    np.testing.assert_array_equal(rates(mixed, horizon=horizon, block=7)[: cut + 1], whole[: cut + 1])
    np.testing.assert_array_equal(rates(np.array(one[: cut + 1]), horizon=horizon, block=7), whole[: cut + 1])


@given(st.lists(RARITIES, min_size=60, max_size=60), st.integers(0, 40))
def test_a_rate_is_the_same_however_much_history_precedes_it(rarities: list[float], first: int) -> None:
    whole, bars = rates(np.array(rarities), since=0, block=8), np.arange(60)
    late = rates(np.array(rarities[first:]), bars[first:], since=first, block=8)
    there = ~np.isnan(late)
    assert there[15:].all()  # two blocks less a bar are enough wherever it begins
    np.testing.assert_array_equal(late[there], whole[first:][there])


@given(st.floats(0.01, 100), st.floats(-5, 5))
def test_intervals_are_scaled_and_shifted_with_the_errors(scale: float, shift: float) -> None:
    given_rates = np.array([-0.1, 0.0, 0.01, 0.2, 0.9, 1.0, 1.3])
    low, high = interval(given_rates, calibrated(ERRORS))
    moved = interval(given_rates, calibrated(ERRORS * scale + shift))
    np.testing.assert_allclose(moved, [low * scale + shift, high * scale + shift], rtol=1e-9, atol=1e-9)
    found = rarity(ERRORS[:50] * scale + shift, calibrated(ERRORS * scale + shift))
    np.testing.assert_allclose(found, rarity(ERRORS[:50], calibrated(ERRORS)), atol=1e-6)


def test_the_order_of_the_errors_does_not_matter() -> None:
    assert calibrated(ERRORS) == calibrated(ERRORS[::-1])


def test_a_lower_miss_rate_never_gives_a_narrower_interval() -> None:
    low, high = interval(np.linspace(-0.2, 1.2, 400), calibrated(ERRORS))
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    assert (low <= high).all()
    assert (low[0], high[0]) == (ERRORS.min(), ERRORS.max())


@given(st.floats(-9, 9), st.floats(1e-3, 1))
def test_an_interval_holds_exactly_the_errors_that_are_no_rarer_than_its_rate(error: float, rate: float) -> None:
    for quantiles in (calibrated(ERRORS), calibrated(np.round(ERRORS))):  # the second with many equal errors
        found = float(rarity(np.array([error]), quantiles)[0])
        if abs(found - rate) > 1e-9:
            low, high = interval(np.array([rate]), quantiles)
            assert bool(low[0] <= error <= high[0]) == (rate < found)


def test_new_errors_of_the_same_kind_are_held_as_often_as_asked_for() -> None:
    new = np.random.default_rng(1).standard_t(4, 20_000)
    for nominal in (0.2, 0.05, 0.01):
        low, high = interval(np.array([nominal]), calibrated(ERRORS))
        assert np.mean((new < low) | (new > high)) == pytest.approx(nominal, rel=0.15)


def test_the_share_of_misses_stays_when_the_errors_grow() -> None:
    """Twice as wide in the second half: what was calibrated before would miss twice as often."""
    random = np.random.default_rng(2)
    errors = random.standard_t(4, 40_000) * np.repeat([1.0, 2.0], 20_000)
    quantiles = calibrated(ERRORS)
    low, high = interval(rates(rarity(errors, quantiles), step=0.005, block=1000), quantiles)
    missed = ((errors < low) | (errors > high))[22_000:]
    fixed_low, fixed_high = interval(np.array([0.2]), quantiles)
    assert np.mean((errors < fixed_low) | (errors > fixed_high), where=np.arange(40_000) >= 22_000) > 0.4
    assert missed.mean() == pytest.approx(0.2, abs=0.01)


def test_levels_are_symmetric_and_finer_in_the_tails() -> None:
    np.testing.assert_allclose(LEVELS, 1 - LEVELS[::-1], atol=1e-15)
    assert LEVELS[1] < 2e-5 < LEVELS[201] - LEVELS[200]


def test_what_it_keeps_survives_a_file() -> None:
    kept = calibrated(ERRORS)
    assert json.loads(json.dumps(kept)) == kept


def test_a_quarter_of_minutes_takes_far_less_than_a_second() -> None:
    rarities = np.random.default_rng(3).random(130_000)
    started = time.process_time()
    rates(rarities, step=0.005, block=1440)
    assert time.process_time() - started < 0.5
