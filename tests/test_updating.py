"""Signals that go on learning: what they know at each bar, and that nothing depends on how the candles were handed over."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import signal as signals
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import make_candles
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, UsageError
from freqlstm.folds import FoldPlan
from freqlstm.forecast import follow, forecast
from freqlstm.plugins import find
from freqlstm.predictions import walk_forward
from freqlstm.updating import KEPT, UpdatingSignal

ROOT = Path(__file__).resolve().parents[1]
BTC, ETH = "BTC/USDT", "ETH/USDT"
FITTED = 1500  # rows that the signals here are fitted on


class Small(UpdatingSignal):
    features = ("return_lag_0", "range_1")
    lookback: int = 3
    horizon: int = 3
    seeds: int = 2
    epochs: int = 1
    every: int = 10
    sequences: int = 15
    loss_halflife: int = 100
    interval_memory: int = 100

    def build(self, n_features: int) -> keras.Model:
        layers = [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(4, "tanh")]
        return keras.Sequential([*layers, keras.layers.Dense(1)])


def of_returns(returns: np.ndarray, symbol: str = BTC) -> Candles:
    """Candles of one minute with these log returns."""
    close = 100 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    table = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": 1.0,
    }
    time = pd.date_range("2024-01-01", periods=len(close), freq="min", tz="UTC")
    return Candles.from_frame(pd.DataFrame(table, time), symbol, "1m")


@cache
def market() -> Candles:
    """4800 bars with two gaps after the fit; 544 and 4640 are the rows of fixed places."""
    candles = make_candles(4800)
    return Candles(candles.frame.drop(candles.time[[2000, *range(2700, 2713)]]), BTC, "1m")


@cache
def _small() -> Small:
    signal = Small().fit({BTC: market().rows(0, FITTED)})
    signal.slope_ = 1.0
    return signal


@pytest.fixture
def small() -> Small:
    """Fitted on the first candles of the market, with a state of its own."""
    signal = copy.copy(_small())
    signal.state_ = dict(signal.state_)
    return signal


def same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, two, check_exact=True, check_freq=False)


def said(signal: UpdatingSignal, candles: Candles) -> pd.DataFrame:
    table = signal.predict(candles)
    assert isinstance(table, pd.DataFrame)
    return table


def frozen(signal: Small) -> Small:
    """The same fit, without updates."""
    other = copy.copy(signal)
    other.every = 10**9
    return other


# What is known when


def test_bars_before_the_position_are_answered_as_they_were_fitted_and_later_ones_by_what_was_learned(
    small: Small,
) -> None:
    static, updated = said(frozen(small), market()), said(small, market())
    first = int(np.argmax((static["prediction"] != updated["prediction"]) & static["prediction"].notna()))
    same(static.iloc[:first], updated.iloc[:first])
    bar = market().time[first].value // 60_000_000_000
    assert first > FITTED - 1
    assert bar % small.every == 1
    assert (static["prediction"] != updated["prediction"])[first:].mean() > 0.5


@pytest.mark.parametrize("horizon", [1, 3, 12])
def test_an_update_learns_nothing_of_labels_that_are_complete_only_later(horizon: int) -> None:
    candles = market().rows(0, FITTED + 400)
    signal = Small(horizon=horizon, seeds=1).fit({BTC: candles.rows(0, FITTED)})
    signal.slope_ = 1.0
    update = FITTED + 181  # open times are multiples of ten minutes where rows are
    assert candles.time[update - 1].minute % 10 == 0
    whole = said(signal, candles)
    frame = candles.frame.copy()
    frame.iloc[update:] *= 1.5  # known only after the update at the close of the bar before
    other = said(signal, Candles(frame, BTC, "1m"))
    same(whole.iloc[:update], other.iloc[:update])
    learned = [signal.state_[BTC]]
    for table in (candles, Candles(frame, BTC, "1m")):
        follower = copy.copy(signal)
        follower.state_ = dict(signal.state_)
        follower.advance(table.rows(0, update))
        learned.append(follower.state_[BTC])
    np.testing.assert_array_equal(learned[1].weights, learned[2].weights)
    assert not np.array_equal(learned[0].weights, learned[1].weights)


def test_a_lesson_is_made_of_the_newest_complete_labels_and_spans_no_gap(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freqlstm.prequential import Passage

    lessons: dict[int, np.ndarray] = {}
    honest = Passage._lesson

    def noted(self: Passage, bar: int) -> Any:
        made = honest(self, bar)
        lessons[bar] = np.zeros(0) if made is None else made[2]
        return made

    monkeypatch.setattr(Passage, "_lesson", noted)
    said(small, market())
    bars = market().time.as_unit("ns").asi8 // 60_000_000_000
    after_first_gap = int(bars[2000])
    assert all(bar in bars and bar % 10 == 0 for bar in lessons)
    assert all(shares.tolist() == [1.0] * 15 for bar, shares in lessons.items() if bar < after_first_gap - 1)
    early = {
        bar: shares.sum()
        for bar, shares in lessons.items()
        if after_first_gap + 20 < bar <= after_first_gap + small.warmup
    }
    assert set(early.values()) == {0.0}  # no window there
    partly = [shares for bar, shares in lessons.items() if 0 < shares.sum() < 15]
    assert partly  # the first labels after the warm-up, the last before the gap


# Nothing is remembered but what advance keeps


def test_predict_remembers_nothing_and_advance_says_the_same_and_keeps_it(small: Small) -> None:
    begun = small.state_[BTC]
    whole = said(small, market())
    assert small.state_[BTC] is begun
    same(said(small, market()), whole)
    same(small.advance(market()), whole)  # type: ignore[arg-type]
    assert small.state_[BTC].updates > 250
    assert small.state_[BTC].position == market().time[-1].value // 60_000_000_000


def test_what_was_said_is_said_again_for_as_many_bars_as_are_remembered(small: Small) -> None:
    whole = said(small, market())
    small.advance(market())
    again = said(small, market())
    same(again.iloc[-KEPT:], whole.iloc[-KEPT:])
    before = slice(-small.kept - 200, -small.kept)
    assert not again["prediction"].iloc[before].equals(whole["prediction"].iloc[before])


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(FITTED, len(market())), min_size=1, max_size=8, unique=True), st.booleans())
def test_it_does_not_matter_where_it_is_stopped_saved_and_loaded(cuts: list[int], whole_history: bool) -> None:
    """Between two calls nothing is left but the file, and the candles at hand begin where `recent` says, or long before."""
    whole = said(_small(), market())
    with tempfile.TemporaryDirectory() as folder:
        before = FITTED
        for cut in sorted({*cuts, len(market())}):
            signal = copy.copy(_small())
            signal.state_ = dict(_small().state_)
            signal.resume(Path(folder), BTC)
            candles = market().rows(0, cut)
            table = signal.advance(candles if whole_history else signal.recent(candles, candles.time[-1]))
            assert isinstance(table, pd.DataFrame)
            since = candles.time[min(before, cut - 1)]
            same(table.loc[since:], whole.loc[since : candles.time[-1]])
            signal.keep(Path(folder), BTC)
            before = cut


def test_the_bits_of_inputs_and_labels_do_not_depend_on_where_the_candles_begin(small: Small) -> None:
    whole = small.inputs(market())
    units = small.aim.units(market())
    for first in (3, 777):
        later = market().rows(first, len(market()))
        since = later.time.searchsorted(market().time[4640])
        same(small.inputs(later).iloc[since:], whole.loc[later.time[since] :])
        np.testing.assert_array_equal(small.aim.units(later)[since:], units[since + first :])


def test_a_saved_signal_is_loaded_with_what_it_has_learned(small: Small, tmp_path: Path) -> None:
    small.advance(market().rows(0, 3000))
    small.save(tmp_path / "m")
    loaded = Small.load(tmp_path / "m")
    assert loaded.state_[BTC].position == small.state_[BTC].position
    same(said(loaded, market()), said(small, market()))


def test_each_symbol_has_learned_from_its_own_candles_only() -> None:
    other = make_candles(2200, seed=9, symbol=ETH)
    own = make_candles(2200)
    both = Small(seeds=1).fit({BTC: own.rows(0, FITTED), ETH: other.rows(0, FITTED)})
    alone = said(both, own)
    both.advance(other)
    same(said(both, own), alone)
    assert both.state_[BTC].updates == 0 < both.state_[ETH].updates


# The static twin


def test_the_static_networks_answer_while_the_updated_ones_are_worse(small: Small) -> None:
    wild = copy.copy(small)
    wild.step_size = 10.0
    static, guarded = said(frozen(small), market()), said(wild, market())
    wild.advance(market())
    assert wild.state_[BTC].losses[0] > 2 * wild.state_[BTC].losses[1]
    same(guarded.iloc[FITTED + 100 :], static.iloc[FITTED + 100 :])


def test_a_change_of_regime_is_followed_which_the_fit_alone_cannot() -> None:
    """Moves that were half undone by the next bar go on by half from the middle of the test span."""
    shock = np.random.default_rng(5).normal(0, 1e-3, 8000)
    returns = np.zeros(8000)
    for row in range(1, 8000):
        returns[row] = shock[row] + (-0.5 if row < 4500 else 0.5) * returns[row - 1]
    candles = of_returns(returns)
    signal = Small(horizon=1, seeds=1, epochs=10, learning_rate=0.02, sequences=60, step_size=0.1).fit(
        {BTC: candles.rows(0, 3000)}
    )
    outcome = signal.aim.outcome(candles)

    def r2(who: Small, rows: slice) -> float:
        table = pd.DataFrame({"said": said(who, candles)["prediction"], "came": outcome}).iloc[rows].dropna()
        return float(1 - ((table.came - table.said) ** 2).sum() / (table.came**2).sum())

    before, after = slice(3000, 4500), slice(5500, 8000)
    assert r2(frozen(signal), before) > 0.15
    assert r2(signal, before) > 0.15
    assert r2(frozen(signal), after) < -0.3
    assert r2(signal, after) > 0.15


@pytest.mark.parametrize("seed", [1, 2])
def test_on_a_random_walk_it_is_no_worse_than_the_fit_but_for_noise(seed: int) -> None:
    candles = of_returns(np.random.default_rng(seed).normal(0, 1e-3, 8000))
    signal = Small(horizon=1, seeds=1).fit({BTC: candles.rows(0, 2500)})
    signal.slope_ = 1.0  # or it would say nothing
    outcome = signal.aim.outcome(candles).iloc[2500:]
    errors = [
        ((said(who, candles)["prediction"].iloc[2500:] - outcome) ** 2).dropna().sum()
        for who in (signal, frozen(signal))
    ]
    assert errors[0] < errors[1] * 1.002


# Backtests and live use are the same


def test_a_backtest_says_what_is_said_live_and_leaves_the_fitted_signal_as_it_is(tmp_path: Path) -> None:
    plugin = find("signal", "updating_lstm", ROOT)
    parameters = {
        "features": ["return_lag_0", "rsi_14"],
        "seeds": 1,
        "epochs": 1,
        "units": 3,
        "lookback": 3,
        "every": 20,
    }
    candles = make_candles(3 * 1440 + 1000)
    start = candles.time[3 * 1440 + 60]
    end = candles.time[-1] + candles.step
    plan = FoldPlan(train="3d", test="1d", min_train="2d", embargo="1h")
    made = walk_forward(plugin, parameters, {BTC: candles}, start, end, plan, tmp_path, jobs=1)
    folder = tmp_path / "updating_lstm" / made.folds[0]["model_id"]
    files = {file: hashlib.sha256(file.read_bytes()).digest() for file in sorted(folder.iterdir())}
    kind: Any = plugin.load()
    for cut in (start + 100 * candles.step, start + 101 * candles.step, start + 480 * candles.step, end):
        live = kind.load(folder)
        table = follow(live, candles.between(None, cut), tmp_path / "learned")
        same(table.loc[cut - 50 * candles.step :], made.table[BTC].loc[cut - 50 * candles.step : cut - candles.step])
    assert live.state_[BTC].updates > 40  # also those of the embargo
    assert files == {file: hashlib.sha256(file.read_bytes()).digest() for file in sorted(folder.iterdir())}


PROGRAM = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from conftest import make_candles
from freqlstm.forecast import follow
from freqlstm.plugins import find
folder = Path(sys.argv[1])
candles = make_candles(2100)
kind = find("signal", "updating_lstm", Path({root!r})).load()
while True:
    rows = int(sys.stdin.readline())
    table = follow(kind.load(folder / "fit"), candles.rows(0, rows), folder / "learned")
    print(rows, *(float(value).hex() for value in table.iloc[-1]), flush=True)
"""


