"""Walk-forward predictions: what each fit may see, what is kept, and what is never served again."""

from __future__ import annotations

import json
import os
import signal as signals
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, PluginError, TooFewCandles, UsageError
from freqlstm.external import ExternalSeries
from freqlstm.folds import FoldPlan
from freqlstm.models import identity, model_id
from freqlstm.plugins import Plugin, find, shipped
from freqlstm.predictions import Predictions, describe, walk_forward
from freqlstm.signal import PREDICTION_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
BTC, ETH = "BTC/USDT", "ETH/USDT"
PLAN = FoldPlan(train="1d", test="6h", min_train="12h")
START, END = pd.Timestamp("2024-01-02", tz="UTC"), pd.Timestamp("2024-01-02 20:00", tz="UTC")

# Learns the mean of the closes it is given, says how far the close is from it, and keeps a diary of its fits.
DRIFT = '''"""Back to the mean of what was learned."""

import json
import os
import time
from pathlib import Path

import numpy as np

from freqlstm import Signal
from freqlstm.errors import TooFewCandles


class Drift(Signal):
    weight: float = 1.0
    diary: str = ""
    slow: float = 0.0

    @property
    def warmup(self):
        return 2

    def learn(self, market, progress):
        if self.diary:
            told = {symbol: [str(c.time[0]), str(c.time[-1])] for symbol, c in market.items()}
            with open(self.diary, "a") as file:
                file.write(json.dumps(told) + "\\\\n")
            if Path(self.diary + ".stop").exists() and len(Path(self.diary).read_text().splitlines()) > 2:
                raise TooFewCandles("The power went out.")
        progress(1, 2, "halfway")
        time.sleep(self.slow)
        self.symbols_ = sorted(market)
        self.mean_ = float(np.mean([c.close.mean() for c in market.values()]))

    def speaks_for(self, symbol):
        return symbol in self.symbols_

    def predict(self, candles):
        said = np.log(self.mean_ / candles.close) * self.weight
        return candles.by_segment(lambda c: said[c.time], self.warmup)["close"]
'''.replace("\\\\n", "\\n")


@pytest.fixture
def market() -> dict[str, Candles]:
    return {BTC: make_candles(3000)}  # 2024-01-01 00:00 to 2024-01-03 02:00


@pytest.fixture
def drift(tmp_path: Path) -> Plugin:
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "drift.py").write_text(DRIFT)
    return find("signal", "drift", tmp_path)


@pytest.fixture
def walk(drift: Plugin, market: dict[str, Candles], tmp_path: Path) -> Callable[..., Predictions]:
    def run(parameters: dict[str, Any] | None = None, **changes: Any) -> Predictions:
        given = {"plugin": drift, "market": market, "start": START, "end": END, "plan": PLAN, "jobs": 1, **changes}
        return walk_forward(parameters=parameters or {}, models=tmp_path / "models", **given)

    return run


def same(one: Predictions, other: Predictions) -> bool:
    for symbol in one.table:
        pd.testing.assert_frame_equal(one.table[symbol], other.table[symbol], check_exact=True, check_freq=False)
    return one.table.keys() == other.table.keys()


def scrambled(candles: Candles, since: pd.Timestamp) -> Candles:
    """The same candles with other ones from ``since`` on."""
    frame = candles.frame.copy()
    later = candles.time >= since
    frame.loc[later] *= np.random.default_rng(1).uniform(1.5, 3.0, (int(later.sum()), 1))
    return Candles(frame, candles.symbol, candles.timeframe)


# What a fit may see


