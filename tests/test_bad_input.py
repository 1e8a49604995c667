"""Whatever is wrong with what a person gives, ``freqlstm`` says so in one line, exits with 1 or 2, and leaves nothing behind.

Each test goes through the real command line, in this process where that shows a bug's traceback, else in one of its own.
What is already proven of single modules is not repeated here.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import pickle
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import make_candles
from exchange_server import ExchangeServer
from joblib.externals.loky import get_reusable_executor
from terminal import command, environment, typed

from freqlstm import files
from freqlstm.candles import Candles
from freqlstm.cli.main import main
from freqlstm.ingest import BINANCE_DUMP
from freqlstm.store import CandleStore

JANUARY = ("--exchange", "demo", "-i", "1h", "--timerange", "20240101-20240110")  # 216 synthetic hours
HOURS = ("--exchange", "demo", "-i", "1h")
TRAIN = ("train", *HOURS, "--timerange", "20230101-20230201", "--signal")
CASH = "in units of the quote asset."
LISTED = "`freqlstm strategies` lists what there is."
OF_STRATEGY = "stopped at line 5 of its file with"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # plugins add to it
    return tmp_path


def freqlstm(*arguments: object) -> Result:
    """What came of a command in the current folder; a traceback would be raised."""
    return CliRunner(catch_exceptions=False).invoke(main, [str(argument) for argument in arguments])


def refusal(*arguments: object, code: int) -> str:
    """The one line of a command that fails; nothing is printed as its result, and no folder changes."""
    before = everything_in(Path.cwd())
    done = freqlstm(*arguments)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    *notes, line = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert not [note for note in notes if not note.startswith(("Warning: ", "starting"))]
    assert everything_in(Path.cwd()) == before
    return line.removeprefix("Error: ")


def everything_in(folder: Path) -> dict[str, bytes]:
    """Every file by its path, but for locks and what is remembered of a plugin's parameters."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(".lock") and path.parent.name != "described":
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def plugin(project: Path, folder: str, name: str, source: str) -> None:
    (project / folder).mkdir(exist_ok=True)
    (project / folder / f"{name}.py").write_text(source)


def strategy(project: Path, condition: str) -> None:
    """The project's strategy ``mine``, which buys on line 5."""
    plugin(
        project, "strategies", "mine",
        f"import numpy as np\nfrom freqlstm import Strategy\nclass Mine(Strategy):\n    def enter_long(self, bars):\n        {condition}\n",
    )  # fmt: skip


def signal(project: Path, body: str, heading: str = "") -> None:
    """The project's signal ``mine`` and a strategy ``follow`` that buys on it; the first line of the body is line 5."""
    plugin(
        project,
        "signals",
        "mine",
        f"import numpy as np\nfrom freqlstm import Signal\n{heading}\nclass Mine(Signal):\n{body}\n",
    )
    plugin(
        project, "strategies", "follow",
        "from freqlstm import Strategy\nclass Follow(Strategy):\n    signals = dict(prediction='mine')\n"
        "    def enter_long(self, bars):\n        return bars.prediction > 0\n",
    )  # fmt: skip


def hours(rows: int = 480, start: str = "2024-01-01", exchange: str = "binance") -> Candles:
    made = make_candles(rows, timeframe="1h", start=start)
    return Candles.from_frame(made.frame, made.symbol, "1h", exchange)


def csv(path: Path, candles: Candles, **cells: object) -> Path:
    """Candles as a CSV file, the fourth row with other values in the columns that are named."""
    table = candles.frame.reset_index().astype({"time": str})
    for column, value in cells.items():
        table[column] = table[column].astype(object)
        table.loc[3, column] = value
    table.to_csv(path, index=False)
    return path


