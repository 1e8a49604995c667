"""The benchmarks run, compare what does the same work, and say so where it is not the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measure
from benchmarks.__main__ import SUBJECTS
from benchmarks.chart import draw
from benchmarks.ground import Ground
from benchmarks.measure import Figures, Variant, duration, interleaved
from benchmarks.row import Measured, Row, at_least, share_of_memory, told_under, under_mb, within
from benchmarks.rows import growth, reference, startup
from benchmarks.table import table

ROOT = Path(__file__).resolve().parents[1]
RIVALS = ("vectorbt", "vectorbt_rust")  # in benchmarks/requirements.txt, which the tests do without


def bench(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", *flags], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def in_this_process(variant: Variant) -> dict[str, Any]:
    module, _, function = variant.work.partition(":")
    settings = json.loads(json.dumps(dict(variant.settings)))
    told = getattr(import_module(f"benchmarks.rows.{module}"), function)(**settings)
    return {"peak_mb": 1.0, **told}


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variant's own work, without a process of its own: imports are what costs."""
    import freqlstm.keras_signal  # noqa: F401 - before anything uses TensorFlow

    monkeypatch.setattr(measure, "run", in_this_process)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    ground = Ground(tmp_path_factory.mktemp("bench"), quick=True)
    return {row.key: row for subject in SUBJECTS for row in import_module(f"benchmarks.rows.{subject}").rows(ground)}


def silent(text: str) -> None: ...


# The command


def test_the_table_and_the_json_of_one_run_agree_and_the_ratio_is_that_of_its_own_seconds(tmp_path: Path) -> None:
    ended = bench("backtrader", "--json", "--chart", str(tmp_path / "chart.svg"))
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    (row,) = result["rows"]
    ours, rivals = row["ours"], row["competitors"]
    assert row["ratio"] == min(rival["seconds"] for rival in rivals) / ours["seconds"]
    assert all(one["peak_mb"] > 50 and one["rounds"] == 1 for one in (ours, *rivals))
    assert {one["told"]["fills"] for one in rivals} == {ours["told"]["fills"]}
    assert ours["told"]["count"] > 0
    assert row["verdict"] == "not compared"  # so few bars tell nothing of speed
    shown = table(result)
    for one in (ours, *rivals):
        assert duration(one["seconds"]) in shown
        assert f"{one['peak_mb']:,.0f}" in shown
    assert f"{row['ratio']:.1f}" in shown
    assert f"{ours['told']['count']:,} identical fills" in shown
    assert "3/3" in ended.stderr  # progress
    assert "1/3" in ended.stderr
    assert (tmp_path / "chart.svg").read_text().startswith("<?xml")


def test_an_unknown_row_is_refused_with_the_names_of_those_there_are() -> None:
    ended = bench("backtradr")
    assert ended.returncode == 2
    assert "There is no row 'backtradr'. Rows are backtrader, compiled, compiled-all, sweep" in ended.stderr


def test_fewer_rounds_than_one_are_refused() -> None:
    assert "--rounds is 0. It must be at least 1." in bench("--rounds", "0").stderr


def test_what_was_measured_before_ctrl_c_is_shown() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", "backtrader", "help"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        while "help: freqlstm --help, round 1" not in running.stderr.readline():
            assert running.poll() is None, "it has ended before"
        running.send_signal(signal.SIGINT)  # while TensorFlow is imported
        printed, said = running.stdout.read(), running.stderr.read()
    assert running.returncode == 130, said
    assert [row["key"] for row in json.loads(printed)["rows"]] == ["backtrader"]
    assert "Interrupted in the row help: of 2 rows, 1 are measured." in said


@pytest.mark.skipif(find_spec("vectorbt") is None, reason="vectorbt, of benchmarks/requirements.txt, is not installed")
def test_vectorbt_makes_the_same_trades_of_the_same_columns() -> None:
    ended = bench("compiled", "--json")
    assert ended.returncode == 0, ended.stderr
    (row,) = json.loads(ended.stdout)["rows"]
    assert row["competitors"]
    assert {one["told"]["trades"] for one in row["competitors"]} == {row["ours"]["told"]["trades"]}


# Rows


@pytest.mark.usefixtures("run_here")
@pytest.mark.parametrize(
    "key",
    ["backtrader", "compiled", "compiled-all", "sweep", "sweep-periods", "predictions", "live", "training", "update", "import", "tearsheet"],
)  # fmt: skip
def test_every_row_measures_what_it_is_compared_with_at_the_same_work(key: str, known: dict[str, Row]) -> None:
    row = known[key]
    kept = [one for one in row.competitors if one.needs not in (*RIVALS, "quantstats")]
    told = replace(row, competitors=kept).measure(1, silent, judge=False)
    assert told["verdict"] == ("not compared" if row.targets else "met"), told["note"]
    assert told["ours"]["seconds"] > 0
    assert len(told["competitors"]) == len(kept)


@pytest.mark.usefixtures("run_here")
@pytest.mark.parametrize("key", ["growth-backtrader", "growth-compiled", "growth-sweep", "growth-predictions"])
def test_growth_is_measured_at_each_number_of_bars(key: str, known: dict[str, growth.Growth]) -> None:
    told = known[key].measure(1, silent, judge=False)
    assert [point["bars"] for point in told["growth"]] == [2_000, 4_000], told["note"]
    assert all(point["seconds"] > 0 for point in told["growth"])


