"""What a network learns for each target, and the way back from its output."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import make_candles

from freqlstm import features, labels
from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.targets import TARGETS, Target


@pytest.fixture
def candles() -> Candles:
    return make_candles(600)


def test_a_return_is_learned_compressed_and_given_back_in_log_returns(candles: Candles) -> None:
    target = Target("return", 5)
    sigma = features.ewma_volatility(candles)
    wanted = np.tanh(labels.forward_return(candles, 5) / (sigma * math.sqrt(5)))
    np.testing.assert_allclose(target.label(target.units(candles)), wanted, rtol=1e-12)
    base, scale = target.base_and_scale(candles)
    np.testing.assert_array_equal(base, np.zeros(600))
    np.testing.assert_allclose(scale, sigma * math.sqrt(5))


def test_a_direction_is_learned_as_one_and_zero_and_given_back_from_log_odds(candles: Candles) -> None:
    target = Target("direction", 5)
    np.testing.assert_array_equal(target.label(target.units(candles)), labels.direction(candles, 5))
    np.testing.assert_allclose(0.5 + target.from_network(np.array([0.0, 50.0, -50.0])), [0.5, 1, 0], atol=1e-12)


def test_a_volatility_is_learned_relative_to_the_last_four_horizons(candles: Candles) -> None:
    target = Target("volatility", 5)
    wanted = labels.log_realised_variance(candles, 5) - labels.log_past_variance(candles, 20) + math.log(4)
    np.testing.assert_allclose(target.label(target.units(candles)), wanted, rtol=1e-12)


@pytest.mark.parametrize("name", TARGETS)
def test_a_perfect_forecast_in_units_is_the_outcome(name: str, candles: Candles) -> None:
    target = Target(name, 5)
    base, scale = target.base_and_scale(candles)
    np.testing.assert_allclose(
        base + scale * target.units(candles), target.outcome(candles).where(np.isfinite(base + scale))
    )


@pytest.mark.parametrize("name", TARGETS)
def test_base_and_scale_exist_after_the_warmup_and_look_at_nothing_later(name: str, candles: Candles) -> None:
    target = Target(name, 5)
    whole = np.sum(target.base_and_scale(candles), axis=0)
    assert list(np.flatnonzero(np.isfinite(whole))) == list(range(target.warmup, 600))
    for rows in (310, 450, 599):
        np.testing.assert_array_equal(np.sum(target.base_and_scale(candles.rows(0, rows)), axis=0), whole[:rows])


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^Target 'price' is not known\. It must be one of return, direction, volatility\.$"
    ):
        Target("price", 5)
