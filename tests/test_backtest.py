"""One run, as far as it needs no network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from trading import candles_of, flat

from freqlstm.backtest import backtest, buy_and_hold, decisions_for
from freqlstm.bars import Bars
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.errors import NoCandles
from freqlstm.folds import FoldPlan
from freqlstm.job import Job, SignalUse
from freqlstm.plugins import find, shipped
from freqlstm.results import Result
from freqlstm.strategy import decide

COSTS = Costs(commission=0.001, slippage=0.0001)


def job(strategy: str, *symbols: Candles, root: Path | None = None, start: int = 0, **other: Any) -> Job:
    market = {candles.symbol: candles for candles in symbols}
    first = next(iter(market.values()))
    found = shipped("strategy", strategy) if root is None else find("strategy", strategy, root)
    return Job(
        strategy=found, parameters=other.pop("parameters", {}), signals={}, market=market, start=first.time[start],
        end=first.time[-1] + first.step, folds=FoldPlan(), rules=dict.fromkeys(market, MarketRules(1e-5, 5.0)),
        costs=COSTS, cash=10_000.0, seed=7, **other,
    )  # fmt: skip


def run(work: Job, folder: Path) -> Result:
    return backtest(work, folder / "models", folder / "trials.jsonl", run_id="test", config={})


def test_buy_and_hold_equals_its_closed_form() -> None:
    """1,000 over two: BTC at the open of 1, 110 with 0.01% slippage; ETH, which begins in minute 2, at the open of 3.

    500 / (110 x 1.0001 x 1.001) BTC and 500 / (50 x 1.0001 x 1.001) ETH; before it is bought, a share stays cash.
    """
    btc = candles_of(*flat(100, 1), *flat(110, 4))
    eth = candles_of(*flat(40, 1), *flat(50, 2), symbol="ETH/USDT", first=2)
    value = buy_and_hold({"BTC/USDT": btc, "ETH/USDT": eth}, btc.time, 1000.0, COSTS)
    kept = 1 / (1.0001 * 1.001)
    np.testing.assert_allclose(value, [1000, 500 + 500 * kept, 500 + 500 * kept, 1000 * kept, 1000 * kept], rtol=1e-12)


def test_buy_and_hold_keeps_its_last_value_through_a_hole_and_its_cash_where_there_is_one_candle() -> None:
    btc = candles_of(*flat(100, 2), *flat(120, 1), *flat(150, 2), missing=[3])
    eth = candles_of(*flat(50, 1), symbol="ETH/USDT")
    times = pd.date_range("2024-01-01", periods=5, freq="min", tz="UTC")
    value = buy_and_hold({"BTC/USDT": btc, "ETH/USDT": eth}, times, 1000.0, Costs(0.0, 0.0))
    assert list(value) == [1000, 1000, 1100, 1100, 1250]


def test_the_strategy_that_buys_and_holds_equals_its_closed_form(tmp_path: Path) -> None:
    """95% of the cash, costs included, at the close of bar 0 in lots of 0.00001, bought at the open of bar 1, never sold."""
    candles = make_candles(2000)
    result = run(job("buy_and_hold", candles), tmp_path)
    size = np.floor(9500 / (candles.close.iloc[0] * 1.0001 * 1.001) * 1e5) / 1e5
    price = candles.open.iloc[1] * 1.0001
    assert result.equity["equity"].iloc[-1] == pytest.approx(
        10_000 - size * price * 1.001 + size * candles.close.iloc[-1], rel=1e-12
    )
    (trade,) = result.trades.to_dict("records")
    assert (trade["status"], trade["entry_reason"]) == ("open", "enter_long: close > 0")
    assert result.stats["performance"]["total_return"] == pytest.approx(result.equity["equity"].iloc[-1] / 10_000 - 1)


def test_a_run_adds_up(tmp_path: Path) -> None:
    candles = make_candles(5000)
    result = run(job("rsi_bollinger", candles, start=500), tmp_path)
    assert len(result.trades) > 10
    assert result.trades.net_pnl.sum() == pytest.approx(result.equity["equity"].iloc[-1] - 10_000, abs=1e-6)
    assert result.equity.index.equals(candles.time[500:])
    assert list(result.equity.columns) == ["equity", "cash", "buy_and_hold"]
    assert result.trades.entry_reason.iloc[0].startswith("enter_long: rsi(14) < 30 & close < bollinger(20,2).lower")
    assert result.stats["beats"]["rules_without_signal"] is None
    assert result.stats["luck"]["configurations_tried"] == 1
    assert result.manifest["plugins"][0]["name"] == "rsi_bollinger"
    run(job("rsi_bollinger", candles, start=500), tmp_path)
    other = run(job("rsi_bollinger", candles, start=500, parameters={"oversold": 20}), tmp_path)
    assert other.stats["luck"]["configurations_tried"] == 2


def test_two_runs_are_the_same_to_the_bit(tmp_path: Path) -> None:
    market = make_candles(3000), make_candles(3000, seed=8, symbol="ETH/USDT")
    left, right = (run(job("rsi_bollinger", *market, start=400), tmp_path) for _ in range(2))
    pd.testing.assert_frame_equal(left.trades, right.trades, check_exact=True)
    pd.testing.assert_frame_equal(left.equity, right.equity, check_exact=True)
    assert left.stats["performance"] == right.stats["performance"]


def test_decisions_with_just_the_history_they_need_equal_those_with_all_of_it() -> None:
    candles = make_candles(4000)
    holed = Candles.from_frame(candles.frame.drop(candles.time[[1500, 2600]]), candles.symbol, "1m")
    for start in (0, 100, 1510, 2500, 3000):
        work = job("rsi_bollinger", holed, start=start)
        strategy = work.strategy.load()
        traded = holed.rows(start, len(holed))
        cut = decisions_for(work, strategy, {}, pd.DataFrame(index=traded.time), "BTC/USDT")
        whole = decide(strategy, {}, Bars(holed)).since(start)
        np.testing.assert_array_equal(cut.enter_long, whole.enter_long)
        np.testing.assert_array_equal(cut.exit_long, whole.exit_long)
        rows = np.flatnonzero(cut.enter_long)
        assert [cut.fired("enter_long", row) for row in rows] == [whole.fired("enter_long", row) for row in rows]


def test_what_comes_later_changes_no_earlier_trade_or_equity(tmp_path: Path) -> None:
    candles = make_candles(4000)
    whole = run(job("rsi_bollinger", candles), tmp_path)
    for rows in (1200, 2311, 3999):
        part = run(job("rsi_bollinger", candles.rows(0, rows)), tmp_path)
        pd.testing.assert_frame_equal(part.equity, whole.equity.iloc[:rows], check_exact=True)
        closed = part.trades[part.trades.status == "closed"]
        pd.testing.assert_frame_equal(closed, whole.trades.iloc[: len(closed)], check_exact=True)


def test_a_users_own_plain_strategy_runs_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "golden.py").write_text(
        '"""Follow the crossing of two averages."""\n'
        "import backtrader as bt\n\n\n"
        "class Golden(bt.Strategy):\n"
        "    params = dict(fast=10, slow=30)\n\n"
        "    def __init__(self):\n"
        "        fast, slow = (bt.ind.SMA(period=period) for period in (self.p.fast, self.p.slow))\n"
        "        self.cross = bt.ind.CrossOver(fast, slow)\n\n"
        "    def next(self):\n"
        "        if self.cross > 0:\n"
        "            self.buy()\n"
        "        elif self.cross < 0:\n"
        "            self.close()\n"
    )
    work = job("golden", make_candles(1000), root=tmp_path, parameters={"fast": 5})
    result = run(work, tmp_path)
    assert len(result.trades) > 5
    assert result.trades.net_pnl.sum() == pytest.approx(result.equity["equity"].iloc[-1] - 10_000, abs=1e-6)
    assert set(result.trades.votes) == {""}


def test_a_pair_without_candles_in_the_range_is_named(tmp_path: Path) -> None:
    late = make_candles(50, symbol="ETH/USDT", start="2025-01-01")
    with pytest.raises(
        NoCandles, match=r"^There are no candles of ETH/USDT between 2024-01-01 .* Leave the pair out\.$"
    ):
        run(job("rsi_bollinger", make_candles(500), late), tmp_path)


def test_the_digest_of_a_job_changes_with_whatever_decides_it() -> None:
    work = job("rsi_bollinger", make_candles(50))
    others = [
        replace(work, parameters={"oversold": 20}), replace(work, costs=Costs(0.002, 0.0001)), replace(work, cash=5.0),
        replace(work, seed=8), replace(work, allow_short=True), replace(work, folds=FoldPlan(test="3d")),
        replace(work, strategy=shipped("strategy", "buy_and_hold")), replace(work, rules={"BTC/USDT": MarketRules(1.0, 5.0)}),
    ]  # fmt: skip
    assert len({one.digest() for one in (work, *others)}) == 9
    assert replace(work).digest() == work.digest()


FOUR = {
    "BTC/USDT": "BINANCE_BTCUSDT_1m_20210101_20231231.parquet",
    "ETH/USDT": "BINANCE_ETHUSDT_1m_20210101_20231231.parquet",
    "SOL/USDT": "BINANCE_SOLUSDT_1m_20210402_20210615.parquet",
    "ADA/USDT": "BINANCE_ADAUSDT_1m_20210402_20210615.parquet",
}


def test_a_portfolio_enters_on_nothing_that_spans_a_hole_of_april_or_may_2021(real_data: Path, tmp_path: Path) -> None:
    """Within the warm-up after a hole, an entry would rest on indicators that take its two sides for neighbours."""
    span = pd.Timestamp("2021-04-24", tz="UTC"), pd.Timestamp("2021-05-20", tz="UTC")
    market = [read_real(real_data, file, symbol, "1m").between(*span) for symbol, file in FOUR.items()]
    result = run(job("rsi_bollinger", *market), tmp_path)
    assert result.trades.net_pnl.sum() == pytest.approx(result.equity["equity"].iloc[-1] - 10_000, abs=1e-6)
    entered = result.trades[result.trades.status != "refused"]
    for candles in market:
        rows = candles.time.searchsorted(entered.decided_at[entered.symbol == candles.symbol] - candles.step)
        assert len(rows) > 100
        assert candles.segment[-1] > 0
        assert (candles.segment_age[rows] >= 280).all()


TWO_LINES = '''"""Two straight lines through the last return, of which one is half as steep."""

import numpy as np

from freqlstm.supervised import SupervisedSignal


class TwoLines(SupervisedSignal):
    features = ("return_lag_0",)
    horizon: int = 1
    interval: float = 0.2
    interval_memory: int = 100

    def fit_to(self, data, market, progress):
        x = data.matrix[data.fit_rows, 0].astype(float)
        self.weight_ = float(x @ data.fit_units / (x @ x))
        return self.respond(data.matrix, data.check_rows, None).mean(axis=0)

    def respond(self, matrix, rows, candles):
        return np.array([[self.weight_], [self.weight_ / 2]]) * matrix[rows, 0].astype(float)
'''

SURE = '''"""Buy where even the lower bound is a rise and the models agree; otherwise abstain."""

from freqlstm import Strategy


class Sure(Strategy):
    signals = dict(prediction="two_lines")
    params = dict(disagreement=1.0, max_holding=3)

    def enter_long(self, bars):
        return (bars.prediction_low > 0) & (bars.prediction_spread < self.p.disagreement)

    def exit_long(self, bars):
        return bars.prediction_high < 0
'''


def test_a_strategy_abstains_where_the_interval_reaches_below_zero_or_the_models_disagree(tmp_path: Path) -> None:
    for kind, name, text in (("signals", "two_lines", TWO_LINES), ("strategies", "sure", SURE)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"{name}.py").write_text(text)
    frame = make_candles(3000).frame.copy()
    undone = np.log(frame.close).diff().fillna(0.0).shift(1, fill_value=0.0)
    frame[["open", "high", "low", "close"]] = frame[["open", "high", "low", "close"]].mul(np.exp(-0.8 * undone), axis=0)
    candles = Candles(frame, "BTC/USDT", "1m")

    def trades(**parameters: float) -> Result:
        use = {"prediction": SignalUse(find("signal", "two_lines", tmp_path), {})}
        plan = FoldPlan(train="20h", test="10h", min_train="10h")
        work = job("sure", candles, root=tmp_path, start=2000, parameters=parameters)
        return run(replace(work, signals=use, folds=plan), tmp_path)

    result = trades()
    entered = candles.time[candles.time.searchsorted(result.trades.decided_at) - 1]
    said = result.predictions["BTC/USDT"]
    assert 20 < len(entered) < 400
    assert said["prediction_low"].notna().all()  # from the first bar of the range on: its memory lies before
    assert (said["prediction_low"][entered] > 0).all()
    assert (said["prediction"] > 0).sum() > 1.2 * (said["prediction_low"] > 0).sum()
    skill = result.stats["skill"]["BTC/USDT"]["prediction"]
    assert (skill["interval"], skill["coverage"]) == (0.2, pytest.approx(0.2, abs=0.03))
    assert len(trades(disagreement=0.0).trades) == 0
    calm = float(said["prediction_spread"].median())
    some = trades(disagreement=calm)
    rows = candles.time[candles.time.searchsorted(some.trades.decided_at) - 1]
    assert 0 < len(rows) < len(entered)
    assert (said["prediction_spread"][rows] < calm).all()
