from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.diagnostic import acorr_ljungbox, het_arch

from freqlstm.residuals import autocorrelation, residual_tests


def test_the_tests_are_those_of_statsmodels_and_scipy() -> None:
    random = np.random.default_rng(0)
    size = np.exp(np.convolve(random.normal(0, 0.3, 1019), np.ones(20) / 4, "valid"))
    residuals = 1e-4 * size * random.normal(0, 1, 1000)
    found = residual_tests(residuals, np.arange(1000), 1)
    assert found["rows"] == 1000
    assert found["ljung_box_p"] == pytest.approx(acorr_ljungbox(residuals, lags=[10])["lb_pvalue"].iloc[0], rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["arch_lm_p"] == pytest.approx(het_arch(residuals * 1e4, nlags=10)[1], rel=1e-6)
    assert found["jarque_bera_p"] == pytest.approx(stats.jarque_bera(residuals).pvalue, abs=1e-12)
    assert found["skew"] == pytest.approx(stats.skew(residuals))
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(residuals) + 3)


def test_waves_are_found_and_noise_has_none() -> None:
    random = np.random.default_rng(1)
    noise = random.normal(0, 1, 2000)
    waves = noise * np.repeat(random.choice([0.5, 2.0], 100), 20)
    for residuals, lowest, highest in ((noise, 0.05, 1.0), (waves, 0.0, 1e-6)):
        p = residual_tests(residuals, np.arange(2000), 1)["arch_lm_p"]
        assert p is not None
        assert lowest <= p <= highest


def test_errors_of_overlapping_horizons_are_not_taken_for_order() -> None:
    steps = np.random.default_rng(2).normal(0, 1, 4009)
    overlapping = np.convolve(steps, np.ones(10), "valid")
    apart, together = (residual_tests(overlapping, np.arange(4000), horizon) for horizon in (10, 1))
    assert apart["rows"] == 400
    assert apart["ljung_box_p"] is not None
    assert apart["ljung_box_p"] > 0.05
    assert together["ljung_box_p"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("residuals", [np.zeros(0), np.arange(49.0), np.ones(200)], ids=["none", "few", "alike"])
def test_what_cannot_be_tested_is_none(residuals: np.ndarray) -> None:
    found = residual_tests(residuals, np.arange(len(residuals)), 1)
    assert {value for name, value in found.items() if name != "rows"} == {None}


def test_autocorrelation_by_hand() -> None:
    """Residuals 1, -1, 1, -1 at bars 0, 1, 2, 4: neighbours are -1 and -1; two apart are 1 and -1; only one pair is further."""
    found = autocorrelation(np.array([1.0, -1.0, 1.0, -1.0]), np.array([0, 1, 2, 4]), 4)
    assert found == pytest.approx([-1.0, 0.0, None, None])
    assert autocorrelation(np.zeros(0), np.zeros(0, np.int64), 2) == [None, None]


def test_a_year_of_minutes_is_tested_in_a_moment() -> None:
    residuals = np.random.default_rng(3).normal(0, 1, 300_000)
    begin = time.process_time()
    residual_tests(residuals, np.arange(300_000), 1)
    assert time.process_time() - begin < 2
