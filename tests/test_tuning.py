"""Tuning sees only its span, goes on where it was, and says what its winner is worth."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import make_candles
from filelock import FileLock
from optuna.trial import TrialState
from terminal import command, environment, typed
from test_keras_signal import reverting

from freqlstm import inner_folds as inner
from freqlstm.candles import Candles
from freqlstm.cli.main import main
from freqlstm.errors import StoreError, TooFewCandles, UsageError
from freqlstm.inner_folds import Score, inner_folds, relative
from freqlstm.plugins import find
from freqlstm.run import read_run
from freqlstm.search import space_of
from freqlstm.store import CandleStore
from freqlstm.study import opened
from freqlstm.tuned import strategy_for
from freqlstm.tuning import Tried, Tuned, Tuning, tune

BTC = "BTC/USDT"
FADE = '''"""A share of the last return is expected back; with some noise of its own."""

import time

import numpy as np

from freqlstm import Signal


class Fade(Signal):
    horizon: int = 1
    rate: float = 0.0  # share of what was learned that is expected
    noise: float = 0.0  # standard deviations of it that are added
    seconds: float = 0.0  # that learning takes
    fails: bool = False

    limits = {"rate": (-100.0, 100.0), "noise": (0.0, 100.0)}
    search = {"rate": (-0.5, 1.5)}

    slope_: float

    @property
    def warmup(self):
        return 2

    def learn(self, market, progress):
        if self.fails:
            from freqlstm.errors import Diverged

            raise Diverged("It always does.")
        time.sleep(self.seconds)
        products = squares = 0.0
        for candles in market.values():
            move = np.diff(np.log(candles.close.to_numpy()))
            products, squares = products + move[1:] @ move[:-1], squares + move[:-1] @ move[:-1]
        self.slope_ = float(products / squares)

    def predict(self, candles):
        move = np.log(candles.close).diff()
        drawn = np.random.default_rng(self.seed).normal(0, 1, len(move))
        return (self.rate * self.slope_ * move + self.noise * move.std() * drawn).where(move.notna().shift(1, fill_value=False))
'''
STRATEGY = '''"""Buy what is expected to rise."""

from freqlstm import Strategy


class FadeIn(Strategy):
    signals = dict(prediction="fade")

    def enter_long(self, bars):
        return bars.prediction > 0

    def exit_long(self, bars):
        return bars.prediction < 0
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in (("signals/fade.py", FADE), ("strategies/fade_in.py", STRATEGY)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def tuning(project: Path) -> Tuning:
    plugin = find("signal", "fade", project)
    return Tuning(plugin, {}, space_of(plugin.load()), {BTC: reverting(1200)})


def tuned(tuning: Tuning, project: Path, trials: int = 8, name: str = "default") -> Tuned:
    return tune(tuning, project / f"{name}.journal", trials, project / "models", project / "ledger.jsonl", jobs=1)


# Folds and scores


def test_inner_folds_lie_one_after_another_in_the_second_half_each_after_all_that_it_trains_on() -> None:
    start, end = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-09", tz="UTC")
    folds = inner_folds(start, end, pd.Timedelta("1min"), 4)
    assert [fold.train_start for fold in folds] == [start] * 4
    assert [fold.test_start for fold in folds] == [start + pd.Timedelta(days=days) for days in (4, 5, 6, 7)]
    assert all(fold.train_end == fold.test_start for fold in folds)
    assert folds[-1].test_end == end


def test_a_span_too_short_for_its_folds_is_refused() -> None:
    start = pd.Timestamp("2024-01-01", tz="UTC")
    with pytest.raises(
        TooFewCandles,
        match=r"^The time range 2024-01-01 00:00 to 2024-01-01 02:00 UTC holds 120 bars, too few for 3 inner folds\. Choose a longer one, or fewer folds\.$",
    ):
        inner_folds(start, start + pd.Timedelta(hours=2), pd.Timedelta("1min"), 3)


def test_the_error_is_that_of_forecasts_made_without_the_part_they_are_judged_on(tuning: Tuning, project: Path) -> None:
    candles = tuning.market[BTC]
    fold = tuning.inner_folds()[1]
    found = inner.score(tuning.plugin, {"rate": 1.0}, (1, 2), tuning.market, fold, project, 1)
    first, last = (int(candles.time.searchsorted(moment)) for moment in (fold.test_start, fold.test_end))
    move = np.diff(np.log(candles.close.to_numpy()))  # row t: from bar t to bar t + 1
    known = move[: first - 1]
    slope = known[1:] @ known[:-1] / (known[:-1] @ known[:-1])
    came, said = move[first : last - 1], slope * move[first - 1 : last - 2]
    assert sum(found.error) == pytest.approx(np.sum((came - said) ** 2))
    assert sum(found.naive) == pytest.approx(np.sum(came**2))
    assert found.seeds == pytest.approx([sum(found.error) / sum(found.naive)] * 2)
    assert relative([found]) < 0.9
    tenth = (last - first) // inner.BLOCKS
    assert found.naive[0] == pytest.approx(np.sum(came[:tenth] ** 2))


def test_no_configuration_sees_a_candle_after_its_inner_fold(tuning: Tuning, project: Path) -> None:
    fold = tuning.inner_folds()[0]
    before = inner.score(tuning.plugin, {"rate": 1.0}, (1,), tuning.market, fold, project, 1)
    frame = tuning.market[BTC].frame.copy()
    frame.loc[fold.test_end :] *= 3
    assert inner.score(tuning.plugin, {"rate": 1.0}, (1,), {BTC: Candles(frame, BTC, "1m")}, fold, project, 1) == before


def test_the_errors_of_seeds_are_averaged_not_their_forecasts(tuning: Tuning, project: Path) -> None:
    fold = tuning.inner_folds()[0]
    noisy = [
        inner.score(tuning.plugin, {"noise": 1.0}, seeds, tuning.market, fold, project, 1)
        for seeds in ((1,), (2,), (1, 2))
    ]
    np.testing.assert_allclose(noisy[2].error, np.mean([noisy[0].error, noisy[1].error], axis=0))
    assert noisy[2].seeds == [*noisy[0].seeds, *noisy[1].seeds]


# Studies


def test_the_default_comes_first_and_a_planted_rate_is_found_beyond_noise(tuning: Tuning, project: Path) -> None:
    found = tuned(tuning, project, 16)
    assert found.default.parameters == {"rate": 0.0}
    assert found.default.error == 1.0
    assert found.winner.parameters["rate"] == pytest.approx(1.0, abs=0.25)
    assert found.winner.error < 0.9
    assert found.luck is not None
    assert found.luck < 0.001
    assert any(each.given_up.startswith("worse than the median after fold ") for each in found.trials)


def test_on_a_random_walk_no_winner_is_beyond_noise(tuning: Tuning, project: Path) -> None:
    found = tuned(replace(tuning, market={BTC: make_candles(1200)}), project)
    assert found.luck is None or found.luck > 0.05


def test_luck_counts_the_configurations_that_could_have_won() -> None:
    errors = np.random.default_rng(5).uniform(0.9, 1.0, 10)
    default = Tried(0, {}, 1.0, [Score([1.0] * 10, [1.0] * 10, [1.0])], "")
    winner = Tried(1, {}, 0.9, [Score(errors.tolist(), [1.0] * 10, [1.0])], "")
    given_up = Tried(2, {}, 0.1, [], "worse than the median after fold 1")
    two, nine = Tuned([default, winner]).luck, Tuned([default, winner, *[given_up] * 8]).luck
    assert two is not None
    assert nine == pytest.approx(9 * two)
    assert Tuned([default, winner, given_up]).winner is winner
    assert Tuned([default]).luck is None


def test_a_study_goes_on_to_what_it_would_have_found(tuning: Tuning, project: Path) -> None:
    whole = tuned(tuning, project, 6, "whole")
    assert tuned(tuning, project, 2, "cut") == Tuned(whole.trials[:2])
    tried: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:

        def stopped(*given: Any) -> Score:
            if len(tried) == 4:
                raise KeyboardInterrupt
            tried.append(given)
            return inner.score(*given)

        patch.setattr("freqlstm.tuning.score", stopped)
        with pytest.raises(KeyboardInterrupt):
            tuned(tuning, project, 6, "cut")
    journal = project / "cut.journal"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "torn')  # as a power cut may leave it
    assert tuned(tuning, project, 6, "cut") == whole
    assert tuned(tuning, project, 3, "cut") == whole, "what is stored is kept, though fewer are asked for"
    with opened(journal, tuning.recipe()) as study:
        states = [trial.state for trial in study.get_trials()]
    assert states.count(TrialState.FAIL) == 1, "that which was interrupted"
    assert set(states) <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}


def test_a_study_cut_off_before_its_first_configuration_begins_with_it(tuning: Tuning, project: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def cut_off(*given: Any, **more: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr("optuna.Study.ask", cut_off)
        with pytest.raises(KeyboardInterrupt):
            tuned(tuning, project, 3)
    assert tuned(tuning, project, 3) == tuned(tuning, project, 3, "whole")


def test_the_scores_of_an_interrupted_configuration_are_not_computed_again(tuning: Tuning, project: Path) -> None:
    folds: list[int] = []
    with pytest.MonkeyPatch.context() as patch:

        def noted(*given: Any) -> Score:
            folds.append(given[4].number)
            if len(folds) == 2:
                raise KeyboardInterrupt
            return inner.score(*given)

        patch.setattr("freqlstm.tuning.score", noted)
        with pytest.raises(KeyboardInterrupt):
            tuned(tuning, project, 1)
        tuned(tuning, project, 1)
    assert folds == [0, 1, 1, 2]


def test_every_configuration_enters_the_ledger_once(tuning: Tuning, project: Path) -> None:
    tuned(tuning, project, 3)
    tuned(tuning, project, 5)
    lines = [json.loads(line) for line in (project / "ledger.jsonl").read_text().splitlines()]
    assert len({line["configuration"] for line in lines}) == len(lines) == 5
    assert {(line["sharpe"], line["start"], line["end"]) for line in lines} == {
        (None, "2024-01-01T00:00:00+00:00", "2024-01-01T20:00:00+00:00")
    }


def test_a_configuration_that_diverges_loses_but_a_default_that_does_stops(tuning: Tuning, project: Path) -> None:
    plugin = tuning.plugin
    sometimes = replace(tuning, space=space_of(plugin.load(), ["fails=true,false"]))
    found = tuned(sometimes, project)
    (why,) = {each.given_up for each in found.trials if each.parameters["fails"]}
    assert why.startswith("Inner fold 1 (train 2024-01-01 00:00 to 2024-01-01 10:00): It always does.")
    assert found.winner.parameters == {"fails": False}
    with pytest.raises(
        Exception, match=r"^Inner fold 1 \(train 2024-01-01 00:00 to 2024-01-01 10:00\): It always does\.$"
    ):
        tuned(replace(tuning, fixed={"fails": True}), project, name="other")


def test_a_stored_study_of_something_else_is_refused(tuning: Tuning, project: Path) -> None:
    tuned(tuning, project, 1)
    kind: Any = tuning.plugin.load()
    others = {
        r"another space: rate=-0\.5:1\.5, not rate=0\.0:1\.0": replace(tuning, space=space_of(kind, ["rate=0:1"])),
        r"another candles: BTC/USDT=\w{12}, not BTC/USDT=\w{12}": replace(tuning, market={BTC: make_candles(1200)}),
        r"another number of inner folds: 3, not 2": replace(tuning, folds=2),
        r"another number of seeds: 2, not 1": replace(tuning, seeds=1),
        r"another seed of the search: 0, not 1": replace(tuning, seed=1),
        r"another source, fixed parameters or library versions of the signal: \w{12}, not \w{12}": replace(tuning, fixed={"noise": 1.0}),
    }  # fmt: skip
    for message, other in others.items():
        with pytest.raises(
            UsageError, match=rf"default\.journal was begun with {message}\. Give another --name to begin anew, or what"
        ):
            tuned(other, project, 1)


CHOOSING = """from fade import Fade


