from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import norm, spearmanr

from freqlstm import labels, skill
from freqlstm.candles import Candles
from freqlstm.errors import UsageError

KEYS = {
    "rows", "r2", "theil_u", "rmse", "mae", "ic", "rank_ic", "directional_accuracy", "persistence_directional_accuracy",
    "zero_rmse", "zero_mae", "persistence_rmse", "persistence_mae", "dm_p_vs_zero", "dm_p_vs_persistence",
    "calibration_error", "coverage", "interval",
}  # fmt: skip


def of_closes(close: np.ndarray, start: str = "2024-01-01") -> Candles:
    frame = pd.DataFrame(
        {"open": close, "high": close, "low": close, "close": close, "volume": 1.0},
        index=pd.date_range(start, periods=len(close), freq="min", tz="UTC"),
    )
    return Candles.from_frame(frame, "BTC/USDT", "1m")


def test_every_figure_equals_its_definition(candles: Candles) -> None:
    random = np.random.default_rng(0)
    came = labels.forward_return(candles, 3)
    said = 0.3 * came.fillna(0) + random.normal(0, 1e-3, len(candles))
    found = skill.forecast_skill(said, candles, 3, "return")
    assert set(found) == KEYS

    close = candles.close.to_numpy()
    rows = np.arange(3, len(close) - 3)
    y, x, past = np.log(close[rows + 3] / close[rows]), said.to_numpy()[rows], np.log(close[rows] / close[rows - 3])
    assert found["rows"] == len(rows) == 294
    assert found["r2"] == pytest.approx(1 - np.sum((y - x) ** 2) / np.sum(y**2), abs=1e-12)
    assert found["theil_u"] == pytest.approx(math.sqrt(np.mean((y - x) ** 2)) / math.sqrt(np.mean(y**2)), abs=1e-12)
    assert found["rmse"] == pytest.approx(math.sqrt(np.mean((y - x) ** 2)), abs=1e-15)
    assert found["mae"] == pytest.approx(np.mean(np.abs(y - x)), abs=1e-15)
    assert found["ic"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert found["rank_ic"] == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert found["directional_accuracy"] == pytest.approx(np.mean(np.sign(x) == np.sign(y)), abs=1e-12)
    assert found["persistence_directional_accuracy"] == pytest.approx(np.mean(np.sign(past) == np.sign(y)), abs=1e-12)
    assert found["zero_rmse"] == pytest.approx(math.sqrt(np.mean(y**2)), abs=1e-15)
    assert found["zero_mae"] == pytest.approx(np.mean(np.abs(y)), abs=1e-15)
    assert found["persistence_rmse"] == pytest.approx(math.sqrt(np.mean((y - past) ** 2)), abs=1e-15)
    assert found["persistence_mae"] == pytest.approx(np.mean(np.abs(y - past)), abs=1e-15)


@pytest.mark.parametrize(("rows", "horizon", "lags"), [(300, 1, 5), (300, 15, 14), (2000, 5, 7)])
def test_the_diebold_mariano_p_value_is_that_of_statsmodels_newey_west_errors(
    rows: int, horizon: int, lags: int
) -> None:
    random = np.random.default_rng(rows)
    noise = np.convolve(random.normal(0, 1, rows + 20), np.ones(6), "valid")[:rows]
    error, rival = noise + random.normal(0, 0.5, rows), noise + random.normal(0, 0.6, rows)
    fit = sm.OLS(rival**2 - error**2, np.ones(rows)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    assert skill.diebold_mariano(error, rival, horizon) == pytest.approx(norm.sf(fit.tvalues[0]), abs=1e-10)


def test_a_p_value_is_near_one_for_what_is_worse_and_none_for_what_is_the_same() -> None:
    random = np.random.default_rng(1)
    small, large = random.normal(0, 1, 500), random.normal(0, 2, 500)
    better, worse = skill.diebold_mariano(small, large, 1), skill.diebold_mariano(large, small, 1)
    assert better is not None
    assert worse is not None
    assert better < 1e-6
    assert worse == pytest.approx(1 - better, abs=1e-12)
    assert skill.diebold_mariano(small, -small, 1) is None
    assert skill.diebold_mariano(small[:1], large[:1], 1) is None


def test_noise_is_called_better_than_zero_about_as_rarely_as_it_should(candles: Candles) -> None:
    came = labels.forward_return(candles, 1).dropna().to_numpy()
    random = np.random.default_rng(2)
    p_values = [skill.diebold_mariano(came - random.normal(0, 2e-4, len(came)), came, 1) for _ in range(200)]
    assert sum(p is not None and p < 0.05 for p in p_values) < 15


def test_a_perfect_forecast_has_a_perfect_score(candles: Candles) -> None:
    found = skill.forecast_skill(labels.forward_return(candles, 5), candles, 5, "return")
    assert (found["r2"], found["rmse"], found["mae"], found["directional_accuracy"]) == (1.0, 0.0, 0.0, 1.0)
    assert found["ic"] == pytest.approx(1.0)
    assert found["dm_p_vs_zero"] == pytest.approx(0.0, abs=1e-6)


def test_the_zero_forecast_scores_zero_and_takes_no_side(candles: Candles) -> None:
    found = skill.forecast_skill(pd.Series(0.0, index=candles.time), candles, 5, "return")
    assert (found["r2"], found["theil_u"]) == (0.0, 1.0)
    assert {found["ic"], found["rank_ic"], found["directional_accuracy"], found["dm_p_vs_zero"]} == {None}


def test_persistence_never_beats_itself(candles: Candles) -> None:
    _, _, persistence = skill.references(candles, 5, "return")
    found = skill.forecast_skill(persistence, candles, 5, "return")
    assert found["rmse"] == found["persistence_rmse"]
    assert found["dm_p_vs_persistence"] is None


@pytest.mark.parametrize("target", ["return", "direction", "volatility"])
def test_the_costless_forecasts_know_nothing_of_later_candles(candles: Candles, target: str) -> None:
    _, zero, persistence = skill.references(candles, 4, target)
    for end in (60, 150, 299):
        _, zero_then, persistence_then = skill.references(candles.rows(0, end), 4, target)
        pd.testing.assert_series_equal(zero_then, zero.iloc[:end], check_freq=False)
        pd.testing.assert_series_equal(persistence_then, persistence.iloc[:end], check_freq=False)


@pytest.mark.parametrize("target", ["return", "direction", "volatility"])
def test_rows_beside_a_gap_do_not_count(candles: Candles, target: str) -> None:
    holed = Candles.from_frame(candles.frame.drop(candles.time[150]), "BTC/USDT", "1m")
    said = pd.Series(0.4, index=candles.time)
    whole, fewer = (skill.forecast_skill(said, c, 5, target)["rows"] for c in (candles, holed))
    assert whole is not None
    assert fewer is not None
    # The gap, the labels before it and the memory after.
    lost = {"return": 11, "direction": 11, "volatility": 26}[target]
    assert whole - fewer == lost


def test_direction_is_scored_against_one_half(candles: Candles) -> None:
    came = labels.direction(candles, 2)
    said = (0.5 + 0.2 * (came - 0.5)).fillna(0.5)
    found = skill.forecast_skill(said, candles, 2, "direction")
    assert found["r2"] == pytest.approx(1 - 0.4**2 / 0.5**2, abs=1e-12)  # 0.6 or 0.4 said, 1 or 0 came
    assert found["directional_accuracy"] == 1.0
    assert found["zero_rmse"] == 0.5


def test_a_direction_that_persistence_does_not_know_is_one_half() -> None:
    close = np.repeat(np.cumprod(np.where(np.arange(60) % 3 == 0, 0.99, 1.01)) * 100, 2)
    came, _, persistence = skill.references(of_closes(close), 1, "direction")
    assert came.isna().sum() == 61  # every second bar does not move, and the last has no label
    assert sorted(persistence.dropna().unique()) == [0.0, 0.5, 1.0]


def test_volatility_is_scored_in_logarithms_per_one_horizon() -> None:
    steady = of_closes(100 * np.exp(np.where(np.arange(200) % 2, 0.01, 0.0)))
    came, zero, persistence = skill.references(steady, 6, "volatility")
    for series in (came, zero, persistence):
        assert series.dropna().to_numpy() == pytest.approx(math.log(6 * 0.01**2), abs=1e-9)
    found = skill.forecast_skill(persistence + 0.5, steady, 6, "volatility")
    assert found["rmse"] == pytest.approx(0.5, abs=1e-9)
    assert found["directional_accuracy"] is None


def test_too_few_rows_have_no_skill(candles: Candles) -> None:
    said = pd.Series(np.nan, index=candles.time)
    said.iloc[100:129] = 0.001
    found = skill.forecast_skill(said, candles, 5, "return")
    assert found["rows"] == 29
    assert set(found) == KEYS
    assert {value for name, value in found.items() if name != "rows"} == {None}
    said.iloc[129] = 0.001
    assert skill.forecast_skill(said, candles, 5, "return")["rmse"] is not None


def test_an_unknown_target_is_refused(candles: Candles) -> None:
    with pytest.raises(UsageError, match=r"^The target is 'price'. It must be one of return, direction, volatility.$"):
        skill.forecast_skill(candles.close, candles, 5, "price")


def test_on_real_minutes_persistence_is_worse_than_zero(real_data: object) -> None:
    frame = pd.read_parquet(f"{real_data}/candles/BINANCE_BTCUSDT_1m_20210101_20231231.parquet").set_index("time")
    bitcoin = Candles.from_frame(frame.iloc[:100_000], "BTC/USDT", "1m", "binance")
    found = skill.forecast_skill(0.5 * skill.references(bitcoin, 5, "return")[2], bitcoin, 5, "return")
    assert found["zero_rmse"] is not None
    assert found["persistence_rmse"] is not None
    assert found["persistence_rmse"] ** 2 > 1.9 * found["zero_rmse"] ** 2  # minutes revert: momentum doubles the error
    assert found["dm_p_vs_zero"] is not None
    assert found["dm_p_vs_zero"] > 0.999


# Intervals and probabilities


def test_coverage_is_the_share_of_outcomes_inside_where_there_is_an_interval(candles: Candles) -> None:
    came = labels.forward_return(candles, 3)
    table = pd.DataFrame({"prediction": 0.0, "prediction_low": came - 1e-3, "prediction_high": came + 1e-3})
    table.iloc[100:150, 1] += 2e-3  # above the outcome
    table.iloc[150:200, 2] -= 2e-3  # below it
    table.iloc[200:260, 1:] = np.nan
    found = skill.forecast_skill(table, candles, 3, "return", interval=0.9)
    assert found["rows"] == 294
    assert found["coverage"] == pytest.approx((294 - 60 - 100) / (294 - 60), abs=1e-12)
    assert found["interval"] == 0.9
    without = skill.forecast_skill(table["prediction"], candles, 3, "return", interval=0.9)
    assert (without["coverage"], without["interval"]) == (None, None)
    assert without == {**found, "coverage": None, "interval": None}


def test_a_direction_is_scored_by_its_calibration_error_too(candles: Candles) -> None:
    came = labels.direction(candles, 2)
    assert skill.forecast_skill((came * 0 + 0.9).fillna(0.9), candles, 2, "direction")["calibration_error"] > 0.3
    assert skill.forecast_skill(came.fillna(0.5), candles, 2, "direction")["calibration_error"] == 0
    assert skill.forecast_skill(came, candles, 2, "return")["calibration_error"] is None
