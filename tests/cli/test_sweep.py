"""``freqlstm sweep`` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sweeping import project_of, walk_of

from freqlstm.cli.main import main
from freqlstm.cli.sweep import build_run, varies
from freqlstm.errors import UsageError
from freqlstm.sweep_run import SweepRun

AXES = ("--set", "rsi_period=7,14", "--set", "oversold=30:40:3", "--timerange", "20240102-20240107")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_of(tmp_path_factory.mktemp("project"), walk_of(8 * 1440)).root


@pytest.fixture
def sweep(root: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """``sweep("--trials", "5")`` in the project; bugs show their traceback."""
    monkeypatch.chdir(root)

    def run(*arguments: object) -> Result:
        return CliRunner(catch_exceptions=False).invoke(main, ["sweep", *map(str, arguments)])

    return run


def test_it_prints_the_best_beside_holding_with_the_trials_and_in_words_what_they_are_worth(sweep) -> None:  # type: ignore[no-untyped-def]
    lines = sweep("-s", "dips", *AXES).stdout.splitlines()
    assert lines[0].endswith(": BTC/USDT 20240102-20240107, 6 combinations by sharpe")
    heads = next(line for line in lines if line.startswith("after costs"))
    assert heads.split() == [
        "after",
        "costs",
        "return",
        "Sharpe",
        "max.",
        "drawdown",
        "trades",
        "rsi_period",
        "oversold",
    ]
    table = lines[lines.index(heads) + 1 :]
    assert [line.split()[0] for line in table[:6]] == ["1", "2", "3", "4", "5", "hold"]
    assert any(line.startswith("trials on these candles: 6;  deflated Sharpe ratio of the best: ") for line in lines)
    assert any(line.startswith("No discovery: ") for line in lines)
    assert any("in Backtrader: " in line and line.endswith("all the same") for line in lines)
    (command,) = (line for line in lines if line.startswith("Its tearsheet: "))
    best = Path(command.removeprefix("Its tearsheet: freqlstm backtest "))
    assert Path(lines[-1]).name == "sweep.html"
    assert Path(lines[-1]).parent == best.absolute().parent
    assert {path.name for path in best.parent.iterdir()} == {
        "run.toml", "best.toml", "manifest.json", "sweep.json", "sweep.parquet", "sweep.html",
    }  # fmt: skip
    ran = CliRunner(catch_exceptions=False).invoke(main, ["backtest", str(best), "--export", "none"])
    assert ran.exit_code == 0


def test_json_is_what_the_folder_holds(sweep) -> None:  # type: ignore[no-untyped-def]
    told = json.loads(sweep("-s", "dips", *AXES, "--train", "2d", "--test", "1d", "--json").stdout)
    stored = json.loads((Path(told["folder"]) / "sweep.json").read_text())
    assert {name: told[name] for name in stored} == stored
    assert told["synthetic"] is False
    assert len(told["walk"]["spans"]) == 3
    assert set(told["walk"]) >= {"out_of_sample", "in_sample", "buy_and_hold"}


def test_a_walk_forward_is_printed_span_by_span_beside_hindsight_and_holding(sweep) -> None:  # type: ignore[no-untyped-def]
    lines = sweep("-s", "dips", *AXES, "--train", "2d", "--test", "1d").stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("chosen before"))
    assert [line.split()[0] for line in lines[first + 1 : first + 4]] == ["2024-01-04", "2024-01-05", "2024-01-06"]
    second = next(number for number, line in enumerate(lines) if line.startswith("walk-forward"))
    assert [" ".join(line.split()[:2]) for line in lines[second + 1 : second + 4]] == ["out of", "best in", "buy and"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-s", "dips"), 2, "Nothing is swept: no parameter has more than one value. Give some with --set, as in threshold=0:0.002:21 (from:to:count) or rsi_period=7,14,21; `freqlstm backtest` runs one combination."),
        (AXES, 2, "No strategy is named. Name one with --strategy, as in --strategy lstm_rsi, or give a run file."),
        (("-s", "dips", "--set", "rsi_perod=7,14"), 2, "No parameter of Dips named 'rsi_perod'. Did you mean 'rsi_period'?"),
        (("-s", "dips", "--set", "rsi_period"), 2, "--set received 'rsi_period'. It must be NAME=…, as in --set threshold=0:0.002:21."),
        (("-s", "dips", "--set", "prediction.lookback=30,60"), 2, "--set received 'prediction.lookback=30,60'. Parameters of a signal have one value, since predictions are made once; `freqlstm tune` varies them."),
        (("-s", "dips", *AXES, "--set", "rsi_period=21,28"), 2, "--set names rsi_period twice. Give all its values at once, as in --set rsi_period=7,14,21."),
        (("-s", "dips", *AXES, "--train", "2d", "--test", "1m"), 2, "Trading 1m at a time makes 4,320 spans, and 1,000 are the most. Choose a longer --test."),
        (("-s", "dips", *AXES, "--train", "1d", "--test", "2d"), 2, "The sharpe of one day is not defined: it needs the returns of two. Choose a longer time, or another --objective."),
        (("-s", "dips", *AXES, "--objective", "sharp"), 2, "No objective named 'sharp'. Did you mean 'sharpe'?"),
        (("-s", "dips", *AXES, "--trials", "0"), 2, "Invalid value for '--trials': 0 is not in the range x>=1. `freqlstm sweep --help` lists what there is."),
        (("-s", "dips", *AXES, "--trials", "100001"), 2, "trials is 100001. It must be between 1 and 100,000, or 0 for the whole grid."),
        (("-s", "own_next", "--set", "period=7,14"), 1, "OwnNext has its own next(), and the compiled engine runs conditions over columns only. A sweep needs that engine: run this one with `freqlstm backtest`."),
        (("-s", "dips", "--set", "threshold=0:1:1000000", "--set", "exposure=0.1:1:1000000", "--jobs", "1"), 2, "1,000,000,000,000 combinations would take 231 days on 1 core. Give --set fewer values, or let --trials 500 choose the combinations."),
        (("-c", "a.toml", "b.toml"), 2, "Two run files are given, one as an argument and one with --config. Give one."),
        (("-c", "none.toml"), 2, "There is no run file none.toml. Give one, or name a strategy with --strategy."),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(sweep, arguments: tuple[str, ...], code: int, message: str) -> None:  # type: ignore[no-untyped-def]
    ended = sweep(*arguments)
    assert ended.stderr == f"Error: {message}\n"
    assert ended.exit_code == code
    assert ended.stdout == ""


def test_what_varies_and_what_does_not() -> None:
    assert [varies(text) for text in ("0:0.002:21", "7,14,21", "[7, 14]", "", "'a','b'")] == [True] * 5
    assert [varies(text) for text in ("7", "true", "long", "'a:b'", '"x,y"')] == [False] * 5


def of(tmp_path: Path, text: str, *changes: str, **flags: object) -> SweepRun:
    file = tmp_path / "run.toml"
    file.write_text(text)
    return build_run(file, flags, changes)


FILE = """
strategy = "dips"
timerange = "20240102-20240107"
objective = "profit"