# Flags and run files


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cash", "nan"], f"The cash is nan. It must be more than nothing, {CASH}"),
        (["--cash", "inf"], f"The cash is inf. It must be at most 1e+15, {CASH}"),
        (["--cash", "1e308"], f"The cash is 1e+308. It must be at most 1e+15, {CASH}"),
        (["--dry-run-wallet", "-5"], f"The cash is -5.0. It must be more than nothing, {CASH}"),
        (["--seed", "-1"], "The seed is -1. It must be a whole number between 0 and 2147483647."),
        (["--seed", "99999999999999999999"], "The seed is 99999999999999999999. It must be a whole number between 0 and 2147483647."),
        (["--fee", "-1"], "The commission is -1.0. It is a fraction of the value, a side, from 0 up to 0.1: 0.001 is 0.1%."),
        (["--slippage", "nan"], "The slippage is nan. It is a fraction of the value, a side, from 0 up to 0.1: 0.001 is 0.1%."),
        (["--train", "999999999999d"], "Duration '999999999999d' is longer than a century. Write a shorter one, as in '90d'."),
        (["--test", ""], "Duration '' is not understood. Write a number and one of s, m, h, d, w, as in '90d'."),
        (["--timerange", "20240101-20240101"], "The time range '20240101-20240101' is empty: the end is not included. Choose a later end."),
        (["--set", "=3"], "--set received '=3'. It must be NAME=VALUE, as in --set threshold=0.001."),
        (["--set", "oversold=3\nfees=4"], "Parameter 'oversold' of RsiBollinger is '3\\nfees=4'. It must be a number, like 30."),
        (["--set", "prediction.units=3"], "No signal of RsiBollinger named 'prediction'. Known: none."),
        (["--jobs", "-1"], "Invalid value for '--jobs': -1 is not in the range x>=0. `freqlstm backtest --help` lists what there is."),
        (["--jobs", "many"], "Invalid value for '--jobs': 'many' is not a valid integer range. `freqlstm backtest --help` lists what there is."),
        (["--export", "all"], "Invalid value for '--export': 'all' is not one of 'none', 'trades', 'signals'. `freqlstm backtest --help` lists what there is."),
        (["--pairs", ""], "Invalid value for '-p' / '--pairs': there is no name in it. `freqlstm backtest --help` lists what there is."),
        (["--pairs", "БТК/USDT"], "Pair 'БТК/USDT' is not written BASE/QUOTE, as in 'BTC/USDT'."),
        (["--exchange", "../x"], "Exchange '../x' is not written in lower-case letters and digits, as in 'binance'."),
        (["--strategy", ""], f"No strategy named ''. {LISTED}"),
        (["--strategy", "стратегия"], f"No strategy named 'стратегия'. {LISTED}"),
        (["--strategy", "rsi_bolinger"], f"No strategy named 'rsi_bolinger'. Did you mean 'rsi_bollinger'? {LISTED}"),
        (["--config", ""], "Invalid value for '-c' / '--config': the path is empty. Write one; '.' is the current folder. `freqlstm backtest --help` lists what there is."),
        (["--config", "."], "Invalid value for '-c' / '--config': File '.' is a directory. `freqlstm backtest --help` lists what there is."),
        (["one.toml", "two.toml"], "Got unexpected extra argument (two.toml). `freqlstm backtest --help` lists what there is."),
        (["--cash"], "Option '--cash' requires an argument. `freqlstm backtest --help` lists what there is."),
    ],
)  # fmt: skip
def test_a_flag_that_cannot_be_right_is_one_line(project: Path, flags: list[str], message: str) -> None:
    assert refusal("backtest", "-s", "rsi_bollinger", *JANUARY, *flags, code=2) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cahs = 100", "No key in mine.toml named 'cahs'. Did you mean 'cash'?"),
        ("[folds]\ntrian = '9d'", "No key in [folds] of mine.toml named 'trian'. Did you mean 'train'?"),
        ("pairs = [1]", "Key 'pairs' in mine.toml is [1]. It must be a list of texts."),
        ("pairs = []", "No pair is given. Name at least one, as in --pairs BTC/USDT."),
        ("costs = 3", "Key 'costs' in mine.toml is 3. It must be a table."),
        ("cash = inf", f"The cash is inf. It must be at most 1e+15, {CASH}"),
        ("seed = -1", "The seed is -1. It must be a whole number between 0 and 2147483647."),
        ("[parameters]\noversolt = 3", "No parameter of RsiBollinger named 'oversolt'. Did you mean 'oversold'?"),
        ("[signals.prediction]\nunits = 3", "No signal of RsiBollinger named 'prediction'. Known: none."),
        ("[signals]\nprediction = 3", "No signal of RsiBollinger named 'prediction'. Known: none."),
    ],
)  # fmt: skip
def test_a_run_file_that_cannot_be_right_is_one_line(project: Path, line: str, message: str) -> None:
    (project / "mine.toml").write_text(f'strategy = "rsi_bollinger"\nexchange = "demo"\ntimeframe = "1h"\n{line}\n')
    assert refusal("backtest", "mine.toml", code=2) == message


def test_a_run_file_that_is_no_text_or_cannot_be_opened_is_one_line(project: Path) -> None:
    (project / "mine.toml").write_bytes(b"\xff\xfe\x00")
    assert refusal("backtest", "mine.toml", code=2).startswith(
        "mine.toml is not a TOML file: 'utf-8' codec can't decode"
    )
    assert refusal("backtest", "x" * 300 + ".toml", code=2) == (
        f"The run file {'x' * 300}.toml cannot be read: File name too long. "
        f"Give a TOML file, or name a strategy with --strategy."
    )


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["import", ""], "Invalid value for 'FILE...': the path is empty. Write one; '.' is the current folder. `freqlstm import --help` lists what there is.", 2),
        (["--project", "", "data", "list"], "Invalid value for '--project': the path is empty. Write one; '.' is the current folder. `freqlstm --help` lists what there is.", 2),
        (["data", "chekc"], "No command of `freqlstm data` named 'chekc'. Did you mean 'check'?", 2),
        (["report"], "There is no run in {project}/backtests/results yet. `freqlstm backtest --strategy lstm_rsi` makes one.", 1),
        (["reproduce", "latest"], "There is no run in {project}/backtests/results yet. `freqlstm backtest --strategy lstm_rsi` makes one.", 1),
        (["train", "--signal", "lsmt"], "No signal named 'lsmt'. Did you mean 'lstm'? `freqlstm signals` lists what there is.", 2),
        (["predict", "--signal", "lsmt"], "No signal named 'lsmt'. Did you mean 'lstm'? `freqlstm signals` lists what there is.", 2),
        (["train", "--signal", "momentum", "--set", "lokback=3"], "No parameter named 'lokback'. Did you mean 'lookback'?", 2),
        (["train", "--signal", "momentum", "--set", "lookback=x"], "Parameter 'lookback' of Momentum is 'x'. It must be a whole number.", 2),
        (["check", "lstm_rsy"], "No strategy or signal named 'lstm_rsy'. Did you mean 'lstm_rsi'? `freqlstm strategies` and `freqlstm signals` list what there is.", 2),
        (["new", "strategy", "class"], "'class' cannot be the name of a strategy. Use letters, digits and '_', as in 'my_strategy'.", 2),
        (["new", "signal", "../x"], "'../x' cannot be the name of a signal. Use letters, digits and '_', as in 'my_signal'.", 2),
        (["new", "strategy", "x" * 300], "{project}/strategies/" + "x" * 300 + ".py could not be written: File name too long.", 1),
    ],
)  # fmt: skip
def test_other_words_that_cannot_be_right_are_one_line(
    project: Path, arguments: list[str], message: str, code: int
) -> None:
    assert refusal(*arguments, code=code) == message.replace("{project}", str(project))


RIDGE = ("--exchange", "demo", "-i", "1h", "--timerange", "20240101-20240301")


