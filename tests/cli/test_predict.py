"""``freqlstm predict`` with a signal that goes on learning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import Result
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.plugins import find
from freqlstm.project import Project
from freqlstm.signal import prediction_table
from freqlstm.store import CandleStore

CHECKOUT = Path(__file__).resolve().parents[2]
PARAMETERS = {"features": ["return_lag_0", "range_1"], "seeds": 1, "epochs": 1, "units": 3, "lookback": 3, "every": 5}
ASKED = ("--signal", "updating_lstm", "--exchange", "binance", *(
    word for name, value in PARAMETERS.items() for word in ("--set", f"{name}={json.dumps(value)}")
))  # fmt: skip


def of_binance(rows: int) -> Candles:
    return Candles(make_candles(2000).frame.iloc[:rows], "BTC/USDT", "1m", "binance")


def test_it_goes_on_from_where_it_was_and_says_what_a_backtest_says(
    freqlstm: Callable[..., Result], tmp_path: Path
) -> None:
    store = CandleStore(Project(tmp_path).data)
    store.write(of_binance(1500))
    trained = json.loads(freqlstm("train", *ASKED, "--json").stdout)
    kind: Any = find("signal", "updating_lstm", CHECKOUT).load()
    whole = prediction_table(kind.load(Path(trained["folder"])), of_binance(2000))
    for rows in (1501, 1501, 1600, 2000):
        store.write(of_binance(rows))
        (row,) = json.loads(freqlstm("predict", *ASKED, "--json").stdout)
        at = pd.Timestamp(row["known_at"]) - pd.Timedelta("1min")
        assert row["prediction"] == whole["prediction"].loc[at], rows
        (file,) = (tmp_path / "models" / "updating_lstm" / "learned").rglob("*.npz")
    file.write_bytes(b"PK")
    refused = freqlstm("predict", *ASKED)
    assert refused.exit_code == 1
    assert "is damaged" in refused.stderr
    assert refused.stderr.endswith("and the signal goes on from its fit.\n")
    file.unlink()
    (again,) = json.loads(freqlstm("predict", *ASKED, "--json").stdout)
    assert again == row
