"""Recorded candles through the sandbox, TLS, websockets, the gateway and Backtrader give what the backtest gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import read_real
from paper.exchange import Floor, traded

from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.paper.reconcile import CURRENCY, EQUITY, PRICE
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


def test_a_portfolio_of_four_symbols_trades_as_in_the_backtest(real_data: Path, tmp_path: Path) -> None:
    run = run_of(*FILES, parameters={"oversold": 45, "overbought": 55, "stop_loss": 0.004})
    with Floor(market_of(real_data, tuple(FILES), 150), start=int(START.value // 10**6)) as floor:
        traded(floor, run, tmp_path, 150)
    same(account("test", Project(tmp_path)), 150, trades=8)
