"""The same signals on another backend of Keras than TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles
from terminal import environment

from freqlstm.plugins import find
from freqlstm.windows import gather

ROOT = Path(__file__).resolve().parents[1]
BTC = "BTC/USDT"
FEW = {"features": ["return_lag_0", "range_1"], "seeds": 1, "epochs": 1, "units": 4, "lookback": 3}
SHIPPED = ("lstm", "lstm_volatility", "attention_lstm", "boosted_lstm", "updating_lstm")

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed: pip install jax"),
    # Keras converts its variables in a way that numpy 2 has deprecated.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

BEGIN = """
import json, sys
from pathlib import Path
import keras, numpy as np, pandas as pd
from conftest import make_candles
from freqlstm.errors import FreqlstmError
from freqlstm.plugins import find
assert keras.backend.backend() == "jax"
"""
FORWARD = """
folder, root, few = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
kind = find("signal", "lstm", root).load()
try:
    kind.load(folder)
except FreqlstmError as error:
    print(error)
network = kind(**few).built(2)
network.load_weights(folder / "model_0.keras")
np.save(folder.parent / "jax.npy", network.predict_on_batch(np.load(folder.parent / "windows.npy")))
"""
FIT = """
root, few, candles, told = Path(sys.argv[1]), json.loads(sys.argv[2]), make_candles(1500), {}
for name in sys.argv[3:]:
    more = {"base": "zero", "stages": 1} if name == "boosted_lstm" else {}
    signal = find("signal", name, root).load()(**few, **more).fit({"BTC/USDT": candles})
    said = signal.predict(candles)
    told[name] = [int(said["prediction"].notna().sum()), int(pd.util.hash_pandas_object(said).sum()),
                  signal.report_["validation_errors"]]
print(json.dumps(told))
"""


def under_jax(program: str, *arguments: object) -> str:
    """What the program prints in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + program, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT / "tests",
        env=environment(KERAS_BACKEND="jax"), timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_jax_reproduces_the_forward_pass_of_a_saved_network(tmp_path: Path) -> None:
    candles = make_candles(1500)
    lstm: Any = find("signal", "lstm", ROOT).load()
    signal = lstm(**FEW | {"units": 32, "lookback": 10}).fit({BTC: candles})
    signal.save(tmp_path / "m")
    windows = gather(signal.inputs(candles).to_numpy(np.float32), np.arange(signal.warmup, 1500), 10)
    np.save(tmp_path / "windows.npy", windows)
    told = under_jax(FORWARD, tmp_path / "m", ROOT, json.dumps(FEW | {"units": 32, "lookback": 10}))
    assert "was fitted with " in told, "the whole signal of another backend is refused: its last bits would differ"
    assert told.endswith("Fit it again.\n")
    here = signal.networks_[0].predict_on_batch(windows)
    assert np.ptp(here) > 0.01
    np.testing.assert_allclose(np.load(tmp_path / "jax.npy"), here, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_every_shipped_network_trains_and_predicts_under_jax_and_twice_the_same() -> None:
    told = json.loads(under_jax(FIT, ROOT, json.dumps(FEW), *SHIPPED))
    again = json.loads(under_jax(FIT, ROOT, json.dumps(FEW), "lstm"))
    assert list(told) == list(SHIPPED)
    assert all(rows > 1000 and np.isfinite(np.concatenate(errors)).all() for rows, _, errors in told.values())
    assert again["lstm"] == told["lstm"]
    candles = make_candles(1500)
    lstm: Any = find("signal", "lstm", ROOT).load()
    signal = lstm(**FEW).fit({BTC: candles})
    assert int(pd.util.hash_pandas_object(signal.predict(candles)).sum()) != told["lstm"][1]
    np.testing.assert_allclose(told["lstm"][2], signal.report_["validation_errors"], rtol=0.02)
