"""Conditions, parameters and decisions; what becomes of the orders is proven with the engines."""

from __future__ import annotations

from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from conftest import make_candles
from trading import candles_of, flat, run, scripted

from freqlstm.absent import SignalNeeded
from freqlstm.bars import Bars
from freqlstm.candles import Candles
from freqlstm.columns import vote
from freqlstm.errors import PluginError, UnknownName, UsageError
from freqlstm.plugins import shipped
from freqlstm.strategy import Strategy, check_parameters, decide, history_needed, overrides_next

SHIPPED = ("lstm_rsi", "lstm_macd", "lstm_bollinger", "rsi_bollinger", "buy_and_hold")


class Dip(Strategy):
    """Buys what the signal likes and the RSI calls cheap."""

    signals = {"prediction": "lstm"}
    params = {"threshold": 0.0, "name": "dip", "eager": False}

    def enter_long(self, bars: Bars) -> Any:
        return (bars.prediction > self.p.threshold) & (bars.rsi(3) < 40)

    def exit_long(self, bars: Bars) -> Any:
        return ~(bars.prediction > self.p.threshold)


def predicted(candles: Candles, seed: int = 1) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(0, 1e-3, len(candles))
    values[::5] = np.nan
    return pd.DataFrame({"prediction": values}, index=candles.time)


def test_a_strategy_that_overrides_nothing_never_trades(candles: Candles) -> None:
    decisions = decide(Strategy, {}, Bars(candles))
    assert not any(getattr(decisions, name).any() for name in ("enter_long", "exit_long", "enter_short", "exit_short"))


def test_decisions_are_the_conditions_where_everything_is_known(candles: Candles) -> None:
    table = predicted(candles)
    bars = Bars(candles, table)
    decisions = decide(Dip, {"threshold": 0.0002}, bars)
    known = table["prediction"].notna() & (candles.segment_age >= bars.warmup)
    expected = (table["prediction"] > 0.0002) & (bars.rsi(3).to_numpy() < 40) & known
    np.testing.assert_array_equal(decisions.enter_long, expected)
    assert decisions.enter_long.sum() > 10


def test_nan_predictions_never_trade_also_not_when_they_are_negated(candles: Candles) -> None:
    table = predicted(candles)
    decisions = decide(Dip, {}, Bars(candles, table))
    missing = table["prediction"].isna().to_numpy()
    assert not decisions.enter_long[missing].any()
    assert not decisions.exit_long[missing].any()
    assert decisions.exit_long[~missing].any()


def test_a_missing_bound_of_the_interval_never_trades(candles: Candles) -> None:
    class Sure(Strategy):
        def enter_long(self, bars: Bars) -> Any:
            return ~(bars.prediction_low < 0)

    table = predicted(candles).assign(prediction_low=np.nan)
    assert not decide(Sure, {}, Bars(candles, table)).enter_long.any()


def test_what_pandas_fills_in_for_a_missing_prediction_never_trades(candles: Candles) -> None:
    class Filler(Strategy):
        def enter_long(self, bars: Bars) -> Any:
            return bars.prediction.fillna(1.0) > 0.5

    assert not decide(Filler, {}, Bars(candles, predicted(candles))).enter_long.any()


def test_no_condition_is_true_within_the_warm_up_that_the_class_names(candles: Candles) -> None:
    class Momentum(Strategy):
        warmup = 30

        def enter_long(self, bars: Bars) -> Any:
            return bars.close > 0

    decisions = decide(Momentum, {}, Bars(candles))
    np.testing.assert_array_equal(decisions.enter_long, candles.segment_age >= 30)
    assert history_needed(Momentum, {}, Bars(candles)) == 30


def test_history_needed_is_that_of_the_slowest_indicator(candles: Candles) -> None:
    bars = Bars(candles.rows(0, 5), predicted(candles).iloc[:5])
    needed = history_needed(Dip, {}, bars)
    assert needed == bars.warmup > 3
    whole = decide(Dip, {}, Bars(candles, predicted(candles)))
    late = candles.rows(200 - needed, 300)
    np.testing.assert_array_equal(
        decide(Dip, {}, Bars(late, predicted(candles).iloc[200 - needed :])).since(needed).enter_long,
        whole.enter_long[200:],
    )


def test_the_same_rules_run_without_their_signal(candles: Candles) -> None:
    bars = Bars(candles, predicted(candles), frozenset({"prediction"}))
    decisions = decide(Dip, {}, bars)
    np.testing.assert_array_equal(decisions.enter_long, (bars.rsi(3) < 40) & bars.ready())
    assert not decisions.exit_long.any()
    assert list(decisions.columns) == ["enter_long"]


def test_decisions_tell_what_fired_and_how_it_was_voted_also_after_a_cut(candles: Candles) -> None:
    class Voter(Strategy):
        def enter_long(self, bars: Bars) -> Any:
            up = np.arange(len(bars.candles)) >= 10
            return vote(up=(2.0, pd.Series(up, index=bars.time)), always=(1.0, bars.close > 0)) >= 1

        def exit_long(self, bars: Bars) -> Any:
            return (bars.close > 1e9) | (bars.volume >= 0)

    decisions = decide(Voter, {}, Bars(candles))
    assert (decisions.fired("enter_long", 9), decisions.votes("enter_long", 9)) == ("always +1", "1")
    later = decisions.since(4).since(3)
    assert (later.fired("enter_long", 3), later.votes("enter_long", 3)) == ("up +2 & always +1", "3")
    assert (later.fired("exit_long", 0), later.votes("exit_long", 0)) == ("volume >= 0", "")
    assert (later.fired("stop_loss", 0), later.votes("stop_loss", 0)) == ("", "")
    assert len(later.enter_long) == 293


