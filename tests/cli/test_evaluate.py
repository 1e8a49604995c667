"""``freqlstm evaluate`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import Freqlstm
from evaluating import ETH, project_with, reverting

QUICK = ("--train", "1d", "--test", "6h", "--min-train", "12h", "--horizon", "1", "--jobs", "1")
SPANS = ("--timerange", "20240102-20240102T1200,20240103-20240103T0900")


@pytest.fixture
def stocked(freqlstm: Freqlstm, tmp_path: Path) -> Freqlstm:
    """The command line in a project with two symbols and a few signals."""
    project_with(tmp_path, reverting(4000, back=0.2), reverting(4000, ETH, seed=2, back=0.2))
    return freqlstm


def test_it_prints_a_table_and_what_it_says_in_words(stocked: Freqlstm, tmp_path: Path) -> None:
    done = stocked("evaluate", "slope", "momentum", "-p", "BTC/USDT,ETH/USDT", *SPANS, *QUICK)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].endswith(": return of the next 1 bars")
    assert lines[1] == "BTC/USDT, ETH/USDT 1m 20240102-20240102T1200, 20240103-20240103T0900: 2,516 rows"
    head = next(line for line in lines if line.startswith("signal  "))
    for column in (
        "R2 vs zero",
        "RMSE",
        "MAE",
        "direction",
        "IC",
        "rank IC",
        "Theil's U",
        "p vs zero",
        "in interval",
        "fit s",
    ):
        assert column in head
    assert "QLIKE" not in head
    names = [line.split()[0] for line in lines[lines.index(head) + 1 :][:4]]
    assert names == ["zero", "persistence", "slope", "momentum"]
    assert "Squared error below zero's beyond noise" in done.stdout
    folder = Path(lines[-1]).parent
    assert folder.parent == tmp_path / "backtests" / "results"
    assert {file.name for file in folder.iterdir()} == {
        "run.toml", "evaluation.json", "predictions.parquet", "evaluation.html",
    }  # fmt: skip


def test_json_holds_every_figure_and_nothing_else_goes_to_stdout(stocked: Freqlstm) -> None:
    told = json.loads(stocked("evaluate", "momentum", *SPANS, *QUICK, "--json").stdout)
    saved = json.loads((Path(told["folder"]) / "evaluation.json").read_text())
    assert saved == {key: told[key] for key in saved}
    assert told["figures"]["rows"] == 1258


def test_a_run_file_is_run_and_flags_override_it(stocked: Freqlstm, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'signals = ["slope", "guess"]\nhorizon = 1\ntimeranges = ["20240102-20240102T1200"]\n'
        '[folds]\ntrain = "1d"\nmin_train = "12h"\ntest = "6h"\n[parameters]\ninterval = 0.5\n'
    )
    told = json.loads(
        stocked("evaluate", "mine.toml", "--set", "slope.offset=0.001", "--set", "size=0.01", "--seeds", "2", "--jobs", "1", "--json").stdout
    )  # fmt: skip
    written = (Path(told["folder"]) / "run.toml").read_text()
    for line in ("offset = 0.001", "interval = 0.5", "size = 0.01", "seeds = 2", 'exchange = "binance"'):
        assert line in written
    again = stocked("evaluate", str(Path(told["folder"]) / "run.toml"), "--jobs", "1", "--json")
    assert json.loads(again.stdout)["figures"] == told["figures"]
    mixed = stocked("evaluate", "mine.toml", "slope")
    assert mixed.stderr == "Error: mine.toml is a run file, which names its signals itself. Give it alone.\n"


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([], "Error: No signal is named. Name some, as in `freqlstm evaluate lstm momentum`.", 2),
        (["lstmm"], "Error: No signal named 'lstmm'. Did you mean 'lstm'? `freqlstm signals` lists what there is.", 2),
        (["absent.toml"], "Error: There is no run file absent.toml. Give one, or name signals.", 2),
        (["momentum", "--horizon", "0"], "Error: Parameter 'horizon' of Momentum is 0. It must be at least 1.", 2),
        (["momentum", "--set", "momentum.lokback=3"], "Error: No parameter named 'lokback'. Did you mean 'lookback'?", 2),
        (["momentum", "--target", "price"], "Error: Parameter 'target' of Momentum is 'price'. It must be 'return'.", 2),
        (["momentum", "--seeds", "0"], "Error: The number of seeds is 0. It must be between 1 and 1000.", 2),
        (["momentum", "--timerange", ","], "Error: Invalid value for '--timerange': there is no name in it.", 2),
    ],
)  # fmt: skip
def test_what_cannot_be_right_ends_in_one_line(
    freqlstm: Freqlstm, tmp_path: Path, arguments: list[str], message: str, code: int
) -> None:
    done = freqlstm("evaluate", *arguments)
    assert done.stderr.splitlines()[-1].startswith(message)
    assert done.exit_code == code
    assert not (tmp_path / "backtests" / "results").exists()


def test_the_demo_market_is_called_synthetic(freqlstm: Freqlstm) -> None:
    done = freqlstm("evaluate", "momentum", "--exchange", "demo", "-i", "1h", "--timerange", "20240101-20240201")
    assert done.stdout.splitlines()[0].endswith("SYNTHETIC demo market")