def test_the_power_of_the_bars_is_that_of_the_points() -> None:
    points = [{"bars": bars, "seconds": 3e-6 * bars**1.25} for bars in (1e5, 1e6, 1e7)]
    assert growth.power(points, "seconds") == pytest.approx(1.25)


def test_help_loads_nothing_heavy_and_the_row_would_say_so() -> None:
    told = startup.freqlstm_help()
    assert told["heavy"] == []
    assert 0 < told["seconds"] < 30
    (row,) = startup.rows(None)
    heavy = Figures(0.1, 20.0, 5, {"heavy": ["numba"]})
    assert row.targets[1].met(Measured(heavy, None, {})) is False


@pytest.mark.usefixtures("run_here")
def test_fills_that_differ_fail_the_row(monkeypatch: pytest.MonkeyPatch, known: dict[str, Row]) -> None:
    def forgetful(candles: Any) -> list[Any]:
        return reference.freqlstm_engine(candles)[:-1]

    monkeypatch.setitem(reference.VARIANTS, "columns", forgetful)
    told = known["backtrader"].measure(1, silent)
    assert told["verdict"] == "failed"
    assert told["note"].startswith("The fills differ: ")
    assert told["ratio"] is None


def test_a_session_is_watched_from_its_candles_to_its_orders(tmp_path: Path) -> None:
    settings = {"folder": str(tmp_path), "orders": 3, "first": 1, "units": 2, "lookback": 8, "keras": True}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", "latency:session", json.dumps(settings)], cwd=ROOT, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["orders"] >= 3
    assert told["decided"] == ["buy", "sell"]
    assert 0 < told["seconds"] < told["answered_ms"] / 1000 < 1  # brought by the stream, in the bar of their candle


# What is made of measurements


def fake(seconds: list[float], **told: Any) -> Callable[[Variant], dict[str, Any]]:
    left = iter(seconds)
    return lambda variant: {"seconds": next(left), "peak_mb": 100.0, **told}


def test_variants_take_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(measure, "run", fake([1.0, 10.0, 3.0, 30.0, 2.0]))
    found = interleaved([Variant("a", "x:a"), Variant("b", "x:b", rounds=2)], 3, heard.append)
    assert heard == [
        "a, round 1: 1 s, 100 MB", "b, round 1: 10 s, 100 MB", "a, round 2: 3 s, 100 MB", "b, round 2: 30 s, 100 MB",
        "a, round 3: 2 s, 100 MB",
    ]  # fmt: skip
    assert [(one.seconds, one.rounds) for one in found] == [(2.0, 3), (20.0, 2)]


def test_a_part_of_the_work_counts_as_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "run", fake([2.0], units=0.1))
    (found,) = interleaved([Variant("a", "x:a")], 1, silent)
    assert found.seconds == pytest.approx(20.0)


def test_a_variant_that_breaks_fails_its_row_with_its_last_words(tmp_path: Path) -> None:
    row = Row(
        "broken", "nothing", Variant("ours", "reference:backtest", {"key": "freqlstm", "file": "absent.npy"}), [], []
    )
    told = row.measure(1, silent)
    assert told["verdict"] == "failed"
    assert told["note"].startswith("ours ended with FileNotFoundError")
    draw({"machine": "", "rounds": 1, "rows": [told]}, tmp_path / "empty.png")
    assert "FAILED" in table({"machine": "", "rounds": 1, "rows": [told]})


def test_a_competitor_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "run", fake([1.0]))
    row = Row(
        "alone", "something", Variant("ours", "x:y"), [Variant("theirs", "x:z", needs="no_such_library")], [at_least(2)]
    )
    told = row.measure(1, silent)
    assert (told["verdict"], told["ratio"], told["competitors"]) == ("not compared", None, [])
    assert told["note"] == "no_such_library is not installed: python -m pip install -r benchmarks/requirements.txt"


def test_targets_are_met_at_their_bounds_and_missed_beyond() -> None:
    def measured(seconds: float, mb: float) -> Measured:
        ours = Figures(seconds, mb, 5, {"work_mb": mb - 50, "megabytes": 4.0})
        return Measured(ours, Figures(10.0, 1050.0, 5, {"work_mb": 1000.0}), {"more": ours})

    assert at_least(5).met(measured(2.0, 1.0)) is True
    assert at_least(5).met(measured(2.1, 1.0)) is False
    assert within(2.0, "2 s").met(measured(2.0, 1.0)) is True
    assert within(2.0, "2 s").met(measured(2.1, 1.0)) is False
    assert under_mb(600).met(measured(1.0, 600.0)) is True
    assert under_mb(600).met(measured(1.0, 601.0)) is False
    assert share_of_memory(0.2).met(measured(1.0, 250.0)) is True
    assert share_of_memory(0.2).met(measured(1.0, 251.0)) is False
    assert told_under("megabytes", 3.0, "3 MB").met(measured(1.0, 1.0)) is False


def test_durations_are_told_in_the_unit_that_fits() -> None:
    assert [duration(value) for value in (59.63, 0.01234, 2.5e-6, 2e-9, 1234.0)] == [
        "59.6 s",
        "12.3 ms",
        "2.5 us",
        "0.002 us",
        "1,234 s",
    ]
