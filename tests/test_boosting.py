"""Boosted networks: what a stage learns, when it is kept, and that the sum is never worse than its base."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.boosting import BoostedSignal
from freqlstm.candles import Candles
from freqlstm.errors import ModelError, UnknownName
from freqlstm.inference import outputs
from freqlstm.plugins import find
from freqlstm.progress import silent

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

ROOT = Path(__file__).resolve().parents[1]
BTC = "BTC/USDT"


class Small(BoostedSignal):
    features = ("return_lag_0", "return_lag_1", "range_1")
    lookback: int = 3
    horizon: int = 1
    seeds: int = 1
    epochs: int = 3
    learning_rate: float = 0.02
    batch: int = 64

    def build(self, n_features: int) -> keras.Model:
        layers = [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(8, "tanh")]
        return keras.Sequential([*layers, keras.layers.Dense(1)])


def bouncing(rows: int = 3500, seed: int = 5) -> Candles:
    """Closes between bid and ask: each return is half undone by the next."""
    candles = make_candles(rows, seed)
    bounce = np.random.default_rng(seed).choice([-1e-3, 1e-3], rows)
    close = candles.close * np.exp(bounce)
    frame = candles.frame.assign(open=close, high=close, low=close, close=close)
    return Candles.from_frame(frame, BTC, "1m")


@pytest.fixture(scope="module")
def market() -> dict[str, Candles]:
    return {BTC: bouncing()}


@pytest.fixture(scope="module")
def fitted(market: dict[str, Candles]) -> Small:
    return Small().fit(market)


def test_a_stage_is_kept_only_if_it_lowers_the_validation_error_by_the_margin(fitted: Small) -> None:
    stages = fitted.report_["stages"]
    assert stages[0]["kept"], "the test needs a stage that learns something"
    for stage in stages:
        assert stage["kept"] == (stage["error_after"] < stage["error_before"] * (1 - fitted.margin))
    assert all(stage["kept"] for stage in stages[:-1])
    assert fitted.report_["stages_kept"] == len(fitted.networks_) == sum(stage["kept"] for stage in stages)


def test_each_stage_starts_from_the_error_that_the_one_before_left(fitted: Small) -> None:
    stages = fitted.report_["stages"]
    assert stages[0]["error_before"] == fitted.report_["base_error"]
    for before, after in pairwise(stages):
        assert after["error_before"] == before["error_after"]


def test_the_validation_error_of_the_sum_is_what_the_last_kept_stage_left(
    fitted: Small, market: dict[str, Candles]
) -> None:
    data = fitted.training_data(market)
    label = np.tanh(data.check_units)
    total = np.zeros(len(label))
    for network, weight in zip(fitted.networks_, fitted.weights_, strict=True):
        total += fitted.shrinkage * weight * outputs(network, data.matrix, data.check_rows, fitted.lookback)
    kept = [stage for stage in fitted.report_["stages"] if stage["kept"]]
    np.testing.assert_allclose(np.mean((label - total) ** 2), kept[-1]["error_after"], rtol=1e-9)


def test_a_stage_learns_the_residual_of_the_sum_so_far_not_of_the_stage_before(market: dict[str, Candles]) -> None:
    """With a whole step and no decay the residual after a good stage has next to nothing of the label left in it."""
    signal = Small(shrinkage=1.0, rate_decay=1.0, stages=2, margin=0.0).fit(market)
    stages = signal.report_["stages"]
    first, second = (min(stage["validation_errors"][0]) for stage in stages)
    assert second == pytest.approx(stages[0]["error_after"], rel=0.05)
    assert first < stages[0]["error_before"]


def test_on_a_random_walk_no_stage_is_kept_and_the_forecast_is_the_base() -> None:
    market = {BTC: make_candles(3000, seed=11)}
    signal = Small(margin=0.01).fit(market)
    assert signal.report_["stages_kept"] == 0
    assert not signal.networks_
    assert (signal.predict(market[BTC])["prediction"].dropna() == 0).all()


@pytest.mark.parametrize("base", ["zero", "ridge", "persistence", "lstm"])
def test_it_is_never_worse_than_its_base_on_validation(base: str, market: dict[str, Candles]) -> None:
    signal = Small(base=base, stages=1, epochs=1).fit(market)
    last = [signal.report_["base_error"], *(s["error_after"] for s in signal.report_["stages"] if s["kept"])][-1]
    assert last <= signal.report_["base_error"]


def test_later_stages_learn_more_slowly_and_are_narrower() -> None:
    lstm = find("signal", "boosted_lstm", ROOT).load()(learning_rate=0.004, rate_decay=0.5, units=16, narrowing=0.25)
    stages: list[Any] = [lstm.at_stage(number) for number in range(3)]
    assert [stage.learning_rate for stage in stages] == [0.004, 0.002, 0.001]
    assert [stage.units for stage in stages] == [16, 4, 1]
    assert (lstm.learning_rate, lstm.units) == (0.004, 16)


def test_it_says_what_its_base_says_and_what_the_stages_add(market: dict[str, Candles], tmp_path: Path) -> None:
    signal = Small(base="ridge", stages=1).fit(market)
    assert signal.base_ is not None
    difference = signal.predict(market[BTC])["prediction"] - signal.base_.predict(market[BTC])["prediction"]
    if signal.networks_:
        assert difference.abs().max() > 0
    else:
        assert difference.abs().max() < 1e-12


def test_no_stage_is_validated_on_rows_that_the_base_has_learned_from(market: dict[str, Candles]) -> None:
    """The base needs more history than the stages, so the rows of these, and their last fifth, begin earlier."""
    signal = Small(base="ridge", stages=1, epochs=1).fit(market)
    assert signal.base_ is not None
    ridge: Any = signal.base_
    data, learned = signal.training_data(market), ridge.training_data(market)
    assert data.check_rows[0] < learned.fit_rows[-1]
    forecast = signal.fit_to(data, market, silent)
    assert np.array_equal(data.check_rows[np.isfinite(forecast)], learned.check_rows)


def test_a_fitted_base_is_read_from_its_files_and_not_fitted_twice(market: dict[str, Candles], tmp_path: Path) -> None:
    signal = Small(base="ridge", stages=1, epochs=1)
    signal.keep_members_in(tmp_path)
    signal.fit(market)
    (folder,) = (tmp_path / "ridge").iterdir()
    written = (folder / "signal.json").stat().st_mtime_ns
    again = Small(base="ridge", stages=1, epochs=1)
    again.keep_members_in(tmp_path)
    again.fit(market)
    assert (folder / "signal.json").stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(signal.predict(market[BTC]), again.predict(market[BTC]), check_exact=True)


def test_saving_and_loading_keeps_every_bit_of_base_and_stages(market: dict[str, Candles], tmp_path: Path) -> None:
    kind = find("signal", "boosted_lstm", ROOT).load()
    few = {"features": ["return_lag_0", "range_1"], "epochs": 1, "units": 4, "lookback": 3, "stages": 2, "horizon": 1}
    fitted = kind(**few).fit(market)
    fitted.save(tmp_path / "m")
    assert (tmp_path / "m" / "ridge" / "signal.json").is_file()
    pd.testing.assert_frame_equal(
        fitted.predict(market[BTC]), kind.load(tmp_path / "m").predict(market[BTC]), check_exact=True
    )
    weights = tmp_path / "m" / "ridge" / "signal.json"
    weights.write_bytes(weights.read_bytes().replace(b'"intercept_"', b'"intercepT_"'))
    with pytest.raises(ModelError, match="was damaged or changed since it was written"):
        kind.load(tmp_path / "m")


def test_an_unknown_base_is_named_before_anything_is_fitted(market: dict[str, Candles]) -> None:
    with pytest.raises(UnknownName, match=r"^No signal named 'rige'\. Did you mean 'ridge'\?"):
        Small(base="rige").fit(market)