def test_a_fit_receives_only_candles_before_its_test_span(walk: Callable[..., Predictions], tmp_path: Path) -> None:
    made = walk({"diary": str(tmp_path / "diary")}, plan=replace(PLAN, embargo="30m"))
    diary = [json.loads(line)[BTC] for line in (tmp_path / "diary").read_text().splitlines()]
    assert len(diary) == len(made.folds) == 4
    for (first, last), fold in zip(diary, made.folds, strict=True):
        apart = pd.Timedelta(minutes=31)  # the embargo and one candle
        assert pd.Timestamp(last) == pd.Timestamp(fold["test_start"]) - apart
        oldest = max(pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp(fold["train_start"]) - pd.Timedelta(minutes=2))
        assert pd.Timestamp(first) == oldest


def test_the_folds_are_one_table_over_the_whole_range(
    walk: Callable[..., Predictions], market: dict[str, Candles]
) -> None:
    made = walk()
    table = made.table[BTC]
    assert table.index.equals(market[BTC].between(START, END).time)
    assert list(table.columns) == list(PREDICTION_COLUMNS)
    assert table["prediction"].notna().all()
    assert [fold["number"] for fold in made.folds] == [0, 1, 2, 3]
    assert made.folds[3]["test_end"] == "2024-01-02T20:00:00+00:00"  # the last one is cut
    assert made.folds[0]["symbols"] == [BTC]


def test_no_prediction_changes_when_later_candles_do(
    walk: Callable[..., Predictions], market: dict[str, Candles]
) -> None:
    whole = walk().table[BTC]
    for moment in ["2024-01-02 05:59", "2024-01-02 06:00", "2024-01-02 13:37"]:
        since = pd.Timestamp(moment, tz="UTC")
        other = walk(market={BTC: scrambled(market[BTC], since)}).table[BTC]
        before = whole.index < since
        pd.testing.assert_frame_equal(other[before], whole[before], check_exact=True)
        assert (other[~before]["prediction"] != whole[~before]["prediction"]).any()


def test_a_longer_range_begins_with_the_predictions_of_a_shorter_one(walk: Callable[..., Predictions]) -> None:
    short, whole = walk(end=START + pd.Timedelta(hours=7)), walk()
    pd.testing.assert_frame_equal(whole.table[BTC].loc[short.table[BTC].index], short.table[BTC], check_exact=True)
    assert [fold["from_cache"] for fold in whole.folds] == [True, True, False, False]


def test_candles_before_and_after_what_is_needed_make_no_difference(
    walk: Callable[..., Predictions], market: dict[str, Candles]
) -> None:
    plan = replace(PLAN, train="12h")
    made = walk(plan=plan)
    fewer = {BTC: market[BTC].between(START - pd.Timedelta(hours=12, minutes=2), END)}
    again = walk(plan=plan, market=fewer)
    assert again.from_cache
    assert same(again, made)


def test_nothing_is_predicted_across_a_gap_or_for_missing_candles(
    walk: Callable[..., Predictions], market: dict[str, Candles]
) -> None:
    hole = pd.Timestamp("2024-01-02 03:00", tz="UTC")
    frame = market[BTC].frame.drop(hole)
    table = walk(market={BTC: Candles(frame, BTC, "1m")}).table[BTC]
    assert hole not in table.index
    silent = table.index[table["prediction"].isna()]
    assert list(silent) == [hole + pd.Timedelta(minutes=1), hole + pd.Timedelta(minutes=2)]  # warming up again


def test_a_symbol_speaks_only_in_folds_that_were_trained_on_enough_of_it(
    walk: Callable[..., Predictions], market: dict[str, Candles]
) -> None:
    begin = "2024-01-01 15:00"  # 12 hours before the second half of the range
    late = make_candles(2000, seed=9, symbol=ETH, start=begin)
    made = walk(market={**market, ETH: late})
    spoken = made.table[ETH]["prediction"].notna()
    assert [ETH in fold["symbols"] for fold in made.folds] == [False, True, True, True]
    assert not spoken[: START + pd.Timedelta(hours=5, minutes=59)].any()
    assert spoken[START + pd.Timedelta(hours=6) :].all()
    assert made.table[BTC]["prediction"].notna().all()


