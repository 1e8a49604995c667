"""Both engines do the same: fills, refusals with their words, commission, cash and equity."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import Case, case, difference, numbered
from trading import trades_of

from freqlstm import stats
from freqlstm.engines import backtrader, compiled
from freqlstm.engines.compiled import Tape, summarize


@st.composite
def adventures(draw: st.DrawFn) -> Case:
    """Markets that jump, pause and begin late; conditions at random; every rule, cost and limit on or off."""
    return case(lambda options: draw(st.sampled_from(options)), draw(st.integers(0, 2**32)))


@settings(max_examples=1500, deadline=None)
@given(adventures())
def test_the_compiled_engine_does_what_backtrader_does_to_the_bit(adventure: Case) -> None:
    assert not difference(adventure.run(backtrader.simulate), adventure.run(compiled.simulate))


def test_numbered_cases_are_the_same_to_the_bit() -> None:
    """Beyond what is drawn above, and the same ones in every run."""
    for number in range(600):
        adventure = numbered(number)
        assert not difference(adventure.run(backtrader.simulate), adventure.run(compiled.simulate)), number


def test_a_summary_says_what_the_statistics_say_of_the_same_run() -> None:
    for number in range(150):
        adventure = numbered(number)
        tape = Tape.of(adventure.market, adventure.rules)
        parameters = {**dict(compiled.Strategy.params._getitems()), **adventure.parameters}
        summary = summarize(
            tape, adventure.decisions, parameters, adventure.costs, adventure.cash, adventure.allow_short
        )
        simulation = adventure.run(compiled.simulate)
        assert summary._asdict() == pytest.approx(expected(adventure, simulation), rel=1e-9, abs=1e-12, nan_ok=True)


def expected(adventure: Case, simulation: Any) -> dict[str, float]:
    """The figures of a run by the statistics that a report shows."""
    figures = stats.performance(simulation.equity["equity"], adventure.cash)
    trades = trades_of(simulation, *adventure.market.values())
    told = stats.trade_summary(trades)
    closed = trades[trades.status == "closed"]
    named = {
        "final_equity": "final_equity", "total_return": "total_return", "cagr": "annual_return", "sharpe": "sharpe",
        "sortino": "sortino", "calmar": "calmar", "max_drawdown": "max_drawdown",
    }  # fmt: skip
    return {
        **{name: math.nan if figures[key] is None else figures[key] for name, key in named.items()},
        "trades": told["closed"], "wins": int((closed.net_pnl > 0).sum()), "refused": told["refused"],
        "commission": stats.cost_summary(trades)["commission"],
        "exposure": float((simulation.equity["cash"] != simulation.equity["equity"]).mean()),
    }  # fmt: skip
