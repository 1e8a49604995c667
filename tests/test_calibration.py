"""Calibrated probabilities: what over-confident forecasts become, and what never happens to any."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.calibration import Method, applied, fitted, log_odds, says_nothing
from freqlstm.reliability import calibration_error, reliability

METHODS: tuple[Method, ...] = ("platt", "isotonic")


def overconfident(rows: int, seed: int, factor: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """(forecasts, rises): the true log odds, times ``factor`` in the forecasts."""
    random = np.random.default_rng(seed)
    odds = random.normal(0.1, 0.5, rows)
    rose = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    return 1 / (1 + np.exp(-factor * odds)), rose


@pytest.mark.parametrize("method", METHODS)
def test_an_overconfident_model_becomes_calibrated_on_rows_that_it_was_not_calibrated_on(method: Method) -> None:
    calibration = fitted(method, *overconfident(8000, 0))
    said, rose = overconfident(20_000, 1)
    assert calibration_error(reliability(said, rose)) > 0.15
    assert calibration_error(reliability(applied(calibration, said), rose)) < 0.02


def test_platt_finds_by_how_much_it_was_overconfident() -> None:
    found = fitted("platt", *overconfident(50_000, 2))
    assert found["slope"] == pytest.approx(1 / 4, abs=0.01)
    assert found["intercept"] == pytest.approx(0.0, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.2, 1.2), st.booleans()), min_size=2, max_size=60), st.sampled_from(METHODS))
def test_a_higher_forecast_never_becomes_a_lower_probability(rows: list[tuple[float, bool]], method: Method) -> None:
    said, rose = (np.array([float(row[each]) for row in rows]) for each in (0, 1))
    made = applied(fitted(method, said, rose), np.linspace(-0.5, 1.5, 300))
    assert (np.diff(made) >= -1e-12).all()
    assert ((made > 0) & (made < 1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_forecasts_that_know_nothing_become_probabilities_near_one_half(method: Method) -> None:
    random = np.random.default_rng(3)
    said, rose = random.random(20_000), (random.random(20_000) < 0.5).astype(float)
    made = applied(fitted(method, said, rose), random.random(20_000))
    assert np.abs(made - 0.5).mean() < 0.02


def test_forecasts_that_are_wrong_more_often_than_right_become_the_share_of_rises() -> None:
    said, rose = overconfident(4000, 4)
    found = fitted("platt", 1 - said, rose)
    assert found["slope"] == 0
    assert says_nothing(found)
    np.testing.assert_allclose(applied(found, said), (rose.sum() + 1) / 4002)


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_all_rose_make_nothing_certain(method: Method) -> None:
    found = fitted(method, np.array([0.2, 0.7, 0.9]), np.ones(3))
    np.testing.assert_allclose(applied(found, np.array([0.0, 0.5, 1.0])), 4 / 5)


@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_survives_a_file_bit_for_bit(method: Method) -> None:
    said, rose = overconfident(500, 5)
    found = fitted(method, said, rose)
    np.testing.assert_array_equal(applied(json.loads(json.dumps(found)), said), applied(found, said))
    assert not says_nothing(found)


def test_without_a_calibration_forecasts_stay_as_they_are() -> None:
    np.testing.assert_array_equal(applied({}, np.array([-0.1, 0.3, 1.2])), [0, 0.3, 1])
    assert not says_nothing({})


def test_log_odds_are_finite_whatever_is_said() -> None:
    np.testing.assert_allclose(log_odds(np.array([0.5, 0.75, 0.25])), [0, np.log(3), -np.log(3)])
    assert np.isfinite(log_odds(np.array([-3.0, 0.0, 1.0, 4.0]))).all()
    assert np.isnan(log_odds(np.array([np.nan]))).all()