[parameters]
overbought = 70

[sweep]
rsi_period = [7, 14]
oversold = "30:40:3"
"""


def test_flags_override_the_run_file(tmp_path: Path) -> None:
    run = of(
        tmp_path,
        FILE,
        "rsi_period=5,6",
        "oversold=33",
        "overbought=60:70:11",
        objective="calmar",
        train="2d",
        test="1d",
        fee=0.002,
    )
    assert run.sweep == {"rsi_period": "5,6", "overbought": "60:70:11"}
    assert run.parameters == {"oversold": 33}
    assert (run.objective, run.timerange, run.walk.train, run.walk.test) == ("calmar", "20240102-20240107", "2d", "1d")
    assert run.costs.commission == 0.002


def test_the_run_file_of_a_backtest_is_one_whose_parameters_can_be_swept(tmp_path: Path) -> None:
    run = of(tmp_path, 'strategy = "dips"\n[parameters]\noversold = 33\n[folds]\ntrain = "30d"\n', "oversold=30:40:3")
    assert run.sweep == {"oversold": "30:40:3"}
    assert run.folds.train == "30d"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE + "[walc]\ntrain = '2d'\n", "No key in {file} named 'walc'. Did you mean 'walk'?"),
        (FILE + "[walk]\ntran = '2d'\n", "No key in [walk] of {file} named 'tran'. Did you mean 'train'?"),
        (FILE.replace("objective", "objectve"), "No key in {file} named 'objectve'. Did you mean 'objective'?"),
        (FILE.replace('"profit"', "3"), "Key 'objective' in {file} is 3. It must be a text."),
        ("timerange = '20240102-20240107'", '{file} names no strategy. Add a line such as strategy = "lstm_rsi".'),
    ],
)  # fmt: skip
def test_a_run_file_that_cannot_be_right_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        of(tmp_path, text)
    assert str(error.value) == message.format(file=tmp_path / "run.toml")
