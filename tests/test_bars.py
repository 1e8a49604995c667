"""The columns of one symbol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm import indicators
from freqlstm.bars import Bars, condition
from freqlstm.candles import Candles
from freqlstm.columns import Absent, Column
from freqlstm.errors import PluginError, UnknownName


@pytest.fixture
def predictions(candles: Candles) -> pd.DataFrame:
    """0.001 everywhere but on rows 0 to 9; an interval that is missing on row 100."""
    table = pd.DataFrame({"prediction": 0.001, "prediction_low": -1.0, "prediction_high": 1.0}, index=candles.time)
    table.iloc[:10] = np.nan
    table.iloc[100, 1:] = np.nan
    return table


def test_columns_are_those_of_the_candles_and_predictions(candles: Candles, predictions: pd.DataFrame) -> None:
    bars = Bars(candles, predictions)
    for name in ("open", "high", "low", "close", "volume"):
        pd.testing.assert_series_equal(pd.Series(getattr(bars, name)), candles.frame[name], check_series_type=False)
    np.testing.assert_array_equal(bars.prediction_low, predictions["prediction_low"])


def test_indicators_are_those_of_the_module_and_computed_once(candles: Candles) -> None:
    bars = Bars(candles)
    np.testing.assert_array_equal(bars.rsi(7), indicators.rsi(candles, 7))
    np.testing.assert_array_equal(bars.macd(3, 6, 2).histogram, indicators.macd(candles, 3, 6, 2)["histogram"])
    np.testing.assert_array_equal(bars.bollinger(9, 1.5).upper, indicators.bollinger(candles, 9, 1.5)["upper"])
    np.testing.assert_array_equal(bars.ta.atr(length=5), indicators.ta(candles, "atr", length=5))
    assert bars.rsi(7) is bars.rsi(7)
    assert bars.bollinger(9, 1.5) is bars.bollinger(9, 1.5)
    assert bars.ta.atr(length=5) is bars.ta.atr(length=5)
    assert bars.bollinger(9, 2.0) is not bars.bollinger(9, 2.0000001)


def test_an_indicator_of_several_columns_is_a_dictionary(candles: Candles) -> None:
    stochastic = Bars(candles).ta.stoch(k=5)
    assert isinstance(stochastic, dict)
    assert all(isinstance(part, Column) for part in stochastic.values())


def test_columns_are_named_so_that_the_trade_list_can_tell_them(candles: Candles) -> None:
    bars = Bars(candles)
    named = [bars.rsi(7), bars.macd(3, 6, 2).signal, bars.bollinger(9, 1.5).lower, bars.ta.atr(length=5)]
    assert [column.name for column in named] == [
        "rsi(7)",
        "macd(3,6,2).signal",
        "bollinger(9,1.5).lower",
        "atr(length=5)",
    ]
    assert list((bars.close < bars.bollinger(9, 1.5).lower).terms or {}) == ["close < bollinger(9,1.5).lower"]


def test_an_unknown_column_is_told_what_there_is(candles: Candles, predictions: pd.DataFrame) -> None:
    with pytest.raises(AttributeError) as error:
        Bars(candles, predictions).predicton  # noqa: B018
    assert str(error.value) == (
        "bars has no column 'predicton'. It has open, high, low, close, volume, rsi(), macd(), bollinger(), ta and "
        "prediction, prediction_low, prediction_high"
    )
    with pytest.raises(AttributeError, match=r"ta and no predictions: name a signal in the strategy$"):
        Bars(candles).prediction  # noqa: B018
    with pytest.raises(UnknownName, match=r"^No indicator named 'atrr'\. Did you mean 'atr'\?"):
        Bars(candles).ta.atrr()


def test_what_is_switched_off_is_absent(candles: Candles, predictions: pd.DataFrame) -> None:
    bars = Bars(candles, predictions, frozenset(predictions.columns))
    assert isinstance(bars.prediction, Absent)
    assert bars.ready().all()


def test_ready_waits_for_the_warm_up_of_the_slowest_indicator_in_every_stretch() -> None:
    whole = make_candles(300)
    candles = Candles.from_frame(whole.frame.drop(whole.time[150]), whole.symbol, "1m")
    bars = Bars(candles)
    assert bars.ready().all()
    bars.bollinger(21)
    bars.bollinger(5)
    expected = np.ones(299, dtype=bool)
    expected[:20] = expected[150:170] = False
    np.testing.assert_array_equal(bars.ready(), expected)


def test_ready_waits_for_the_predictions_that_were_read(candles: Candles, predictions: pd.DataFrame) -> None:
    bars = Bars(candles, predictions)
    assert bars.ready().all()
    assert bars.prediction.notna().sum() == 290
    assert list(np.flatnonzero(~bars.ready())) == list(range(10))
    assert bars.prediction_low.notna().sum() == 289
    assert list(np.flatnonzero(~bars.ready())) == [*range(10), 100]


@pytest.mark.parametrize("unused", [None, Absent()])
def test_a_condition_that_is_not_used_is_none(candles: Candles, unused: Any) -> None:
    assert condition(Bars(candles), unused, "X.enter_long") is None


def test_a_condition_may_be_a_column_a_series_or_an_array(candles: Candles) -> None:
    bars = Bars(candles)
    made = bars.close > 100
    assert condition(bars, made, "X.enter_long") is made
    for other in (np.asarray(made), pd.Series(np.asarray(made), index=candles.time), pd.Series(np.asarray(made))):
        column = condition(bars, other, "X.enter_long")
        assert isinstance(column, Column)
        np.testing.assert_array_equal(column, made)
        assert column.index.equals(candles.time)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (True, "a bool of shape () and type bool"),
        (np.ones(299, dtype=bool), "a ndarray of shape (299,) and type bool"),
        (np.ones((300, 1), dtype=bool), "a ndarray of shape (300, 1) and type bool"),
        (np.ones(300), "a ndarray of shape (300,) and type float64"),
        (pd.Series([True, None] * 150), "a Series of shape (300,) and type object"),
        ("yes", "a str of shape () and type <U3"),
    ],
)
def test_what_is_no_condition_is_refused(candles: Candles, made: Any, text: str) -> None:
    with pytest.raises(PluginError) as error:
        condition(Bars(candles), made, "LstmRsi.enter_long")
    assert str(error.value) == (
        f"LstmRsi.enter_long returned {text}. It must be one True or False a bar, here 300 of them: "
        "compare columns of bars with <, >, & and |."
    )


def test_a_condition_on_other_times_is_refused(candles: Candles) -> None:
    moved = (candles.close > 100).set_axis(candles.time + candles.step)
    with pytest.raises(PluginError) as error:
        condition(Bars(candles), moved, "X.enter_long")
    assert str(error.value) == "X.enter_long returned a Series with other times than those of bars. Keep the index."


def test_a_look_back_of_an_hour_finds_nothing_within_the_hour_after_a_missing_one() -> None:
    whole = make_candles(400)
    candles = Candles.from_frame(whole.frame.drop(whole.time[200:260]), whole.symbol, "1m")
    bars = Bars(candles)
    for made in (bars.close.shift(60), bars.close.diff(60), bars.close.pct_change(60), bars.close.rolling(61).mean()):
        missing = np.flatnonzero(made.isna())
        np.testing.assert_array_equal(missing, [*range(60), *range(200, 260)])
    after = bars.close.shift(60).iloc[260:]
    np.testing.assert_array_equal(after, whole.close.shift(60).iloc[320:])
    assert not (bars.close > bars.close.shift(60)).iloc[200:260].any()
    assert not (~(bars.close > bars.close.shift(60))).iloc[200:260].any()
