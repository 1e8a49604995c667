"""Signals that learn a label: their intervals and probabilities, with a linear model in place of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real

from freqlstm.calibration import applied, log_odds
from freqlstm.candles import Candles
from freqlstm.progress import Progress
from freqlstm.reliability import calibration_error, reliability
from freqlstm.supervised import SupervisedSignal, TrainingData
from freqlstm.targets import Target

BTC = "BTC/USDT"


class Linear(SupervisedSignal):
    """Ridge regression."""

    features = ("return_lag_0", "return_lag_1", "range_1", "volatility_ratio_15", "volatility_ratio_60")
    horizon: int = 1
    interval_memory: int = 300

    weights_: list[float]

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        x = np.column_stack([np.ones(len(data.fit_rows)), data.matrix[data.fit_rows]])
        penalty = 1e-2 * len(x) * np.diag([0.0, *np.ones(x.shape[1] - 1)])
        self.weights_ = np.linalg.solve(x.T @ x + penalty, x.T @ self.aim.label(data.fit_units)).tolist()
        return np.asarray(self.respond(data.matrix, data.check_rows, market[BTC])[0])

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        return np.asarray(self.weights_[0] + matrix[rows] @ np.array(self.weights_[1:]))[None]


@pytest.fixture(scope="module")
def candles() -> Candles:
    return make_candles(4000)


@pytest.fixture(
    scope="module", params=[("return", 1), ("return", 5), ("volatility", 15)], ids=lambda each: f"{each[0]}-{each[1]}"
)
def fitted(request: pytest.FixtureRequest, candles: Candles) -> Linear:
    target, horizon = request.param
    return Linear(target=target, horizon=horizon).fit({BTC: candles.rows(0, 2000)})


def of_moves(moves: np.ndarray) -> Candles:
    """Candles with these log returns that open where the one before closed."""
    close = 100 * np.exp(np.cumsum(moves))
    open_ = np.concatenate([[100.0], close[:-1]])
    values = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    time = pd.date_range("2024-01-01", periods=len(moves), freq="min", tz="UTC")
    return Candles.from_frame(pd.DataFrame({**values, "volume": 1.0}, index=time), BTC, "1m")


def bounds(table: pd.DataFrame) -> pd.DataFrame:
    return table[["prediction_low", "prediction_high"]]


def covered(table: pd.DataFrame, candles: Candles, signal: SupervisedSignal, since: pd.Timestamp) -> float:
    """The share of the outcomes of the rows since then inside their interval."""
    outcome = Target(signal.target, signal.horizon).outcome(candles)
    inside = (outcome >= table["prediction_low"]) & (outcome <= table["prediction_high"])
    return float(inside[outcome.notna() & table["prediction_low"].notna()].loc[since:].mean())


# Intervals


def test_an_interval_is_there_once_its_memory_is_complete_and_on_every_bar_then(
    fitted: Linear, candles: Candles
) -> None:
    for first in (0, 1, 150, 299):
        table = fitted.predict(candles.rows(first, 4000))
        assert table["prediction"].iloc[fitted.warmup :].notna().all()
        assert bounds(table).iloc[fitted.memory :].notna().all(axis=None)
        assert bounds(table).iloc[: fitted.warmup + fitted.interval_memory - 1].isna().all(axis=None)
        assert (table["prediction_low"] <= table["prediction_high"]).iloc[fitted.memory :].all()


def test_no_interval_changes_when_later_candles_change_or_are_missing(fitted: Linear, candles: Candles) -> None:
    whole = fitted.predict(candles)
    for known in (1500, 2222, 3899, 3999):
        frame = candles.frame.copy()
        frame.iloc[known:] *= np.random.default_rng(known).uniform(0.5, 2.0, (4000 - known, 1))
        for other in (candles.rows(0, known), Candles(frame, BTC, "1m")):
            pd.testing.assert_frame_equal(
                fitted.predict(other).iloc[:known], whole.iloc[:known], check_exact=True, check_freq=False
            )


def test_an_outcome_changes_the_intervals_from_the_bar_on_that_completes_it(fitted: Linear, candles: Candles) -> None:
    """A crash in one bar is a miss of the bar ``horizon`` bars before, and known at the crash's close."""
    crash = 3000
    frame = candles.frame.copy()
    frame.iloc[crash:] /= 2
    frame.iloc[crash, :2] *= 2  # it opens where the bar before closed
    nothing = np.zeros(len(candles))
    calm, wild = (fitted.around(nothing, each)[1] for each in (candles, Candles(frame, BTC, "1m")))
    first = fitted.memory
    assert first + int(np.argmax(calm[first:] != wild[first:])) == crash


