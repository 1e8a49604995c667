"""A training whose loss becomes infinite or NaN stops, and says where."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import make_candles
from terminal import SMALL, typed

from freqlstm.errors import Diverged
from freqlstm.folds import FoldPlan
from freqlstm.forecast import train
from freqlstm.plugins import find
from freqlstm.predictions import walk_forward

ROOT = Path(__file__).resolve().parents[1]
BTC = "BTC/USDT"
# Each step multiplies the weights by 1 - rate * decay: here by up to -99.
HUGE = {
    "features": ["return_lag_0", "range_1"], "seeds": 2, "epochs": 2, "units": 4, "lookback": 3, "batch": 16,
    "learning_rate": 10.0, "weight_decay": 10.0,
}  # fmt: skip

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def test_it_names_signal_epoch_network_and_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(
        Diverged,
        match=r"^Training of Lstm diverged in epoch 1 of network 1 of 2: the (loss|validation error) is (nan|inf)\. Lower learning_rate, "
        r"which is 10\.0, or weight_decay, which is 10\.0\.$",
    ):
        train(find("signal", "lstm", ROOT), HUGE, {BTC: make_candles(1500)}, tmp_path)
    assert not list(tmp_path.glob("lstm/*/signal.json"))


def test_a_fold_is_named_too(tmp_path: Path) -> None:
    candles = make_candles(2 * 1440)
    start, end = (pd.Timestamp(day, tz="UTC") for day in ("2024-01-02", "2024-01-03"))
    with pytest.raises(
        Diverged,
        match=r"^Fold 1 \(train 2024-01-01 to 2024-01-02\): Training of Lstm diverged in epoch 1 of network 1 of 2: ",
    ):
        walk_forward(
            find("signal", "lstm", ROOT), HUGE, {BTC: candles}, start, end,
            FoldPlan(train="1d", test="1d", min_train="1d"), tmp_path, jobs=1,
        )  # fmt: skip


def test_a_backtest_says_it_in_one_line(tmp_path: Path) -> None:
    ended = typed(
        "backtest", "-s", "lstm_rsi", "--exchange", "demo", "--timerange", "20240103-20240104", "--train", "2d", "--min-train", "2d",
        *SMALL, "--set", "prediction.batch=16", "--set", "prediction.learning_rate=10.0", "--set", "prediction.weight_decay=10.0", cwd=tmp_path, code=1,
    )  # fmt: skip
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith(
        "Error: Fold 1 (train 2024-01-01 to 2024-01-03): Training of Lstm diverged in epoch 1 of network 1 of 1: the "
    )
    assert not list(tmp_path.glob("backtests/results/*"))
