"""A sweep says of every combination what a backtest of it says, goes on where it was killed, and counts what it tried."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sweeping import BTC, ETH, parameters_of, project_of, rows_of, swept, unfinished, walk_of
from terminal import command, environment, typed

from freqlstm import decider, ledger, sweep
from freqlstm import sweep_winner as winning
from freqlstm.engines import compiled
from freqlstm.errors import PluginError, RunError, UsageError
from freqlstm.run import find_run, read_run, run_backtest, run_of
from freqlstm.store import Project
from freqlstm.sweep import OBJECTIVES, Objective, WholeGrid
from freqlstm.sweep_parts import Parts
from freqlstm.sweep_search import Search
from freqlstm.sweep_space import grid_of

AXES = ("rsi_period=7,14", "oversold=30:45:4", "threshold=0:0.001:2")
FIGURES = {
    "final_equity": "final_equity", "total_return": "total_return", "cagr": "annual_return", "sharpe": "sharpe", "sortino": "sortino",
    "calmar": "calmar", "max_drawdown": "max_drawdown",
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two symbols over 32 days, of which the second begins a day later."""
    late = walk_of(45_000, seed=9, symbol=ETH)
    return project_of(
        tmp_path_factory.mktemp("sweeps"), walk_of(46_440), type(late)(late.frame.iloc[1440:], ETH, "1m", "binance")
    )


@pytest.mark.parametrize("pairs", [(BTC,), (BTC, ETH)])
def test_the_figures_of_a_combination_are_those_of_its_backtest(project: Project, pairs: tuple[str, ...]) -> None:
    result, folder = swept(
        project, *AXES, "stop_loss=0,0.01", "exposure=0.5", pairs=pairs, timerange="20240102-20240202"
    )
    table = rows_of(folder)
    assert len(table) == result.figures["combinations"] == 32
    assert table["trades"].max() > 20
    for number in (0, 13, 31):
        row = table.to_dict("records")[number]
        chosen = {name: row[f"params.{name}"] for name in ("rsi_period", "oversold", "threshold", "stop_loss")}
        run = run_of(
            {"strategy": "dips", "pairs": list(pairs), "timerange": "20240102-20240202", "parameters": {**chosen, "exposure": 0.5}}, "a test"
        )  # fmt: skip
        stats = run_backtest(run, project).stats
        for name, told in FIGURES.items():
            expected = stats["performance"][told]
            assert row[name] == pytest.approx(
                math.nan if expected is None else expected, rel=1e-9, abs=1e-9, nan_ok=True
            )
        assert row["trades"] == stats["trades"]["closed"]
        assert row["refused"] == stats["trades"]["refused"]
        assert row["commission"] == pytest.approx(stats["costs"]["commission"], rel=1e-9)


def test_what_indicators_read_changes_slowest_and_what_only_orders_read_fastest(project: Project) -> None:
    _, folder = swept(project, "stop_loss=0,0.02", "oversold=30,40", "rsi_period=7,14", timerange="20240102-20240105")
    table = parameters_of(rows_of(folder))
    assert list(table.columns) == ["rsi_period", "oversold", "stop_loss"]
    assert table["rsi_period"].tolist() == [7] * 4 + [14] * 4
    assert table["stop_loss"].tolist() == [0.0, 0.02] * 4


