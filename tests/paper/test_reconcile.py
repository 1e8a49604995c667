"""Differences between a session and its backtest, and what they are put down to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from conftest import make_candles
from paper.exchange import CHURN, Floor, traded

from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.paper.journal import Journal
from freqlstm.paper.reconcile import DATA, EARLIER, EQUITY, LATENCY, REFUSAL, UNEXPLAINED
from freqlstm.paper.records import Candle
from freqlstm.paper_report import account
from freqlstm.paper_run import PaperRun, Trader
from freqlstm.project import Project
from freqlstm.store import CandleStore

START = 300


@pytest.fixture(scope="module")
def candles() -> Candles:
    made = make_candles(500, seed=9)
    return Candles.from_frame((made.frame * [1, 1, 1, 1, 100]).round(2), "BTC/USDT", "1m")


@pytest.fixture
def floor(candles: Candles, tmp_path: Path) -> Floor:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "churn.py").write_text(CHURN)
    return Floor({"BTC/USDT": candles}, start=int(candles.time[START].timestamp() * 1000))


RUN = PaperRun(
    strategy="churn", costs=Costs(slippage=0.0), limits={"max_order": 1e6, "max_position": 1e6, "max_daily_loss": 1e6}
)


def test_bars_that_passed_while_nobody_traded_are_gone_through_and_never_entered_on(
    floor: Floor, tmp_path: Path
) -> None:
    with floor:
        traded(floor, RUN, tmp_path, 20)
        floor.wait(floor.sandbox.step(30))
        traded(floor, RUN, tmp_path, 20)
    made = account("test", Project(tmp_path))
    found = made.reconciliation
    assert found.bars == 70
    assert found.decisions_equal == 70
    assert found.causes[LATENCY]["count"] >= 1
    assert UNEXPLAINED not in found.causes
    assert "the candle came too late to enter on" in set(made.result.trades["refused_because"])


def test_what_a_limit_refused_is_put_down_to_it(floor: Floor, tmp_path: Path) -> None:
    with floor:
        traded(floor, replace(RUN, limits={"max_order": 100.0}), tmp_path, 30)
    made = account("test", Project(tmp_path))
    assert made.reconciliation.session_trades == 0
    assert made.reconciliation.causes[REFUSAL]["count"] >= 1
    assert set(made.reconciliation.causes) <= {REFUSAL, EARLIER, EQUITY}
    assert any("max_order is 100" in str(why) for why in made.result.trades["refused_because"])


def test_a_candle_that_the_exchange_corrected_later_explains_what_was_decided_on_it(
    floor: Floor, tmp_path: Path
) -> None:
    with floor:
        traded(floor, RUN, tmp_path, 40)
    path = tmp_path / "paper" / "test" / "journal.sqlite"
    facts = Trader.of(RUN, Project(tmp_path)).facts("sandbox")
    with Journal(path, facts) as journal:
        bar = journal.bars("BTC/USDT")[25]
        far = bar.close * Decimal("1.05")
        journal.add_revision(
            "BTC/USDT", Candle(bar.open_ms, bar.open, far, bar.low, far, bar.volume), "rest", bar.open_ms
        )
    causes = account("test", Project(tmp_path)).reconciliation.causes
    assert causes[DATA]["count"] >= 1
    assert UNEXPLAINED not in causes


def test_the_same_orders_at_the_prices_of_the_public_market_are_reported_beside(
    floor: Floor, candles: Candles, tmp_path: Path
) -> None:
    with floor:
        traded(floor, RUN, tmp_path, 40)
    project = Project(tmp_path)
    without = account("test", project)
    assert without.public["profit"] is None
    public = Candles(candles.frame * [2, 2, 2, 2, 1], "BTC/USDT", "1m", "binance")
    CandleStore(project.data).write(public)
    made = account("test", project)
    assert made.public["fills"] >= 4
    assert made.public["profit"] == pytest.approx(2 * made.reconciliation.session_profit, rel=0.01)
    assert isinstance(made.result.equity.index, pd.DatetimeIndex)
