"""Signals that learn a label: their intervals and probabilities, with a linear model in place of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real

from freqlstm.candles import Candles
from freqlstm.progress import Progress
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
    calm = make_candles(12_000)
    moves = np.log(calm.close).diff().fillna(0.0).to_numpy()
    moves = moves * np.concatenate([np.ones(4000), np.repeat(np.exp(random.normal(0, 0.25, 400)), 20)])
    close = 100 * np.exp(np.cumsum(moves))
    open_ = np.concatenate([[100.0], close[:-1]])
    values = {
        "open": open_,
        "high": np.maximum(open_, close),
        "low": np.minimum(open_, close),
        "close": close,
        "volume": 1.0,
    }
    wild = Candles(pd.DataFrame(values, index=calm.time), BTC, "1m")
    signal = Linear(target="volatility", horizon=15, interval=0.8, interval_memory=1000).fit({BTC: wild.rows(0, 4000)})
    later = wild.time[6000]
    assert covered(signal.predict(wild), wild, signal, later) == pytest.approx(0.8, abs=0.03)
    signal.interval_step = 0.0
    assert covered(signal.predict(wild), wild, signal, later) < 0.6


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
