"""Both engines do the same: fills, refusals with their words, commission, cash and equity."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import Case, Conditions, case, compare, difference, numbered
from real_parity import STRATEGIES, decided
from real_parity import run as traded
from trading import FINE, trades_of

from freqlstm import stats
from freqlstm.bars import Decisions
from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.engines import backtrader, compiled, kernel
from freqlstm.engines.compiled import Tape, summarize
from freqlstm.errors import CandleError
from freqlstm.plugins import shipped
from freqlstm.strategy import check_parameters


@st.composite
def adventures(draw: st.DrawFn) -> Case:
    """Markets that jump, pause and begin late; conditions at random; every rule, cost and limit on or off."""
    return case(lambda options: draw(st.sampled_from(options)), draw(st.integers(0, 2**32)))


@settings(max_examples=1000, deadline=None)
@given(adventures())
def test_the_compiled_engine_does_what_backtrader_does_to_the_bit(adventure: Case) -> None:
    assert not difference(adventure.run(backtrader.simulate), adventure.run(compiled.simulate))


@pytest.mark.parametrize("block", range(4))
def test_numbered_cases_are_the_same_to_the_bit(block: int) -> None:
    """The same ones in every run, so that a change of the kernel that breaks them is found at once."""
    fills, differing = compare(range(300 * block, 300 * (block + 1)))
    assert not differing
    assert fills > 1000


@pytest.mark.parametrize("trailing", [0.0, 0.06, 0.12])
@pytest.mark.parametrize("number", range(4))
def test_positions_that_last_longer_than_the_engines_look_ahead_at_once_end_the_same(
    number: int, trailing: float
) -> None:
    """The kernel looks at 256 candles at once and the desk at 1024; random markets are shorter than either."""
    candles = make_candles(12_000, seed=number)
    random = np.random.default_rng(number)
    enter_long, enter_short = random.random((2, len(candles))) < 0.02
    exit_long, exit_short = random.random((2, len(candles))) < 0.0005
    decisions = Decisions(enter_long, exit_long, enter_short, exit_short, columns={})
    rules = {"stop_loss": 0.08, "take_profit": 0.15, "trailing_stop": trailing}
    adventure = Case(
        {candles.symbol: candles}, {candles.symbol: decisions}, {candles.symbol: FINE}, rules, Costs(), 1e6, True
    )
    reference = adventure.run(backtrader.simulate)
    assert not difference(reference, adventure.run(compiled.simulate))
    assert trades_of(reference, candles)["bars_held"].max() > 1024


@pytest.mark.parametrize("reason", ["exit_long", "stop_loss", "trailing_stop"])
def test_positions_that_end_where_a_look_ahead_ends_do_so_at_the_same_candle(reason: str) -> None:
    lasts = np.concatenate([np.arange(edge - 3, edge + 4) for edge in (256, 512, 1024)])
    ends = np.cumsum(lasts + 5)
    rows = np.arange(ends[-1] + 5)
    at_end = np.isin(rows, ends)
    price = np.full(len(rows), 100.0)
    frame = pd.DataFrame(
        {"open": price, "high": price, "low": np.where(at_end & (reason != "exit_long"), 90.0, price), "close": price, "volume": 1.0},
        index=pd.date_range("2024-01-01", periods=len(rows), freq="min", tz="UTC"),
    )  # fmt: skip
    candles = Candles.from_frame(frame, "BTC/USDT", "1m")
    never = np.zeros(len(rows), dtype=bool)
    leaves = at_end if reason == "exit_long" else never
    decisions = Decisions(np.isin(rows, ends - lasts), leaves, never, never, columns={})
    rules = {reason: 0.05} if reason != "exit_long" else {}
    adventure = Case(
        {candles.symbol: candles}, {candles.symbol: decisions}, {candles.symbol: FINE}, rules, Costs(), 1e6, True
    )
    reference = adventure.run(backtrader.simulate)
    assert not difference(reference, adventure.run(compiled.simulate))
    assert [fill.reason for fill in reference.fills] == ["enter_long", reason] * len(lasts)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_shipped_strategy_trades_the_same_over_three_years_of_recorded_minutes(
    name: str, real_data: Path, btc: dict[str, Candles]
) -> None:
    strategy = shipped("strategy", name).load()
    decisions = decided(strategy, btc)
    reference = traded(backtrader.simulate, strategy, btc, decisions)
    assert len(reference.equity) > 1_570_000
    assert len(reference.fills) > (0 if name == "buy_and_hold" else 5_000)
    assert not difference(reference, traded(compiled.simulate, strategy, btc, decisions))


@pytest.fixture(scope="module")
def btc(real_data: Path) -> dict[str, Candles]:
    """BTC/USDT from 2021 to 2023, minute by minute, with its outages."""
    return {"BTC/USDT": read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")}


@pytest.mark.parametrize(("timeframe", "most"), [("1h", 2), ("4h", 0)])
def test_recorded_portfolios_trade_the_same(real_data: Path, timeframe: str, most: int) -> None:
    """SOL begins to trade in 2020, the others in 2018."""
    since = {"BTC": {"1h": "20180101", "4h": "20170817"}, "ETH": {"1h": "20180101", "4h": "20170817"}}
    market = {}
    for asset, begins in (*since.items(), ("SOL", "20200811"), ("ADA", "20180417")):
        first = begins if isinstance(begins, str) else begins[timeframe]
        symbol = f"{asset}/USDT"
        market[symbol] = read_real(
            real_data, f"BINANCE_{asset}USDT_{timeframe}_{first}_20241231.parquet", symbol, timeframe
        )
    strategy = shipped("strategy", "lstm_rsi").load()
    decisions = decided(strategy, market)
    rules = {
        "max_positions": most, "stop_loss": 0.03, "take_profit": 0.05, "trailing_stop": 0.04, "max_holding": 100
    }  # fmt: skip
    reference = traded(backtrader.simulate, strategy, market, decisions, **rules)
    assert {fill.symbol for fill in reference.fills} == set(market)
    assert {"stop_loss", "take_profit", "trailing_stop", "exit_long"} < {fill.reason for fill in reference.fills}
    assert not difference(reference, traded(compiled.simulate, strategy, market, decisions, **rules))


@pytest.mark.parametrize("number", range(0, 300, 6))
def test_a_summary_says_what_the_statistics_say_of_the_same_run(number: int) -> None:
    """Hours instead of minutes, so that there are days."""
    adventure = by_hours(numbered(number))
    tape = Tape.of(adventure.market, adventure.rules)
    parameters = check_parameters(Conditions, adventure.parameters)
    summary = summarize(tape, adventure.decisions, parameters, adventure.costs, adventure.cash, adventure.allow_short)
    simulation = adventure.run(compiled.simulate)
    assert summary._asdict() == pytest.approx(expected(adventure, simulation), rel=1e-9, abs=1e-12, nan_ok=True)


def test_a_summary_of_a_year_has_its_annual_figures() -> None:
    candles = make_candles(366 * 24, timeframe="1h")
    kept = np.random.default_rng(1).random(len(candles)) > 0.02
    kept[100 * 24 : 103 * 24] = False  # days without a candle
    candles = Candles.from_frame(candles.frame[kept], "BTC/USDT", "1h")
    random = np.random.default_rng(2).random((4, len(candles))) < 0.03
    adventure = Case(
        {candles.symbol: candles}, {candles.symbol: Decisions(*random, columns={})}, {candles.symbol: FINE},
        {"stop_loss": 0.01}, Costs(), 1000.0, True,
    )  # fmt: skip
    tape = Tape.of(adventure.market, adventure.rules)
    told = summarize(
        tape, adventure.decisions, check_parameters(Conditions, adventure.parameters), Costs(), 1000.0, True
    )
    simulation = adventure.run(compiled.simulate)
    assert told._asdict() == pytest.approx(expected(adventure, simulation), rel=1e-9)
    assert told.trades > 100
    assert told.refused > 0


def test_a_summary_of_an_account_that_a_short_sale_ruined_says_what_the_statistics_say() -> None:
    price = np.concatenate([np.geomspace(100, 2000, 30), np.geomspace(1900, 60, 10)])
    frame = pd.DataFrame(
        {"open": price, "high": price, "low": price, "close": price, "volume": 1.0},
        index=pd.date_range("2024-01-01", periods=len(price), freq="D", tz="UTC"),
    )
    candles = Candles.from_frame(frame, "BTC/USDT", "1d")
    never = np.zeros(len(price), dtype=bool)
    first = np.arange(len(price)) == 0
    adventure = Case(
        {candles.symbol: candles}, {candles.symbol: Decisions(never, never, first, never, {})}, {candles.symbol: FINE},
        {"exposure": 0.95}, Costs(), 1000.0, True,
    )  # fmt: skip
    tape = Tape.of(adventure.market, adventure.rules)
    told = summarize(
        tape, adventure.decisions, check_parameters(Conditions, adventure.parameters), Costs(), 1000.0, True
    )
    simulation = adventure.run(compiled.simulate)
    assert told._asdict() == pytest.approx(expected(adventure, simulation), rel=1e-9, nan_ok=True)
    assert simulation.equity["equity"].min() < 0 < told.final_equity  # it came back, which nobody would have waited for
    assert told.sharpe < 0
    assert told.sortino < 0


def by_hours(adventure: Case) -> Case:
    """The same candles an hour apart."""

    def stretched(candles: Candles) -> Candles:
        first = pd.Timestamp("2024-01-01", tz="UTC")
        return Candles.from_frame(candles.frame.set_axis(first + (candles.time - first) * 60), candles.symbol, "1h")

    return replace(adventure, market={symbol: stretched(each) for symbol, each in adventure.market.items()})


def test_threads_share_a_tape() -> None:
    candles = make_candles(5000, timeframe="1h")
    tape = Tape.of({candles.symbol: candles}, {candles.symbol: FINE})
    decisions = [
        {candles.symbol: Decisions(*(np.random.default_rng(seed).random((4, 5000)) < 0.05), columns={})}
        for seed in range(40)
    ]
    parameters = check_parameters(Conditions, {"trailing_stop": 0.002})

    def summary(each: dict[str, Decisions]) -> Any:
        return summarize(tape, each, parameters, Costs(), 1000.0, True)

    alone = [summary(each) for each in decisions]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(summary, decisions)) == alone
    assert len(set(alone)) == 40


def test_trade_lists_of_both_engines_are_the_same() -> None:
    adventure = numbered(12)
    lists = [
        trades_of(adventure.run(simulate), *adventure.market.values())
        for simulate in (backtrader.simulate, compiled.simulate)
    ]
    pd.testing.assert_frame_equal(*lists, check_exact=True)
    assert {"closed", "refused"} <= set(lists[0].status)


def test_sizes_are_rounded_as_python_rounds_them() -> None:
    """Also ties, and also where only what multiplication rounded off says on which side of one a number is."""
    random = np.random.default_rng(5)
    values = np.concatenate([
        random.random(3000) * 10.0 ** random.integers(-13, 5, 3000),
        (random.integers(0, 10**9, 3000) + 0.5) / 2**20 / 10**6,
        np.round(random.random(3000) * 9000, 12) + 5e-13,
        [0.0, 5e-13, 1.5e-12, 8191.9999999999995, 8192.0, 1e15, 4503.5996273704955],
    ])  # fmt: skip
    assert [kernel.rounded(value) for value in values] == [round(value, 12) for value in values.tolist()]


def test_a_price_that_is_not_a_number_is_refused() -> None:
    candles = make_candles(10)
    frame = candles.frame.copy()
    frame.iloc[[4, 6], 3] = np.nan
    broken = Candles(frame, candles.symbol, candles.timeframe)
    with pytest.raises(CandleError) as error:
        Tape.of({broken.symbol: broken}, {broken.symbol: FINE})
    assert str(error.value) == (
        "2 candles of BTC/USDT have a price that is not a number, the first at 2024-01-01 00:04:00+00:00. "
        "Remove or correct them: there is no trading without a price."
    )


def test_decisions_on_other_candles_are_refused() -> None:
    candles = make_candles(10)
    few = Decisions(*np.zeros((4, 9), dtype=bool), columns={})
    with pytest.raises(CandleError) as error:
        compiled.replay(
            Tape.of({candles.symbol: candles}, {candles.symbol: FINE}), {candles.symbol: few},
            check_parameters(Conditions, {}), Costs(), 1000.0,
        )  # fmt: skip
    assert str(error.value) == ("The decisions on BTC/USDT are of 9 candles, and 10 are traded. Cut them to those.")


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
