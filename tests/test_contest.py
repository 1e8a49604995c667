"""Returns judged as prices over an earlier close."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluating import BTC, PLAN, SPANS, evaluated, project_with, reverting

from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.evaluation_run import EvaluationRun, run_evaluation
from freqlstm.store import Project


def closing(close: np.ndarray, start: str = "2024-01-02") -> Candles:
    """Minutes with these closes and nothing else."""
    frame = pd.DataFrame(
        {"open": close, "high": close, "low": close, "close": close, "volume": 1.0},
        index=pd.date_range(start, periods=len(close), freq="min", tz="UTC"),
    )
    return Candles.from_frame(frame, BTC, "1m", "binance")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_with(tmp_path_factory.mktemp("project"), reverting(4000, back=0.2))


def test_errors_are_those_of_prices_over_the_close_so_many_bars_before(tmp_path: Path) -> None:
    """Closes go 100, 120, 90 and round again; every price is over the close one bar earlier, less 1:

    | close | before | next | outcome | zero: it stays | the last move again    |
    |-------|--------|------|---------|----------------|------------------------|
    | 100   | 90     | 120  | 1/3     | 1/9            | (100/90)^2 - 1 = 19/81 |
    | 120   | 100    | 90   | -1/10   | 1/5            | 1.2^2 - 1 = 44/100     |
    | 90    | 120    | 100  | -1/6    | -1/4           | 0.75^2 - 1 = -7/16     |
    """
    project = project_with(tmp_path, closing(np.tile([100.0, 120.0, 90.0], 40)))
    found = evaluated(
        project, "momentum", timeranges=("20240102T0006-20240102T0154",), horizon=1, relative_to=1,
        parameters={"lookback": 1},
    )  # fmt: skip
    rows, said = found.compared.rows, found.compared.said
    assert len(rows) == 107  # of the last minute nobody knows what came
    np.testing.assert_allclose(rows["outcome"][:3], [1 / 3, -1 / 10, -1 / 6], rtol=1e-12)
    np.testing.assert_allclose(said["zero"][:3], [1 / 9, 1 / 5, -1 / 4], rtol=1e-12)
    for name in ("persistence", "momentum"):
        np.testing.assert_allclose(said[name][:3], [19 / 81, 44 / 100, -7 / 16], rtol=1e-12)
    figures = found.figures["signals"]
    errors = np.tile([2 / 9, 3 / 10, 1 / 12], 36)[:107]
    assert figures["zero"]["pooled"]["mae"] == pytest.approx(errors.mean(), rel=1e-12)
    assert figures["zero"]["pooled"]["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-12)
    assert figures["momentum"]["pooled"]["r2"] < 0


def test_every_forecast_interval_and_seed_is_moved_to_the_same_scale(project: Project) -> None:
    plain = evaluated(project, "slope", "guess", horizon=1, seeds=2)
    moved = evaluated(project, "slope", "guess", horizon=1, seeds=2, relative_to=7)
    pd.testing.assert_frame_equal(
        plain.compared.rows.drop(columns="outcome"), moved.compared.rows.drop(columns="outcome")
    )
    scale = 1 + moved.compared.said["zero"]
    close = reverting(4000, back=0.2).close
    np.testing.assert_allclose(
        scale, (close / close.shift(7))[pd.DatetimeIndex(plain.compared.rows["time"])], rtol=1e-12
    )

    def on_scale(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(values) * scale - 1)

    np.testing.assert_allclose(moved.compared.rows["outcome"], on_scale(plain.compared.rows["outcome"].to_numpy()))
    for name, values in plain.compared.said.items():
        np.testing.assert_allclose(moved.compared.said[name], on_scale(values), rtol=1e-12, err_msg=name)
    for name, seeds in plain.compared.by_seed.items():
        np.testing.assert_allclose(moved.compared.by_seed[name], on_scale(seeds), rtol=1e-12, err_msg=name)
    for ours, theirs in zip(moved.compared.interval["slope"], plain.compared.interval["slope"], strict=True):
        np.testing.assert_allclose(ours, on_scale(theirs), rtol=1e-12)
    coverage = [each.figures["signals"]["slope"]["interval"]["pooled"]["coverage"] for each in (plain, moved)]
    assert coverage[0] == coverage[1]


def test_a_row_whose_earlier_close_lies_beyond_a_gap_does_not_count(tmp_path: Path) -> None:
    whole = reverting(4000)
    missing = pd.Timestamp("2024-01-02 05:00", tz="UTC")
    holed = Candles.from_frame(whole.frame.drop(missing), BTC, "1m", "binance")
    found = evaluated(project_with(tmp_path, holed), "momentum", horizon=1, relative_to=4, parameters={"lookback": 1})
    counted = set(pd.DatetimeIndex(found.compared.rows["time"]))
    minutes = [missing + pd.Timedelta(minutes=number) for number in range(-3, 8)]
    assert [time in counted for time in minutes] == [True] * 2 + [False] * 6 + [True] * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"relative_to": -1}, "relative_to is -1. It must be a number of bars, or 0 for returns as they are."),
        ({"signals": ("chance",), "relative_to": 4},
         "relative_to is 4, but the signals forecast a direction. It is for returns: leave it out, or set target = \"return\"."),
        ({"signals": ("calm",), "relative_to": 4, "horizon": 15},
         "relative_to is 4, but the signals forecast a volatility. It is for returns: leave it out, or set target = \"return\"."),
    ],
)  # fmt: skip
def test_an_earlier_close_is_for_returns_and_lies_in_the_past(
    project: Project, given: dict[str, object], message: str
) -> None:
    run = {"signals": ("slope",), "timeranges": SPANS, "folds": PLAN, "horizon": 1, **given}
    with pytest.raises(UsageError) as error:
        run_evaluation(EvaluationRun(**run), project, jobs=1)  # type: ignore[arg-type]
    assert str(error.value) == message
