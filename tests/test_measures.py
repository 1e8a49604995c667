from __future__ import annotations

import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from scipy.stats import spearmanr

from freqlstm.measures import FIGURES, Outcomes, measured
from freqlstm.skill import percentage_error, qlike


def test_every_figure_equals_its_definition() -> None:
    random = np.random.default_rng(0)
    came = random.normal(0, 1e-3, 500)
    said, rival, zero = 0.2 * came + random.normal(0, 1e-4, 500), random.normal(0, 1e-4, 500), np.zeros(500)
    found = measured(said, Outcomes(came, np.arange(500), "return", 1), rival, zero, {"naive": zero, "best": rival})
    error = came - said
    ratio = np.sum(error**2) / np.sum((came - rival) ** 2)
    assert set(found) == {"rows", *FIGURES, "dm_p_vs_naive", "dm_p_vs_best"}
    assert found["rows"] == 500
    assert (found["r2"], found["error_ratio"]) == (pytest.approx(1 - ratio), pytest.approx(ratio))
    assert found["rmse"] == pytest.approx(math.sqrt(np.mean(error**2)))
    assert found["mae"] == pytest.approx(np.mean(np.abs(error)))
    assert found["theil_u"] == pytest.approx(math.sqrt(np.mean(error**2) / np.mean(came**2)))
    assert found["ic"] == pytest.approx(np.corrcoef(said, came)[0, 1])
    assert found["rank_ic"] == pytest.approx(spearmanr(said, came).statistic)
    assert found["directional_accuracy"] == pytest.approx(np.mean(np.sign(said) == np.sign(came)))
    assert found["bias"] == pytest.approx(np.mean(error))
    assert (found["mape"], found["qlike"]) == (None, None)


def test_the_errors_of_the_figures_are_those_of_resampled_rows() -> None:
    random = np.random.default_rng(1)
    came = random.normal(0, 1, 400)
    said = 0.5 * came + random.normal(0, 0.5, 400)
    found = measured(said, Outcomes(came, np.arange(400), "return", 1), np.zeros(400), np.zeros(400), {})

    def figures(said: np.ndarray, came: np.ndarray) -> tuple[float, float, float]:
        error = came - said
        return (
            1 - float(np.sum(error**2) / np.sum(came**2)),
            math.sqrt(np.mean(error**2)),
            float(np.mean(np.abs(error))),
        )

    drawn = StationaryBootstrap(400 ** (1 / 3), said, came, seed=2)
    spread = np.std([figures(*sample[0]) for sample in drawn.bootstrap(3000)], axis=0)
    assert [found["r2_error"], found["rmse_error"], found["mae_error"]] == pytest.approx(spread, rel=0.07)


def test_the_loss_of_a_variance_by_hand() -> None:
    """Twice the variance that was said came: 2 - log 2 - 1. Half of it: 1/2 + log 2 - 1. Just it: 0."""
    said = np.log([1e-6, 1e-6, 1e-6])
    came = np.log([2e-6, 0.5e-6, 1e-6])
    assert qlike(said, came) == pytest.approx([1 - math.log(2), math.log(2) - 0.5, 0.0])


def test_the_percentage_error_is_that_of_the_volatility_where_anything_moved() -> None:
    """Four times the variance is twice the volatility: 100% off. A quarter: 50% off. A frozen market has no percentage."""
    came = np.log([1e-6, 1e-6, 15e-12])
    said = np.log([4e-6, 0.25e-6, 1e-6])
    assert percentage_error(said, came, 15) == pytest.approx(0.75)
    assert percentage_error(said[2:], came[2:], 15) is None


def test_fewer_than_thirty_rows_have_no_figures() -> None:
    outcomes = Outcomes(np.arange(29.0), np.arange(29), "return", 1)
    found = measured(np.zeros(29), outcomes, np.zeros(29), np.zeros(29), {"naive": np.zeros(29)})
    assert found == {"rows": 29, **dict.fromkeys((*FIGURES, "dm_p_vs_naive"))}


def test_a_perfect_forecast_and_a_market_that_never_moves_have_figures() -> None:
    came = np.random.default_rng(3).normal(0, 1, 50)
    perfect = measured(came, Outcomes(came, np.arange(50), "return", 1), np.zeros(50), np.zeros(50), {})
    assert (perfect["r2"], perfect["rmse"], perfect["rmse_error"]) == (1.0, 0.0, None)
    still = measured(np.ones(50), Outcomes(np.zeros(50), np.arange(50), "return", 1), np.zeros(50), np.zeros(50), {})
    assert (still["r2"], still["theil_u"], still["rmse"]) == (None, None, 1.0)