@pytest.mark.parametrize(
    ("signal", "changes", "message", "code"),
    [
        ("ridge", ["features=[]"], "Parameter 'features' of Ridge is empty. It must name at least one: list some, or leave it out for 28 usual ones.", 2),
        ("ridge", ["horizon=2000"], "BTC/USDT has 1,440 candles to train on, which leave 0 windows with a label. Ridge needs 1440 bars of warm-up in one "
         "unbroken stretch, then at least some hundreds more, and 2000 after each for its label: provide earlier candles, a shorter warm-up or a shorter horizon.", 1),
        ("stack", ['members=["ridge", "har", "ridge"]'], "The member 'ridge' of Stack is named twice. Name each once: weights = \"validation\" weighs them.", 2),
        ("stack", ['members=["ridge", "elsewhere/Ridge.py"]'], "The member 'elsewhere/Ridge.py' of Stack is named twice. Name each once: "
         'weights = "validation" weighs them.', 2),
        ("stack", ['members=["momentum"]', "target=volatility"],
         "Stack is made of momentum. Parameter 'target' of Momentum is 'volatility'. It must be 'return'. Name others.", 2),
    ],
)  # fmt: skip
def test_a_signal_that_cannot_be_fitted_as_it_is_asked_for_is_one_line(
    project: Path, signal: str, changes: list[str], message: str, code: int
) -> None:
    told = [word for change in changes for word in ("--set", change)]
    assert refusal("train", *RIDGE, "--signal", signal, *told, code=code) == message


def test_a_feature_too_large_to_be_scaled_is_named(project: Path) -> None:
    (project / "huge.csv").write_text("d,v\n2024-01-02,1e308\n2024-01-12,-1e308\n2024-01-20,0\n")
    freqlstm("import-series", "huge", "huge.csv", "--time", "d", "--known-after", "1d", "--assume-utc")
    told = refusal("train", *RIDGE, "--signal", "ridge", "--set", 'features=["rsi_14", "series:huge"]', code=1)
    assert told == (
        "Feature 'series:huge' of BTC/USDT reaches 1e+308, too large to be scaled. Correct what it is made of, or leave it out."
    )


def test_an_evaluation_and_a_backtest_are_not_taken_for_each_other(project: Path) -> None:
    done = freqlstm("evaluate", "momentum", *JANUARY)
    folder = Path(done.stdout.splitlines()[-1]).parent
    file = folder.relative_to(project) / "run.toml"
    evaluated = f"{folder.name} is an evaluation, not a backtest. `freqlstm evaluate {file}` makes it again."
    assert [refusal(verb, folder.name, code=2) for verb in ("report", "reproduce")] == [evaluated, evaluated]
    assert refusal("backtest", file, code=2) == (
        f"{file} is the run file of an evaluation, not of a backtest. `freqlstm evaluate {file}` runs it."
    )
    (project / "mine.toml").write_text('strategy = "rsi_bollinger"\n')
    assert refusal("evaluate", "mine.toml", code=2) == (
        "mine.toml is the run file of a backtest, not of an evaluation. `freqlstm backtest mine.toml` runs it."
    )


def test_a_run_file_is_not_promised_where_no_strategy_could_be_in_it(project: Path) -> None:
    assert refusal("tune", "ridge", "--to", "mine.toml", code=2) == (
        "--to is 'mine.toml', but no strategy uses ridge, so there is no run file. Leave it out."
    )


# Plugins


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Mine(:", "strategies/mine.py is broken: line 1: SyntaxError: invalid syntax. Correct the file."),
        ("import nowhere_to_be_found", "strategies/mine.py is broken: line 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'. Correct the file."),
        ("1 / 0", "strategies/mine.py is broken: line 1: ZeroDivisionError: division by zero. Correct the file."),
        ("raise SystemExit(0)", "strategies/mine.py is broken: line 1: SystemExit: 0. Correct the file."),
        ("raise BaseException('odd')", "strategies/mine.py is broken: line 1: BaseException: odd. Correct the file."),
        ("", "strategies/mine.py has no public class that subclasses freqlstm.Strategy (or bt.Strategy): it holds no public class. Add one, or move the file out of strategies/."),
        ("from freqlstm import Strategy\nclass A(Strategy): pass\nclass B(Strategy): pass",
         "strategies/mine.py has 2 public strategy classes: A, B. Keep one; give the others their own files, or names that begin with '_'."),
        ("from freqlstm import Strategy\nclass Mine(Strategy):\n    signals = ['lstm']", "The signals of Mine are ['lstm']. They must be a dict of column to signal, as in dict(prediction='lstm')."),
        ("from freqlstm import Strategy\nclass Mine(Strategy):\n    signals = dict(close='momentum')",
         "Mine calls the column of a signal 'close', which cannot be read as a column of bars or means something else there. "
         "Call it prediction, or another word of letters, digits and '_'."),
    ],
)  # fmt: skip
def test_a_broken_strategy_file_is_one_line(project: Path, source: str, message: str) -> None:
    plugin(project, "strategies", "mine", source)
    assert refusal("backtest", "-s", "mine", *JANUARY, code=1) == message


def test_a_strategy_that_names_an_unknown_signal_gets_the_nearest_one(project: Path) -> None:
    source = "from freqlstm import Strategy\nclass Mine(Strategy):\n    signals = dict(prediction='momentun')"
    plugin(project, "strategies", "mine", source)
    assert refusal("backtest", "-s", "mine", *JANUARY, code=2) == (
        "No signal named 'momentun'. Did you mean 'momentum'? `freqlstm signals` lists what there is."
    )


SHAPE = "It must be one True or False a bar, here 50 of them: compare columns of bars with <, >, & and |."


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("return 1 / 0", f"Mine.enter_long {OF_STRATEGY} ZeroDivisionError: division by zero."),
        ("raise SystemExit(0)", f"Mine.enter_long {OF_STRATEGY} SystemExit: 0."),
        ("return (bars.close > 3) and (bars.open > 3)", f"Mine.enter_long {OF_STRATEGY} ValueError: a column has a value for each bar, not one truth for all. "
         "Between conditions write & for and, | for or, ~ for not."),
        ("return bars.prediction > 0", f"Mine.enter_long {OF_STRATEGY} AttributeError: bars has no column 'prediction'. It has open, high, low, close, volume, rsi(), "
         "macd(), bollinger(), ta and no predictions: name a signal in the strategy."),
        ("return True", f"Mine.enter_long returned a bool of shape () and type bool. {SHAPE}"),
        ("return bars.close", f"Mine.enter_long returned a Column of shape (50,) and type float64. {SHAPE}"),
        ("return np.ones((50, 2), bool)", f"Mine.enter_long returned a ndarray of shape (50, 2) and type bool. {SHAPE}"),
        ("return 'buy'", f"Mine.enter_long returned a str of shape () and type <U3. {SHAPE}"),
    ],
)  # fmt: skip
def test_a_broken_condition_is_one_line(project: Path, condition: str, message: str) -> None:
    strategy(project, condition)
    assert refusal("backtest", "-s", "mine", *JANUARY, code=1) == message


