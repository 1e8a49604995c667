"""Run files: what they hold, what is refused, and that the resolved one gives the same result."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.errors import FreqlstmError, RunError, UnknownName, UsageError
from freqlstm.folds import FoldPlan
from freqlstm.reproduce import compare, confirm, load_result, reproduce
from freqlstm.results import to_toml
from freqlstm.run import Run, find_run, prepare, read_run, run_backtest, run_of, save
from freqlstm.store import CandleStore, Project

HOURLY = Run(strategy="rsi_bollinger", timeframe="1h", exchange="demo", timerange="20240101-20240301")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_run_file_overrides_only_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'strategy = "lstm_rsi"\npairs = ["ETH/USDT"]\ncash = 500\n'
        '[parameters]\noversold = 30\n[signals.prediction]\nunits = 8\n[costs]\ncommission = 0.0\n[folds]\ntest = "1d"\n'
    )
    run = read_run(file)
    assert run == Run(
        strategy="lstm_rsi", pairs=("ETH/USDT",), cash=500, parameters={"oversold": 30},
        signals={"prediction": {"units": 8}}, costs=Costs(commission=0.0), folds=FoldPlan(test="1d"),
    )  # fmt: skip
    assert run.costs.slippage == Costs().slippage


def test_a_run_written_down_reads_back_the_same(tmp_path: Path) -> None:
    run = Run(strategy="lstm_rsi", signals={"prediction": {"features": ["rsi_14"]}}, parameters={"threshold": 1e-4})
    file = tmp_path / "run.toml"
    file.write_text(to_toml(run.as_dict()))
    assert read_run(file).as_dict() == run.as_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strateg = 'x'", "No key in {file} named 'strateg'. Did you mean 'strategy'?"),
        (
            "strategy = 'x'\n[costs]\ncomission = 0.1",
            "No key in [costs] of {file} named 'comission'. Did you mean 'commission'?",
        ),
        ("strategy = 'x'\n[folds]\ntset = '1d'", "No key in [folds] of {file} named 'tset'. Did you mean 'test'?"),
        ("strategy = 3", "Key 'strategy' in {file} is 3. It must be a text."),
        ("strategy = 'x'\nseed = true", "Key 'seed' in {file} is True. It must be a whole number."),
        ("strategy = 'x'\npairs = 'BTC/USDT'", "Key 'pairs' in {file} is 'BTC/USDT'. It must be a list of texts."),
        ("strategy = 'x'\ncash = 0", "The cash is 0. It must be more than nothing, in units of the quote asset."),
        ("pairs = ['BTC/USDT']", '{file} names no strategy. Add a line such as strategy = "lstm_rsi".'),
        ("strategy = 'x'\n[costs]\ncommission = 2.0", "The commission is 2.0. It is a fraction of the value"),
        ("strategy =", "{file} is not a TOML file: "),
    ],
)
def test_a_run_file_that_cannot_be_right_is_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(FreqlstmError) as refused:
        read_run(file)
    assert str(refused.value).startswith(message.format(file=file))
    assert refused.value.exit_code == 2


def test_a_run_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no run file .*absent.toml\. Give one, or name a strategy"):
        read_run(tmp_path / "absent.toml")


def test_an_unknown_strategy_parameter_or_signal_column_is_refused_before_any_work(project: Project) -> None:
    with pytest.raises(UnknownName, match=r"No strategy named 'lstmrsi2'\. Did you mean 'lstm_rsi'\?"):
        prepare(Run(strategy="lstmrsi2"), project, [])
    with pytest.raises(UnknownName, match=r"No parameter of RsiBollinger named 'oversolt'\. Did you mean 'oversold'\?"):
        prepare(Run(strategy="rsi_bollinger", parameters={"oversolt": 1}), project, [])
    with pytest.raises(UnknownName, match=r"No signal of LstmRsi named 'predicton'\. Did you mean 'prediction'\?"):
        prepare(Run(strategy="lstm_rsi", signals={"predicton": {}}), project, [])


def test_the_resolved_run_file_gives_the_same_result(project: Project) -> None:
    first, folder = save(run_backtest(Run(strategy="rsi_bollinger", timeframe="1d"), project), project)
    again = run_backtest(read_run(folder / "run.toml"), project)
    assert len(first.trades) >= 3
    assert all(comparison.same for comparison in compare(first, again))
    assert read_run(folder / "run.toml").timerange == "20190408-20240401"


def test_the_resolved_run_file_leaves_nothing_to_defaults(project: Project) -> None:
    project.strategies.mkdir()
    (project.strategies / "follow.py").write_text(
        "from freqlstm import Strategy\n\n\nclass Follow(Strategy):\n    signals = dict(prediction='momentum')\n"
        "    params = dict(threshold=0.002)\n\n"
        "    def enter_long(self, bars):\n        return bars.prediction > self.p.threshold\n\n"
        "    def exit_long(self, bars):\n        return bars.prediction < 0\n"
    )
    run = Run(strategy="follow", timeframe="1d", signals={"prediction": {"horizon": 3}}, seed=7)
    first, folder = save(run_backtest(run, project), project)
    written = read_run(folder / "run.toml")
    assert written.parameters == {
        "stop_loss": 0.0, "take_profit": 0.0, "trailing_stop": 0.0, "max_holding": 0, "exposure": 0.95, "max_positions": 0,
        "threshold": 0.002,
    }  # fmt: skip
    assert written.signals == {"prediction": {"features": [], "horizon": 3, "lookback": 60, "target": "return"}}
    again = run_backtest(written, project)
    assert len(first.trades) >= 3
    assert all(comparison.same for comparison in compare(first, again))
    assert again.stats["luck"]["configurations_tried"] == 1  # the same one, however much of it is written out


def test_a_parameter_that_no_run_file_can_hold_is_left_to_the_strategy(project: Project) -> None:
    project.strategies.mkdir()
    (project.strategies / "plain.py").write_text(
        "import backtrader as bt\n\n\nclass Plain(bt.Strategy):\n    params = dict(average=bt.ind.SMA, period=5, label=None)\n\n"
        "    def __init__(self):\n        self.line = self.p.average(self.data, period=self.p.period)\n\n"
        "    def next(self):\n        if not self.position and self.data.close[0] > self.line[0]:\n            self.buy()\n"
    )
    first, folder = save(run_backtest(Run(strategy="plain", timeframe="1d"), project), project)
    assert read_run(folder / "run.toml").parameters == {"period": 5}
    assert len(first.trades) == 1
    assert all(comparison.same for comparison in reproduce(project, folder))


def test_two_runs_of_one_second_get_two_folders(project: Project) -> None:
    result = run_backtest(HOURLY, project)
    names = [save(result, project)[1].name for _ in range(2)]
    assert names == [result.run_id, f"{result.run_id}-2"]


def test_a_run_is_reproduced_bit_for_bit(project: Project) -> None:
    _, folder = save(run_backtest(HOURLY, project), project)
    comparisons = reproduce(project, folder)
    assert [c.part for c in comparisons if not c.same] == []
    assert {c.part for c in comparisons} >= {"candles", "plugins", "versions", "trades", "equity", "statistics"}
    confirm(comparisons, folder.name)


def test_a_trade_that_was_tampered_with_is_found(project: Project) -> None:
    result, folder = save(run_backtest(HOURLY, project), project)
    trades = pd.read_parquet(folder / "trades.parquet")
    trades.loc[3, "net_pnl"] += 1e-9
    trades.to_parquet(folder / "trades.parquet")
    comparisons = reproduce(project, folder)
    assert [c.part for c in comparisons if not c.same] == ["trades"]
    with pytest.raises(
        RunError,
        match=rf"{result.run_id} is not reproduced: trades differ; trades: net_pnl in row 3",
    ):
        confirm(comparisons, folder.name)


def test_other_configurations_in_between_do_not_make_a_run_irreproducible(project: Project) -> None:
    _, folder = save(run_backtest(HOURLY, project), project)
    other = run_backtest(run_of({**HOURLY.as_dict(), "parameters": {"oversold": 25}}, "here"), project)
    assert other.stats["luck"]["configurations_tried"] == 2
    assert all(comparison.same for comparison in reproduce(project, folder))


def test_a_strategy_file_that_changed_since_is_named(project: Project) -> None:
    project.strategies.mkdir()
    file = project.strategies / "mine.py"
    source = "from freqlstm import Strategy\n\n\nclass Mine(Strategy):\n    def enter_long(self, bars):\n        return bars.rsi(14) < {level}\n"
    file.write_text(source.format(level=30))
    run = run_of({**HOURLY.as_dict(), "strategy": "mine", "parameters": {"max_holding": 10}}, "here")
    _, folder = save(run_backtest(run, project), project)
    file.write_text(source.format(level=25))
    different = [c.part for c in reproduce(project, folder) if not c.same]
    assert different[0] == "plugins"
    assert "trades" in different


def test_a_run_is_found_by_the_beginning_of_its_id(project: Project) -> None:
    _, folder = save(run_backtest(HOURLY, project), project)
    assert (
        find_run(project, folder.name) == find_run(project, folder.name[:18]) == find_run(project, "latest") == folder
    )
    assert load_result(project, folder).run_id == folder.name
    with pytest.raises(UnknownName, match="No run named 'nothing'"):
        find_run(project, "nothing")


def test_candles_before_the_time_range_that_decide_trades_are_in_the_digest(project: Project) -> None:
    candles = make_candles(3000)
    store = CandleStore(project.data)
    store.write(Candles(candles.frame, "BTC/USDT", "1m", "binance"))
    run = Run(strategy="rsi_bollinger", exchange="binance", timerange="20240102-20240103")
    before = run_backtest(run, project)
    used = before.manifest["candles"]["BTC/USDT"]
    assert used["first"] == (candles.time[1440] - pd.Timedelta(minutes=294)).isoformat()  # the warm-up of RSI 14
    changed = candles.frame.copy()
    changed.loc[changed.index[1300], ["high", "volume"]] *= 1.001
    store.write(Candles(changed, "BTC/USDT", "1m", "binance"), replace=True)
    after = run_backtest(run, project)
    assert after.manifest["candles"]["BTC/USDT"]["sha256"] != used["sha256"]


def test_bars_before_the_first_model_speaks_are_told(project: Project) -> None:
    flags = {"exchange": "demo", "timerange": "20240101-20240106", "strategy": "lstm_rsi"}
    short = {"train": "2d", "min_train": "2d", "test": "2d"}
    quick = {"prediction": {"seeds": 1, "epochs": 1, "features": ["return_lag_0", "rsi_14"]}}
    warn: list[str] = []
    result = run_backtest(run_of({**flags, "folds": short, "signals": quick}, "here"), project, warn=warn)
    assert warn == [
        "lstm says nothing of BTC/USDT before 2024-01-03 00:00 UTC, which is 40% of the bars: it had too few candles to be "
        "fitted on or to warm up. The figures include those idle bars."
    ]
    assert result.manifest["warnings"] == warn


def test_rules_that_are_predictions_alone_are_not_compared_with_nothing(project: Project) -> None:
    project.strategies.mkdir()
    (project.strategies / "alone.py").write_text(
        "from freqlstm import Strategy\n\n\nclass Alone(Strategy):\n    signals = dict(prediction='momentum')\n"
        "    params = dict(max_holding=5)\n\n    def enter_long(self, bars):\n        return bars.prediction > 0\n"
    )
    warn: list[str] = []
    result = run_backtest(run_of({**HOURLY.as_dict(), "strategy": "alone"}, "here"), project, warn=warn)
    assert len(result.trades) > 10
    assert result.stats["beats"]["rules_without_signal"] is None
    assert warn == [
        "The rules are not compared with the same rules without the signal: a condition is made of predictions alone."
    ]


def test_candles_of_seconds_are_reproduced_too(project: Project) -> None:
    candles = make_candles(1003)
    times = pd.date_range("2024-01-01", periods=1003, freq="s", tz="UTC")
    CandleStore(project.data).write(Candles(candles.frame.set_axis(times.rename("time")), "BTC/USDT", "1s", "binance"))
    _, folder = save(run_backtest(Run(strategy="rsi_bollinger", timeframe="1s"), project), project)
    assert all(comparison.same for comparison in reproduce(project, folder))
