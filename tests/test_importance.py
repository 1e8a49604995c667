"""What signals listen to, found by shuffling their inputs in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluating import BTC, ETH, evaluated, project_with, reverting

from freqlstm import importance
from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.evaluation_run import EvaluationRun, run_evaluation
from freqlstm.importance import shuffled


class Sum:
    """Says the sum of its two inputs, of which the first is what comes and the second nothing."""

    def __init__(self, candles: Candles, weight: float = 0.0) -> None:
        self.weight = weight
        ahead = np.log(candles.close.shift(-1) / candles.close)
        self.table = pd.DataFrame({"all": ahead, "nothing": 0.0})
        self.table["nothing"] = np.random.default_rng(0).normal(0, ahead.std(), len(candles))

    def inputs(self, candles: Candles) -> pd.DataFrame:
        return self.table

    def predict_from(self, inputs: pd.DataFrame, candles: Candles) -> pd.Series:
        return inputs["all"] * 0.5 + inputs["nothing"] * self.weight


def test_shuffling_what_is_listened_to_costs_what_it_was_worth_and_the_rest_nothing() -> None:
    """Half of what comes is said: the error is a quarter of its variance, and with it shuffled 1 + a quarter: five times."""
    candles = reverting(4000)
    found = shuffled(Sum(candles), candles, candles.time[100], 1, "return", 0)
    assert found is not None
    assert found.features == ("all", "nothing")
    assert found.before[0] == pytest.approx(np.sum(np.log(candles.close).diff().iloc[101:] ** 2) / 4, rel=0.01)
    assert found.after[0] / found.before[0] == pytest.approx(5, rel=0.2)
    np.testing.assert_array_equal(found.after[1], found.before[1])
    assert (found.rows[1] == 3899).all()
    assert (found.rows[0] >= 3898).all()  # where the unknown outcome of the last bar is moved to, nothing is said


def test_whole_blocks_change_places_within_the_test_span_only() -> None:
    source = importance._moved(107, 7, 10, np.random.default_rng(1))
    np.testing.assert_array_equal(source[:7], np.arange(7))
    blocks = source[7:].reshape(10, 10)
    assert (np.diff(blocks, axis=1) == 1).all()
    assert sorted(blocks[:, 0]) == list(range(7, 107, 10))
    assert all(begin != 7 + 10 * number for number, begin in enumerate(blocks[:, 0]))
    np.testing.assert_array_equal(importance._moved(112, 7, 10, np.random.default_rng(1))[107:], np.arange(107, 112))


def test_of_a_long_span_a_part_of_every_block_is_judged_each_at_another_time_of_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = importance._judged(100 + 31 * 1440, 100, 1440)
    assert not shown[:100].any()
    days = shown[100:].reshape(31, 1440)
    assert (days.sum(axis=1) == 6000 // 31).all()
    assert len(set(days.argmax(axis=1))) == 31
    assert days.any(axis=0).mean() > 0.95
    assert importance._judged(500, 100, 40).all()


def test_an_evaluation_tells_what_its_signals_listen_to(tmp_path: Path) -> None:
    project = project_with(tmp_path, reverting(4000, back=0.3), reverting(4000, ETH, seed=2, back=0.3))
    found = evaluated(project, "slope", "guess", "momentum", pairs=(BTC, ETH), horizon=1, importance=True)
    assert set(found.figures["importance"]) == {"slope"}  # the others tell no inputs
    told = found.figures["importance"]["slope"]
    assert [each["feature"] for each in told["features"]] == ["move", "noise"]
    assert told["rows"] == pytest.approx(found.figures["rows"], abs=20)
    assert told["features"][0]["increase"] > 0.05
    assert told["features"][0]["spread"] > 0
    assert told["features"][1] == {"feature": "noise", "increase": 0.0, "spread": 0.0}
    assert found.config["importance"] is True


def test_importance_without_kept_models_is_refused(tmp_path: Path) -> None:
    project = project_with(tmp_path, reverting(200))
    with pytest.raises(UsageError, match=r"^The importance of inputs is asked of the fitted signals, which --no-cache"):
        run_evaluation(EvaluationRun(signals=("slope",), importance=True), project, cache=False)
