"""Recorded candles through the sandbox, TLS, websockets, the gateway and Backtrader give what the backtest gives."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import make_candles, read_real
from paper.exchange import Floor, traded

from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.paper.pace import Pace
from freqlstm.paper.reconcile import CURRENCY, DATA, EARLIER, EQUITY, LATENCY, PRICE
from freqlstm.paper_report import Account, account
from freqlstm.paper_run import PaperRun
from freqlstm.project import Project

START = pd.Timestamp("2021-05-12 00:00", tz="UTC")
FILES = {
    "BTC/USDT": "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "ETH/USDT": "BINANCE_ETHUSDT_1m_20210101_20231231.parquet",
    "SOL/USDT": "BINANCE_SOLUSDT_1m_20210402_20210615.parquet", "ADA/USDT": "BINANCE_ADAUSDT_1m_20210402_20210615.parquet",
}  # fmt: skip
BOLD = {
    "max_orders_per_bar": 1000, "max_orders_per_hour": 10_000, "max_order": 1e6, "max_position": 1e6, "max_daily_loss": 1e6,
}  # fmt: skip
TRICKS = ("kline_duplicate", "kline_late", "kline_unfinished", "kline_out_of_order", "kline_missing")


def market_of(
    real_data: Path, pairs: tuple[str, ...], bars: int, start: pd.Timestamp = START, before: int = 2
) -> dict[str, Candles]:
    """Recorded minutes from ``start`` on, and so many days before."""
    first, last = start - pd.Timedelta(days=before), start + pd.Timedelta(minutes=bars)
    return {pair: read_real(real_data, FILES[pair], pair, "1m").between(first, last) for pair in pairs}


def run_of(*pairs: str, **settings: Any) -> PaperRun:
    values = {"strategy": "rsi_bollinger", "costs": Costs(slippage=0.0), "limits": BOLD, **settings}
    return PaperRun(pairs=pairs, **values)


def same(made: Account, bars: int, trades: int) -> None:
    """Every decision and every trade is that of the backtest, to within fee currency, lot step and tick."""
    found = made.reconciliation
    assert found.bars == bars
    assert found.decisions_equal == found.decisions_compared == bars * len(made.result.market)
    assert set(found.causes) <= {CURRENCY, PRICE, EQUITY}, found.causes
    assert found.session_trades == found.backtest_trades >= trades
    for each in found.differences:
        if each.cause == PRICE:  # a stop at an exchange lies on a tick
            assert float(each.session) == pytest.approx(float(each.backtest), abs=0.0101)
    # what they earn differs by the differences that are named, and by no more
    named = sum(each.amount for each in found.differences)
    assert found.session_profit - found.backtest_profit == pytest.approx(named, abs=0.01 * found.session_trades)


def test_a_day_of_minutes_gives_the_decisions_and_trades_of_the_backtest_also_after_restarts_and_with_every_trick_of_a_stream(
    real_data: Path, tmp_path: Path
) -> None:
    run = run_of("BTC/USDT", parameters={"oversold": 40, "overbought": 60, "trailing_stop": 0.005})
    with Floor(market_of(real_data, ("BTC/USDT",), 1440), start=int(START.value // 10**6)) as floor:

        def trick(bar: int) -> None:
            if bar % 25 == 0:
                floor.do(lambda: floor.sandbox.arm(TRICKS[bar // 25 % len(TRICKS)]))

        traded(floor, run, tmp_path, 500)
        told = traded(floor, run, tmp_path, 500, trick)
        assert any(kind == "restart" and "500 bars" in text for kind, text in told)
        traded(floor, run, tmp_path, 440)
        struck = dict(floor.sandbox.venue.faults.consumed)
    assert sum(struck.get(kind, 0) for kind in TRICKS) >= 18
    made = account("test", Project(tmp_path))
    same(made, 1440, trades=20)
    assert len(made.result.equity) == 1440


def test_a_candle_that_is_corrected_after_its_close_stays_what_was_decided_on_and_is_named_as_a_data_revision(
    real_data: Path, tmp_path: Path
) -> None:
    run = run_of("BTC/USDT", parameters={"oversold": 45, "overbought": 55})
    with Floor(market_of(real_data, ("BTC/USDT",), 160), start=int(START.value // 10**6)) as floor:

        def correct(bar: int) -> None:
            if bar % 25 == 20:
                floor.do(lambda: floor.sandbox.arm("kline_corrected"))

        traded(floor, run, tmp_path, 160, correct)
        assert floor.sandbox.venue.faults.consumed["kline_corrected"] == 6
    found = account("test", Project(tmp_path)).reconciliation
    assert found.bars == 160
    assert {each.cause for each in found.differences if each.what == "decision"} == {DATA}
    assert set(found.causes) <= {CURRENCY, PRICE, EQUITY, DATA, EARLIER}, found.causes
    journal = tmp_path / "paper" / "test" / "journal.sqlite"
    with sqlite3.connect(journal) as connection:
        assert connection.execute("DELETE FROM revisions").rowcount == 6
    same(account("test", Project(tmp_path)), 160, trades=1)  # on the candles as they were when they closed


def test_without_websockets_the_decisions_are_those_of_the_backtest_also_after_a_bar_that_one_symbol_lacks(
    tmp_path: Path,
) -> None:
    market = {}
    for seed, pair in ((7, "BTC/USDT"), (8, "ETH/USDT")):
        made = make_candles(400, seed=seed, symbol=pair)
        frame = (made.frame * [200, 200, 200, 200, 100]).round(2)
        market[pair] = Candles.from_frame(frame.drop(frame.index[320:322]) if seed == 8 else frame, pair, "1m")
    start, connections = int(market["BTC/USDT"].time[300].timestamp() * 1000), []
    pace = replace(Pace(), grace=0.005, clock=0.01, tick=0.001)  # a stepped clock has to be asked for
    with Floor(market, start=start) as floor:

        def look(bar: int) -> None:
            connections.append(len(floor.sandbox._connections.all))

        run = run_of(*market, parameters={"oversold": 48, "overbought": 52})
        traded(floor, run, tmp_path, 40, look, poll=True, pace=pace)
    assert connections == [0] * 40
    found = account("test", Project(tmp_path)).reconciliation
    assert found.bars == 40
    assert found.decisions_equal == found.decisions_compared == 78
    assert found.session_trades == found.backtest_trades >= 1
    assert set(found.causes) <= {CURRENCY, PRICE, EQUITY, LATENCY, EARLIER}, found.causes  # that bar came a bar late


def test_a_portfolio_of_four_symbols_trades_as_in_the_backtest(real_data: Path, tmp_path: Path) -> None:
    run = run_of(*FILES, parameters={"oversold": 45, "overbought": 55, "stop_loss": 0.004})
    with Floor(market_of(real_data, tuple(FILES), 150), start=int(START.value // 10**6)) as floor:
        traded(floor, run, tmp_path, 150)
    same(account("test", Project(tmp_path)), 150, trades=8)