def test_a_broken_next_is_one_line(project: Path) -> None:
    source = "import backtrader as bt\nclass Mine(bt.Strategy):\n    def next(self):\n        raise SystemExit(0)\n"
    plugin(project, "strategies", "mine", source)
    assert (
        refusal("backtest", "-s", "mine", *JANUARY, code=1) == "Mine stopped at line 4 of its file with SystemExit: 0."
    )


STOPPED = "signals/mine.py stopped: line"
ANY = "    def predict(self, candles):\n        return candles.close * 0"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    def predict(self, candles):\n        return 1 / 0", f"{STOPPED} 6: ZeroDivisionError: division by zero. Correct the file."),
        ("    def predict(self, candles):\n        raise SystemExit(0)", f"{STOPPED} 6: SystemExit: 0. Correct the file."),
        ("    def predict(self, candles):\n        return None", "Mine.predict returned a NoneType. It must return a Series or DataFrame at candles.time."),
        ("    def predict(self, candles):\n        return candles.close[:5]", "Mine.predict returned 5 rows whose index is not candles.time. Give one row for each candle."),
        ("    def predict(self, candles):\n        return candles.close * np.inf", "Mine.predict returned an infinite prediction. Where nothing can be said it must be NaN."),
        ("    pass", "Mine has no predict. A signal must write predict(self, candles)."),
        (f"    def learn(self, market, progress): 1 / 0\n{ANY}", f"{STOPPED} 5: ZeroDivisionError: division by zero. Correct the file."),
        (f"    def learn(self, market, progress): raise SystemExit(0)\n{ANY}", f"{STOPPED} 5: SystemExit: 0. Correct the file."),
        (f"    def learn(self, market, progress): self.it_ = 1j\n{ANY}", "Mine cannot be saved: complex cannot be written as JSON: 1j. Keep in attributes that end in '_' "
         "what JSON can hold, or name them in in_files and write them in write_files."),
        (f"    def __init__(self, **parameters): 1 / 0\n{ANY}", f"{STOPPED} 5: ZeroDivisionError: division by zero. Correct the file."),
        (f"    warmup = 'long'\n{ANY}", "The warmup of Mine is 'long'. It must be a whole number of bars."),
        (f"    limits = dict(horizon=3)\n{ANY}", "The limits of 'horizon' of Mine are 3. They must be (lowest, highest)."),
    ],
)  # fmt: skip
def test_a_broken_signal_is_one_line(project: Path, body: str, message: str) -> None:
    signal(project, body)
    assert refusal("backtest", "-s", "follow", *JANUARY, "--jobs", "1", code=1) == message


@pytest.mark.parametrize("verb", ["train", "predict"])
def test_a_signal_that_stops_is_one_line_when_it_is_fitted_or_asked_alone(project: Path, verb: str) -> None:
    signal(project, "    def learn(self, market, progress): 1 / 0\n    def predict(self, candles): return 1 / 0")
    if verb == "predict":  # nothing to learn
        signal(project, "    def predict(self, candles): return 1 / 0")
    assert (
        refusal(verb, "--signal", "mine", *HOURS, code=1)
        == f"{STOPPED} 5: ZeroDivisionError: division by zero. Correct the file."
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("return 1 / 0", "signals/mine.py stopped: line 6: ZeroDivisionError: division by zero. Correct the file."),
        ("raise SystemExit(0)", "signals/mine.py stopped: line 6: SystemExit: 0. Correct the file."),
        ("return 'a network'", "Mine.build returned a str. It must return a keras.Model."),
        ("return keras.Sequential([keras.Input((7, n_features)), keras.layers.LSTM(2), keras.layers.Dense(1)])",
         "Mine.build returned a model that cannot read windows of shape (batch, 10, 2): Input 0 with name 'NAME' of layer 'LAYER' is incompatible with the layer: "
         "expected shape=(None, 7, 2), found shape=(None, 10, 2). Give its keras.Input the shape (self.lookback, n_features)."),
    ],
)  # fmt: skip
def test_a_broken_build_is_one_line(project: Path, build: str, message: str) -> None:
    source = "import keras\nfrom freqlstm.keras_signal import KerasSignal\nclass Mine(KerasSignal):\n"
    plugin(
        project,
        "signals",
        "mine",
        f"{source}    features = ('return_lag_0', 'rsi_14')\n    def build(self, n_features):\n        {build}\n",
    )
    said = refusal(*TRAIN, "mine", code=1)
    assert re.sub(r"name '\w+' of layer '\w+'", "name 'NAME' of layer 'LAYER'", said) == message


def test_a_process_that_dies_while_it_fits_is_one_line(project: Path) -> None:
    signal(project, f"    def learn(self, market, progress): os._exit(7)\n{ANY}", "import os")
    assert refusal("backtest", "-s", "follow", *JANUARY, "--jobs", "2", code=1) == (
        "A process that shared the work ended by itself (EXIT(7)), most likely because there was no memory left. "
        "Run again with fewer at once, as in --jobs 1: what was fitted is kept."
    )