def test_killed_at_random_bars_and_begun_anew_it_says_what_it_says_when_nobody_disturbs_it(tmp_path: Path) -> None:
    kind: Any = find("signal", "updating_lstm", ROOT).load()
    candles = make_candles(2100)
    parameters = {
        "features": ["return_lag_0", "range_1"],
        "seeds": 2,
        "epochs": 1,
        "units": 3,
        "lookback": 3,
        "every": 7,
    }
    signal = kind(**parameters, optimizer="adam", step_size=1e-3).fit({BTC: candles.rows(0, FITTED)})
    signal.slope_ = 1.0
    signal.save(tmp_path / "fit")
    whole = said(signal, candles)
    here = Path(__file__).resolve().parent
    program = PROGRAM.format(path=[str(here), str(here.parent)], root=str(ROOT))
    random = np.random.default_rng()  # any bar, any moment
    heard: dict[int, list[str]] = {}
    rows = FITTED + 1
    for life in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        for _ in range(int(random.integers(5, 20))):
            child.stdin.write(f"{rows}\n")
            child.stdin.flush()
            number, *values = child.stdout.readline().split()
            heard[int(number)] = values
            rows += int(random.choice([1, 1, 1, 5]))
        child.stdin.write(f"{rows}\n")  # and while it works on the next one
        child.stdin.flush()
        try:
            child.wait(float(random.uniform(0, 0.3)))
        except subprocess.TimeoutExpired:
            child.send_signal(signals.SIGKILL)
        child.communicate()
        assert child.returncode == -signals.SIGKILL, life
    assert len(heard) >= 10
    for number, values in heard.items():
        assert values == [float(value).hex() for value in whole.iloc[number - 1]], number
    left = [file.name for file in (tmp_path / "learned").rglob("*.npz")]
    assert left == ["BTC-USDT.npz"]


