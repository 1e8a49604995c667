from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from freqlstm import features, predictions
from freqlstm.candles import Candles
from freqlstm.checks import SIGNAL_CHECKS, STRATEGY_CHECKS, StrategyCase, case_of, cases_of, run_checks
from freqlstm.checks.ground import FUTURES, ages, with_future
from freqlstm.checks.hints import hints
from freqlstm.checks.verdict import Past, first_difference
from freqlstm.cli.main import main
from freqlstm.demo import demo_market
from freqlstm.errors import LookAheadError, PluginError, TooFewCandles, UnknownName
from freqlstm.external import ExternalSeries
from freqlstm.features import Feature, across
from freqlstm.plugins import discover, find

CHECKOUT = Path(__file__).resolve().parents[1]
CHEATS = CHECKOUT / "tests" / "cheats"

CHECKS: dict[str, Callable[[Any], None]] = {
    f"{kind}.{check.__name__}": check
    for kind, checks in (("signal", SIGNAL_CHECKS), ("strategy", STRATEGY_CHECKS))
    for check in checks
}

LEARNER = '''
"""What followed a rise, on average: honest."""

from freqlstm import Signal


class Learner(Signal):
    @property
    def warmup(self):
        return 2

    def learn(self, market, progress):
        self.mean_ = {s: float(c.close.diff().where(c.close.diff().shift(1) > 0).mean()) for s, c in sorted(market.items())}

    def predict(self, candles):
        def of_stretch(stretch):
            return stretch.close.diff().diff() * self.mean_[candles.symbol]

        return candles.by_segment(of_stretch, self.warmup)["close"]
'''

