"""``freqlstm backtest``, ``report``, ``reproduce``, ``train`` and ``predict`` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from cli.conftest import Freqlstm

HOURLY = ("--exchange", "demo", "-i", "1h", "--timerange", "20240101-20240301")
QUICK = (
    "--min-train",
    "2d",
    "--train",
    "2d",
    "--test",
    "1d",
    "--set",
    "prediction.seeds=1",
    "--set",
    "prediction.epochs=1",
)
FEW = ("--set", 'prediction.features=["return_lag_0", "rsi_14"]')


def test_a_backtest_ends_with_the_path_of_its_tearsheet(freqlstm: Freqlstm, tmp_path: Path) -> None:
    done = freqlstm("backtest", "--strategy", "rsi_bollinger", *HOURLY)
    assert done.exit_code == 0
    sheet = Path(done.stdout.splitlines()[-1])
    assert sheet.parent.parent == tmp_path / "backtests" / "results"
    assert {file.name for file in sheet.parent.iterdir()} == {
        "run.toml", "manifest.json", "stats.json", "predictions.parquet", "trades.parquet", "trades.csv",
        "equity.parquet", "tearsheet.html",
    }  # fmt: skip
    assert "SYNTHETIC" in done.stdout
    assert "SYNTHETIC" in sheet.read_text()
    assert "buy and hold" in done.stdout
    assert "random entries" in done.stdout


def test_json_holds_the_statistics_and_nothing_else_goes_to_stdout(freqlstm: Freqlstm) -> None:
    done = freqlstm("backtest", "-s", "RsiBollinger", *HOURLY, "--json")
    told = json.loads(done.stdout)
    assert told["synthetic"] is True
    saved = json.loads((Path(told["folder"]) / "stats.json").read_text())
    assert saved == {key: told[key] for key in saved}


def test_without_candles_the_demo_market_is_used_with_a_warning_on_stderr(freqlstm: Freqlstm) -> None:
    done = freqlstm("backtest", "-s", "buy_and_hold", "-i", "1d")
    assert done.exit_code == 0
    assert "Warning: No candles are stored: this uses the demo market, which is SYNTHETIC." in done.stderr


def test_flags_override_the_run_file(freqlstm: Freqlstm, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'strategy = "rsi_bollinger"\nexchange = "demo"\ntimeframe = "1h"\ntimerange = "20240101-20240301"\ncash = 500\n'
        "[costs]\ncommission = 0.0\n"
    )
    done = freqlstm("backtest", "mine.toml", "--fee", "0.002", "--set", "oversold=25", "--json")
    folder = Path(json.loads(done.stdout)["folder"])
    told = (folder / "run.toml").read_text()
    assert "commission = 0.002" in told
    assert "cash = 500" in told
    assert "oversold = 25" in told
    assert json.loads(freqlstm("backtest", "-c", "mine.toml", "--json").stdout)["costs"]["commission"] == 0


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--strategy", "lstmrsi2"], "Error: No strategy named 'lstmrsi2'. Did you mean 'lstm_rsi'? `freqlstm strategies` lists what there is.", 2),
        ([], "Error: No strategy is named. Name one with --strategy, as in --strategy lstm_rsi, or give a run file.", 2),
        (["-s", "rsi_bollinger", "--set", "oversolt=3"], "Error: No parameter of RsiBollinger named 'oversolt'. Did you mean 'oversold'?", 2),
        (["-s", "rsi_bollinger", "--set", "oversold"], "Error: --set received 'oversold'. It must be NAME=VALUE, as in --set threshold=0.001.", 2),
        (["-s", "lstm_rsi", "--set", "prediction.unitz=3", "--exchange", "demo"], "Error: No parameter named 'unitz'. Did you mean 'units'?", 2),
        (["-s", "rsi_bollinger", "--fee", "5"], "Error: The commission is 5.0. It is a fraction of the value, a side, from 0 up to 0.1: 0.001 is 0.1%.", 2),
        (["-s", "rsi_bollinger", "--timerange", "2023"], "Error: The time range is '2023'. It must be like 20230101-20230401", 2),
        (["-s", "rsi_bollinger", "-p", "BTCUSDT"], "Error: Pair 'BTCUSDT' is not written BASE/QUOTE, as in 'BTC/USDT'.", 2),
        (["-s", "rsi_bollinger", "-i", "2m"], "Error: Timeframe '2m' is not known. It must be one of", 2),
        (["-s", "rsi_bollinger", "--exchange", "demo", "--timerange", "20300101-"], "Error: The time range 20300101- lies outside the data: BTC/USDT 1m candles reach from", 1),
        (["-s", "rsi_bollinger", "-p", "DOGE/USDT"], "Error: No 1m candles of DOGE/USDT are stored in", 1),
        (["-s", "rsi_bollinger", "absent.toml"], "Error: There is no run file absent.toml.", 2),
        (["-s", "lstm_rsi", "--exchange", "demo", "--train", "9x"], "Error: ", 2),
    ],
)  # fmt: skip
def test_what_cannot_be_right_ends_in_one_line(
    freqlstm: Freqlstm, tmp_path: Path, arguments: list[str], message: str, code: int
) -> None:
    done = freqlstm("backtest", *arguments)
    assert done.stderr.splitlines()[-1].startswith(message)
    assert done.exit_code == code
    assert not (tmp_path / "backtests" / "results").exists()


def test_too_few_candles_for_the_first_fold_says_when_it_could_start(freqlstm: Freqlstm) -> None:
    done = freqlstm("backtest", "-s", "lstm_rsi", "--exchange", "demo", "--timerange", "20240101-20240105")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(
        "Error: No fold of 2024-01-01 00:00 to 2024-01-05 00:00 UTC has 30d of candles to train on"
    )
    assert "Start at 2024-01-31 00:00 or later" in done.stderr


def test_a_users_own_strategy_and_signal_run_from_their_folders(freqlstm: Freqlstm, tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "drift.py").write_text(
        '"""The return of the last bar, again."""\n\nimport numpy as np\n\nfrom freqlstm import Signal\n\n\n'
        "class Drift(Signal):\n    horizon: int = 1  # bars\n\n    def predict(self, candles):\n"
        "        return np.log(candles.close).diff()\n"
    )
    (tmp_path / "strategies" / "own.py").write_text(
        '"""Mine."""\n\nfrom freqlstm import Strategy, vote\n\n\nclass Own(Strategy):\n    signals = dict(prediction="drift")\n'
        "    params = dict(max_holding=3)\n\n    def enter_long(self, bars):\n"
        "        return vote(drift=(2.0, bars.prediction > 0), rsi=(1.0, bars.rsi(14) < 45)) >= 3\n"
    )
    done = freqlstm("backtest", "-s", "own", *HOURLY, "--json")
    told = json.loads(done.stdout)
    trades = pd.read_parquet(Path(told["folder"]) / "trades.parquet")
    assert len(trades) > 10
    assert set(trades["votes"]) == {"3"}
    assert set(trades["entry_reason"]) == {"enter_long: drift +2 & rsi +1"}
    assert (trades["prediction"] > 0).all()
    assert told["beats"]["rules_without_signal"]["closed_trades"] == 0  # without its ballot the quorum is out of reach


def test_an_lstm_strategy_trains_walks_forward_and_is_served_from_the_cache(freqlstm: Freqlstm) -> None:
    command = (
        "backtest",
        "-s",
        "lstm_rsi",
        "--exchange",
        "demo",
        "--timerange",
        "20240105-20240108",
        *QUICK,
        *FEW,
        "--json",
    )
    first, second = json.loads(freqlstm(*command).stdout), json.loads(freqlstm(*command).stdout)
    for told in (first, second):
        for name in ("run_id", "folder", "tearsheet"):
            del told[name]
    assert first == second
    skill = first["skill"]["BTC/USDT"]["prediction"]
    assert skill["rows"] > 4000
    assert skill["persistence_rmse"] > skill["zero_rmse"]


def test_the_tearsheet_of_the_newest_run_is_made_again(freqlstm: Freqlstm, tmp_path: Path) -> None:
    sheet = Path(freqlstm("backtest", "-s", "buy_and_hold", *HOURLY).stdout.splitlines()[-1])
    before = sheet.read_text()
    sheet.unlink()
    assert freqlstm("report").stdout.strip() == str(sheet)
    assert sheet.read_text() == before
    freqlstm("report", sheet.parent.name, "-o", tmp_path / "copy.html")
    assert (tmp_path / "copy.html").read_text() == before


def test_a_reproduced_run_says_so_and_a_changed_one_fails(freqlstm: Freqlstm) -> None:
    folder = Path(freqlstm("backtest", "-s", "rsi_bollinger", *HOURLY).stdout.splitlines()[-1]).parent
    done = freqlstm("reproduce", folder.name)
    assert done.stdout.splitlines()[-1] == f"{folder.name} is reproduced."
    stats = json.loads((folder / "stats.json").read_text())
    stats["performance"]["total_return"] += 1e-12
    (folder / "stats.json").write_text(json.dumps(stats))
    done = freqlstm("reproduce", "latest")
    assert done.exit_code == 1
    assert f"Error: {folder.name} is not reproduced: statistics differ; statistics: " in done.stderr
    assert "performance.total_return was" in done.stderr


def test_a_trained_signal_forecasts_what_comes_after_the_newest_candle(freqlstm: Freqlstm) -> None:
    few = ("--set", "seeds=1", "--set", "epochs=1", "--set", 'features=["return_lag_0", "rsi_14"]')
    done = freqlstm(
        "train", "--signal", "lstm", "--exchange", "demo", "--timerange", "20240320-20240322", *few, "--json"
    )
    assert json.loads(done.stdout)["training"]["candles"]["BTC/USDT"]["rows"] == 2880
    told = json.loads(freqlstm("predict", "BTC/USDT", "--exchange", "demo", *few, "--json").stdout)[0]
    assert told["known_at"] == "2024-04-01T00:00:00+00:00"
    assert told["until"] == "2024-04-01T00:05:00+00:00"
    assert told["trained_until"] == "2024-03-22T00:00:00+00:00"
    assert abs(told["prediction"]) < 0.01
    assert told["synthetic"] is True
    assert "SYNTHETIC" in freqlstm("predict", "BTC/USDT", "--exchange", "demo", *few).stdout
    other = freqlstm("predict", "BTC/USDT", "--exchange", "demo").stderr
    assert "One there was fitted with features = ['return_lag_0', 'rsi_14'], not ['" in other


def test_a_forecast_without_a_fitted_signal_says_how_to_fit_one(freqlstm: Freqlstm) -> None:
    done = freqlstm("predict", "ETH/USDT", "--exchange", "demo")
    assert done.exit_code == 1
    assert "No fitted lstm for ETH/USDT 1m of demo is in" in done.stderr
    assert "`freqlstm train --signal lstm -p ETH/USDT -i 1m --exchange demo` makes one." in done.stderr


def test_a_signal_that_needs_no_fit_forecasts_at_once(freqlstm: Freqlstm) -> None:
    told = json.loads(freqlstm("predict", "BTC/USDT", "--signal", "momentum", "--exchange", "demo", "--json").stdout)
    assert told[0]["trained_until"] is None