def test_an_interval_needs_no_more_history_than_the_memory(fitted: Linear, candles: Candles) -> None:
    whole = fitted.predict(candles)
    for first in (1, 77, 300, 1234):
        late = fitted.predict(candles.rows(first, 4000)).iloc[fitted.memory :]
        np.testing.assert_allclose(late, whole.loc[late.index], rtol=1e-6, atol=1e-9)


def test_after_a_gap_the_interval_is_back_with_the_prediction_and_no_label_across_it_was_used(
    fitted: Linear, candles: Candles
) -> None:
    gap = slice(2500, 2510)
    frame = candles.frame.drop(candles.time[gap])
    table = fitted.predict(Candles(frame, BTC, "1m"))
    silent = table["prediction"].isna()
    assert silent.iloc[2500 : 2500 + fitted.warmup].all()
    assert (bounds(table).isna().any(axis=1) == silent).iloc[fitted.memory :].all()
    frame.iloc[2500:] *= 3  # nothing but a label across the gap could see it
    pd.testing.assert_frame_equal(fitted.predict(Candles(frame, BTC, "1m")), table, rtol=1e-6, check_freq=False)


def test_the_interval_follows_outcomes_that_are_harder_to_foresee_than_in_validation() -> None:
    """Volatility that changes at random every 20 minutes, of which the training candles had nothing."""
    random = np.random.default_rng(5)
    moves = random.normal(0, 1e-3, 12_000)
    moves[4000:] *= np.repeat(np.exp(random.normal(0, 0.25, 400)), 20)
    wild = of_moves(moves)
    signal = Linear(target="volatility", horizon=15, interval=0.8, interval_memory=1000).fit({BTC: wild.rows(0, 4000)})
    later = wild.time[6000]
    assert covered(signal.predict(wild), wild, signal, later) == pytest.approx(0.8, abs=0.03)
    signal.interval_step = 0.0
    assert covered(signal.predict(wild), wild, signal, later) < 0.7


def test_a_candle_off_the_grid_is_not_learned_from(fitted: Linear, candles: Candles) -> None:
    shifted = Candles(candles.frame.set_axis(candles.time + pd.Timedelta(seconds=20)), BTC, "1m")
    table = fitted.predict(shifted).iloc[fitted.memory + 1 :]
    wide = table["prediction_high"] - table["prediction_low"]
    scale = Target(fitted.target, fitted.horizon).base_and_scale(shifted)[1][fitted.memory + 1 :]
    np.testing.assert_allclose(wide / scale, (wide / scale).iloc[0])


def test_intervals_cover_recorded_months_that_nothing_was_chosen_on(real_data: Path) -> None:
    """Fitted once on the 90 days before each month; step and memory were chosen on 2021."""
    for symbol, month in ((BTC, "2022-02"), ("ETH/USDT", "2023-08")):
        name = f"BINANCE_{symbol.replace('/', '')}_1m_20210101_20231231.parquet"
        every = read_real(real_data, name, symbol, "1m")
        start = pd.Timestamp(f"{month}-01", tz="UTC")
        end = start + pd.offsets.MonthBegin(1)
        past, test = every.between(start - pd.Timedelta("90D"), start), every.between(start - pd.Timedelta("4D"), end)
        for target, horizon in (("return", 1), ("volatility", 15)):
            signal = LinearAsShipped(target=target, horizon=horizon).fit({symbol: past})
            for signal.interval, least, most in ((0.8, 0.78, 0.82), (0.95, 0.94, 0.96)):
                table = signal.predict(test)
                assert bounds(table)[table.index >= start].notna().any(axis=1).mean() > 0.99
                assert least <= covered(table, test, signal, start) <= most


