"""The shipped LSTM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.errors import UsageError
from freqlstm.plugins import find

ROOT = Path(__file__).resolve().parents[1]
FEW = {
    "features": ["return_lag_0", "range_1"],
    "seeds": 1,
    "epochs": 1,
    "units": 4,
    "lookback": 3,
    "interval_memory": 100,
}

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(scope="module")
def lstm() -> Any:
    return find("signal", "lstm", ROOT).load()


def test_the_defaults_are_those_that_keep_most_of_the_skill(lstm: Any) -> None:
    signal = lstm()
    assert (signal.lookback, signal.horizon, signal.units) == (10, 5, 32)
    assert (signal.seeds, signal.epochs, signal.batch, signal.learning_rate) == (3, 4, 256, 2e-3)
    assert (signal.weight_decay, signal.validation, signal.stride, signal.target) == (1e-3, 0.2, 1, "return")
    assert len(signal.features) >= 24


def test_the_network_is_one_lstm_of_so_many_units(lstm: Any) -> None:
    network = lstm(lookback=7, units=16).built(5)
    assert network.input_shape == (None, 7, 5)
    assert network.output_shape == (None, 1)
    assert network.count_params() == 4 * 16 * (5 + 16 + 1) + 16 + 1


def test_its_width_must_be_positive(lstm: Any) -> None:
    with pytest.raises(UsageError, match=r"^Parameter 'units' of Lstm is 0\. It must be between 1 and 4096\.$"):
        lstm(units=0)


def test_saving_and_loading_keeps_every_bit(lstm: Any, tmp_path: Path) -> None:
    candles = make_candles(1500)
    fitted = lstm(**FEW).fit({"BTC/USDT": candles})
    fitted.save(tmp_path / "m")
    said, again = fitted.predict(candles), lstm.load(tmp_path / "m").predict(candles)
    pd.testing.assert_frame_equal(said, again, check_exact=True)
    assert said["prediction"].iloc[fitted.warmup :].notna().all()
    assert np.isfinite(said.iloc[fitted.memory :, :3].to_numpy()).all()


PROGRAM = """
import sys
sys.path[:0] = {path!r}
import pandas as pd
from conftest import make_candles
from test_lstm import FEW, ROOT, find
candles = make_candles(1500)
said = find("signal", "lstm", ROOT).load()(**FEW).fit({{"BTC/USDT": candles}}).predict(candles)
print(int(pd.util.hash_pandas_object(said).sum()))
"""


def test_another_process_gives_the_same_bits(lstm: Any) -> None:
    here = Path(__file__).resolve().parent
    candles = make_candles(1500)
    said = lstm(**FEW).fit({"BTC/USDT": candles}).predict(candles)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(path=[str(here), str(here.parent)])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(ended.stdout) == int(pd.util.hash_pandas_object(said).sum())