def test_a_signal_that_learns_nothing_is_asked_once(
    walk: Callable[..., Predictions], market: dict[str, Candles]
) -> None:
    plugin = find("signal", "momentum", ROOT)
    made = walk({"lookback": 30}, plugin=plugin, start=pd.Timestamp("2024-01-01", tz="UTC"))
    assert made.folds == []
    said = plugin.load()(lookback=30).predict(market[BTC])
    pd.testing.assert_series_equal(
        made.table[BTC]["prediction"], said[: END - pd.Timedelta(minutes=1)], check_names=False, check_exact=True
    )
    assert made.table[BTC]["prediction"].isna().sum() == 30


# The same result, however it is computed


def test_the_number_of_processes_changes_nothing(walk: Callable[..., Predictions]) -> None:
    assert same(walk(jobs=2, cache=False), walk(jobs=1, cache=False))


def test_progress_never_goes_back_and_ends_at_the_last_fold(walk: Callable[..., Predictions]) -> None:
    told: list[tuple[float, float, str]] = []
    walk({"slow": 0.4}, progress=lambda done, total, text: told.append((done, total, text)))
    done = [step for step, _, _ in told]
    assert done == sorted(done)
    assert done[-1] == 4
    assert {total for _, total, _ in told} == {4}
    assert any("fold 2: halfway" in text for _, _, text in told)


# What is kept


def test_a_second_run_is_served_from_the_cache_exactly(walk: Callable[..., Predictions]) -> None:
    made, again = walk(), walk()
    assert not made.from_cache
    assert again.from_cache
    assert same(made, again)
    assert again.folds == made.folds
    assert again.fingerprint == made.fingerprint


def test_without_cache_nothing_is_read_or_written(walk: Callable[..., Predictions], tmp_path: Path) -> None:
    made = walk(cache=False)
    assert not (tmp_path / "models").exists()
    assert same(walk(), made)
    assert not walk(cache=False).from_cache


def test_the_cache_never_serves_what_was_made_from_something_else(
    walk: Callable[..., Predictions], market: dict[str, Candles], drift: Plugin, tmp_path: Path
) -> None:
    made = walk()
    frame = market[BTC].frame.copy()
    frame.loc[START + pd.Timedelta(hours=19), "volume"] += 1e-9  # one candle corrected in the last place
    corrected = {BTC: Candles(frame, BTC, "1m")}
    others = [
        walk(market=corrected),
        walk({"weight": 2.0}),
        walk({"seed": 1}),
        walk(end=END - pd.Timedelta(hours=1)),
        walk(plan=replace(PLAN, train="18h")),
        walk(plan=replace(PLAN, embargo="1m")),
    ]
    drift.path.write_text(DRIFT.replace("* self.weight", "* self.weight * 2"))
    others.append(walk(plugin=find("signal", "drift", tmp_path)))
    assert not any(other.from_cache for other in others)
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 8
    assert (others[-1].table[BTC]["prediction"] != made.table[BTC]["prediction"]).any()


def test_a_plugin_that_is_edited_while_it_is_used_is_refused(walk: Callable[..., Predictions], drift: Plugin) -> None:
    drift.path.write_text(DRIFT + "\n")
    with pytest.raises(PluginError, match=r"drift\.py was changed while it was being used\."):
        walk()


@pytest.mark.parametrize("damage", ["cut", "flipped", "absent", "exchanged"])
def test_a_damaged_table_is_computed_again(damage: str, walk: Callable[..., Predictions], tmp_path: Path) -> None:
    made = walk()
    (file,) = (tmp_path / "models" / "drift" / "predictions").glob("*.parquet")
    content = bytearray(file.read_bytes())
    if damage == "absent":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:100])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        walk({"weight": 3.0})
        (foreign,) = set(file.parent.glob("*.parquet")) - {file}
        file.write_bytes(foreign.read_bytes())
        file.with_suffix(".json").write_bytes(foreign.with_suffix(".json").read_bytes())
    again = walk()
    assert not again.from_cache
    assert all(fold["from_cache"] for fold in again.folds)
    assert same(made, again)
    assert walk().from_cache