class LinearAsShipped(Linear):
    interval_memory: int = SupervisedSignal.interval_memory

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        return super().fit_to(data, {BTC: next(iter(market.values()))}, progress)


# Probabilities of a direction


class Overconfident(Linear):
    """Says what a linear model says with five times its log odds."""

    features = ("return_lag_0", "return_lag_1", "range_1")
    target: Literal["return", "direction", "volatility"] = "direction"

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-5 * log_odds(super().respond(matrix, rows, candles)))) - 0.5)


def reverting(rows: int, seed: int = 3) -> Candles:
    """A market in which every move is mostly undone by the next one."""
    shock = np.random.default_rng(seed).normal(0, 1e-3, rows)
    return of_moves(shock - 0.4 * np.concatenate([[0.0], shock[:-1]]))


def reliability_of(signal: SupervisedSignal, candles: Candles, first: int) -> list[dict[str, Any]]:
    said = signal.predict(candles)["prediction"].iloc[first:]
    rose = Target("direction", signal.horizon).outcome(candles).iloc[first:]
    known = said.notna() & rose.notna()
    return reliability(said[known].to_numpy(), rose[known].to_numpy())


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_an_overconfident_signal_gives_calibrated_probabilities_of_bars_that_it_has_not_seen(method: str) -> None:
    candles = reverting(24_000)
    signal = Overconfident(calibration=method).fit({BTC: candles.rows(0, 12_000)})
    assert calibration_error(reliability_of(signal, candles, 12_000)) < 0.03
    assert signal.report_["calibration_error_raw"] > 0.15 > 0.03 > signal.report_["calibration_error_calibrated"]
    signal.calibration_ = {}
    assert calibration_error(reliability_of(signal, candles, 12_000)) > 0.15


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_on_a_random_walk_probabilities_are_near_one_half(method: str) -> None:
    candles = make_candles(16_000)
    signal = Overconfident(calibration=method).fit({BTC: candles.rows(0, 12_000)})
    said = signal.predict(candles)["prediction"].iloc[12_000:]
    assert (said - 0.5).abs().mean() < 0.03


def test_a_calibrated_signal_has_no_interval_and_no_slope_and_survives_a_file(tmp_path: Path) -> None:
    candles = reverting(3000)
    signal = Overconfident(calibration="isotonic").fit({BTC: candles})
    assert (signal.slope_, signal.errors_, signal.memory) == (1.0, [], signal.warmup)
    said = signal.predict(candles)
    assert isinstance(said, pd.DataFrame)
    assert "prediction_low" not in said
    signal.save(tmp_path / "m")
    pd.testing.assert_frame_equal(Overconfident.load(tmp_path / "m").predict(candles), said, check_exact=True)


def test_the_spread_of_several_models_is_that_of_their_calibrated_probabilities() -> None:
    candles = reverting(3000)
    signal = Two().fit({BTC: candles})
    said = signal.predict(candles).iloc[signal.warmup :]
    rows = np.arange(signal.warmup, 3000)
    models = signal.respond(signal.inputs(candles).to_numpy(np.float32), rows, candles)
    wanted = [applied(signal.calibration_, model + 0.5) for model in models]
    np.testing.assert_allclose(said["prediction_spread"], np.std(wanted, axis=0))
    np.testing.assert_allclose(said["prediction"], applied(signal.calibration_, models.mean(axis=0) + 0.5))


class Two(Overconfident):
    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        one = super().respond(matrix, rows, candles)
        return np.concatenate([one, one / 2])
