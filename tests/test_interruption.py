"""A backtest that is killed or interrupted at any moment leaves nothing half-written, and goes on where it was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from terminal import DEMO, command, environment, typed

from freqlstm.files import TEMPORARY
from freqlstm.plugins import find
from freqlstm.reproduce import load_result
from freqlstm.run import find_run
from freqlstm.store import Project

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="it looks for child processes in /proc")

BACKTEST = ("backtest", "-s", "lstm_rsi", *DEMO, "--timerange", "20240103-20240108", "--export", "none")
FOLDS = 5
QUICK = ("backtest", "-s", "rsi_bollinger", "--exchange", "demo", "-i", "1h", "--timerange", "20240101-20240301")
PARTS = ("predictions.parquet", "trades.parquet", "equity.parquet")


@dataclass
class Child:
    """A backtest that runs in a session of its own, as in a terminal of its own."""

    process: subprocess.Popen[str]
    root: Path

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Look every few milliseconds until it is ``true``; the backtest must still be running then."""
        limit = time.monotonic() + 120
        while not true():
            assert self.process.poll() is None, "it ended before it could be interrupted"
            assert time.monotonic() < limit
            time.sleep(0.005)

    def relatives(self) -> list[int]:
        """Process ids of the session: the backtest itself and every process that it started."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has just ended
                continue
            if int(session) == self.process.pid and state != "Z":
                found.append(int(status.parent.name))
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """``start()`` begins BACKTEST, or the command given; whatever is left of it afterwards is ended."""
    children = []

    def begin(*arguments: str) -> Child:
        process = subprocess.Popen(
            command(*(arguments or BACKTEST)), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        children.append(Child(process, tmp_path))
        return children[-1]

    yield begin
    for child in children:
        for process in child.relatives():
            os.kill(process, signal.SIGKILL)
        child.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the same backtest when nobody interrupts it."""
    root = tmp_path_factory.mktemp("undisturbed")
    return Path(typed(*BACKTEST, cwd=root).stdout.splitlines()[-1])


def models(root: Path) -> list[Path]:
    """The folders of fitted signals; those of a name that begins with a dot are not there yet."""
    return [file.parent for file in root.glob("models/lstm/*/signal.json") if not file.parent.name.startswith(".")]


def expect_nothing_half_written(root: Path) -> None:
    """Whatever has its name is whole: every model loads, every table and run can be read."""
    kind = find("signal", "lstm", root).load()
    for folder in models(root):
        assert kind.load(folder).training_["candles"]
    whole = [path for path in (root / "models").rglob("*") if TEMPORARY not in str(path)]
    for file in whole:
        if file.suffix == ".json":
            assert json.loads(file.read_text())["seal"]
        elif file.suffix == ".parquet":
            assert len(pd.read_parquet(file))
    for folder in (root / "backtests" / "results").glob("[!.]*"):
        assert len(load_result(Project(root), folder).equity)


def expect_same_result(resumed: Path, undisturbed: Path) -> None:
    for part in PARTS:
        pd.testing.assert_frame_equal(
            pd.read_parquet(resumed / part), pd.read_parquet(undisturbed / part), check_exact=True
        )
    assert (resumed / "stats.json").read_text() == (undisturbed / "stats.json").read_text()


def folds(run: Path) -> list[dict[str, object]]:
    return list(json.loads((run / "manifest.json").read_text())["signals"]["prediction"]["folds"])


def saved(root: Path, number: int) -> Callable[[], bool]:
    return lambda: len(models(root)) >= number


def expect_one_line(child: Child) -> None:
    """After an interruption: one line, the exit code of one, and none of the processes left."""
    stdout, stderr = child.process.communicate(timeout=60)
    assert child.process.returncode == 130
    assert stdout == ""
    progress = re.compile(r"(\d+%  .*|starting|predicting|deciding|trading|drawing the tearsheet)?")
    assert [line for line in stderr.splitlines() if not progress.fullmatch(line)] == [
        "Error: Interrupted. Nothing half-written is left: the same command again goes on or starts over."
    ]
    limit = time.monotonic() + 10  # those that keep the books of the others end after them
    while child.relatives() and time.monotonic() < limit:
        time.sleep(0.1)
    assert child.relatives() == []


