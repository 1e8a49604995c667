"""The decisions of many parameter sets are those of each on its own, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm import decider as module
from freqlstm.bars import CONDITIONS, Bars
from freqlstm.candles import Candles
from freqlstm.decider import Decider
from freqlstm.plugins import shipped
from freqlstm.strategy import Decisions, Strategy, decide

SHIPPED: dict[str, list[dict[str, Any]]] = {
    "lstm_rsi": [{"threshold": 1e-3, "rsi_period": 3}, {"oversold": 45, "overbought": 60}],
    "lstm_macd": [{"fast": 3, "slow": 7, "smoothing": 4}, {"threshold": 5e-4}],
    "lstm_bollinger": [{"period": 10, "deviations": 1.5}, {"threshold": 5e-4}],
    "lstm_volatility_gate": [{"worth": 1.0, "usual_move": 0.001}, {"oversold": 50, "deviations": 1.0}],
    "rsi_bollinger": [{"rsi_period": 5, "oversold": 45, "deviations": 1.0}, {"overbought": 55}],
    "boosted_confluence": [{"quorum": 1.0, "move": 1e-3}, {"oversold": 45, "overbought": 55, "quorum": 2.5}],
    "buy_and_hold": [{"exposure": 0.5}],
}  # fmt: skip


def market(rows: int, seed: int = 3, gap: bool = True) -> Candles:
    whole = make_candles(rows, seed)
    missing = whole.time[rows // 2 : rows // 2 + 7] if gap else []
    return Candles.from_frame(whole.frame.drop(missing), whole.symbol, "1m")


def predicted(candles: Candles, seed: int = 1) -> pd.DataFrame:
    """Predictions, some of them missing, of every name that shipped strategies read."""
    random = np.random.default_rng(seed)
    table = {"prediction": random.normal(0, 1e-3, len(candles)), "volatility": random.normal(-12, 1, len(candles))}
    for values in table.values():
        values[random.random(len(candles)) < 0.1] = np.nan
    return pd.DataFrame(table, index=candles.time)


def over(strategy: type[Strategy], candles: Candles, first: int, **settings: Any) -> Decider:
    """A decider whose history is the ``first`` candles."""
    traded = candles.rows(first, len(candles))
    end = candles.time[-1] + candles.step
    return Decider(strategy, candles, predicted(traded), candles.time[first], end, **settings)


def alone(
    strategy: type[Strategy], candles: Candles, first: int, parameters: dict[str, Any], **settings: Any
) -> Decisions:
    predictions = predicted(candles.rows(first, len(candles))).reindex(candles.time)
    return decide(strategy, parameters, Bars(candles, predictions, **settings)).since(first)


def assert_same(got: Decisions, expected: Decisions) -> None:
    for name in CONDITIONS:
        assert getattr(got, name).dtype == np.bool_
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)
    assert got.offset == expected.offset
    assert (got.share is None) == (expected.share is None)
    if got.share is not None:
        np.testing.assert_array_equal(got.share, expected.share)


@pytest.fixture
def no_second_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where the decider falls back to the ordinary way."""

    def refuse(*args: Any) -> None:
        raise AssertionError("the ordinary way was taken")

    monkeypatch.setattr(module, "decide", refuse)


@pytest.mark.parametrize("without", [frozenset(), frozenset({"prediction", "volatility"})], ids=["with", "without"])
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.usefixtures("no_second_way")
def test_every_shipped_strategy_decides_as_on_its_own(name: str, without: frozenset[str]) -> None:
    candles, strategy = market(3000), shipped("strategy", name).load()
    decider, trades = over(strategy, candles, 600, without=without), False
    for parameters in ({}, *SHIPPED[name], *SHIPPED[name], {}):
        expected = alone(strategy, candles, 600, parameters, without=without)
        assert_same(decider.decide(parameters), expected)
        trades = trades or expected.enter_long.any()
    assert trades