def test_a_plugin_finds_the_modules_beside_it_and_in_its_project_as_they_are_now(project: Path) -> None:
    (project / "of_the_project.py").write_text("TWICE = 2")
    for level in (0.25, 0.75):
        plugin(project, "signals", "_beside", f"LEVEL = {level}")
        body = f"    # {level}\n    def predict(self, candles): return candles.close * 0 + LEVEL * TWICE"
        signal(project, body, "from _beside import LEVEL\nfrom of_the_project import TWICE")
        (row,) = json.loads(freqlstm("predict", "--signal", "mine", *HOURS, "--json").stdout)
        assert row["prediction"] == 2 * level
    assert not list(project.rglob("__pycache__"))


def test_a_run_says_which_plugins_it_used_and_what_they_hide(project: Path) -> None:
    source = (
        "from freqlstm import Strategy\nclass Mine(Strategy):\n    def enter_long(self, bars): return bars.close > 0\n"
    )
    plugin(project, "strategies", "buy_and_hold", source)
    done = freqlstm("backtest", "-s", "buy_and_hold", *JANUARY, "--export", "none")
    assert done.stderr.startswith(
        "Warning: strategies/buy_and_hold.py is used. It hides the strategy of that name in /"
    )
    assert "\nstrategy buy_and_hold (project), SHA-256 " in done.stdout


# Candles


def test_what_is_not_stored_is_one_line_that_says_what_is(project: Path) -> None:
    CandleStore(project / "data").write(hours())
    there = "BTC/USDT 1h candles reach from 2024-01-01 00:00 to 2024-01-21 00:00 UTC"
    assert refusal("backtest", "-s", "buy_and_hold", "-i", "1h", "--timerange", "20250101-20250201", code=1) == (
        f"The time range 20250101-20250201 lies outside the data: {there}. Choose one inside, or get more candles."
    )
    assert refusal("backtest", "-s", "buy_and_hold", "--exchange", "binance", "-i", "5m", code=1) == (
        "No 5m candles of BTC/USDT from binance are stored. Stored: BTC/USDT 1h from binance. "
        "Bring them with `freqlstm download` or `freqlstm import`."
    )
    CandleStore(project / "data").write(hours(5, "2024-02-01", "kraken"))
    assert refusal(
        "data", "resample", "--exchange", "kraken", "-p", "BTC/USDT", "--from", "1h", "--to", "12h", code=1
    ) == (
        "The 5 stored 1h candles of BTC/USDT from kraken complete no 12h candle. "
        "Get more of them, or choose a shorter timeframe."
    )
    assert refusal("train", "--signal", "lstm", "-i", "1h", "--exchange", "kraken", code=1).startswith(
        "BTC/USDT has 5 candles to train on, which leave 0 windows with a label. Lstm needs "
    )


def test_too_few_stored_candles_for_the_first_fold_is_one_line(project: Path) -> None:
    CandleStore(project / "data").write(hours())
    assert refusal("backtest", "-s", "lstm_rsi", "-i", "1h", code=1) == (
        "The first fold needs 30 days of candles to train on, and BTC/USDT 1h candles reach from 2024-01-01 00:00 to "
        "2024-01-21 00:00 UTC. Get more candles, or shorten min_train with --min-train."
    )


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_a_damaged_stored_month_is_one_line_for_every_verb_that_reads_it(project: Path, damage: str) -> None:
    CandleStore(project / "data").write(hours())
    path = project / "data/binance/BTC-USDT/1h/2024-01.parquet"
    harm(path, damage)
    for words in (
        ["backtest", "-s", "buy_and_hold"],
        ["train", "--signal", "momentum"],
        ["predict", "--signal", "momentum"],
    ):
        said = refusal(*words, "--exchange", "binance", "-i", "1h", code=1)
        assert said.startswith(f"{path} is damaged (")
        assert said.endswith("). Delete it and download or import that month again.")


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "pickled"])
def test_a_damaged_file_is_not_imported(project: Path, damage: str) -> None:
    """One that freqlstm wrote carries checksums, so that even a single bit is missed."""
    CandleStore(project / "elsewhere").write(hours())
    path = project / "elsewhere/binance/BTC-USDT/1h/2024-01.parquet"
    harm(path, damage)
    said = refusal("import", path, code=1)
    assert said.startswith(f"{path} could not be read (")
    assert said.endswith("). Is it whole, and of the type that its name says?")
    assert not (project / "data").exists()


def harm(path: Path, damage: str) -> None:
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes({
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "truncated": whole[:middle], "empty": b"",
        "pickled": pickle.dumps({"weights": [1.0]}), "absent": b"",
    }[damage])  # fmt: skip
    if damage == "absent":
        path.unlink()


