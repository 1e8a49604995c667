from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from arch.bootstrap import StationaryBootstrap
from statsmodels.stats.multitest import multipletests

from freqlstm.uncertainty import bootstrap_error, hac_error, holm


def dependent(rows: int, seed: int = 0) -> np.ndarray:
    """Values that resemble the six before them."""
    return np.convolve(np.random.default_rng(seed).normal(0, 1, rows + 5), np.ones(6), "valid")[:rows]


def test_the_error_of_one_series_is_newey_and_wests() -> None:
    values = dependent(900)
    fit = sm.OLS(values, np.ones(900)).fit(cov_type="HAC", cov_kwds={"maxlags": 14})
    assert hac_error(values, np.arange(900), 15) == pytest.approx(fit.bse[0], rel=1e-10)


def test_the_error_of_several_symbols_is_driscoll_and_kraays() -> None:
    """Three symbols, two of which say the same: two thirds of the rows are no more evidence than one third."""
    one, other = dependent(400, 1), dependent(400, 2)
    values, bars = np.concatenate([one, one, other]), np.tile(np.arange(400), 3)
    fit = sm.OLS(values, np.ones(1200)).fit(
        cov_type="hac-groupsum", cov_kwds={"time": bars, "maxlags": 9, "use_correction": False, "df_correction": False}
    )
    found = hac_error(values, bars, 10)
    assert found is not None
    assert found == pytest.approx(fit.bse[0], rel=1e-10)
    alone = hac_error(values, np.arange(1200), 10)
    assert alone is not None
    assert found > 1.2 * alone


def test_bars_on_the_two_sides_of_a_gap_are_no_neighbours() -> None:
    """1, -1 | 1, -1: with one lag each pair takes half its product off, and nothing spans the gap.

    4 squares less (1 - 1/2) x 2 x 2 products = 2, so the error is the root of 2 over 4 rows.
    """
    values = np.array([1.0, -1.0, 1.0, -1.0])
    assert hac_error(values, np.array([0, 1, 50, 51]), 2) == pytest.approx(np.sqrt(2) / 4)
    assert hac_error(values, np.array([0, 1, 2, 3]), 2) == pytest.approx(1 / 4)  # 4 - 3, and the root of 1


@pytest.mark.parametrize("rows", [52, 600])
def test_the_bootstrap_error_is_that_of_endless_draws(rows: int) -> None:
    values = dependent(rows)
    drawn = StationaryBootstrap(rows ** (1 / 3), values, seed=3)
    means = [float(sample[0][0].mean()) for sample in drawn.bootstrap(4000)]
    assert bootstrap_error(values, np.arange(rows), 1) == pytest.approx(np.std(means), rel=0.05)


def test_blocks_are_at_least_as_long_as_the_horizon() -> None:
    values = dependent(500)
    short, long = (bootstrap_error(values, np.arange(500), horizon) for horizon in (1, 40))
    assert short is not None
    assert long is not None
    drawn = StationaryBootstrap(40, values, seed=4)
    means = [float(sample[0][0].mean()) for sample in drawn.bootstrap(4000)]
    assert long == pytest.approx(np.std(means), rel=0.05)


def test_a_second_symbol_that_says_the_same_adds_no_evidence() -> None:
    values = dependent(300)
    twice = bootstrap_error(np.tile(values, 2), np.tile(np.arange(300), 2), 1)
    assert twice == pytest.approx(bootstrap_error(values, np.arange(300), 1), rel=1e-12)


@pytest.mark.parametrize("error", [hac_error, bootstrap_error])
def test_without_spread_there_is_no_error(error: object) -> None:
    assert callable(error)
    assert error(np.ones(9), np.arange(9), 1) is None
    assert error(np.ones(1), np.arange(1), 1) is None
    assert error(np.ones(0), np.arange(0), 1) is None


def test_holms_correction_is_that_of_statsmodels() -> None:
    p_values = {"a": 0.04, "b": 0.001, "c": 0.03, "d": 0.9}
    expected = multipletests(list(p_values.values()), method="holm")[1]
    assert list(holm(p_values).values()) == pytest.approx(expected)
    assert holm(p_values)["b"] == pytest.approx(0.004)
    assert holm({}) == {}
