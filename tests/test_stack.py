"""The stack: a mean of signals, each fitted on the same candles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, PluginError, TooFewCandles, UnknownName
from freqlstm.folds import FoldPlan
from freqlstm.models import unfitted_member
from freqlstm.plugins import find
from freqlstm.predictions import describe, walk_forward
from freqlstm.progress import silent

ROOT = Path(__file__).resolve().parents[1]
BTC = "BTC/USDT"
PAIR = ("ridge", "persistence")


@pytest.fixture(scope="module")
def market() -> dict[str, Candles]:
    return {BTC: make_candles(4000)}


@pytest.fixture(scope="module")
def stack() -> Any:
    return find("signal", "stack", ROOT).load()


def test_it_says_the_mean_of_what_its_members_say_times_its_slope(stack: Any, market: dict[str, Candles]) -> None:
    fitted = stack(members=PAIR, horizon=3, target="volatility").fit(market)
    said = fitted.predict(market[BTC])
    one, two = (fitted.members_[name].predict(market[BTC]) for name in PAIR)
    base, _ = fitted.aim.base_and_scale(market[BTC])
    mean = (one["prediction"] + two) / 2
    wanted = base + fitted.slope_ * (mean - base)
    spoken = said["prediction"].notna()
    assert spoken.sum() > 2000
    np.testing.assert_allclose(said["prediction"][spoken], wanted[spoken], rtol=0, atol=1e-9)


def test_its_spread_is_the_deviation_of_its_members(stack: Any, market: dict[str, Candles]) -> None:
    fitted = stack(members=PAIR, horizon=3, target="volatility").fit(market)
    one, two = (fitted.members_[name].predict(market[BTC]) for name in PAIR)
    said = fitted.predict(market[BTC])["prediction_spread"].dropna()
    wanted = (fitted.slope_ * (one["prediction"] - two).abs() / 2).reindex(said.index)
    np.testing.assert_allclose(said, wanted, atol=1e-9)


def test_weights_from_validation_leave_out_a_member_that_knows_nothing(stack: Any, market: dict[str, Candles]) -> None:
    fitted = stack(members=PAIR, weights="validation", horizon=3, target="volatility").fit(market)
    weights = fitted.report_["weights"]
    assert sum(weights.values()) == pytest.approx(1.0)
    # Of a random walk, the last variance says nothing that the longer ones don't say better.
    assert weights["ridge"] > 0.9


def test_its_members_have_its_horizon_target_and_seed(stack: Any, market: dict[str, Candles]) -> None:
    fitted = stack(members=("ridge",), horizon=4, seed=9).fit(market)
    member = fitted.members_["ridge"]
    assert (member.horizon, member.target, member.seed) == (4, "return", 9)


def test_it_waits_for_its_slowest_member(stack: Any) -> None:
    ridge, har = (find("signal", name, ROOT).load() for name in ("ridge", "har"))
    signal = stack(members=("ridge", "har"), target="volatility", horizon=600)
    assert signal.warmup == max(ridge().warmup, har(horizon=600, target="volatility").warmup)


def test_saving_and_loading_keeps_every_bit(stack: Any, market: dict[str, Candles], tmp_path: Path) -> None:
    fitted = stack(members=PAIR, horizon=3).fit(market)
    fitted.save(tmp_path / "m")
    said, again = (each.predict(market[BTC]) for each in (fitted, stack.load(tmp_path / "m")))
    pd.testing.assert_frame_equal(said, again, check_exact=True)
    (tmp_path / "m" / "ridge" / "signal.json").unlink()
    with pytest.raises(ModelError, match=r"lacks its file ridge/signal\.json"):
        stack.load(tmp_path / "m")


def test_an_unknown_member_is_refused_with_the_nearest_name(stack: Any, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"^No signal named 'lightgmb'\. Did you mean 'lightgbm'\?"):
        stack(members=("lightgmb",)).warmup  # noqa: B018


def test_it_cannot_be_made_of_itself(stack: Any) -> None:
    with pytest.raises(PluginError, match=r"^Stack names itself among the signals that it is made of\. Name others\.$"):
        stack(members=("stack", "ridge")).warmup  # noqa: B018


def test_signals_that_are_made_of_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "signals").mkdir()
    for name, other in (("one", "two"), ("two", "one")):
        text = f"from freqlstm import Signal\nclass {name.title()}(Signal):\n    uses = ('{other}',)\n"
        (tmp_path / "signals" / f"{name}.py").write_text(text)
    with pytest.raises(PluginError, match=r"^Two names One, which is made of Two itself\. Name others\.$"):
        describe(find("signal", "one", tmp_path), {}, tmp_path / "models", jobs=1)


def test_its_members_keep_out_of_the_rows_on_which_it_weighs_them(stack: Any, market: dict[str, Candles]) -> None:
    fitted = stack(members=("ridge",), validation=0.5).fit(market)
    assert fitted.members_["ridge"].validation == 0.5
    kept = fitted.members_["ridge"].report_["fitted_windows"]
    assert kept < 0.55 * len(market[BTC])


def test_it_is_weighed_on_no_row_that_a_member_has_learned_from(stack: Any, market: dict[str, Candles]) -> None:
    """Its own labels need less history than the features of ridge, so its rows, and their last fifth, begin earlier."""
    signal = stack(members=PAIR, horizon=1)
    data = signal.training_data(market)
    asked: list[np.ndarray] = []
    signal.report_ = {}
    signal.average = lambda said: asked.append(said) or said.mean(axis=0)
    signal.fit_to(data, market, silent)
    learned = signal.members_["ridge"].training_data(market)
    weighed = data.check_rows[np.isfinite(asked[0]).all(axis=0)]
    assert data.check_rows[0] < learned.fit_rows[-1] < learned.check_rows[0] == weighed[0]
    assert weighed[-1] == data.check_rows[-1]


def test_it_says_nothing_of_a_symbol_that_a_member_could_not_learn(stack: Any, market: dict[str, Candles]) -> None:
    """An unbroken stretch of it is enough for the stack's own labels and too short for the features of ridge."""
    gappy = make_candles(4000, seed=4, symbol="ETH/USDT")
    gappy = replace(gappy, frame=gappy.frame[np.arange(4000) % 1200 != 0])
    fitted = stack(members=PAIR, target="volatility", horizon=5).fit({**market, "ETH/USDT": gappy})
    assert fitted.speaks_for("ETH/USDT")
    assert not fitted.members_["ridge"].speaks_for("ETH/USDT")
    assert fitted.predict(gappy)["prediction"].isna().all()
    assert fitted.predict(market[BTC])["prediction"].notna().any()


