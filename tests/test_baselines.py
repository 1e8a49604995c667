"""The signals that an LSTM has to beat: persistence, ridge, HAR and LightGBM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real

from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.features import compute
from freqlstm.labels import log_past_variance, log_realised_variance
from freqlstm.plugins import find
from freqlstm.signal import prediction_table

ROOT = Path(__file__).resolve().parents[1]
BTC, ETH = "BTC/USDT", "ETH/USDT"
FEW = {"features": ["return_lag_0", "range_1", "time_of_day_sin"]}


def signal(name: str) -> Any:
    return find("signal", name, ROOT).load()


@pytest.fixture(scope="module")
def market() -> dict[str, Candles]:
    return {BTC: make_candles(3000), ETH: make_candles(3000, seed=8, symbol=ETH)}


def test_persistence_says_that_the_last_return_comes_again(candles: Candles) -> None:
    close = np.log(candles.close.to_numpy())
    said = signal("persistence")(horizon=3).predict(candles).to_numpy()
    assert np.isnan(said[:3]).all()
    np.testing.assert_allclose(said[3:], close[3:] - close[:-3], rtol=0, atol=1e-12)


def test_persistence_of_a_volatility_is_the_variance_of_the_last_horizon(candles: Candles) -> None:
    said = signal("persistence")(horizon=15, target="volatility").predict(candles)
    pd.testing.assert_series_equal(said, log_past_variance(candles, 15), check_names=False)


def test_the_naive_forecasts_learn_nothing_and_speak_after_one_horizon(candles: Candles) -> None:
    naive = signal("persistence")(horizon=7)
    assert not naive.needs_fit
    assert prediction_table(naive, candles)["prediction"].notna().to_numpy().tolist() == [False] * 7 + [True] * 293


def test_ridge_with_a_tiny_penalty_is_least_squares(market: dict[str, Candles]) -> None:
    fitted = signal("ridge")(**FEW, l2=0.0, horizon=1).fit({BTC: market[BTC]})
    data = fitted.training_data({BTC: market[BTC]})
    inputs = np.column_stack([data.matrix[data.fit_rows].astype(float), np.ones(len(data.fit_rows))])
    wanted = np.linalg.lstsq(inputs, np.tanh(data.fit_units), rcond=None)[0]
    np.testing.assert_allclose([*fitted.weights_, fitted.intercept_], wanted, rtol=1e-4, atol=1e-7)


def test_a_dearer_penalty_makes_smaller_weights(market: dict[str, Candles]) -> None:
    sizes = [
        float(np.sum(np.square(signal("ridge")(**FEW, l2=l2).fit({BTC: market[BTC]}).weights_)))
        for l2 in (0.0, 0.1, 1.0, 10.0)
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_har_regresses_on_the_log_variances_of_corsis_spans_and_on_what_it_starts_from() -> None:
    names = signal("har")(horizon=15).parameters["features"]
    assert names == [f"log_variance_{bars}" for bars in (5, 15, 60, 240, 1440)]
    assert "log_variance_20" in signal("har")(horizon=5).parameters["features"]
    assert signal("har")(target="return").parameters["features"][:2] == ["return_lag_0", "momentum_5"]


def test_only_har_of_volatility_is_plain_least_squares() -> None:
    assert not signal("har")().shrinks
    assert signal("har")(target="return").shrinks
    market = {BTC: make_candles(4000, seed=8)}
    assert (
        signal("har")(target="return", horizon=1).fit(market).slope_ < 1
    )  # of a random walk there is nothing to learn
    assert signal("har")().fit(market).slope_ == 1


def test_har_can_be_made_again_from_its_own_parameters() -> None:
    one = signal("har")(horizon=5)
    assert signal("har")(**one.parameters).parameters == one.parameters
    with pytest.raises(UsageError, match="No feature named 'log_variance_x'"):
        signal("har")(features=["log_variance_x"]).warmup  # noqa: B018
    with pytest.raises(UsageError, match=r"^Parameter 'features' of Har is 5\. It must be"):
        signal("har")(features=5)


def test_har_is_the_least_squares_fit_of_log_variance_on_log_variances() -> None:
    candles = make_candles(6000)
    fitted = signal("har")(horizon=15).fit({BTC: candles})
    said = fitted.predict(candles)["prediction"]
    spans = (5, 15, 60, 240, 1440)
    past = pd.concat([log_past_variance(candles, bars) for bars in spans], axis=1).to_numpy()
    outcome = log_realised_variance(candles, 15).to_numpy()
    usable = np.flatnonzero(np.isfinite(past).all(axis=1) & np.isfinite(outcome))
    fit = fitted.split(usable)[0]
    inputs = np.column_stack([past, np.ones(len(past))])
    wanted = inputs @ np.linalg.lstsq(inputs[fit], outcome[fit], rcond=None)[0]
    calm = np.abs(fitted.inputs(candles).to_numpy()).max(axis=1) < 4.9  # where nothing was clipped
    rows = np.flatnonzero(calm & np.isfinite(said))
    np.testing.assert_allclose(said.to_numpy()[rows], wanted[rows], atol=0.02)  # clipping moves the weights a little


def test_lightgbm_is_the_same_twice_and_after_save_and_load(market: dict[str, Candles], tmp_path: Path) -> None:
    kind = signal("lightgbm")
    one, two = (kind(**FEW, rounds=20, min_rows=50, seed=3).fit(market) for _ in range(2))
    one.save(tmp_path / "m")
    tables = [each.predict(market[BTC]) for each in (one, two, kind.load(tmp_path / "m"))]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    pd.testing.assert_frame_equal(tables[0], tables[2], check_exact=True)
    assert 1 <= one.report_["best_rounds"] <= 20
    assert not list((tmp_path / "m").glob("*.pkl"))


def test_lightgbm_finds_what_no_line_can() -> None:
    """After a small move the price rises, after a large one it falls, whatever their sign."""
    random = np.random.default_rng(3)
    steps = [0.0]
    for _ in range(6000):
        steps.append((0.8e-3 if abs(steps[-1]) < 0.8e-3 else -0.8e-3) + float(random.normal(0, 1e-3)))
    close = 100 * np.exp(np.cumsum(steps))
    base = make_candles(len(close))
    frame = base.frame.assign(open=close, high=close, low=close, close=close)
    candles = Candles.from_frame(frame, BTC, "1m")
    told = {}
    for name in ("ridge", "lightgbm"):
        fitted = signal(name)(features=["return_lag_0", "return_lag_1"], horizon=1).fit({BTC: candles.rows(0, 4500)})
        said = fitted.predict(candles)["prediction"].to_numpy()[4500:-1]
        came = np.diff(np.log(close))[4500:]
        told[name] = 1 - np.sum((came - said) ** 2) / np.sum(came**2)
    assert told["ridge"] < 0.1
    assert told["lightgbm"] > told["ridge"] + 0.1, told


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "har"])
def test_a_baseline_speaks_of_every_target(name: str, market: dict[str, Candles]) -> None:
    for target in ("return", "direction", "volatility"):
        parameters = {} if name == "har" else FEW
        said = prediction_table(signal(name)(target=target, **parameters).fit(market), market[BTC])["prediction"]
        spoken = said.dropna()
        assert len(spoken) > 1000
        if target == "direction":
            assert spoken.between(0, 1).all()


def test_on_real_candles_trees_beat_har_at_volatility(real_data: Path) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", BTC, "1m")
    candles = candles.between(pd.Timestamp("2021-05-25", tz="UTC"), pd.Timestamp("2021-07-01", tz="UTC"))
    past = candles.between(None, pd.Timestamp("2021-06-25", tz="UTC"))
    came = log_realised_variance(candles, 15)
    errors = {}
    for name in ("har", "lightgbm"):
        fitted = signal(name)(target="volatility", horizon=15).fit({BTC: past})
        said = fitted.predict(candles)["prediction"]
        errors[name] = float(((came - said).loc["2021-06-25":] ** 2).mean())
    assert errors["lightgbm"] < 0.97 * errors["har"]


def test_features_are_the_same_for_all_of_them(market: dict[str, Candles]) -> None:
    ridge, trees = signal("ridge")(), signal("lightgbm")()
    lstm = find("signal", "lstm", ROOT).load()()
    assert ridge.features == trees.features == lstm.features
    assert list(compute(ridge.features, market[BTC]).columns) == list(ridge.features)
