from __future__ import annotations

import json
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqlstm.candles import Candles
from freqlstm.errors import RunError
from freqlstm.results import TRADE_COLUMNS, Result, to_toml, trade_table


@pytest.fixture
def result(candles: Candles) -> Result:
    """Two symbols with different columns, three trades of every kind, figures that are not defined."""
    other = Candles(candles.frame.iloc[10:], "ETH/USDT", "1m")
    random = np.random.default_rng(1)
    time = candles.time
    trades = trade_table(
        [
            {"symbol": "BTC/USDT", "side": "long", "status": "closed", "decided_at": time[3], "entry_time": time[3],
             "exit_time": time[9], "size": 0.1 + 0.2, "entry_price": 100.0, "exit_price": 101.0, "votes": "2 of 3",
             "entry_reason": 'enter_long: "prediction" > 0.0008, rsi < 35', "exit_reason": "stop loss", "prediction": 1 / 3,
             "gross_pnl": 0.3, "commission": 0.01, "slippage": 0.0, "net_pnl": 0.29, "net_return": 0.0096, "bars_held": 6},
            {"symbol": "ETH/USDT", "side": "short", "status": "open", "decided_at": time[20], "entry_time": time[20],
             "size": 2, "entry_price": 99.0},
            {"symbol": "BTC/USDT", "side": "long", "status": "refused", "decided_at": time[30], "refused_because": "too small"},
        ]
    )  # fmt: skip
    equity = pd.DataFrame(random.normal(1000, 1, (300, 3)), index=time, columns=["equity", "cash", "buy_and_hold"])
    one = pd.DataFrame({"prediction": random.normal(0, 1, 300)}, index=time)
    one.iloc[:40] = np.nan
    two = pd.DataFrame({"prediction": np.nan, "prediction_low": -1.0, "volatility": 0.5}, index=other.time)
    return Result(
        run_id="20240101-000000-lstm_rsi-abc",
        config={
            "strategy": "lstm_rsi",
            "cash": 1000.0,
            "pairs": ["BTC/USDT", "ETH/USDT"],
            "costs": {"commission": 1e-3},
        },
        manifest={"synthetic": False, "seed": 1, "quality": {"BTC/USDT": {"gaps": []}}},
        market={"BTC/USDT": candles, "ETH/USDT": other},
        predictions={"BTC/USDT": one, "ETH/USDT": two},
        trades=trades,
        equity=equity,
        stats={"performance": {"total_return": 0.1 + 0.2, "sharpe": None, "days": 3}},
    )


def test_a_saved_result_is_loaded_bit_for_bit(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "run")
    loaded = Result.load(tmp_path / "run", result.market)
    assert (loaded.run_id, loaded.config, loaded.manifest, loaded.stats) == (
        result.run_id, result.config, result.manifest, result.stats,
    )  # fmt: skip
    pd.testing.assert_frame_equal(loaded.trades, result.trades, check_exact=True)
    pd.testing.assert_frame_equal(loaded.equity, result.equity, check_exact=True, check_freq=False)
    assert list(loaded.predictions) == list(result.predictions)
    for symbol, table in result.predictions.items():
        pd.testing.assert_frame_equal(loaded.predictions[symbol], table, check_exact=True, check_freq=False)


def test_the_run_folder_holds_what_a_person_needs(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "equity.parquet", "manifest.json", "predictions.parquet", "run.toml", "stats.json", "trades.csv", "trades.parquet",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["run_id"] == result.run_id
    assert len(pd.read_csv(tmp_path / "run" / "trades.csv")) == 3
    assert pd.read_parquet(tmp_path / "run" / "equity.parquet")["time"].iloc[0] == result.equity.index[0]


def test_saving_twice_writes_the_same_bytes(result: Result, tmp_path: Path) -> None:
    for name in ("one", "two"):
        result.save(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_a_figure_that_is_not_finite_is_null_in_stats_json(result: Result, tmp_path: Path) -> None:
    replace(result, stats={"sharpe": math.nan, "calmar": math.inf, "n": np.float64(1.5)}).save(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "stats.json").read_text()) == {"sharpe": None, "calmar": None, "n": 1.5}


def test_a_result_that_cannot_be_written_leaves_nothing(result: Result, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        replace(result, stats={"sharpe": object()}).save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_signals_and_trades_survives(result: Result, tmp_path: Path) -> None:
    nothing = {symbol: pd.DataFrame(index=candles.time) for symbol, candles in result.market.items()}
    replace(result, predictions=nothing, trades=trade_table([])).save(tmp_path / "run")
    loaded = Result.load(tmp_path / "run", result.market)
    pd.testing.assert_frame_equal(loaded.trades, trade_table([]))
    assert [list(table.columns) for table in loaded.predictions.values()] == [[], []]
    assert loaded.predictions["ETH/USDT"].index.equals(result.market["ETH/USDT"].time)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    message = (
        f"{tmp_path} is not a finished run: it has no run.toml. Runs are folders of backtests/results; "
        "`freqlstm backtest` makes one."
    )
    with pytest.raises(RunError) as error:
        Result.load(tmp_path, {})
    assert str(error.value) == message


def test_other_candles_than_those_of_the_run_are_refused(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "run")
    with pytest.raises(
        RunError, match=r"^run traded ETH/USDT, whose candles were not given\. Give those it was made of\.$"
    ):
        Result.load(tmp_path / "run", {"BTC/USDT": result.market["BTC/USDT"]})
    shorter = {**result.market, "BTC/USDT": result.market["BTC/USDT"].rows(0, 299)}
    with pytest.raises(RunError, match=r"^run was made of 300 candles of BTC/USDT, and 299 or others were given\."):
        Result.load(tmp_path / "run", shorter)


def test_a_result_of_the_demo_market_is_synthetic_whatever_its_manifest_says(result: Result) -> None:
    assert result.synthetic
    real = {symbol: replace(candles, exchange="binance") for symbol, candles in result.market.items()}
    assert not replace(result, market=real).synthetic
    assert replace(result, market=real, manifest={"synthetic": True}).synthetic
    assert result.cash == 1000.0


def test_a_trade_table_has_every_column_in_its_type_even_when_empty() -> None:
    for table in (trade_table([]), trade_table([{"symbol": "A/B"}])):
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == TRADE_COLUMNS
        assert list(table.columns) == list(TRADE_COLUMNS)
    row = trade_table([{"symbol": "A/B"}]).iloc[0]
    assert row["exit_reason"] is None
    assert math.isnan(row["size"])
    assert row["exit_time"] is pd.NaT


plain = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.dates(),
)  # fmt: skip
keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(
    st.dictionaries(
        keys,
        st.recursive(
            plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
        ),
        max_size=5,
    )
)
def test_a_run_file_says_what_was_written_into_it(config: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(config)) == config


def test_a_run_file_reads_well() -> None:
    config = {
        "strategy": "lstm_rsi",
        "pairs": ("BTC/USDT",),
        "parameters": {"threshold": 0.0008, "stop_loss": None},
        "signals": {"prediction": {"units": 32}},
        "seed": np.int64(1),
        "folds": {},
    }
    assert to_toml(config) == (
        'strategy = "lstm_rsi"\npairs = ["BTC/USDT"]\nseed = 1\n\n[parameters]\nthreshold = 0.0008\n\n'
        "[signals.prediction]\nunits = 32\n\n[folds]\n"
    )