# Bad input


def test_candles_that_end_before_the_bar_it_has_reached_cannot_be_learned_from(small: Small) -> None:
    small.advance(market().rows(0, 1800))
    with pytest.raises(ModelError) as caught:
        small.advance(market().rows(0, 1700))
    assert str(caught.value) == (
        "Small has gone through the candles of BTC/USDT up to 2024-01-02 06:00 UTC, and these end before that. "
        "Give it newer ones, or load the signal as it was fitted."
    )


def test_candles_that_begin_after_the_bar_it_has_reached_are_refused(small: Small) -> None:
    with pytest.raises(ModelError) as caught:
        small.predict(market().rows(FITTED + 1, 3000))
    assert str(caught.value) == (
        "Small has gone through the candles of BTC/USDT up to 2024-01-02 01:00 UTC, and these begin at 2024-01-02 01:01. "
        "Give it those between too: what it says depends on what it learned from them."
    )
    small.predict(market().rows(FITTED, 3000))


def test_what_another_fit_has_learned_is_not_gone_on_from(small: Small, tmp_path: Path) -> None:
    small.advance(market().rows(0, 1800))
    small.keep(tmp_path, BTC)
    other = copy.copy(small)
    other.slope_ = 0.5
    other.state_ = dict(_small().state_)
    other.resume(tmp_path, BTC)  # has a folder of its own
    assert other.state_[BTC].updates == 0
    (file,) = tmp_path.rglob("*.npz")
    target = tmp_path / other._model()[:16] / file.name
    target.parent.mkdir()
    os.replace(file, target)
    with pytest.raises(ModelError, match=re.escape(f"{target} holds what another fit has learned since")):
        other.resume(tmp_path, BTC)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("every", 0, "Parameter 'every' of Small is 0. It must be at least 1."),
        ("sequences", 0, "Parameter 'sequences' of Small is 0. It must be between 1 and 1000000."),
        ("step_size", -1.0, "Parameter 'step_size' of Small is -1.0. It must be between 0.0 and 10.0."),
        ("optimizer", "rmsprop", "Parameter 'optimizer' of Small is 'rmsprop'. It must be 'sgd' or 'adam'."),
    ],
)
def test_impossible_parameters_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Small(**{name: value})
    assert str(caught.value) == message


def test_a_forecast_without_a_folder_keeps_nothing(small: Small, tmp_path: Path) -> None:
    one = forecast(small, market())
    two = forecast(small, market(), tmp_path)
    assert one == two
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    assert forecast(small, market(), tmp_path) == two  # asked again about the same candles
