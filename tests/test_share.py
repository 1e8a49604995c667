"""A strategy may take less than its whole exposure: so much at each bar, known at its close."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import make_candles

from freqlstm import Strategy
from freqlstm.bars import Bars
from freqlstm.errors import PluginError
from freqlstm.strategy import decide


class Half(Strategy):
    params = dict(of=0.5)

    def enter_long(self, bars: Bars) -> Any:
        return bars.close > 0

    def share(self, bars: Bars) -> Any:
        return bars.close * 0 + self.p.of


def test_without_a_share_every_entry_takes_the_whole_exposure() -> None:
    class All(Strategy):
        def enter_long(self, bars: Bars) -> Any:
            return bars.close > 0

    assert decide(All, {}, Bars(make_candles(50))).share is None


def test_a_share_is_one_number_a_bar() -> None:
    decisions = decide(Half, {}, Bars(make_candles(50)))
    assert decisions.share is not None
    assert (decisions.share == 0.5).all()
    assert decisions.since(20).share is not None
    assert len(decisions.since(20).share) == 30  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [0.0, float("nan")])
def test_where_the_share_is_nothing_or_missing_there_is_no_entry(of: float) -> None:
    assert not decide(Half, {"of": of}, Bars(make_candles(50))).enter_long.any()


@pytest.mark.parametrize("of", [1.5, -0.1])
def test_a_share_outside_zero_to_one_is_refused(of: float) -> None:
    with pytest.raises(PluginError, match=rf"^Half\.share is {of:g} at 2024-01-01 00:00 UTC\. It must be a share"):
        decide(Half, {"of": of}, Bars(make_candles(50)))


def test_a_share_of_another_length_is_refused() -> None:
    class Short(Half):
        def share(self, bars: Bars) -> Any:
            return np.ones(3)

    with pytest.raises(PluginError, match=r"^Short\.share returned a ndarray of shape \(3,\)\. It must be one number"):
        decide(Short, {}, Bars(make_candles(50)))


def test_half_the_share_buys_half_as_much() -> None:
    from freqlstm.costs import Costs, market_rules
    from freqlstm.engines.backtrader import simulate

    candles = make_candles(60)
    bought = []
    for of in (1.0, 0.5):
        decisions = {candles.symbol: decide(Half, {"of": of}, Bars(candles))}
        outcome = simulate(
            Half, {"of": of}, {candles.symbol: candles}, predictions={candles.symbol: Bars(candles)._predictions},
            decisions=decisions, rules={candles.symbol: market_rules(candles.symbol)}, costs=Costs(), cash=10_000.0,
        )  # fmt: skip
        bought.append(outcome.fills[0].size)
    assert bought[1] == pytest.approx(bought[0] / 2, rel=1e-3)