def test_an_error_in_a_condition_names_it_and_its_line(candles: Candles) -> None:
    class Broken(Strategy):
        def enter_long(self, bars: Bars) -> Any:
            return bars.prediction > 0

        def exit_long(self, bars: Bars) -> Any:
            return bars.close > 0 and bars.close < 5

    with pytest.raises(PluginError, match=r"^Broken\.enter_long stopped at line \d+ of its file with AttributeError: bars has no column 'prediction'"):  # fmt: skip
        decide(Broken, {}, Bars(candles))
    with pytest.raises(
        PluginError,
        match=r"^Broken\.exit_long stopped at line \d+ of its file with ValueError: a column has a value for each bar, not one truth",
    ):
        decide(Broken, {}, Bars(candles, predicted(candles)))


def test_a_wrong_condition_names_the_strategy_and_the_method(candles: Candles) -> None:
    class Wrong(Strategy):
        def exit_short(self, bars: Bars) -> Any:
            return bars.close

    with pytest.raises(
        PluginError, match=r"^Wrong\.exit_short returned a Column of shape \(300,\) and type float64\. It must be"
    ):
        decide(Wrong, {}, Bars(candles))


def test_parameters_are_the_defaults_with_those_given_in_place() -> None:
    values = check_parameters(Dip, {"threshold": 0.5, "max_holding": 7})
    assert values == {
        "stop_loss": 0.0, "take_profit": 0.0, "trailing_stop": 0.0, "max_holding": 7, "exposure": 0.95, "max_positions": 0,
        "threshold": 0.5, "name": "dip", "eager": False,
    }  # fmt: skip


def test_an_unknown_parameter_is_told_the_nearest() -> None:
    with pytest.raises(UnknownName) as error:
        check_parameters(Dip, {"treshold": 1.0})
    assert str(error.value) == "No parameter of Dip named 'treshold'. Did you mean 'threshold'?"


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("threshold", "high", "a number, like 0.0"), ("threshold", float("nan"), "a number, like 0.0"),
        ("threshold", True, "a number, like 0.0"), ("name", 5, "a text, like 'dip'"), ("eager", 1, "True or False, like False"),
        ("stop_loss", 1.0, "a fraction from 0 (off) up to 1: 0.02 is 2%"), ("stop_loss", None, "a number, like 0.0"),
        ("trailing_stop", -0.1, "a fraction from 0 (off) up to 1: 0.02 is 2%"),
        ("take_profit", -0.5, "a fraction from 0 (off) up: 0.02 is 2%"),
        ("max_holding", 1.5, "a whole number of bars, 0 for no limit"),
        ("max_positions", -1, "a whole number of positions, 0 for as many as there are symbols"),
        ("exposure", 0, "a fraction of the equity, above 0 up to 1"), ("exposure", 2, "a fraction of the equity, above 0 up to 1"),
        ("exposure", float("inf"), "a number, like 0.95"),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_right_is_refused(name: str, value: Any, right: str) -> None:
    with pytest.raises(UsageError) as error:
        check_parameters(Dip, {name: value})
    assert str(error.value) == f"Parameter {name!r} of Dip is {value!r}. It must be {right}."


def test_a_default_of_the_class_that_cannot_be_right_is_refused_too() -> None:
    class Off(Strategy):
        params = {"stop_loss": None}

    with pytest.raises(UsageError, match=r"^Parameter 'stop_loss' of Off is None\. It must be a fraction from 0"):
        check_parameters(Off, {})


def test_parameters_of_a_plain_strategy_are_checked_by_their_defaults() -> None:
    class Plain(bt.Strategy):
        params = (("period", 5), ("stop_loss", "tight"))

    assert check_parameters(Plain, {"period": 8}) == {"period": 8, "stop_loss": "tight"}
    with pytest.raises(UsageError, match=r"^Parameter 'period' of Plain is 'x'\. It must be a number, like 5\.$"):
        check_parameters(Plain, {"period": "x"})


def test_whoever_overrides_next_decides_bar_by_bar() -> None:
    class Own(Strategy):
        def next(self) -> None: ...

    assert [overrides_next(kind) for kind in (Dip, Own, bt.Strategy)] == [False, True, True]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_strategy_trades_on_a_market_with_predictions(name: str) -> None:
    candles = make_candles(3000)
    strategy = shipped("strategy", name).load()
    check_parameters(strategy, {})
    simulation = run(strategy, candles, predictions={"BTC/USDT": predicted(candles)}, cash=1e5)
    assert simulation.fills
    assert simulation.refusals == []


def test_parameters_reach_the_conditions_and_the_orders() -> None:
    candles = candles_of(*flat(100, 2), *flat(90, 3))
    assert len(run(scripted(enter_long=[0]), candles).fills) == 1
    assert len(run(scripted(enter_long=[0]), candles, stop_loss=0.05).fills) == 2


def test_an_error_without_the_signal_says_that_there_is_no_comparison(candles: Candles) -> None:
    class Joined(Strategy):
        signals = dict(prediction="lstm")

        def enter_long(self, bars: Bars) -> Any:
            return pd.concat([bars.prediction, bars.close], axis=1).min(axis=1) > 0

    table = predicted(candles)
    assert decide(Joined, {}, Bars(candles, table)).enter_long.any()
    with pytest.raises(SignalNeeded) as error:
        decide(Joined, {}, Bars(candles, table, frozenset(table.columns)))
    assert str(error.value).startswith(
        "The rules cannot be run without the signal, because Joined.enter_long stopped with TypeError: cannot concatenate"
    )
    assert ", so no comparison is made. " in str(error.value)