def test_a_damaged_model_is_fitted_again(walk: Callable[..., Predictions], tmp_path: Path) -> None:
    made = walk()
    for file in (tmp_path / "models" / "drift" / "predictions").iterdir():
        file.unlink()
    broken = tmp_path / "models" / "drift" / made.folds[1]["model_id"] / "signal.json"
    broken.write_text(broken.read_text().replace('"mean_": ', '"mean_": 1'))
    again = walk()
    assert [fold["from_cache"] for fold in again.folds] == [True, False, True, True]
    assert same(made, again)


def test_an_interrupted_run_goes_on_from_the_folds_that_were_saved(
    walk: Callable[..., Predictions], tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    (tmp_path / "diary.stop").touch()
    with pytest.raises(TooFewCandles, match=r"^The power went out\.$"):
        walk({"diary": str(diary)})
    assert len(list((tmp_path / "models" / "drift").glob("*/signal.json"))) == 2
    (tmp_path / "diary.stop").unlink()
    made = walk({"diary": str(diary)})
    assert [fold["from_cache"] for fold in made.folds] == [True, True, False, False]
    assert not list((tmp_path / "models").rglob("*.tmp"))
    assert walk({"diary": str(diary)}).from_cache


PROGRAM = """
import sys
sys.path[:0] = {path!r}
from test_predictions import *
market = {{BTC: make_candles(3000)}}
walk_forward(find("signal", "drift", Path({root!r})), {{"slow": 0.7}}, market, START, END, PLAN, Path({root!r}) / "models", jobs={jobs})
"""


@pytest.mark.parametrize(("jobs", "how"), [(1, signals.SIGKILL), (2, signals.SIGINT)])
def test_a_run_that_is_killed_leaves_whole_models_only(
    jobs: int, how: int, drift: Plugin, walk: Callable[..., Predictions], tmp_path: Path
) -> None:
    here = Path(__file__).resolve().parent
    program = PROGRAM.format(path=[str(here), str(here.parent)], root=str(tmp_path), jobs=jobs)
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    kept = tmp_path / "models" / "drift"
    deadline = time.monotonic() + 60
    while not list(kept.glob("[!.]*/signal.json")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(running.pid, how)
    running.wait(timeout=30)
    survived = len(list(kept.glob("[!.]*/signal.json")))
    assert survived < 4
    made = walk({"slow": 0.7})
    assert sum(fold["from_cache"] for fold in made.folds) >= survived >= 1
    assert same(made, walk({"slow": 0.7}, cache=False))


# What a prediction remembers


def test_a_fold_is_handed_what_its_rows_depend_on_and_fitted_on_no_more_than_before(tmp_path: Path) -> None:
    """A memory that is longer than training span and warm-up together."""
    (tmp_path / "signals").mkdir()
    text = DRIFT.replace(
        "    def learn", "    @property\n    def memory(self):\n        return 2000\n\n    def learn", 1
    )
    text = text.replace('["close"]', '["close"].to_frame("prediction").assign(prediction_low=candles.segment_age)')
    (tmp_path / "signals" / "drift.py").write_text(text)
    market, diary = {BTC: make_candles(4320)}, tmp_path / "diary"
    start = START + pd.Timedelta("1D")
    parameters = {"diary": str(diary)}
    made = walk_forward(
        find("signal", "drift", tmp_path),
        parameters,
        market,
        start,
        start + pd.Timedelta("12h"),
        PLAN,
        tmp_path,
        jobs=1,
    )
    before = made.table[BTC]["prediction_low"].iloc[[0, 360]]  # candles before the first of a fold
    assert before.tolist() == [2000, 2000]
    fits = [json.loads(line)[BTC] for line in diary.read_text().splitlines()]
    assert fits[0] == ["2024-01-01 23:58:00+00:00", "2024-01-02 23:59:00+00:00"]


# A description needs no candle


def test_a_description_is_kept_under_the_digest_of_the_source(drift: Plugin, tmp_path: Path) -> None:
    models = tmp_path / "models"
    found = describe(drift, {"weight": 2}, models, jobs=1)
    assert found.parameters == {
        "horizon": 5, "target": "return", "seed": 0, "features": [], "weight": 2.0, "diary": "", "slow": 0.0,
    }  # fmt: skip
    assert (found.horizon, found.target, found.warmup, found.needs_fit) == (5, "return", 2, True)
    assert describe(drift, {"weight": 2}, models) == found
    drift.path.write_text(DRIFT.replace("return 2", "return 7"))
    assert describe(find("signal", "drift", tmp_path), {"weight": 2}, models, jobs=1).warmup == 7


def test_a_description_says_which_candles_are_needed(drift: Plugin, tmp_path: Path) -> None:
    found = describe(drift, {}, tmp_path / "models", jobs=1)
    minute = pd.Timedelta(minutes=1)
    assert found.first_needed(START, minute, replace(PLAN, embargo="1h")) == START - pd.Timedelta(hours=25, minutes=2)
    assert found.first_needed(START, minute, replace(PLAN, expanding=True)) is None
    assert replace(found, needs_fit=False).first_needed(START, minute, PLAN) == START - 2 * minute
    assert replace(found, needs_fit=False, memory=9).first_needed(START, minute, PLAN) == START - 9 * minute
    assert replace(found, memory=9).first_needed(START, minute, PLAN) == START - pd.Timedelta(hours=24, minutes=2)
    assert replace(found, memory=9000).first_needed(START, minute, PLAN) == START - 9000 * minute


CACHED = """
import sys
sys.path[:0] = {path!r}
from test_predictions import *
market = {{BTC: make_candles(3000)}}
few = dict(features=["return_lag_0"], seeds=1, epochs=1, units=2, lookback=2)
made = walk_forward(find("signal", "lstm", ROOT), few, market, START, END, PLAN, Path({root!r}) / "models", jobs=1)
print(made.from_cache, "keras" in sys.modules, "tensorflow" in sys.modules)
"""


@pytest.mark.slow
def test_a_cached_table_is_served_without_tensorflow(tmp_path: Path) -> None:
    here = Path(__file__).resolve().parent
    program = CACHED.format(path=[str(here), str(here.parent)], root=str(tmp_path))
    said = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in range(2)
    ]
    assert [each.stdout.strip() for each in said] == ["False True True", "True False False"]
    assert said[0].stderr == ""  # not a word from TensorFlow


# Errors


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("'long'", "The memory of Drift is 'long'. It must be a whole number of bars."),
        ("1", "The memory of Drift is 1 bars and its warmup 2. It cannot be shorter."),
    ],
)
def test_a_memory_is_a_number_of_bars_no_shorter_than_the_warmup(tmp_path: Path, value: str, text: str) -> None:
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "drift.py").write_text(DRIFT + f"\n    memory = {value}\n")
    with pytest.raises(PluginError) as caught:
        describe(find("signal", "drift", tmp_path), {}, tmp_path / "models", jobs=1)
    assert text in str(caught.value)