def test_the_number_of_threads_changes_nothing(project: Project) -> None:
    tables = [rows_of(swept(project, *AXES, timerange="20240102-20240110", jobs=jobs)[1]) for jobs in (1, 3)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_the_best_is_the_first_of_the_largest_and_its_run_file_runs_it(project: Project) -> None:
    result, folder = swept(project, *AXES, timerange="20240102-20240202", objective="profit")
    table = rows_of(folder)
    best = table.iloc[int(table["total_return"].argmax())]
    assert result.winner is not None
    assert result.winner.number == int(table["total_return"].argmax())
    run = read_run(folder / "best.toml")
    assert {name: run.parameters[name] for name in ("rsi_period", "oversold", "threshold")} == result.winner.chosen
    backtest = run_backtest(run, project)
    assert backtest.stats["performance"]["total_return"] == pytest.approx(best["total_return"], rel=1e-9)
    assert backtest.trades["net_pnl"].sum() == pytest.approx(result.winner.trades["net_pnl"].sum(), rel=1e-9)


def test_the_resolved_run_file_makes_the_same_sweep_again(project: Project, tmp_path: Path) -> None:
    from freqlstm.cli.sweep import build_run
    from freqlstm.report.sweep import sweep_page
    from freqlstm.sweep_result import saved
    from freqlstm.sweep_run import run_sweep

    _, folder = swept(project, *AXES, "overbought=65", timerange="20240102-20240110", objective="sortino")
    told = tomllib.loads((folder / "run.toml").read_text())
    assert told["sweep"] == {"rsi_period": [7, 14], "oversold": "30:45:4", "threshold": "0.0:0.001:2"}
    assert told["parameters"]["overbought"] == 65
    result, parts = run_sweep(build_run(folder / "run.toml", {}, ()), project)
    _, again = saved(result, tmp_path, sweep_page)
    parts.remove()
    assert (again / "sweep.parquet").read_bytes() == (folder / "sweep.parquet").read_bytes()
    assert (again / "run.toml").read_bytes() == (folder / "run.toml").read_bytes()
    assert (again / "best.toml").read_bytes() == (folder / "best.toml").read_bytes()


def test_a_trade_that_differs_in_backtrader_is_an_error_that_names_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = compiled.simulate

    def dear(*args: Any, **settings: Any) -> Any:
        made = honest(*args, **settings)
        made.fills[3] = made.fills[3]._replace(price=made.fills[3].price * 1.001)
        return made

    monkeypatch.setattr(winning.compiled, "simulate", dear)
    with pytest.raises(RunError) as error:
        swept(project, *AXES, timerange="20240102-20240110")
    assert str(error.value).startswith("Trade 2 (BTC/USDT long closed, decided 2024-01-0")
    assert "has exit_price" in str(error.value)
    assert str(error.value).endswith("the engines must agree, and until they do believe Backtrader.")
    assert _parts(project) == 1  # nothing is lost when the engine is mended
    forget(project)


def test_a_sweep_lies_beside_backtests_and_is_not_taken_for_one(project: Project) -> None:
    _, folder = swept(project, *AXES, timerange="20240102-20240105")
    assert folder.is_dir()
    with pytest.raises(UsageError, match=r"is a sweep, not a backtest. `freqlstm sweep -c .*run.toml` makes it again"):
        find_run(project, folder.name)
    with pytest.raises(UsageError, match=r"is the run file of a sweep, not of a backtest"):
        read_run(folder / "run.toml")
    assert json.loads((folder / "sweep.json").read_text())["combinations"] == 16
    assert json.loads((folder / "manifest.json").read_text())["run_id"] == folder.name


def test_every_combination_counts_once_as_a_trial_beside_backtests_of_it(tmp_path: Path) -> None:
    project = project_of(tmp_path, walk_of(14_400))
    result, _ = swept(project, *AXES, timerange="20240102-20240110")
    assert result.figures["luck"]["configurations_tried"] == 16
    run_backtest(read_run(project.results / result.run_id / "best.toml"), project)
    again, _ = swept(project, "rsi_period=7,14", "oversold=30:50:5", timerange="20240102-20240110")
    assert again.figures["luck"]["configurations_tried"] == 18  # threshold=0 of the first: only oversold=50 is new
    tried = ledger.trials(
        project.ledger,
        ledger.Stretch("binance", "1m", (BTC,), "2024-01-02T00:00:00+00:00", "2024-01-10T00:00:00+00:00"),
    )
    assert len(tried) == 18


def test_a_combination_of_which_no_objective_is_defined_is_last_and_alone_is_no_discovery(project: Project) -> None:
    result, folder = swept(project, "oversold=-2,-1", timerange="20240102-20240110")
    assert result.winner is None
    assert not (folder / "best.toml").exists()
    assert (
        result.figures["verdict"]
        == "No discovery: of none of 2 combinations is the sharpe defined, most likely because none traded."
    )
    result, _ = swept(project, "oversold=-1,40", timerange="20240102-20240110")
    assert result.winner is not None
    assert result.winner.chosen == {"oversold": 40}


def test_a_killed_sweep_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    axes = ("--set", "threshold=0:0.002:160", "--set", "oversold=30:45:16", "--set", "overbought=60,70")
    asked = ("sweep", "-s", "dips", "--timerange", "20240101-20240104", "--jobs", "2", *axes)
    project = project_of(tmp_path / "killed", walk_of(4_320))
    process = subprocess.Popen(
        command(*asked), cwd=project.root, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    limit = time.monotonic() + 120
    while _parts(project) < 1:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stored = _parts(project)
    assert 1 <= stored < 5
    typed(*asked, cwd=project.root)
    (found,) = [path for path in project.results.glob("*-sweep-*") if not path.name.startswith(".")]
    assert list(unfinished(project)) == []
    whole, folder = swept(project_of(tmp_path / "whole", walk_of(4_320)), *axes[1::2], timerange="20240101-20240104")
    assert (found / "sweep.parquet").read_bytes() == (folder / "sweep.parquet").read_bytes()
    luck = json.loads((found / "sweep.json").read_text())["luck"]
    assert luck == json.loads((folder / "sweep.json").read_text())["luck"]
    assert luck["configurations_tried"] == whole.figures["rows"] == 5120


def forget(project: Project) -> None:
    for folder in unfinished(project):
        shutil.rmtree(folder)


def _parts(project: Project) -> int:
    return sum(len(list(folder.glob("part-*.parquet"))) for folder in unfinished(project))


class Interrupting:
    """A progress in which somebody presses Ctrl-C before the given chunk."""

    def __init__(self, chunk: int) -> None:
        self.chunk = chunk

    def __call__(self, done: float, total: float, text: str) -> None:
        if text.startswith("trading") and done == self.chunk:
            raise KeyboardInterrupt


def test_a_search_proposes_the_same_with_the_same_seed_and_goes_on_where_it_was(tmp_path: Path) -> None:
    from freqlstm.cli.sweep import build_run
    from freqlstm.sweep_run import run_sweep

    project = project_of(tmp_path, walk_of(7_200))
    axes = ("threshold=0:0.002:101", "oversold=20:50:31", "rsi_period=7,14,21", "eager=true,false")
    flags = {"strategy": "dips", "timerange": "20240102-20240105", "trials": 30}
    whole, folder = swept(project, *axes, **{**flags, "timerange": "20240102-20240105"})
    assert len(rows_of(folder)) == 30
    assert whole.figures["combinations"] == 101 * 31 * 3 * 2
    with pytest.raises(KeyboardInterrupt):
        run_sweep(build_run(None, flags, axes), project, progress=Interrupting(2))
    assert _parts(project) == 2
    _, again = swept(project, *axes, **flags)
    assert (again / "sweep.parquet").read_bytes() == (folder / "sweep.parquet").read_bytes()
    _, other = swept(project, *axes, **{**flags, "seed": 2})
    assert (other / "sweep.parquet").read_bytes() != (folder / "sweep.parquet").read_bytes()
    assert whole.figures["luck"]["configurations_tried"] == len(parameters_of(rows_of(folder)).drop_duplicates())


def test_a_search_comes_nearer_to_what_is_best() -> None:
    from freqlstm import Strategy

    class Rules(Strategy):
        params = dict(a=0.0, b=0.0)

    found = []
    search = Search(grid_of(Rules, {"a": "0:1:1001", "b": "0:1:1001"}), trials=160, seed=1)
    for number in range(search.chunks):
        chosen = search.chunk(number)
        found += [-((each["a"] - 0.3) ** 2) - (each["b"] - 0.8) ** 2 for each in chosen]
        search.tell(found[-len(chosen) :])
    assert np.mean(found[-40:]) > 3 * np.mean(found[:40])  # both below 0
    assert max(found) > -0.005


def test_another_process_on_the_same_sweep_is_told(project: Project) -> None:
    parts, theirs = (Parts(project.results / ".sweep-taken") for _ in range(2))
    with parts.opened(), pytest.raises(UsageError, match="Another process is making this very sweep"), theirs.opened():
        pass
    assert not parts.folder.exists()  # nothing was found yet, so nothing is kept


def test_more_combinations_than_days_could_hold_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    project = project_of(tmp_path)  # without a candle
    with pytest.raises(UsageError) as error:
        swept(project, "threshold=0:0.002:1000000", "exposure=0.1:0.9:1000000", jobs=2)
    assert str(error.value) == (
        "1,000,000,000,000 combinations would take 116 days on 2 cores. Give --set fewer values, or let --trials 500 choose the combinations."
    )


def test_a_grid_that_turns_out_to_take_days_is_refused_after_its_first_chunk(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CHUNK", 4)
    monkeypatch.setattr(sweep, "MOST_DAYS", 1e-9)
    monkeypatch.setattr("freqlstm.sweep_run.require_days", lambda *asked: None)
    with pytest.raises(UsageError, match=r"12 combinations would take 0 days on 2 cores"):
        swept(project, *AXES, timerange="20240102-20240105", jobs=2)
    assert list(unfinished(project)) == []


def test_a_sweep_that_goes_on_is_neither_judged_again_nor_robbed_of_what_it_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freqlstm.cli.sweep import build_run
    from freqlstm.sweep_run import run_sweep

    monkeypatch.setattr(sweep, "CHUNK", 4)
    run = build_run(None, {"strategy": "dips", "timerange": "20240102-20240105"}, AXES)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(run, project, progress=Interrupting(2))
    assert _parts(project) == 2
    monkeypatch.setattr(sweep, "MOST_DAYS", 1e-9)
    monkeypatch.setattr("freqlstm.sweep_run.require_days", lambda *asked: None)
    result, parts = run_sweep(run, project)
    assert result.figures["rows"] == 16
    parts.remove()


def test_a_strategy_with_its_own_next_is_refused(project: Project) -> None:
    with pytest.raises(
        PluginError, match=r"OwnNext has its own next\(\), and the compiled engine runs conditions over columns only"
    ):
        swept(project, "period=7,14", strategy="own_next")


def test_memory_does_not_grow_with_the_number_of_combinations(project: Project) -> None:
    """What a chunk needs is given back: of ten chunks no more is held than of one."""
    import tracemalloc

    from freqlstm import Strategy

    class Rules(Strategy):
        params = dict(threshold=0.0)

    whole = WholeGrid(grid_of(Rules, {"threshold": "0:1:1000000000"}))
    tracemalloc.start()
    for number in range(10):
        assert len(whole.chunk(number)) == sweep.CHUNK
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert whole.chunks == 976_563


def test_all_symbols_together_are_given_the_memory_of_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from freqlstm.backtest import forecasts_of, prediction_tables
    from freqlstm.cli.sweep import build_run
    from freqlstm.run import prepare

    monkeypatch.setattr(decider, "MEMORY", 400_000)
    monkeypatch.setattr(decider, "SET", 0)  # what one set needs is kept in any case
    flags = {"strategy": "dips", "pairs": (BTC, ETH), "timerange": "20240102-20240105"}
    run = build_run(None, flags, ("rsi_period=5:24:20",))
    job = prepare(run, project, [])
    tables = prediction_tables(job, forecasts_of(job, project.models))
    grid = grid_of(job.strategy.load(), run.sweep)
    runner = sweep.Runner(sweep.Sweep(job, grid, Objective("sharpe")), tables, 1000)
    runner.rows(grid.combinations())
    kept = [each.size for each in runner.deciders.values()]
    assert min(kept) > 50_000
    assert sum(kept) <= 400_000


def test_the_objective_is_larger_where_it_is_better() -> None:
    summary = compiled.Summary(110.0, 0.1, 0.2, 1.5, 2.0, 3.0, 0.05, 4, 3, 0, 1.0, 0.5)
    assert [Objective(name).of(summary) for name in ("sharpe", "sortino", "calmar", "profit", "drawdown")] == [
        1.5,
        2.0,
        3.0,
        0.1,
        -0.05,
    ]
    idle = summary._replace(max_drawdown=0.0, trades=0, exposure=0.0)
    assert math.isnan(Objective("drawdown").of(idle))
    table = pd.DataFrame([summary, idle])
    for name in OBJECTIVES:
        np.testing.assert_array_equal(
            Objective(name).column(table), [Objective(name).of(each) for each in (summary, idle)]
        )


def test_the_share_of_the_cash_that_an_entry_takes_can_be_swept(project: Project) -> None:
    result, folder = swept(project, "exposure=0.3,0.6,0.9", timerange="20240102-20240105")
    table = rows_of(folder)
    assert table["params.exposure"].tolist() == [0.3, 0.6, 0.9]
    assert table["exposure"].nunique() == 1  # a figure: how long something was held, however much
    assert result.winner is not None
    assert result.winner.chosen["exposure"] == table["params.exposure"][result.winner.number]


RULES = '''"""Buy low."""

from freqlstm import Strategy


class Rules(Strategy):
    params = dict(period=14, low=40, high=60)

    def enter_long(self, bars):
        return bars.rsi(self.p.period) < self.p.low

    def exit_long(self, bars):
        return bars.rsi(self.p.period) > self.p.high
'''


def test_a_strategy_may_call_its_parameters_like_figures(tmp_path: Path) -> None:
    project = project_of(tmp_path, walk_of(4 * 1440))
    found = []
    for names in (("period", "low", "high"), ("sharpe", "train_0", "objective")):
        rules = RULES
        for name, given in zip(("period", "low", "high"), names, strict=True):
            rules = rules.replace(name, given)
        (tmp_path / "strategies" / "rules.py").write_text(rules)
        axes = [f"{name}={values}" for name, values in zip(names, ("7,14", "30,40", "60,70"), strict=True)]
        result, folder = swept(project, *axes, strategy="rules", timerange="20240101-20240105", train="2d", test="1d")
        assert result.winner is not None
        assert result.walk is not None
        chosen = [result.winner.chosen, *(each.parameters or {} for each in result.walk.chosen)]
        best, matters = result.survey.best, result.figures["matters"]
        found.append(
            [
                [[each[name] for name in names] for each in chosen], [matters[name] for name in names],
                best["objective"].tolist(), best[[f"params.{name}" for name in names]].to_numpy().tolist(),
                [each.best.tolist() for each in result.survey.heat], rows_of(folder)["sharpe"].tolist(),
            ]
        )  # fmt: skip
    assert found[0] == found[1]
    assert max(found[0][1]) > 0


PICKY = '''"""Cannot take 3."""

from freqlstm import Strategy


class Picky(Strategy):
    params = dict(after=1)

    def enter_long(self, bars):
        if self.p.after == 3:
            raise ValueError("three is too many")
        return bars.close > self.p.after
'''


@pytest.mark.parametrize("axis", ["after=1,2,3", "after=1:5:5"])  # asked beforehand, and in the middle
def test_a_strategy_that_stops_is_told_with_the_parameters_that_it_had(tmp_path: Path, axis: str) -> None:
    project = project_of(tmp_path, walk_of(3 * 1440))
    (tmp_path / "strategies" / "picky.py").write_text(PICKY)
    with pytest.raises(PluginError) as error:
        swept(project, axis, strategy="picky")
    assert str(error.value).endswith("ValueError: three is too many. It was asked with after=3.")
    assert list(unfinished(project)) == []


CROSSING = '''"""Follows the MACD."""

from freqlstm import Strategy


class Crossing(Strategy):
    params = dict(fast=12, slow=26)

    def enter_long(self, bars):
        return bars.macd(self.p.fast, self.p.slow).histogram > 0
'''


@pytest.mark.parametrize(("axes", "impossible"), [
    (("fast=12,30", "slow=20,26"), "fast=30, slow=26"), (("fast=12,22", "slow=20,26"), "fast=22, slow=20"),
    (("fast=10:25:16", "slow=20:40:21"), "fast=25, slow=20"),
])  # fmt: skip
def test_a_combination_that_an_indicator_refuses_is_named_before_any_is_tried(
    tmp_path: Path, axes: tuple[str, ...], impossible: str
) -> None:
    project = project_of(tmp_path, walk_of(3 * 1440))
    (tmp_path / "strategies" / "crossing.py").write_text(CROSSING)
    fast, slow = (each.partition("=")[2] for each in impossible.split(", "))
    with pytest.raises(UsageError) as error:
        swept(project, *axes, strategy="crossing")
    assert str(error.value) == (
        f"fast is {fast} and slow is {slow}. The fast period must be the shorter one. It was asked with {impossible}. Give --set values "
        "that are possible in every combination."
    )
    assert not project.ledger.exists()


def test_a_search_tells_each_combination_once_and_gives_way_to_a_small_grid(project: Project) -> None:
    result, _ = swept(project, "oversold=20:40:21", timerange="20240102-20240105", trials=16)
    assert result.figures["rows"] == 16
    assert result.survey.best["params.oversold"].is_unique
    whole, _ = swept(project, "oversold=30,40", timerange="20240102-20240105", trials=16)
    assert whole.figures["rows"] == 2


def test_a_finished_sweep_is_not_forgotten_while_another_process_reads_it(tmp_path: Path) -> None:
    finished, again = Parts(tmp_path / "sweep"), Parts(tmp_path / "sweep")
    with finished.opened():
        finished.add(0, pd.DataFrame({"sharpe": [1.0]}))
    with again.opened():
        finished.remove()
        assert again.read(0)["sharpe"].tolist() == [1.0]
    again.remove()
    assert list(tmp_path.iterdir()) == []
    again.remove()
