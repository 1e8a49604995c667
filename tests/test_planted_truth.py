"""What the shipped signals find where it is known what can be found, and where there is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluating import BTC, reverting

from freqlstm.candles import Candles
from freqlstm.evaluation import Evaluation
from freqlstm.evaluation_run import EvaluationRun, run_evaluation
from freqlstm.folds import FoldPlan
from freqlstm.plugins import find
from freqlstm.store import CandleStore, Project

ROOT = Path(__file__).resolve().parents[1]
TRAIN, TEST = 20_000, 10_000  # bars
LAGS = ["return_lag_0", "return_lag_1"]
SMALL = {
    "features": LAGS, "horizon": 1, "lookback": 3, "units": 8, "seeds": 1, "epochs": 10, "batch": 128, "learning_rate": 0.01,
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def planted(linear: float = -0.2, curved: float = 0.35, seed: int = 1) -> tuple[Candles, np.ndarray]:
    """Candles, and the mean of each next log return given the past: what nobody can better.

    The next return over its volatility is ``linear`` x + ``curved`` tanh(x y) and a standard normal shock, with x and y
    the last two. The product has no linear part: it is the same if both change their sign.
    """
    rows = TRAIN + TEST
    shock, x, mean = np.random.default_rng(seed).normal(size=rows), np.zeros(rows), np.zeros(rows)
    sigma = 1e-3 * (1 + 0.3 * np.sin(2 * np.pi * np.arange(rows) / 1440))  # over the day
    for row in range(1, rows - 1):
        mean[row] = linear * x[row] + curved * np.tanh(x[row] * x[row - 1])
        x[row + 1] = mean[row] + shock[row + 1]
    close = 100 * np.exp(np.cumsum(sigma * x))
    open_ = np.concatenate([[100.0], close[:-1]])
    frame = pd.DataFrame(
        {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close, "volume": 1.0},
        index=pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC"),
    )  # fmt: skip
    return Candles.from_frame(frame, BTC, "1m", "binance"), np.roll(sigma, -1) * mean


@pytest.fixture(scope="module")
def market() -> tuple[Candles, np.ndarray]:
    return planted()


def r2(said: np.ndarray, candles: Candles) -> float:
    """Against zero, on the rows after the training rows."""
    came = np.diff(np.log(candles.close.to_numpy()))[TRAIN:]
    said = said[TRAIN:-1]
    assert np.isfinite(said).all()
    return float(1 - np.sum((came - said) ** 2) / np.sum(came**2))


def found(name: str, market: tuple[Candles, np.ndarray], **parameters: Any) -> tuple[float, Any]:
    """The share of the attainable R2 that a shipped signal finds, and the fitted signal."""
    candles, truth = market
    signal = find("signal", name, ROOT).load()(**parameters).fit({BTC: candles.rows(0, TRAIN)})
    return r2(signal.predict(candles)["prediction"].to_numpy(), candles) / r2(truth, candles), signal


def test_what_can_be_foreseen_is_a_twelfth_and_part_of_it_is_no_line(market: tuple[Candles, np.ndarray]) -> None:
    candles, truth = market
    assert r2(truth, candles) == pytest.approx(1 / 12, abs=0.01)
    x = np.diff(np.log(candles.close.to_numpy()), prepend=np.nan)
    known = np.column_stack([x[2:-1], x[1:-2]])
    line = known @ np.linalg.lstsq(known, truth[2:-1], rcond=None)[0]
    assert 0.4 < np.sum(line**2) / np.sum(truth[2:-1] ** 2) < 0.6


def test_the_lstm_finds_four_fifths_of_what_can_be_found(market: tuple[Candles, np.ndarray]) -> None:
    share, signal = found("lstm", market, **SMALL | {"seeds": 3})
    assert 0.8 <= share <= 1.01
    assert signal.slope_ > 0.9


def test_boosting_adds_what_a_line_misses(market: tuple[Candles, np.ndarray]) -> None:
    base, _ = found("ridge", market, horizon=1)
    share, signal = found("boosted_lstm", market, **SMALL, base="ridge")
    assert base < 0.65
    assert share > 0.75
    assert share - base > 0.5 * (1 - base), "it adds at least half of what the base misses"
    assert signal.report_["stages"][0]["kept"]


LEARNED = ("ridge", "har", "lightgbm", "lstm", "boosted_lstm", "attention_lstm", "stack")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """The shipped signals on a random walk, each fitted on twenty days and judged on the four after them."""
    project = Project(tmp_path_factory.mktemp("walk"))
    CandleStore(project.data).write(reverting(24 * 1440, seed=8))
    quick = {"lookback": 3, "units": 8, "seeds": 1, "epochs": 3, "batch": 128, "learning_rate": 0.01}
    run = EvaluationRun(
        signals=("persistence", *LEARNED), timeranges=("20240121-20240125",), target="return", horizon=1,
        folds=FoldPlan(train="20d", test="4d", min_train="10d"),
        parameters={"interval_memory": 60, **dict.fromkeys(("lstm", "boosted_lstm", "attention_lstm"), quick)},
    )  # fmt: skip
    return run_evaluation(run, project, jobs=1)


@pytest.mark.slow
def test_on_a_random_walk_no_shipped_signal_finds_anything(walk: Evaluation) -> None:
    for name in LEARNED:
        pooled = walk.figures["signals"][name]["pooled"]
        assert pooled["rows"] > 4000
        assert -0.002 < pooled["r2"] < 0.002, name
        assert pooled["r2"] < 2 * pooled["r2_error"] if pooled["r2_error"] else pooled["r2"] == 0, name
        holm = pooled["holm_p_vs_naive"]
        assert holm is None or holm >= 0.05, name


@pytest.mark.slow
def test_on_a_random_walk_an_evaluation_says_that_nothing_is_found(walk: Evaluation) -> None:
    judged = [
        name for name, each in walk.figures["signals"].items() if each["pooled"].get("holm_p_vs_naive") is not None
    ]
    assert walk.figures["naive"] == "zero"
    corrected = f" after Holm's correction for {len(judged)} signals" if len(judged) > 1 else ""
    assert walk.figures["findings"][0] == f"No signal's error is below zero's beyond noise (DM p < .05{corrected})."