def test_members_that_are_silent_in_validation_are_named_as_such(market: dict[str, Candles], tmp_path: Path) -> None:
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "mute.py").write_text(SHOUTING.format(much="float('nan')"))
    stack = find("signal", "stack", tmp_path).load()
    with pytest.raises(TooFewCandles, match=r"^Stack says nothing on any of the 7\d\d rows that it is validated on\."):
        stack(members=("mute",)).fit(market)


def test_it_looks_for_its_members_in_the_project_for_which_it_was_made(tmp_path: Path) -> None:
    """Also when its class was loaded for another project in the meantime."""
    for name in ("one", "two"):
        (tmp_path / name / "signals").mkdir(parents=True)
        (tmp_path / name / "signals" / "own.py").write_text(SHOUTING.format(much=len(name)))
    first = find("signal", "stack", tmp_path / "one").load()(members=("own",))
    find("signal", "stack", tmp_path / "two").load()
    assert unfitted_member(first, "own")[0].path.is_relative_to(tmp_path / "one")


SHOUTING = '''"""Says {much}."""
from freqlstm import Signal
class Own(Signal):
    def predict(self, candles):
        return candles.close * 0 + {much}
'''


def test_a_member_of_the_project_comes_first_and_a_change_of_it_makes_other_predictions(
    market: dict[str, Candles], tmp_path: Path
) -> None:
    (tmp_path / "signals").mkdir()
    own, models = tmp_path / "signals" / "own.py", tmp_path / "models"
    start, end = market[BTC].time[3000], market[BTC].time[-1]
    plan = FoldPlan(train="2d", test="1d", min_train="1d")
    parameters = {"members": ["own"], "horizon": 1, "target": "volatility"}
    tables, prints = [], []
    for much in ("-13.8", "-13.6"):
        own.write_text(SHOUTING.format(much=much))
        plugin = find("signal", "stack", tmp_path)
        made = walk_forward(plugin, parameters, market, start, end, plan, models, jobs=1)
        tables.append(made.table[BTC]["prediction"])
        prints.append(made.fingerprint)
        assert describe(plugin, parameters, models, jobs=1).members["own"]["signal"] == "own"
    assert prints[0] != prints[1]
    assert not tables[0].equals(tables[1])


LEARNING = """
import keras
from freqlstm.updating import UpdatingSignal
class Learning(UpdatingSignal):
    features = ("return_lag_0", "range_1")
    lookback: int = 3
    seeds: int = 1
    epochs: int = 1
    def build(self, n_features):
        layers = [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(1)]
        return keras.Sequential(layers)
"""


def test_a_member_that_goes_on_learning_is_handed_all_that_it_learns_from(tmp_path: Path) -> None:
    """Also where the embargo is longer than the memory of the stack."""
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "learning.py").write_text(LEARNING)
    plugin = find("signal", "stack", tmp_path)
    candles = make_candles(3600)
    start, plan = candles.time[3300], FoldPlan(train="24h", test="5h", min_train="12h", embargo="8h")
    parameters = {"members": ["learning", "persistence"], "interval_memory": 1}
    made = walk_forward(plugin, parameters, {BTC: candles}, start, candles.time[-1], plan, tmp_path / "models", jobs=1)
    assert made.table[BTC]["prediction"].notna().all()