NAMED = "binance/BTC_USDT-1h.csv"
ROW = "the first at 2024-01-01 03:00:00+00:00: open"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"time": "3024-01-01T03:00:00Z"}, f"{NAMED}: a row has the time 3024-01-01 03:00:00+00:00. Times must lie between 1970 and 2261: correct or remove that row."),
        ({"time": "soon"}, f"{NAMED}: a time is neither ISO 8601 nor an epoch: Time data soon is not ISO8601 format. Write times as in 2024-01-31T23:59:00Z."),
        ({"time": ""}, f"{NAMED}: row 3 has no time. Every candle needs its open time."),
        ({"time": "2024-01-01 03:00:00"}, f"{NAMED}: some times have a time zone and some have none, the first of those is 2024-01-01 03:00:00. Write all of them as in 2024-01-31T23:59:00Z."),
        ({"close": "dear"}, f"{NAMED}: a price or volume is not a number: could not convert string to float: 'dear'. Remove or correct that row."),
        ({"low": float("-inf")}, f"{NAMED}: 1 rows have an infinite value, {ROW}"),
        ({"volume": -1.0}, f"{NAMED}: 1 rows have a negative volume, {ROW}"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_right_is_named_and_nothing_is_imported(
    project: Path, cells: dict[str, object], message: str
) -> None:
    (project / "binance").mkdir()
    csv(project / NAMED, hours(50), **cells)
    assert refusal("import", NAMED, "--exchange", "binance", code=1).startswith(message)
    assert not (project / "data").exists()


def test_times_some_of_which_have_no_zone_are_taken_once_they_are_said_to_be_utc(project: Path) -> None:
    csv(project / "BTC_USDT-1h.csv", hours(50), time="2024-01-01 03:00:00")
    assert freqlstm("import", "BTC_USDT-1h.csv", "--exchange", "binance", "--assume-utc").exit_code == 0
    assert CandleStore(project / "data").read("binance", "BTC/USDT", "1h").digest == hours(50).digest


def test_times_of_another_zone_are_stored_in_utc(project: Path) -> None:
    berlin = hours(50).frame.tz_convert("Europe/Berlin")
    (project / "binance").mkdir()
    berlin.rename_axis("time").reset_index().to_parquet(project / "binance/BTC_USDT-1h.parquet")
    assert freqlstm("import", "binance/BTC_USDT-1h.parquet", "--exchange", "binance").exit_code == 0
    assert CandleStore(project / "data").read("binance", "BTC/USDT", "1h").digest == hours(50).digest


def test_files_that_are_no_tables_of_candles_are_one_line(project: Path) -> None:
    rows = {
        "BTC_USDT-1m.json": ('{"a": 1}', "could not be read (it is not a list of rows of one length)."),
        "BTC_USDT-1h.json": (
            "[[1, 2], [3, 4]]",
            f"has 2 columns and no header. Without a header there must be 6 ({', '.join(BINANCE_DUMP)})",
        ),
        "BTC_USDT-5m.json": ("[[1, 2], [3]]", "could not be read (it is not a list of rows of one length)."),
        "BTC_USDT-5m.csv": ("time,open,high,low,close,volume\n", "holds no candles."),
        "BTC_USDT-3m.csv": ("", "could not be read (No columns to parse from file)."),
        "BTC_USDT-1d.csv.gz": ("not compressed", "could not be read ("),
        "BTC_USDT-1d.zip": ("not an archive", "could not be read (File is not a zip file)."),
        "BTC_USDT-1d.feather": ("", "could not be read (File is too small to be a well-formed file)."),
    }
    for name, (content, message) in rows.items():
        (project / name).write_text(content)
        said = refusal("import", name, "--exchange", "binance", code=1)
        assert said.startswith((f"{name} {message}", f"{name}: {message}"))
    (project / "folder.csv").mkdir()
    assert refusal("import", "folder.csv", code=2).startswith("folder.csv holds no file that ends in .csv, ")


# The exchange


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["-p", "BTC/USDT", "-i", "45m"], "binance has no '45m' candles.", 1),
        (["-p", "BTC/USDT", "-i", "5s"], "binance has no '5s' candles.", 1),
        (["-p", "BTC/USTD"], "binance does not list 'BTC/USTD'. Did you mean 'BTC/USDT'?", 1),
        (["-p", "BTC/USDT", "--exchange", "binanse"], "No exchange named 'binanse'. Did you mean 'binance'?", 2),
        (["-p", "BTC/USDT", "--days", "0"], "Invalid value for '--days': 0 is not in the range x>=1.", 2),
        (["-p", "BTC/USDT", "--since", "soon"], "'soon' is not a time. Write 2024-01-31, 20240131 or '2024-01-31 12:00', in UTC.", 2),
    ],
)  # fmt: skip
def test_what_the_exchange_lacks_is_one_line_and_nothing_is_stored(
    project: Path, words: list[str], message: str, code: int
) -> None:
    with ExchangeServer("2024-01-12") as server:
        server.add("BTC/USDT", "1m", make_candles(50).frame)
        assert refusal("download", "--base-url", server.url, *words, code=code).startswith(message)
        assert server.asked() == []
    assert not (project / "data").exists()


def test_an_exchange_that_is_not_there_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freqlstm.cli.download.time.sleep", lambda seconds: None)
    with ExchangeServer("2024-01-12") as server:
        gone = server.url
    done = freqlstm("download", "--base-url", gone, "-p", "BTC/USDT")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not (project / "data").exists()


# Fitted signals


@pytest.fixture
def fitted(project: Path) -> Path:
    """The folder of a fitted signal of the project's own."""
    body = "    level_ = 0.0\n    def learn(self, market, progress): self.level_ = 0.5\n    def predict(self, candles): return candles.close * 0 + self.level_"
    signal(project, body)
    done = freqlstm(*TRAIN, "mine")
    assert done.exit_code == 0, done.output
    return Path(done.stdout.splitlines()[-1])


FIT = "`freqlstm train --signal mine -p {pair} -i 1h --exchange demo` makes one."


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "pickled"])
def test_a_damaged_model_is_one_line_and_is_fitted_again(fitted: Path, damage: str) -> None:
    good = freqlstm("predict", "--signal", "mine", *HOURS).stdout
    harm(fitted / "signal.json", damage)
    said = refusal("predict", "--signal", "mine", *HOURS, code=1)
    assert said.startswith(
        f"No fitted mine for BTC/USDT 1h of demo is in {fitted.parent}. {FIT.format(pair='BTC/USDT')} ("
    )
    reason = said.partition("makes one. ")[2]
    assert re.fullmatch(
        rf"\({fitted}/signal\.json (is corrupt: .+|was changed since it was written)\. Delete its folder and fit the signal again\.\)",
        reason,
    )
    assert freqlstm(*TRAIN, "mine").exit_code == 0
    assert freqlstm("predict", "--signal", "mine", *HOURS).stdout == good


def test_a_model_of_another_signal_or_version_is_one_line(fitted: Path, project: Path) -> None:
    plugin(project, "signals", "other", (project / "signals/mine.py").read_text().replace("Mine", "Other"))
    shutil.copytree(fitted, project / "models/other" / fitted.name)
    assert refusal("predict", "--signal", "other", *HOURS, code=1).endswith(
        f" makes one. ({project}/models/other/{fitted.name} holds a fitted Mine, not a Other. Load it with that signal.)"
    )
    with (project / "signals/mine.py").open("a") as file:
        file.write("# changed\n")
    assert refusal("predict", "--signal", "mine", *HOURS, code=1).endswith(
        f" makes one. ({fitted} was fitted by another version of mine.py or of freqlstm. Fit it again.)"
    )


