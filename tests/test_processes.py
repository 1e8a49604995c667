"""Two processes, the same seed: the same predictions, bit for bit, of every shipped signal that learns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.plugins import find

ROOT = Path(__file__).resolve().parents[1]
TINY: dict[str, Any] = {"features": ["return_lag_0", "range_1"], "interval_memory": 100, "horizon": 1}
NETWORK = TINY | {"seeds": 1, "epochs": 1, "units": 4, "lookback": 3}
SIGNALS: dict[str, dict[str, Any]] = {
    "ridge": TINY,
    "har": {"interval_memory": 100},
    "lightgbm": TINY | {"rounds": 5, "min_rows": 50},
    "lstm_volatility": NETWORK,
    "attention_lstm": NETWORK | {"dropout": 0.5},
    "boosted_lstm": NETWORK | {"base": "lightgbm", "margin": 0.0, "dropout": 0.5, "stages": 2},
    "stack": {"members": ["har", "lightgbm"], "weights": "validation", "interval_memory": 100, "horizon": 1},
}

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def bouncing() -> Candles:
    """Each return is half undone by the next, so that there is something to learn."""
    candles = make_candles(4000)
    close = candles.close * (1 + 1e-3 * (candles.time.minute % 2))
    frame = candles.frame.assign(open=close, high=close * 1.0005, low=close * 0.9995, close=close)
    return Candles.from_frame(frame, "BTC/USDT", "1m")


def digests() -> dict[str, int]:
    """Of everything that each of the signals predicts after a fit."""
    candles = bouncing()
    found = {}
    for name, parameters in SIGNALS.items():
        said = find("signal", name, ROOT).load()(**parameters).fit({"BTC/USDT": candles}).predict(candles)
        assert said["prediction"].dropna().nunique() > 1000, f"{name} says something else at every bar"
        found[name] = int(pd.util.hash_pandas_object(said).sum())
    return found


PROGRAM = """
import json, sys
sys.path[:0] = {path!r}
from test_processes import digests
print(json.dumps(digests()))
"""


@pytest.mark.slow
def test_another_process_with_the_same_seed_predicts_the_same_bits() -> None:
    here = Path(__file__).resolve().parent
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(path=[str(here), str(here.parent)])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(ended.stdout) == digests()