PLAIN = '''
"""A plain Backtrader strategy: honest."""

import backtrader as bt


class Plain(bt.Strategy):
    params = dict(period=20)  # bars

    def __init__(self):
        self.mean = bt.ind.SMA(period=self.p.period)

    def next(self):
        if not self.position and self.data.close[0] < self.mean[0] * 0.999:
            self.buy()
        elif self.position and self.data.close[0] > self.mean[0]:
            self.close()
'''


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named relative to the current folder."""
    monkeypatch.chdir(CHECKOUT)


def kind_of(path: Path) -> Any:
    return "strategy" if "Strategy):" in path.read_text() else "signal"


@cache
def case(path: Path) -> Any:
    """One plugin on the demo market, shared by the tests of this module."""
    return case_of(find(kind_of(path), str(path), CHECKOUT), CHECKOUT)


def written(folder: Path, name: str, text: str) -> Any:
    path = folder / f"{name}.py"
    path.write_text(text)
    return case_of(find(kind_of(path), str(path), CHECKOUT), CHECKOUT)


# Planted cheats

AHEAD = [
    ("shifted_feature", "signal.check_features", "its feature 'next_return' up to"),
    ("shifted_feature", "signal.check_walk_forward", "its walk-forward predictions up to"),
    ("centred_mean", "signal.check_features", "its feature 'smooth_distance' up to"),
    ("backfilled", "signal.check_features", "its feature 'traded_return' up to"),
    ("min_max", "signal.check_predictions", "its predictions up to"),
    ("min_max", "signal.check_walk_forward", "its walk-forward predictions up to"),
    ("unfinished_day", "signal.check_features", "its feature 'day_return' up to"),
    ("label_feature", "signal.check_features", "its feature 'coming_return' up to"),
    ("early_prediction", "signal.check_predictions", "its predictions up to"),
    ("early_prediction", "signal.check_walk_forward", "its walk-forward predictions up to"),
    ("behaves_on_few", "signal.check_predictions", "its predictions up to"),
    ("outage_foreseen", "signal.check_predictions", "its predictions up to"),
    ("next_close", "strategy.check_conditions", "its condition enter_long up to"),
    ("next_close", "strategy.check_trading", "its orders up to"),
    ("quantile_threshold", "strategy.check_conditions", "its condition enter_long (prediction > 0."),
    ("quantile_threshold", "strategy.check_whole_pipeline", "its orders up to"),
    ("rare_peek", "strategy.check_conditions", "its condition enter_long (close.shift(-1) > (close * 1.01)) up to"),
    ("next_peek", "strategy.check_trading", "its orders up to"),
    ("next_bar_of_another", "signal.check_features", "its feature 'ether_leads' up to"),
    ("next_bar_of_another", "signal.check_predictions", "its predictions up to"),
    ("next_bar_of_another", "signal.check_walk_forward", "its walk-forward predictions up to"),
    ("series_by_date", "signal.check_features", "its feature 'mood_of_the_day' up to"),
    ("series_by_date", "signal.check_walk_forward", "its walk-forward predictions up to"),
]
AHEAD_SLOWLY = [  # a network is fitted
    ("scaled_on_everything", "signal.check_inputs", "its scaled inputs (return_lag_0) up to"),
    ("scaled_on_everything", "signal.check_predictions", "its predictions up to"),
    (
        "scaled_on_validation",
        "signal.check_training",
        "what its scaler learned in training, and so return_lag_0, up to",
    ),
    ("overlapping_labels", "signal.check_training", "what its scaler learned in training, and so return_lag_0, up to"),
    ("overlapping_validation", "signal.check_training", "what its networks learned in training up to"),
    ("hasty_update", "signal.check_predictions", "its predictions up to"),
    ("hasty_update", "signal.check_walk_forward", "its walk-forward predictions up to"),
]
OTHERWISE = [
    ("unseeded", "signal.check_same_seed", "two fits with the same seed and candles differ. Its predictions of BTC/USDT part at 2024-01-03 19:00"),
    ("mutating", "signal.check_candles_are_left_alone", "predict changes the candles that it is given. Work on a copy"),
    ("across_gaps", "signal.check_missing_predictions",
     "there is a prediction of BTC/USDT at 2024-01-01 01:03, 0 bars after a gap or the first candle, within the warm-up of 20."),
    ("forgetful", "signal.check_saved_and_loaded",
     "after save and load its predictions of BTC/USDT differ from 2024-01-01 00:00 on: 0.0 instead of 0.5."),
    ("half_remembered", "signal.check_followed", "after it was stopped and begun anew it says"),
    ("stale_cache", "signal.check_nothing_is_remembered",
     "it serves the predictions of older candles after the candles changed. At 2024-01-02 01:02 it says"),
    ("short_warmup", "strategy.check_history", "its condition enter_long depends on how much history there is. Without the first 1498 candles"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cheat", "check", "culprit"), [*AHEAD, *(pytest.param(*each, marks=pytest.mark.slow) for each in AHEAD_SLOWLY)]
)
def test_a_look_ahead_is_found_and_its_culprit_and_first_bar_are_named(cheat: str, check: str, culprit: str) -> None:
    with pytest.raises(LookAheadError) as caught:
        CHECKS[check](case(CHEATS / f"{cheat}.py"))
    message = str(caught.value)
    assert message.startswith(f"tests/cheats/{cheat}.py looks ahead: {culprit}")
    assert re.search(
        r" up to 2024-01-0\d \d\d:\d\d changed when only later candles were (removed|changed)\. The first change is (at 2024-01-0\d|in)",
        message,
    )


@pytest.mark.parametrize(("cheat", "check", "reason"), OTHERWISE)
def test_a_broken_promise_is_found_and_explained(cheat: str, check: str, reason: str) -> None:
    with pytest.raises(PluginError) as caught:
        CHECKS[check](case(CHEATS / f"{cheat}.py"))
    assert not isinstance(caught.value, LookAheadError)
    assert str(caught.value).startswith(f"tests/cheats/{cheat}.py: {reason}")


def test_labels_of_training_rows_that_reach_into_validation_are_found() -> None:
    with pytest.raises(LookAheadError) as caught:
        CHECKS["signal.check_validation"](case(CHEATS / "overlapping_validation.py"))
    assert str(caught.value) == (
        "tests/cheats/overlapping_validation.py looks ahead: 5 labels of its training rows use candles of its validation rows. The first "
        "is that of 2024-01-03 06:33, whose label ends 5 bars later, where validation begins at 2024-01-03 06:38. Leave 5 bars between "
        "them, as freqlstm.folds.validation_split does."
    )


def test_the_message_of_a_look_ahead_says_what_when_and_what_to_do() -> None:
    with pytest.raises(LookAheadError) as caught:
        CHECKS["signal.check_features"](case(CHEATS / "shifted_feature.py"))
    assert re.fullmatch(
        r"tests/cheats/shifted_feature\.py looks ahead: its feature 'next_return' up to 2024-01-03 18:59 changed when only later candles were "
        r"removed\. The first change is at 2024-01-03 18:59 of BTC/USDT, from -?[\d.e-]+ to nothing\. Use nothing but candles up to the bar itself\.",
        str(caught.value),
    )


def test_every_cheat_in_the_folder_has_a_test() -> None:
    tested = {cheat for cheat, *_ in (*AHEAD, *AHEAD_SLOWLY, *OTHERWISE)}
    assert tested == {path.stem for path in CHEATS.glob("*.py")}


# What is beside the candles

HONEST = '''
"""Another symbol that is not in the market, one that is, and a series: honest."""

from freqlstm import Signal
from freqlstm.features import compute


class Beside(Signal):
    features = ("momentum_5@SOL/USDT", "rsi_14@ETH/USDT", "series:mood")

    def predict(self, candles):
        return compute(self.features, candles).sum(axis=1, skipna=False)
'''


def test_an_honest_signal_that_reads_other_symbols_and_a_series_passes_every_check(tmp_path: Path) -> None:
    case = written(tmp_path, "beside", HONEST)
    assert set(case.ground.market) == {"BTC/USDT", "ETH/USDT"}
    assert set(case.ground.first.beside) == {"SOL/USDT", "ETH/USDT", "mood"}
    for check in SIGNAL_CHECKS:
        check(case)


@pytest.mark.parametrize(
    ("name", "more"), [("ridge", {}), pytest.param("lstm", {"units": 2, "lookback": 3}, marks=pytest.mark.slow)]
)
def test_a_signal_that_learns_from_another_symbol_is_checked_on_what_it_can_know(
    name: str, more: dict[str, Any]
) -> None:
    parameters = {"features": ["return_lag_0"], "cross": ["SOL/USDT"], **more}
    learner = case_of(find("signal", name, CHECKOUT), CHECKOUT, parameters=parameters)
    for check in ("check_training", "check_missing_predictions", "check_walk_forward", "check_warmup"):
        CHECKS[f"signal.{check}"](learner)


@pytest.mark.parametrize("way", FUTURES)
def test_another_future_is_another_one_for_what_is_beside_as_well_and_the_same_past(way: str) -> None:
    ground = case(CHEATS / "series_by_date.py").ground
    candles, cut = (
        ground.first.with_beside({**ground.first.beside, "ETH/USDT": ground.market["ETH/USDT"]}),
        ground.cuts[7],
    )
    other = with_future(candles, cut, way)
    assert other.between(None, cut + candles.step).digest == candles.between(None, cut + candles.step).digest
    for name in ("ETH/USDT", "mood"):
        assert other.beside[name].digest != candles.beside[name].digest


def test_a_gap_or_a_series_that_has_not_begun_beside_the_candles_counts_as_warm_up() -> None:
    candles = demo_market("1m", ["BTC/USDT", "ETH/USDT"])
    own, other = candles["BTC/USDT"].rows(0, 10), candles["ETH/USDT"].rows(0, 10)
    gapped = replace(other, frame=other.frame.drop(other.time[[4, 5]]))
    mood = ExternalSeries.of("mood", own.time[[0]], np.ones(1), own.time[[2]])
    assert ages(own.with_beside({"ETH/USDT": gapped, "mood": mood})).tolist() == [-1, 1, 2, 3, -1, -1, 0, 1, 2, 3]


# Cheats of the program itself


def test_features_of_another_symbol_that_are_a_bar_early_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(own: Feature, symbol: str) -> Feature:
        honest = across(own, symbol)
        return replace(honest, function=lambda candles: np.append(honest(candles)[1:], np.nan))

    monkeypatch.setattr(features, "across", early)
    cross = case_of(find("signal", "ridge", CHECKOUT), CHECKOUT, parameters={"cross": ["SOL/USDT"]})
    with pytest.raises(LookAheadError, match=r"its feature 'return_lag_0@SOL/USDT' up to 2024-01-0\d"):
        CHECKS["signal.check_features"](cross)


def test_a_backtest_that_stores_predictions_one_bar_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = predictions._Work._predicted
    monkeypatch.setattr(predictions._Work, "_predicted", lambda *args: honest(*args).shift(-1))
    with pytest.raises(LookAheadError, match="its walk-forward predictions up to 2024-01-03 19:00 changed"):
        CHECKS["signal.check_walk_forward"](case_of(find("signal", "momentum", CHECKOUT)))


def test_a_backtest_that_fits_on_the_test_span_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    honest = predictions._Work._fitted
    monkeypatch.setattr(
        predictions._Work,
        "_fitted",
        lambda self, fold, market: honest(self, replace(fold, train_end=fold.test_end), market),
    )
    with pytest.raises(LookAheadError, match="its walk-forward predictions up to 2024-01-03 23:00 changed"):
        CHECKS["signal.check_walk_forward"](written(tmp_path, "learner", LEARNER))


def test_a_backtest_that_peeks_only_within_its_second_fold_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    honest = predictions._Work._predicted

    def late(self: Any, signal: Any, fold: Any, *rest: Any) -> Any:
        made = honest(self, signal, fold, *rest)
        return made if fold.test_start.hour == 19 else pd.concat([made[:50], made[50:].shift(-1)])

    monkeypatch.setattr(predictions._Work, "_predicted", late)
    with pytest.raises(LookAheadError, match="its walk-forward predictions up to 2024-01-04 00:40 changed"):
        CHECKS["signal.check_walk_forward"](written(tmp_path, "learner", LEARNER))


def test_a_prediction_cache_that_does_not_look_at_the_candles_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Candles, "digest", property(lambda candles: candles.symbol))
    with pytest.raises(PluginError) as caught:
        CHECKS["signal.check_cache"](case_of(find("signal", "momentum", CHECKOUT)))
    assert (
        "the cache serves other predictions than the signal makes after the candles changed. At 2024-01-03 19:51"
        in str(caught.value)
    )


def test_a_model_cache_that_does_not_look_at_the_candles_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    learner = written(tmp_path, "learner", LEARNER)
    honest = predictions._Work.fold
    first: dict[int, Any] = {}

    def stale(self: Any, fold: Any, market: Any) -> Any:
        made = honest(self, fold, market)
        if self.models is not None and fold.number:
            made = (first.setdefault(fold.number, made[0]), made[1])
        return made

    monkeypatch.setattr(predictions._Work, "fold", stale)
    with pytest.raises(
        PluginError, match="the cache serves the fit of fold 1 to older candles after the candles changed"
    ):
        CHECKS["signal.check_cache"](learner)


# Honest plugins

SHIPPED = [plugin for kind in ("signal", "strategy") for plugin in discover(kind, CHECKOUT)]


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(plugin.name, name, marks=[pytest.mark.slow] if "lstm" in plugin.name else [])
        for plugin in SHIPPED
        for name in CHECKS
        if name.startswith(plugin.kind)
    ],
)
def test_a_shipped_plugin_keeps_every_promise(name: str, check: str) -> None:
    CHECKS[check](shipped_cases()[name])


@cache
def shipped_cases() -> dict[str, Any]:
    """All shipped plugins on one ground, so that strategies share their signals."""
    return {each.plugin.name: each for each in cases_of(SHIPPED, CHECKOUT)}


def test_an_honest_signal_that_learns_passes(tmp_path: Path) -> None:
    assert [outcome.reason for outcome in run_checks([written(tmp_path, "learner", LEARNER)])] == [""] * len(
        SIGNAL_CHECKS
    )


def test_a_plain_backtrader_strategy_passes_and_trades(tmp_path: Path) -> None:
    plain = written(tmp_path, "plain", PLAIN)
    assert [outcome.reason for outcome in run_checks([plain])] == [""] * len(STRATEGY_CHECKS)
    assert len(trading(plain).orders) > 5


@pytest.mark.parametrize("name", [plugin.name for plugin in SHIPPED if plugin.kind == "strategy"])
def test_the_check_of_a_strategy_meets_orders_to_compare(name: str) -> None:
    assert trading(shipped_cases()[name]).orders


# Nothing to compare, and other parameters than the defaults

LATE_PEEK = '''
"""CHEAT: a plain Backtrader strategy that looks one bar ahead, once {bars} bars have gone by."""

import backtrader as bt


class LatePeek(bt.Strategy):
    def next(self):
        if len(self.data) > {bars} and len(self.data) < self.data.buflen() and not self.position and self.data.close[1] > self.data.close[0]:
            self.buy()
'''

NEVER = '''
"""Buys a crash that is over: its comparison with the next close is hidden from the trade list."""

from freqlstm import Strategy


class Never(Strategy):
    warmup = 31

    def {name}(self, bars):
        turns = (bars.close.shift(-1) > bars.close).fillna(False)
        return ((bars.close.pct_change(30) < -0.2) & turns).fillna(False)
{more}
'''

TUNED = '''
"""Below its mean."""

from freqlstm import Strategy


class Tuned(Strategy):
    warmup = 40
    params = dict(centred=False)  # whether the mean takes bars of both sides

    def enter_long(self, bars):
        return bars.close < bars.close.rolling(21, center=self.p.centred).mean()

    def exit_long(self, bars):
        return bars.close > bars.close.rolling(21, center=self.p.centred).mean()
'''

SIGNAL_TUNED = '''
"""A distance to a mean."""

from freqlstm import Signal


class Distance(Signal):
    centred: bool = False  # whether the mean takes bars of both sides

    @property
    def warmup(self):
        return 21

    def predict(self, candles):
        def of_stretch(stretch):
            return stretch.close.rolling(21, center=self.centred).mean() / stretch.close - 1

        return candles.by_segment(of_stretch, self.warmup)["close"]
'''

USES_SIGNAL = '''
"""Follows a signal of its own."""

from freqlstm import Strategy


class Follows(Strategy):
    signals = dict(mine="distance")

    def enter_long(self, bars):
        return bars.mine > 0

    def exit_long(self, bars):
        return bars.mine < 0
'''


def test_a_next_that_peeks_only_after_a_thousand_bars_is_found(tmp_path: Path) -> None:
    with pytest.raises(LookAheadError, match="its orders up to"):
        CHECKS["strategy.check_trading"](written(tmp_path, "late_peek", LATE_PEEK.format(bars=1100)))


def test_a_strategy_that_places_no_order_is_not_proven(tmp_path: Path) -> None:
    for name, text in (
        ("late_peek", LATE_PEEK.format(bars=100_000)),
        ("never", NEVER.format(name="enter_long", more="")),
    ):
        with pytest.raises(PluginError) as caught:
            CHECKS["strategy.check_trading"](written(tmp_path, name, text))
        assert not isinstance(caught.value, LookAheadError)
        assert str(caught.value) == (
            f"{tmp_path / name}.py was not proven: it placed no order on the candles of the check. Check it on candles on which it "
            "trades: -p, -i, --timerange."
        )


def test_an_entry_that_is_never_true_is_not_proven_by_the_other(tmp_path: Path) -> None:
    more = "\n    def enter_long(self, bars):\n        return bars.close > 0"
    with pytest.raises(PluginError, match="was not proven: its condition enter_short was never true on the candles"):
        CHECKS["strategy.check_trading"](written(tmp_path, "never", NEVER.format(name="enter_short", more=more)))


def test_indicators_of_a_plain_strategy_get_the_bars_that_they_need(tmp_path: Path) -> None:
    for period in (1440, 6000):
        slow = written(tmp_path, f"plain_{period}", PLAIN.replace("period=20", f"period={period}"))
        assert slow.history == period
        assert trading(slow).orders
    few = {symbol: candles.rows(0, 2_000) for symbol, candles in slow.ground.smooth.items()}
    with pytest.raises(TooFewCandles, match="A check with a warm-up of 6,000 bars needs 6,880: provide more"):
        cases_of([slow.plugin], CHECKOUT, few)


def test_an_honest_plain_strategy_with_a_slow_mean_passes(tmp_path: Path) -> None:
    slow = written(tmp_path, "plain", PLAIN.replace("period=20", "period=1440"))
    assert [outcome.reason for outcome in run_checks([slow])] == [""] * len(STRATEGY_CHECKS)


def test_parameters_other_than_the_defaults_are_checked(tmp_path: Path) -> None:
    (tmp_path / "tuned.py").write_text(TUNED)
    result = run(str(tmp_path / "tuned.py"), "--set", "centred=true")
    assert result.exit_code == 1
    assert "looks ahead: its condition enter_long up to" in result.stdout
    (tmp_path / "run.toml").write_text(f"strategy = '{tmp_path / 'tuned.py'}'\n[parameters]\ncentred = true\n")
    result = run("-c", str(tmp_path / "run.toml"))
    assert result.exit_code == 1
    assert "looks ahead: its condition enter_long up to" in result.stdout
    result = run("-c", str(tmp_path / "run.toml"), "--set", "centred=false")  # as it is by default
    assert result.exit_code == 0, result.output
    result = run("momentum", "-c", str(tmp_path / "run.toml"))
    assert result.exit_code == 2
    assert "Both 'momentum' and a run file are given, which names its strategy. Give one of them." in result.stderr


def test_parameters_of_a_strategys_signal_are_checked(tmp_path: Path) -> None:
    for folder, name, text in (("signals", "distance", SIGNAL_TUNED), ("strategies", "follows", USES_SIGNAL)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(text)
    follows, distance = find("strategy", "follows", tmp_path), find("signal", "distance", tmp_path)
    for plugin, parameters in ((follows, {"mine.centred": True}), (distance, {"centred": True})):
        (signal, *_) = cases_of([plugin], tmp_path, None, parameters)
        with pytest.raises(LookAheadError, match="its predictions up to"):
            CHECKS["signal.check_predictions"](signal)
    CHECKS["signal.check_predictions"](cases_of([follows], tmp_path)[0])
    with pytest.raises(UnknownName, match="No signal of follows named 'other'"):
        cases_of([follows], tmp_path, None, {"other.centred": True})


def test_a_comment_on_the_line_that_sets_params_is_that_of_all_parameters_on_it(tmp_path: Path) -> None:
    lines = TUNED.replace("dict(centred=False)  # whether", "dict(centred=False, period=20, kind='a==b')  # whether")
    (tmp_path / "tuned.py").write_text(lines.replace("warmup = 40\n", "warmup = 40  # bars\n"))
    found = {each.name: each.comment for each in find("strategy", str(tmp_path / "tuned.py"), tmp_path).parameters()}
    said = "whether the mean takes bars of both sides"
    assert [found[name] for name in ("centred", "period", "kind")] == [said] * 3
    assert found["stop_loss"] == "of the entry price"


def test_set_needs_the_one_plugin_that_it_is_for() -> None:
    result = run("--set", "centred=true")
    assert result.exit_code == 2
    assert "plugins to check. Name the one whose parameter it is." in result.stderr
    result = run("momentum", "--set", "nowhere=1")
    assert result.exit_code == 2
    assert "'nowhere'" in result.stderr


def test_a_comparison_that_depends_on_history_is_found_though_the_decision_does_not(tmp_path: Path) -> None:
    text = (CHEATS / "short_warmup.py").read_text()
    masked = re.sub(r"(def enter_long\(self, bars\):\n\s+return )(.*)", r"\1(\2) | (bars.close > 0)", text)
    assert masked != text
    with pytest.raises(PluginError, match=r"its condition enter_long \(.*\) depends on how much history there is"):
        CHECKS["strategy.check_history"](written(tmp_path, "masked", masked))


def trading(of: StrategyCase) -> Any:
    ground = of.ground
    return of.trading(of.kind, of.job(ground.market, of.start, ground.end), of.forecasts(ground.market))


@pytest.mark.slow
def test_the_network_of_a_check_learns_enough_for_a_slope_above_zero() -> None:
    lstm = shipped_cases()["lstm"]
    assert lstm.fitted.slope_ > 0
    assert all(fold["slope"] > 0 for fold in lstm.whole.folds)


# The ground and the verdict


@pytest.mark.parametrize("way", FUTURES)
def test_another_future_leaves_the_past_as_it_is_and_changes_all_that_comes(way: str) -> None:
    ground = case(CHEATS / "min_max.py").ground
    for cut in ground.cuts:
        for candles in ground.market.values():
            other = with_future(candles, cut, way)
            pd.testing.assert_frame_equal(other.frame.loc[:cut], candles.frame.loc[:cut])
            after = candles.frame.index[candles.frame.index > cut]
            both = other.frame.reindex(after)
            assert not (both["close"] == candles.frame.loc[after, "close"]).to_numpy().mean() > 0.05
            assert (other.high >= np.maximum(other.open, other.close) * (1 - 1e-12)).all()
            assert (other.low <= np.minimum(other.open, other.close) * (1 + 1e-12)).all()


def test_the_ground_has_gaps_bars_without_trading_and_cuts_at_all_of_them() -> None:
    ground = case(CHEATS / "min_max.py").ground
    for candles in ground.market.values():
        assert candles.segment[-1] == 2
        assert (candles.volume.between(*pd.Series([0.0, 0.0])) & (candles.time >= ground.start)).sum() >= 12
        Candles.from_frame(candles.frame, candles.symbol, candles.timeframe)  # nothing that would be refused
    first = ground.first
    positions = first.time.get_indexer(pd.DatetimeIndex(ground.cuts))
    assert (positions >= 0).all()
    assert first.volume.iloc[positions].eq(0).any()
    assert {1, 0} <= set(np.diff(first.segment, append=2)[positions])  # the last bar before a gap is among them
    assert ground.second_fold in ground.cuts
    assert any(cut == cut.normalize() for cut in ground.cuts)
    assert len({cut.minute for cut in ground.cuts}) > 10


def test_too_few_candles_are_refused_with_how_many_are_needed() -> None:
    plugin = find("signal", "momentum", CHECKOUT)
    few = {symbol: candles.rows(0, 500) for symbol, candles in case(CHEATS / "min_max.py").ground.smooth.items()}
    with pytest.raises(TooFewCandles) as caught:
        cases_of([plugin], CHECKOUT, few)
    assert str(caught.value) == (
        "BTC/USDT 1m has 500 candles. A check with a warm-up of 60 bars needs 940: provide more, or another timeframe."
    )


def test_missing_equals_missing_and_nothing_else() -> None:
    index = pd.date_range("2024-01-01", periods=3, freq="min", tz="UTC")
    one = pd.DataFrame({"a": [np.nan, 1.0, 2.0]}, index=index)
    assert first_difference(one, one.copy()) is None
    assert first_difference(one, one.fillna(0.0)) == (index[0], "a", "nothing", "0.0")
    assert first_difference(one, one.assign(a=[np.nan, 1.0, np.nextafter(2.0, 3.0)])) == (
        index[2], "a", "2.0", "2.0000000000000004",
    )  # fmt: skip
    assert first_difference(one, one.iloc[:2]) == (index[2], "bars", "a bar", "no bar")
    assert first_difference(one, one.assign(b=[np.nan, np.nan, 7.0])) == (index[2], "b", "nothing", "7.0")


def test_events_are_compared_up_to_the_cut_and_not_beyond() -> None:
    times = pd.date_range("2024-01-01", periods=4, freq="min", tz="UTC")
    past = Past("x.py", times[2], "removed")
    past.require_events("its orders", [(times[0], "a"), (times[3], "b")], [(times[0], "a"), (times[3], "c")])
    with pytest.raises(LookAheadError, match="The first change is at 2024-01-01 00:02, from nothing to b"):
        past.require_events("its orders", [(times[0], "a")], [(times[0], "a"), (times[2], "b")])
    with pytest.raises(LookAheadError, match="The first change is at 2024-01-01 00:00, from a to b"):
        past.require_events("its orders", [(times[0], "a")], [(times[2], "b")])


def test_hints_point_at_lines_and_not_at_honest_ones(tmp_path: Path) -> None:
    assert hints(CHEATS / "shifted_feature.py") == ["line 9: shift with a negative number takes later bars"]
    assert hints(CHEATS / "backfilled.py") == ["line 9: bfill fills in from later bars"]
    assert hints(CHEATS / "centred_mean.py") == ["line 9: center=True averages over later bars"]
    for plugin in SHIPPED:
        assert hints(plugin.path) == []


# The command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["check", *arguments])


def test_the_command_prints_a_line_for_each_check_and_ends_with_zero() -> None:
    result = run("momentum")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("PASS  momentum: ") == len(SIGNAL_CHECKS)
    assert f"{len(SIGNAL_CHECKS)} checks of 1 plugin, 0 failed." in result.stderr


def test_the_command_ends_with_one_and_a_hint_if_a_check_fails() -> None:
    result = run("tests/cheats/next_close.py")
    assert result.exit_code == 1
    assert "FAIL  next_close: tests/cheats/next_close.py looks ahead: its condition enter_long up to" in result.stdout
    assert "      hint: line 8: shift with a negative number takes later bars" in result.stdout


def test_the_command_prints_json() -> None:
    result = run("tests/cheats/next_peek.py", "--json")
    assert result.exit_code == 1
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert list(rows) == [check.__name__ for check in STRATEGY_CHECKS]
    assert rows["check_trading"]["looks_ahead"]
    assert rows["check_conditions"]["passed"]


def test_the_command_takes_other_timeframes_and_pairs_of_the_demo_market() -> None:
    result = run("momentum", "--exchange", "demo", "-p", "SOL/USDT", "-i", "1h")
    assert result.exit_code == 0, result.output


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    result = run("lstm_rsy")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: No strategy or signal named 'lstm_rsy'. Did you mean 'lstm_rsi'? `freqlstm strategies` and `freqlstm signals` "
        "list what there is.\n"
    )


def test_a_broken_file_is_refused_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    result = run(str(tmp_path / "broken.py"))
    assert result.exit_code == 1
    assert "broken.py is broken: line 1: ModuleNotFoundError" in result.stderr
