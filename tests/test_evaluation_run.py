"""Run files of evaluations: what they hold, what is refused, and that the resolved one gives the same result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluating import BTC, ETH, PLAN, SPANS, evaluated, project_with, reverting

from freqlstm.errors import FreqlstmError, NoCandles, UsageError
from freqlstm.evaluation_run import (
    EvaluationRun,
    evaluation_run_of,
    read_evaluation_run,
    run_evaluation,
    save_evaluation,
)
from freqlstm.results import to_toml
from freqlstm.run import find_run
from freqlstm.store import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_with(tmp_path_factory.mktemp("project"), reverting(4000, back=0.2))


def test_a_run_file_names_signals_and_everything_else_has_a_default(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'signals = ["slope", "momentum"]\ntimeranges = ["20240102-20240103"]\nhorizon = 1\nseeds = 2\n'
        '[parameters]\ninterval = 0.5\n[parameters.momentum]\nlookback = 9\n[folds]\ntest = "6h"\n'
    )
    run = read_evaluation_run(file)
    assert (run.signals, run.pairs, run.horizon, run.target) == (("slope", "momentum"), (BTC,), 1, "")
    assert run.parameters == {"interval": 0.5, "momentum": {"lookback": 9}}
    assert run.folds.test == "6h"
    file.write_text(to_toml(run.as_dict()))
    assert read_evaluation_run(file) == run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pairs = ['BTC/USDT']", 'it names no signals. Add a line such as signals = ["lstm", "momentum"].'),
        ("signals = []", "No signal is named. Name some, as in `freqlstm evaluate lstm momentum`."),
        ("signal = ['x']", "No key in it named 'signal'. Did you mean 'signals'?"),
        ("signals = 'x'", "Key 'signals' in it is 'x'. It must be a list of texts."),
        ("signals = ['x']\nhorizon = '5'", "Key 'horizon' in it is '5'. It must be a whole number."),
        ("signals = ['x']\nseeds = 0", "The number of seeds is 0. It must be between 1 and 1000."),
        ("signals = ['x']\nseed = -1", "The seed is -1. It must be a whole number between 0 and 1073741823."),
        ("signals = ['x']\npooled = 1", "Key 'pooled' in it is 1. It must be true or false."),
        ("signals = ['x']\n[folds]\ntset = '1d'", "No key in [folds] of it named 'tset'. Did you mean 'test'?"),
        ("signals = ['x']\ntimeranges = ['2023']", "The time range is '2023'. It must be like 20230101-20230401 (UTC, end not included), or open: 20230101- or -20230401."),
        ("signals = ['x']\ntimeranges = ['20230101-20230101']", "The time range '20230101-20230101' is empty: the end is not included. Choose a later end."),
        ("signals = ['x']\npairs = ['BTC']", "Pair 'BTC' is not written BASE/QUOTE, as in 'BTC/USDT'."),
    ],
)  # fmt: skip
def test_what_a_run_file_cannot_hold_is_refused(text: str, message: str) -> None:
    import tomllib

    with pytest.raises(UsageError) as error:
        evaluation_run_of(tomllib.loads(text), "it")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"signals": ("slop",)}, "No signal named 'slop'. Did you mean 'slope'? `freqlstm signals` lists what there is."),
        ({"signals": ("slope", "Slope")}, "The signal slope is named twice. Name each once."),
        ({"parameters": {"slop": {"interval": 0.5}}}, "No signal of this evaluation named 'slop'. Did you mean 'slope'?"),
        ({"parameters": {"intervals": 0.5}}, "No parameter of these signals named 'intervals'. Did you mean 'interval'?"),
        ({"parameters": {"slope": {"intervals": 0.5}}}, "No parameter named 'intervals'. Did you mean 'interval'?"),
        ({"horizon": 0}, "Parameter 'horizon' of Slope is 0. It must be at least 1."),
        ({"signals": ("momentum", "slope"), "horizon": None},
         "momentum forecasts the return of 5 bars and slope the return of 1, so they cannot be compared. Give all the same with "
         "--target and --horizon, or leave one out."),
        ({"signals": ("slope", "chance")},
         "slope forecasts the return of 1 bars and chance the direction of 1, so they cannot be compared. Give all the same with "
         "--target and --horizon, or leave one out."),
        ({"signals": ("slope", "calm"), "target": "return"}, "Parameter 'target' of Calm is 'return'. It must be 'volatility'."),
        ({"timeranges": ("20240102-20240103", "20240102T1200-20240104")},
         "The time ranges overlap: one begins at 2024-01-02 12:00 and the one before ends at 2024-01-03 00:00 UTC. Part them, so "
         "that no row counts twice."),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_sentence(
    project: Project, given: dict[str, object], message: str
) -> None:
    run = {"signals": ("slope",), "timeranges": SPANS, "folds": PLAN, "horizon": 1, **given}
    with pytest.raises(FreqlstmError) as error:
        run_evaluation(EvaluationRun(**run), project, jobs=1)  # type: ignore[arg-type]
    assert str(error.value) == message
    assert isinstance(error.value, UsageError)


def test_a_time_range_without_candles_and_a_pair_without_any_are_refused(project: Project) -> None:
    with pytest.raises(
        NoCandles, match=r"^The time range 20250101-20250102 lies outside the data: BTC/USDT 1m candles"
    ):
        evaluated(project, "slope", timeranges=("20250101-20250102",))
    with pytest.raises(NoCandles, match=r"^No 1m candles of ETH/USDT are stored in "):
        evaluated(project, "slope", pairs=(BTC, ETH))


def test_parameters_go_to_all_signals_that_have_them_or_to_one(project: Project) -> None:
    found = evaluated(
        project, "slope", "momentum", parameters={"horizon": 2, "interval": 0.5, "Momentum": {"lookback": 9}}
    )
    parameters = found.config["parameters"]
    assert (parameters["slope"]["interval"], parameters["momentum"]["lookback"]) == (0.5, 9)
    assert "interval" not in parameters["momentum"]
    assert (found.config["horizon"], found.config["target"]) == (2, "return")


def test_the_resolved_run_gives_the_same_without_any_cache(project: Project, tmp_path: Path) -> None:
    found = evaluated(project, "guess", "momentum", horizon=1, seed=5, seeds=2)
    _, folder = save_evaluation(found, project)
    again = run_evaluation(read_evaluation_run(folder / "run.toml"), project, jobs=1, cache=False)
    assert json.dumps(again.figures) == json.dumps(found.figures | {
        "signals": {
            name: {**each, "fit_seconds": again.figures["signals"][name]["fit_seconds"]}
            for name, each in found.figures["signals"].items()
        }
    })  # fmt: skip
    np.testing.assert_array_equal(again.compared.by_seed["guess"], found.compared.by_seed["guess"])


def test_every_configuration_is_counted_once_in_the_ledger(tmp_path: Path) -> None:
    project = project_with(tmp_path, reverting(4000))
    for interval in (0.8, 0.8, 0.5):
        evaluated(project, "slope", "guess", horizon=1, parameters={"slope": {"interval": interval}})
    from freqlstm import ledger

    span = ("2024-01-02T00:00:00+00:00", "2024-01-03T09:00:00+00:00")
    tried = ledger.trials(project.ledger, ledger.Stretch("binance", "1m", (BTC,), *span))
    assert np.isnan(tried).tolist() == [True] * 3  # slope twice, guess once


def test_an_evaluation_is_no_backtest_to_report_or_reproduce(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for name, file in (("20240101-a", "manifest.json"), ("20250101-evaluate", "evaluation.json")):
        (project.results / name).mkdir(parents=True)
        (project.results / name / file).write_text("{}")
    assert find_run(project, "latest").name == "20240101-a"
    with pytest.raises(UsageError, match=r"^20250101-evaluate is an evaluation, not a backtest\. `freqlstm evaluate "):
        find_run(project, "20250101-evaluate")