def test_too_few_candles_for_the_first_fold_are_named(walk: Callable[..., Predictions]) -> None:
    with pytest.raises(TooFewCandles, match=r"^No fold of .* has 30d of candles to train on"):
        walk(plan=FoldPlan())


def test_a_range_without_candles_is_named(walk: Callable[..., Predictions]) -> None:
    with pytest.raises(
        TooFewCandles,
        match=r"^There is no candle of BTC/USDT between 2025-01-01 00:00 and 2025-01-02 00:00 UTC to predict from\.",
    ):
        walk(start=pd.Timestamp("2025-01-01", tz="UTC"), end=pd.Timestamp("2025-01-02", tz="UTC"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_fold_reaches_the_caller_as_itself(
    jobs: int, walk: Callable[..., Predictions], tmp_path: Path
) -> None:
    (tmp_path / "diary.stop").touch()
    with pytest.raises(TooFewCandles, match=r"^The power went out\.$"):
        walk({"diary": str(tmp_path / "diary")}, jobs=jobs)


def test_an_unknown_parameter_is_refused(walk: Callable[..., Predictions]) -> None:
    with pytest.raises(UsageError, match=r"^No parameter named 'wait'\. Did you mean 'weight'\?$"):
        walk({"wait": 1})


def test_a_negative_number_of_jobs_is_refused(walk: Callable[..., Predictions]) -> None:
    with pytest.raises(UsageError, match=r"^jobs is -1\. It must be a number of processes, or 0 for one a core\.$"):
        walk(jobs=-1)


def test_a_model_of_the_wrong_signal_is_no_model(
    walk: Callable[..., Predictions], drift: Plugin, tmp_path: Path
) -> None:
    made = walk()
    with pytest.raises(ModelError, match=r"holds a fitted Drift, not a Momentum\."):
        find("signal", "momentum", ROOT).load().load(tmp_path / "models" / "drift" / made.folds[0]["model_id"])


def test_another_backend_of_keras_makes_another_model_and_only_of_what_uses_keras(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[str, set[str]] = {"lstm": set(), "momentum": set()}
    for backend in ("tensorflow", "jax"):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        for name, ids in found.items():
            ids.add(model_id(identity(shipped("signal", name), {}, {}), {}))
    assert {name: len(ids) for name, ids in found.items()} == {"lstm": 2, "momentum": 1}


# What is beside the candles

FOLLOWER = DRIFT.replace(
    "Drift(Signal):", 'Drift(Signal):\n    features = ("return_lag_0@ETH/USDT", "series:mood")'
).replace("return 2", "return 300")


@pytest.fixture
def follower(drift: Plugin, tmp_path: Path) -> Plugin:
    drift.path.with_name("follower.py").write_text(FOLLOWER)
    return find("signal", "follower", tmp_path)


def test_a_description_tells_what_the_features_read_beside_the_candles(follower: Plugin, tmp_path: Path) -> None:
    told = describe(follower, {}, tmp_path, jobs=1)
    assert told.beside == [ETH, "mood"]
    assert describe(follower, {}, tmp_path, jobs=1) == told  # from its file
    assert describe(find("signal", "momentum", tmp_path), {}, tmp_path, jobs=1).beside == []


def test_a_fit_is_kept_while_only_later_candles_of_another_symbol_or_later_values_change(
    follower: Plugin, tmp_path: Path
) -> None:
    own, other = make_candles(3000), make_candles(3000, seed=3, symbol=ETH)
    time = own.time[::60]
    mood = ExternalSeries.of("mood", time, np.arange(len(time)), time + pd.Timedelta(minutes=90))
    fold = START + pd.Timedelta(hours=6)

    def folds(after: pd.Timestamp) -> list[dict[str, Any]]:
        later = replace(other, frame=other.frame * np.where(other.time >= after, 2.0, 1.0)[:, None])
        known = np.where(mood.known_at > after, -1.0, mood.value)
        series = ExternalSeries.of("mood", mood.time, known, mood.known_at)
        market = {BTC: own.with_beside({ETH: later, "mood": series})}
        return walk_forward(follower, {}, market, START, END, PLAN, tmp_path / "models", jobs=1).folds

    first = folds(END + pd.Timedelta(days=9))
    again = folds(fold)
    assert [each["from_cache"] for each in again] == [True, True, False, False]
    assert [a["model_id"] == b["model_id"] for a, b in zip(first, again, strict=True)] == [True, True, False, False]
    assert not any(each["from_cache"] for each in folds(START - pd.Timedelta(hours=1)))