@pytest.mark.slow
def test_a_run_killed_in_training_goes_on_with_the_folds_it_had_saved(
    start: Callable[..., Child], tmp_path: Path, undisturbed: Path
) -> None:
    for number in (1, 3):  # killed twice, each time a little further
        child = start()
        child.wait_until(saved(tmp_path, number))
        for process in child.relatives():
            os.kill(process, signal.SIGKILL)
        child.process.wait()
        expect_nothing_half_written(tmp_path)
        assert not (tmp_path / "backtests").exists()
    kept = {folder.name for folder in models(tmp_path)}
    assert 3 <= len(kept) < FOLDS
    resumed = Path(typed(*BACKTEST, cwd=tmp_path).stdout.splitlines()[-1])
    assert {fold["model_id"] for fold in folds(resumed) if fold["from_cache"]} == kept
    assert len(folds(resumed)) == FOLDS
    expect_same_result(resumed, undisturbed)


@pytest.mark.slow
def test_a_run_can_be_started_again_while_processes_of_the_killed_one_are_still_fitting(
    start: Callable[..., Child], tmp_path: Path, undisturbed: Path
) -> None:
    child = start()
    child.wait_until(saved(tmp_path, 1))
    child.process.kill()  # what it had started is not told
    child.process.wait()
    resumed = Path(typed(*BACKTEST, cwd=tmp_path).stdout.splitlines()[-1])
    expect_nothing_half_written(tmp_path)
    assert any(fold["from_cache"] for fold in folds(resumed))
    expect_same_result(resumed, undisturbed)


@pytest.mark.slow
def test_ctrl_c_and_the_same_command_again_give_the_undisturbed_result(
    start: Callable[..., Child], tmp_path: Path, undisturbed: Path
) -> None:
    child = start()
    child.wait_until(saved(tmp_path, 2))
    os.kill(child.process.pid, signal.SIGINT)  # to the command alone, as `kill -INT` does
    expect_one_line(child)
    assert not list(tmp_path.rglob(f"*{TEMPORARY}"))
    expect_nothing_half_written(tmp_path)
    resumed = Path(typed(*BACKTEST, cwd=tmp_path).stdout.splitlines()[-1])
    assert sum(bool(fold["from_cache"]) for fold in folds(resumed)) >= 2
    expect_same_result(resumed, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_ctrl_c_while_the_processes_start_ends_them_all_without_a_traceback(
    start: Callable[..., Child], seconds: float
) -> None:
    child = start()
    child.wait_until(lambda: len(child.relatives()) >= 3)  # the last to be started are those that fit
    time.sleep(seconds)
    os.killpg(child.process.pid, signal.SIGINT)  # to all of them, as a terminal does
    expect_one_line(child)


@pytest.mark.slow
def test_ctrl_c_in_the_first_fold_leaves_no_model(start: Callable[..., Child], tmp_path: Path) -> None:
    child = start()
    child.wait_until((tmp_path / "models" / "lstm" / "described").exists)
    time.sleep(0.3)
    os.killpg(child.process.pid, signal.SIGINT)
    expect_one_line(child)
    assert not list(tmp_path.rglob(f"*{TEMPORARY}"))
    assert models(tmp_path) == []


def test_ctrl_c_before_anything_has_begun_leaves_one_line(start: Callable[..., Child], tmp_path: Path) -> None:
    child = start(*QUICK)
    child.wait_until(lambda: "numpy" in Path(f"/proc/{child.process.pid}/maps").read_text())
    os.killpg(child.process.pid, signal.SIGINT)
    expect_one_line(child)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_tearsheet_is_drawn_leaves_a_whole_run(start: Callable[..., Child], tmp_path: Path) -> None:
    child = start(*QUICK)
    child.wait_until(lambda: any((tmp_path / "backtests").glob("results/[!.]*")))
    os.killpg(child.process.pid, signal.SIGINT)
    expect_one_line(child)
    (run,) = (tmp_path / "backtests" / "results").iterdir()
    assert "tearsheet.html" not in [file.name for file in run.iterdir()]
    sheet = typed("report", "latest", cwd=tmp_path).stdout.strip()
    assert Path(sheet) == run / "tearsheet.html"


@pytest.mark.slow
def test_a_run_killed_while_it_writes_its_results_is_whole_or_not_there(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    for number in range(8):
        child = start(*QUICK, "--export", "none")
        child.wait_until(lambda trials=number: counted(tmp_path) > trials)  # the last thing before the results
        time.sleep(0.01 * number)
        child.process.kill()
        child.process.wait()
        expect_nothing_half_written(tmp_path)
    assert counted(tmp_path) == 8
    typed(*QUICK, "--export", "none", cwd=tmp_path)
    assert len(load_result(Project(tmp_path), find_run(Project(tmp_path), "latest")).equity)


def counted(root: Path) -> int:
    """Trials in the ledger."""
    ledger = root / "backtests" / "ledger.jsonl"
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0