class Choosing(Fade):
    base: str = "fade"

    @property
    def uses(self):
        return (self.base,)
"""


def test_a_study_of_what_signals_are_made_of_is_refused_when_the_file_of_one_has_changed(project: Path) -> None:
    base = project / "signals" / "base.py"
    base.write_text(FADE.replace("class Fade", "class Base"))
    (project / "signals" / "choosing.py").write_text(CHOOSING)
    plugin = find("signal", "choosing", project)
    tuning = Tuning(plugin, {}, space_of(plugin.load(), ["base=fade,base"]), {BTC: reverting(1200)})
    before = tuning.recipe()
    assert tuning.recipe() == before
    base.write_text(base.read_text() + "\n# Another one.\n")
    assert [key for key, value in tuning.recipe().items() if value != before[key]] == ["identity"]


def test_a_damaged_journal_and_one_in_use_are_named(tuning: Tuning, project: Path) -> None:
    tuned(tuning, project, 1)
    journal = project / "default.journal"
    with (
        FileLock(f"{journal}.lock"),
        pytest.raises(UsageError, match=r"^Another process is tuning in .*default\.journal\. Wait until"),
    ):
        tuned(tuning, project, 1)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([lines[0], "{torn}\n", *lines[1:]]))
    with pytest.raises(
        StoreError, match=r"default\.journal is damaged: .*\. Move it away to begin anew, or give another --name\.$"
    ):
        tuned(tuning, project, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 0}, r"^--folds is 0\. It must be between 1 and 100\.$"),
        ({"seeds": 101}, r"^--seeds is 101\. It must be between 1 and 100\.$"),
        (
            {"fixed": {"rate": 1.0}},
            r"^'rate' is both set and searched\. Leave out --set rate, or search other parameters\.$",
        ),
    ],
)
def test_what_makes_no_study_is_refused(change: dict[str, Any], message: str, tuning: Tuning, project: Path) -> None:
    with pytest.raises(UsageError, match=message):
        replace(tuning, **change)
    with pytest.raises(
        UsageError, match=r"^--trials is 0\. It must be at least 1: the default configuration is the first\.$"
    ):
        tuned(tuning, project, 0)


# The command

TUNE = ("tune", "fade", "--exchange", "demo", "-i", "1h", "--timerange", "20240101-20240301", "--jobs", "1")


def run(project: Path, *arguments: str) -> Any:
    return CliRunner().invoke(main, ["--project", str(project), *arguments])


def test_the_run_file_of_the_winner_is_for_later_candles_and_runs(project: Path) -> None:
    done = run(project, *TUNE, "--trials", "6")
    assert done.exit_code == 0, done.output
    assert "naive forecast     1.0000  1.0000" in done.stdout
    assert "default            1.0000  1.0000" in done.stdout
    assert "6 configurations tried, " in done.stdout
    file = project / "backtests" / "tuned_fade.toml"
    assert done.stdout.splitlines()[-1] == str(file)
    told = read_run(file)
    assert (told.strategy, told.timerange, told.pairs, told.timeframe) == ("fade_in", "20240301-20240401", (BTC,), "1h")
    assert list(told.signals) == ["prediction"]
    assert "# Chosen on 2024-01-01 00:00 to 2024-03-01 00:00 UTC: only candles after that can tell" in file.read_text()
    whole = file.read_bytes()
    again = run(project, *TUNE, "--trials", "6")
    assert again.exit_code == 2
    assert again.stderr.endswith(
        "tuned_fade.toml is there already. Give another file with --to, or overwrite it with --force.\n"
    )
    assert file.read_bytes() == whole
    told_again = json.loads(run(project, *TUNE, "--trials", "6", "--force", "--json").stdout)
    assert told_again["winner"]["parameters"] == told.signals["prediction"]
    assert told_again["default"]["error"] == 1.0
    assert file.read_bytes() == whole
    ended = run(project, "backtest", str(file), "--train", "30d", "--export", "none", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["luck"]["configurations_tried"] == 1  # the others were tried on other candles


def test_the_strategy_of_the_run_file_is_the_one_with_the_fewest_signals(project: Path) -> None:
    fade = find("signal", "fade", project)
    two = STRATEGY.replace("FadeIn", "A").replace('dict(prediction="fade")', 'dict(other="lstm", prediction="fade")')
    (project / "strategies" / "a.py").write_text(two)
    (project / "strategies" / "broken.py").write_text("class Broken(")
    assert strategy_for(fade, None, project) == ("fade_in", "prediction")
    assert strategy_for(fade, "a", project) == ("a", "prediction")
    assert strategy_for(find("signal", "lstm", project), None, project) == ("lstm_rsi", "prediction")
    assert strategy_for(find("signal", "ridge", project), None, project) is None


def test_candles_after_the_time_range_decide_nothing(project: Path) -> None:
    candles = reverting(3000)
    later = candles.frame.copy()
    later.iloc[1440:] *= 1.7
    told = []
    for number, frame in enumerate((candles.frame, later)):
        root = project / str(number)
        CandleStore(root / "data").write(Candles(frame, BTC, "1m", "binance"))
        for name in ("signals", "strategies"):
            (root / name).symlink_to(project / name)
        done = run(root, "tune", "fade", "--timerange", "-20240102", "--trials", "5", "--jobs", "1", "--json")
        assert done.exit_code == 0, done.output
        told.append({**json.loads(done.stdout), "journal": "", "run_file": ""})
    assert told[0] == told[1]
    assert told[0]["timerange"] == "20240102-20240103T0200"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fad",), "No signal named 'fad'. Did you mean 'fade'? `freqlstm signals` lists what there is."),
        (("fade", "--space", "rat=0:1"), "No parameter named 'rat'. Did you mean 'rate'?"),
        (("fade", "--set", "rat=1"), "No parameter named 'rat'. Did you mean 'rate'?"),
        (("fade", "--space", "rate=1:0"), "The search of 'rate' is 1:0, which is empty or has no logarithm. Its first end must lie below its second."),
        (("momentum",), "Momentum names nothing to search. Name parameters with --space, as in units=8:64, units=8:64:log or units=16,32,64."),
        (("fade", "--strategy", "lstm_rsi"), "Strategy lstm_rsi does not use fade, only lstm. Name one that does, or leave out --strategy."),
        (("fade", "--name", "../x"), "--name is '../x'. It must be the name of a file, as in --name wide."),
        (("fade", "--timerange", "20240101-20240103"), "The time range 2024-01-01 00:00 to 2024-01-03 00:00 UTC holds 48 bars, too few for 3 inner folds. "
         "Choose a longer one, or fewer folds."),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(arguments: tuple[str, ...], message: str, project: Path) -> None:
    done = run(project, "tune", arguments[0], "--exchange", "demo", "-i", "1h", "--jobs", "1", *arguments[1:])
    assert done.exit_code in (1, 2)
    assert done.stderr == f"Error: {message}\n"
    assert not list(project.glob("models/*/tuning/*.journal"))


def test_a_tune_killed_and_interrupted_goes_on_to_what_one_left_alone_finds(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    slow = (*TUNE, "--set", "seconds=0.05", "--trials", "5", "--json")
    journal = project / "models" / "fade" / "tuning" / "default.journal"

    def until(lines: int) -> Callable[[], bool]:
        return lambda: journal.is_file() and journal.read_bytes().count(b"\n") >= lines

    for lines, number, code in ((15, signal.SIGKILL, -9), (35, signal.SIGINT, 130)):
        process = subprocess.Popen(
            command(*slow), cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            limit = time.monotonic() + 120
            while not until(lines)():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < limit
                time.sleep(0.002)
            process.send_signal(number)
            assert process.wait() == code
            stderr = process.communicate()[1]
        finally:
            process.kill()
            process.communicate()
    assert "Error: Interrupted. Nothing half-written is left: the same command again goes on or starts over." in stderr
    resumed = json.loads(typed(*slow, cwd=project).stdout)
    alone = tmp_path_factory.mktemp("alone")
    for name in ("signals", "strategies"):
        (alone / name).mkdir()
        for file in (project / name).glob("*.py"):
            (alone / name / file.name).write_bytes(file.read_bytes())
    done = run(alone, *slow)
    assert done.exit_code == 0, done.output
    wanted = json.loads(done.stdout)
    assert {**resumed, "journal": "", "run_file": ""} == {**wanted, "journal": "", "run_file": ""}
    assert (project / "backtests" / "ledger.jsonl").read_text().count("\n") == 5


@pytest.mark.slow
def test_a_network_is_tuned_and_its_run_file_names_the_usual_strategy(tmp_path: Path) -> None:
    done = typed(
        "tune", "lstm", "--exchange", "demo", "--timerange", "20240101-20240104", "--trials", "2", "--folds", "1", "--set", "seeds=1",
        "--set", "epochs=1", "--set", 'features=["return_lag_0", "rsi_14"]', "--space", "units=4,8", "--space", "lookback=3:8", cwd=tmp_path,
    )  # fmt: skip
    assert "2 configurations tried" in done.stdout
    told = read_run(tmp_path / "backtests" / "tuned_lstm.toml")
    assert told.strategy == "lstm_rsi"
    assert {"units", "lookback", "seeds"} <= set(told.signals["prediction"])