def test_there_is_no_model_for_another_pair(fitted: Path) -> None:
    assert refusal("predict", "ETH/USDT", "--signal", "mine", *HOURS, code=1).startswith(
        f"No fitted mine for ETH/USDT 1h of demo is in {fitted.parent}. {FIT.format(pair='ETH/USDT')}"
    )


def test_damaged_results_are_one_line(project: Path) -> None:
    done = freqlstm("backtest", "-s", "buy_and_hold", *JANUARY, "--export", "none")
    folder = Path(done.stdout.splitlines()[-1])
    harm(folder / "equity.parquet", "flipped")
    for verb in ("report", "reproduce"):
        assert refusal(verb, folder.name, code=1).startswith(f"{folder}/equity.parquet is damaged (")
    harm(folder / "equity.parquet", "absent")
    assert refusal("report", folder.name, code=1) == (
        f"{folder} is not a finished run: it has no equity.parquet. Runs are folders of backtests/results; "
        "`freqlstm backtest` makes one."
    )
    assert refusal("report", "", code=2).startswith("No run named ''.")


# Disks and folders


@contextmanager
def full_for(fragment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk is full for files whose path holds ``fragment``, noticed when they are flushed."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("which file is flushed cannot be seen here")
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if fragment in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        yield


FULL = "was not written and is as it was. Free some space and run the command again."


def test_a_disk_that_is_full_during_an_import_keeps_what_is_stored(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CandleStore(project / "data").write(hours(1000).rows(0, 24))
    file = csv(project / "BTC_USDT-1h.csv", hours(1000))
    with full_for("2024-02", monkeypatch):
        said = refusal("import", file, "--exchange", "binance", code=1)
    assert said == f"The disk is full: {project}/data/binance/BTC-USDT/1h/2024-02.parquet {FULL}"
    assert freqlstm("import", file, "--exchange", "binance").stdout.split()[-1] == "976"


def test_a_disk_that_is_full_during_training_leaves_no_half_model(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal(project, f"    def learn(self, market, progress): self.level_ = 0.5\n{ANY}")
    for words in ([*TRAIN, "mine"], ["backtest", "-s", "follow", *JANUARY, "--jobs", "1"]):
        with full_for("signal.json", monkeypatch):
            said = refusal(*words, code=1)
        assert said.startswith(f"The disk is full: {project}/models/mine/")
        assert said.endswith(FULL)
    assert not [path for path in (project / "models/mine").iterdir() if path.name != "described"]
    assert freqlstm(*TRAIN, "mine").exit_code == 0


@pytest.mark.parametrize("fragment", ["ledger.jsonl", "equity.parquet", "tearsheet.html"])
def test_a_disk_that_is_full_when_a_run_is_saved_leaves_no_half_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, fragment: str
) -> None:
    words = ["backtest", "-s", "buy_and_hold", *JANUARY]
    with full_for(fragment, monkeypatch):
        done = freqlstm(*words)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    if fragment == "ledger.jsonl":
        assert (
            line
            == f"Error: The trial could not be added to {project}/backtests/ledger.jsonl: No space left on device. Make room, or make the folder writable."
        )
    else:
        assert line.startswith(f"Error: The disk is full: {project}/backtests/results/")
        assert line.endswith(FULL)
    runs = list((project / "backtests/results").glob("*"))
    if fragment != "tearsheet.html":  # without it the run is whole, and `freqlstm report` draws it
        assert runs == []
    assert not list(project.rglob("*.tmp"))
    assert freqlstm("report" if runs else "backtest", *([] if runs else words[1:])).exit_code == 0


def test_a_really_full_disk_is_one_line() -> None:
    disk = Path(tempfile.mkdtemp())
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        disk.rmdir()
        pytest.skip("a small file system cannot be mounted here")
    try:
        done = freqlstm("--project", disk, "backtest", "-s", "buy_and_hold", *HOURS, "--timerange", "20190501-20240301")
        assert done.exit_code == 1
        assert done.stderr.splitlines()[-1].startswith(f"Error: The disk is full: {disk}/backtests/results/")
        assert list((disk / "backtests/results").iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


@contextmanager
def read_only() -> Iterator[Path]:
    """A project with candles and a run, the current folder, that this process, no longer being root, may only read."""
    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)
    CandleStore(folder / "data").write(hours())
    assert freqlstm("--project", folder, "backtest", "-s", "buy_and_hold", "-i", "1h").exit_code == 0
    assert freqlstm("--project", folder, "strategies").exit_code == 0
    assert freqlstm("--project", folder, "predict", "--signal", "momentum", "-i", "1h").exit_code == 0
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    get_reusable_executor().shutdown(wait=True)  # what earlier tests left belongs to root, and is given back as root
    gc.collect()
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.chdir("/")
        shutil.rmtree(folder)


def test_a_project_that_may_not_be_written_can_be_read_and_says_so_when_written_to(project: Path) -> None:
    with read_only() as folder:
        before = everything_in(folder)
        for words, path in (
            (["import", "data/binance", "-p", "ETH/USDT"], "data/binance/ETH-USDT/1h"),
            (["data", "resample", "-p", "BTC/USDT", "--from", "1h", "--to", "4h"], "data/binance/BTC-USDT/4h"),
            (["train", "--signal", "momentum", "-i", "1h"], "models/momentum/"),
            (["backtest", "-s", "buy_and_hold", "-i", "1h"], "backtests/ledger.jsonl"),
            (["report"], "backtests/results/"),
            (["new", "strategy", "mine"], "strategies/mine.py"),
            (["init"], ""),
        ):
            said = refusal(*words, code=1)
            assert said.removeprefix("The trial could not be added to ").startswith(f"{folder}/{path}".rstrip("/")), (
                said
            )
            assert ": Permission denied. " in said
        for words in (
            ["data", "list"],
            ["data", "check"],
            ["strategies"],
            ["predict", "--signal", "momentum", "-i", "1h"],
        ):
            assert freqlstm(*words).exit_code == 0, words
        assert everything_in(folder) == before
    os.chdir(project)


@pytest.mark.parametrize("name", ["data", "models", "strategies", "backtests", "backtests/results"])
def test_a_file_where_a_folder_must_be_is_named(project: Path, name: str) -> None:
    path = project / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("in the way")
    words = {
        "data": ["import", csv(project / "BTC_USDT-1h.csv", hours()), "--exchange", "binance"],
        "models": [*TRAIN, "momentum"],
        "strategies": ["new", "strategy", "mine"],
    }.get(name, ["backtest", "-s", "buy_and_hold", *JANUARY])
    done = freqlstm(*words)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].endswith(
        f" could not be written: {path} is a file, and must be a folder. Move it away."
    )
    assert path.read_text() == "in the way"


# Two at once


def both(*commands: tuple[object, ...], cwd: Path) -> list[str]:
    """The outputs of commands that were started together and all succeeded."""
    running = [
        subprocess.Popen(command(*words), cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in commands
    ]  # fmt: skip
    outputs = [each.communicate(timeout=120) for each in running]
    assert [each.returncode for each in running] == [0] * len(running), outputs
    return [output for output, _ in outputs]


def test_imports_of_different_months_and_of_the_same_one_at_once_lose_nothing(project: Path) -> None:
    whole = hours(2000)
    parts = [whole.rows(0, 900), whole.rows(700, 2000), whole.rows(0, 900)]
    names = [csv(project / f"part{number}.csv", part) for number, part in enumerate(parts)]
    told = ("-p", "BTC/USDT", "--exchange", "binance")
    outputs = both(*(("import", name, *told) for name in names), cwd=project)
    assert sum(int(output.split()[-1].replace(",", "")) for output in outputs) == 2000
    assert CandleStore(project / "data").read("binance", "BTC/USDT", "1h").digest == whole.digest
    assert not list((project / "data").rglob("*.tmp"))


def test_two_identical_runs_at_once_are_two_whole_runs(project: Path) -> None:
    signal(project, f"    def learn(self, market, progress): self.level_ = 0.5\n{ANY}")
    words = ("backtest", "-s", "follow", *JANUARY, "--jobs", "1", "--export", "none")
    folders = [Path(output.splitlines()[-1]) for output in both(words, words, cwd=project)]
    assert folders[0] != folders[1]
    assert sorted((project / "backtests/results").iterdir()) == sorted(folders)
    one, two = ({name: (folder / name).read_bytes() for name in ("trades.csv", "run.toml")} for folder in folders)
    assert one == two
    assert len((project / "backtests/ledger.jsonl").read_text().splitlines()) in (1, 2)
    assert not list(project.rglob("*.tmp"))
    again = freqlstm(*words)  # both have fitted the same models, which are whole
    assert (Path(again.stdout.splitlines()[-1]) / "trades.csv").read_bytes() == one["trades.csv"]


# Terminals and pipes


def shell(line: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What bash makes of a line in which $F is the command."""
    words = " ".join(f"'{word}'" for word in command())
    return subprocess.run(
        ["bash", "-c", line.replace("$F", words)],
        cwd=cwd,
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_pipe_that_is_closed_early_or_a_stream_that_is_not_there_is_no_traceback(project: Path) -> None:
    assert shell("$F strategies | head -0", project).stderr == ""
    assert shell("$F strategies >&-", project).stderr == ""
    assert shell("$F data list 2>&-", project).returncode == 0
    assert shell("$F strategies <&-", project).returncode == 0
    unheard = shell("$F backtest -s nothing >&- 2>&-", project)
    assert (unheard.returncode, unheard.stdout, unheard.stderr) == (2, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_output_that_cannot_be_written_is_one_line(project: Path) -> None:
    said = "Error: The output could not be written: No space left on device. Make room, or send it elsewhere.\n"
    for words in ("strategies", "signals --json", "--version"):
        full = shell(f"$F {words} > /dev/full", project)
        assert (full.returncode, full.stderr) == (1, said)
    assert shell("$F backtest -s nothing 2> /dev/full", project).returncode == 2


def test_a_folder_that_is_gone_is_one_line(project: Path) -> None:
    gone = shell("mkdir gone; cd gone; rmdir ../gone; $F strategies", project)
    assert gone.returncode == 2
    assert gone.stderr.splitlines()[-1] == (
        "Error: Invalid value for '--project': the current folder is gone. Change to one that exists. "
        "`freqlstm --help` lists what there is."
    )


def test_a_plain_locale_a_narrow_terminal_and_no_home_change_nothing(project: Path) -> None:
    place = project / "ünï cödé and spaces"
    place.mkdir()
    poor = {**environment(LC_ALL="C", LANG="C", COLUMNS="20", PYTHONIOENCODING="ascii:backslashreplace")}
    del poor["HOME"]
    typed("new", "strategy", "мой", cwd=place, env=poor)
    listed = typed("strategies", cwd=place, env=poor)
    assert "lstm_rsi" in listed.stdout
    wrong = typed("backtest", "-s", "мои", cwd=place, env=poor, code=2)
    assert wrong.stderr.count("\n") == 1
    typed("backtest", "-s", "buy_and_hold", *JANUARY, "--export", "none", cwd=place, env=poor)


def test_an_error_on_a_narrow_terminal_is_one_line_below_no_bar(project: Path) -> None:
    signal(project, "    def predict(self, candles): return 1 / 0")
    ours, theirs = pty.openpty()
    words = command("backtest", "-s", "follow", *JANUARY)
    running = subprocess.Popen(
        words, cwd=project, env=environment(COLUMNS="20"), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert running.wait(timeout=60) == 1
    last = shown.decode().replace("\r", "\n").split("\n")
    said = f"Error: {STOPPED} 5: ZeroDivisionError: division by zero. Correct the file."
    assert [line for line in last if line.endswith(said)]
    assert "Traceback" not in shown.decode()
