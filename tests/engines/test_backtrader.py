"""The Backtrader engine, to the cent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from trading import FINE, candles_of, flat, run, scripted, trades_of

from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines.backtrader import ColumnFeed, Simulation, Simulator, backtrader_days
from freqlstm.errors import PluginError
from freqlstm.strategy import Strategy

COMMISSION = Costs(commission=0.001, slippage=0.0)


def test_a_trade_a_stop_and_a_refused_order_with_fees_come_out_to_the_cent() -> None:
    """1,000.00 in cash, 0.1% a side, exposure 0.5, stop at 5%, lots of 0.01.

    close 0: 500.00 buy 4.99 at 100.10. open 1: 499.00 + 0.499 paid, cash 500.501.
    close 2: exit. open 3: 4.99 at 108 give 538.92 - 0.53892, cash 1,038.88208: +38.88208.
    close 3: 519.44 buy 4.80 at 108.108. open 4: 518.40 + 0.5184 paid, cash 519.96368. The stop rests at 102.60.
    bar 5 falls to 101: 4.80 at 102.60 give 492.48 - 0.49248, cash 1,011.9512: -26.93088.
    close 5: 505.98 buy 4.90 at 103.103. open 6 is at 210, they would cost 1,029.00 + 1.029: refused.
    """
    candles = candles_of(
        (100, 101, 99, 100), (100, 103, 100, 102), (102, 111, 102, 110), (108, 109, 107, 108),
        (108, 108, 106, 107), (107, 107, 101, 103), (210, 210, 208, 209), (209, 209, 209, 209),
    )  # fmt: skip
    strategy = scripted(enter_long=[0, 3, 5], exit_long=[2], stop_loss=0.05, exposure=0.5)
    simulation = run(strategy, candles, costs=COMMISSION)
    trades = trades_of(simulation, candles)
    won, stopped, refused = (row for _, row in trades.iterrows())
    assert list(trades.status) == ["closed", "closed", "refused"]
    assert (won["size"], won.entry_price, won.exit_price) == pytest.approx((4.99, 100.0, 108.0))
    assert (won.gross_pnl, won.commission, won.net_pnl) == pytest.approx((39.92, 1.03792, 38.88208))
    assert (won.decided_at, won.entry_time, won.exit_time) == (
        candles.time[0] + candles.step, candles.time[1], candles.time[3],
    )  # fmt: skip
    assert won.net_return == pytest.approx(38.88208 / 499)
    assert (won.entry_reason, won.exit_reason, won.bars_held) == ("enter_long", "exit_long", 2)
    assert (stopped["size"], stopped.exit_price, stopped.exit_reason) == pytest.approx((4.8, 102.6, "stop_loss"))
    assert (stopped.gross_pnl, stopped.commission, stopped.net_pnl) == pytest.approx((-25.92, 1.01088, -26.93088))
    assert refused.refused_because == "costs 1,030.03 with commission, and there are 1,011.95 in cash"
    assert (refused["size"], refused.net_pnl) == (4.9, 0.0)
    cash = [1000, 500.501, 500.501, 1038.88208, 519.96368, 1011.9512, 1011.9512, 1011.9512]
    equity = [1000, 1009.481, 1049.401, 1038.88208, 1033.56368, 1011.9512, 1011.9512, 1011.9512]
    np.testing.assert_allclose(simulation.equity["cash"], cash, rtol=1e-12)
    np.testing.assert_allclose(simulation.equity["equity"], equity, rtol=1e-12)


def test_take_profit_fills_at_its_limit_and_pays_no_slippage() -> None:
    """Buys 9.49 at 100.10 (slippage 0.1%). The limit at 110.11 is reached within bar 2: 9.49 x 10.01 = 94.9949."""
    candles = candles_of((100, 100, 100, 100), (100, 101, 99, 100), (100, 112, 100, 111), (111, 111, 111, 111))
    simulation = run(scripted(enter_long=[0], take_profit=0.1), candles, costs=Costs(0.0, 0.001))
    (trade,) = trades_of(simulation, candles).to_dict("records")
    assert trade["exit_price"] == pytest.approx(110.11)
    assert (trade["net_pnl"], trade["slippage"], trade["gross_pnl"]) == pytest.approx((94.9949, 0.949, 95.9439))
    assert (trade["exit_reason"], trade["bars_held"]) == ("take_profit", 1)


def test_take_profit_that_the_market_opens_beyond_fills_at_the_open_and_slips_no_further_than_its_limit() -> None:
    """The limit is at 110.00, the open at 110.02: slippage of 0.1% would sell at 109.91, the limit allows 110.00."""
    candles = candles_of(*flat(100, 2), (110.02, 110.02, 110.02, 110.02))
    strategy = scripted(enter_long=[0], take_profit=0.1 / 1.001 - 0.001 / 1.001)  # of the 100.10 paid
    simulation = run(strategy, candles, costs=Costs(0.0, 0.001))
    assert simulation.fills[1].price == pytest.approx(110.0)
    assert simulation.fills[1].slippage == pytest.approx(9.49 * 0.02)


def test_trailing_stop_follows_the_closes_and_not_the_highs() -> None:
    """5% below the best close: 95.00 at 100, 104.50 at 110 (not 114.00 at the high of 120), filled in bar 4."""
    candles = candles_of(*flat(100, 2), (100, 120, 100, 110), (110, 110, 105, 106), (106, 106, 104, 105), *flat(105, 1))
    simulation = run(scripted(enter_long=[0], trailing_stop=0.05), candles)
    (trade,) = trades_of(simulation, candles).to_dict("records")
    assert (trade["exit_price"], trade["exit_reason"], trade["bars_held"]) == (104.5, "trailing_stop", 3)


def test_max_holding_counts_the_bar_of_the_fill() -> None:
    """Bought at the open of 1, held through 1, 2 and 3, sold at the open of 4."""
    candles = candles_of(*flat(100, 8))
    simulation = run(scripted(enter_long=[0], max_holding=3), candles)
    assert [(fill.row, fill.reason) for fill in simulation.fills] == [(1, "enter_long"), (4, "max_holding")]


def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    """The stop is at 95, the market opens at 90: sold at 90, not at 95."""
    candles = candles_of(*flat(100, 2), (90, 92, 88, 91))
    simulation = run(scripted(enter_long=[0], stop_loss=0.05), candles)
    assert [(fill.row, fill.price) for fill in simulation.fills] == [(1, 100.0), (2, 90.0)]


def test_slippage_goes_beyond_the_range_of_the_candle() -> None:
    """Where nothing traded but 100: 9.40 bought at 101, sold at 99."""
    candles = candles_of(*flat(100, 4))
    simulation = run(scripted(enter_long=[0], exit_long=[1]), candles, costs=Costs(0.0, 0.01))
    assert [fill.price for fill in simulation.fills] == [101.0, 99.0]
    assert [fill.slippage for fill in simulation.fills] == pytest.approx([9.4, 9.4])


def test_when_the_stop_and_the_profit_are_both_in_one_bar_the_stop_is_first() -> None:
    candles = candles_of(*flat(100, 2), (100, 120, 90, 110), *flat(110, 2))
    simulation = run(scripted(enter_long=[0], stop_loss=0.05, take_profit=0.05), candles)
    assert [fill.reason for fill in simulation.fills] == ["enter_long", "stop_loss"]


def test_the_bar_of_the_fill_cannot_trigger_the_stop() -> None:
    """Bought at 100 at the open of 1, which then falls to 80 and closes at 97: the stop at 95 rests from bar 2 on."""
    candles = candles_of(*flat(100, 1), (100, 100, 80, 97), (97, 98, 94, 96))
    simulation = run(scripted(enter_long=[0], stop_loss=0.05), candles)
    assert [(fill.row, fill.price) for fill in simulation.fills] == [(1, 100.0), (2, 95.0)]


def test_leaving_at_the_close_of_the_bar_of_the_fill_leaves_no_order_behind() -> None:
    """Decided at close 1 and sold at open 2, where the market also opens below what would have been the stop."""
    candles = candles_of(*flat(100, 2), *flat(80, 4))
    rules = {"stop_loss": 0.05, "trailing_stop": 0.05, "take_profit": 0.05}
    for leave in ({"exit_long": [1]}, {"max_holding": 1}):
        simulation = run(scripted(enter_long=[0], **leave, **rules), candles, allow_short=True)
        assert [(fill.row, fill.size) for fill in simulation.fills] == [(1, 9.5), (2, -9.5)]


def test_a_size_is_cut_down_to_whole_lots() -> None:
    """95% of 1,000 at 300 are 3.1666."""
    candles = candles_of(*flat(300, 3))
    for step, size in ((1.0, 3.0), (0.1, 3.1), (0.001, 3.166)):
        assert run(scripted(enter_long=[0]), candles, rules=MarketRules(step, 5.0)).fills[0].size == size


def test_an_order_below_the_minimum_notional_is_listed_as_refused() -> None:
    candles = candles_of(*flat(100, 4))
    simulation = run(scripted(enter_long=[0]), candles, cash=10.0, rules=MarketRules(0.01, 10.0))
    (trade,) = trades_of(simulation, candles).to_dict("records")
    assert (trade["status"], trade["side"], trade["decided_at"]) == ("refused", "long", candles.time[1])
    assert trade["refused_because"] == "worth 9.00, below the minimum notional of 10"
    simulation = run(scripted(enter_long=[0]), candles, cash=1.0)
    assert [refusal.why for refusal in simulation.refusals] == ["smaller than one lot of 0.01"]


def test_an_order_that_cannot_be_paid_for_is_refused_bar_after_bar_and_listed_once() -> None:
    """All of the cash buys 9.99 at 100.10 with the fee, and they cost 1,008.99 + 1.00899 where the market opens at 101."""
    candles = candles_of(*[(101, 101, 100, 100)] * 8)
    simulation = run(scripted(enter_long=[0, 1, 2, 5], exposure=1.0), candles, costs=COMMISSION)
    assert [refusal.decided_row for refusal in simulation.refusals] == [0, 1, 2, 5]
    trades = trades_of(simulation, candles)
    assert list(trades.decided_at) == [candles.time[1], candles.time[6]]
    assert set(trades.refused_because) == {"costs 1,010.00 with commission, and there are 1,000.00 in cash"}
    assert (simulation.equity == 1000.0).all(axis=None)


@pytest.mark.parametrize("lots", [FINE, MarketRules()])
def test_all_of_the_equity_can_be_exposed_where_the_next_candle_opens_at_the_close(lots: MarketRules) -> None:
    """1,000.00 / (100 x 1.002 x 1.001) is 9.97 in lots of 0.01, 9.97006985 in the finest."""
    costs = Costs(0.001, 0.002)
    simulation = run(scripted(enter_long=[0], exposure=1.0), candles_of(*flat(100, 3)), costs=costs, rules=lots)
    assert simulation.refusals == []
    (fill,) = simulation.fills
    assert fill.size == (9.97 if lots is FINE else 9.97006985)
    assert simulation.equity["cash"].iloc[-1] == pytest.approx(1000 - fill.size * 100 * 1.002 * 1.001)
    assert simulation.equity["cash"].iloc[-1] >= 0


def test_two_orders_that_share_the_cash_are_told_what_was_left_of_it() -> None:
    """Both want 700 of 1,000 where one position was given all exposure: the second finds 300."""

    class Both(bt.Strategy):
        def next(self) -> None:
            if len(self) == 1:
                for data in self.datas:
                    self.buy(data=data, size=7)

    btc, eth = candles_of(*flat(100, 3)), candles_of(*flat(100, 3), symbol="ETH/USDT")
    simulation = run(Both, btc, eth)
    assert [(fill.symbol, fill.size) for fill in simulation.fills] == [("BTC/USDT", 7.0)]
    assert [(r.symbol, r.why) for r in simulation.refusals] == [
        ("ETH/USDT", "costs 700.00 with commission, and there are 300.00 in cash")
    ]


def test_an_entry_lapses_where_the_next_candle_is_missing() -> None:
    candles = candles_of(*flat(100, 6), missing=[2])
    simulation = run(scripted(enter_long=[1]), candles)
    assert simulation.fills == []
    assert [(r.decided_row, r.why) for r in simulation.refusals] == [
        (1, "the candle in which it would have filled is missing")
    ]


def test_an_exit_fills_after_the_hole() -> None:
    """Minute 2 is missing: what was decided at the close of 1 sells at the open of 3, which is row 2."""
    candles = candles_of(*flat(100, 2), (1, 1, 1, 1), *flat(90, 2), missing=[2])
    simulation = run(scripted(enter_long=[0], exit_long=[1]), candles)
    assert [(fill.row, fill.price) for fill in simulation.fills] == [(1, 100.0), (2, 90.0)]


def test_a_stop_in_a_hole_fills_at_the_first_open_after_it() -> None:
    candles = candles_of(*flat(100, 3), (1, 1, 1, 1), *flat(90, 2), missing=[3])
    simulation = run(scripted(enter_long=[0], stop_loss=0.05), candles)
    assert [(fill.row, fill.price) for fill in simulation.fills] == [(1, 100.0), (3, 90.0)]


def test_selling_short_is_refused_on_spot() -> None:
    candles = candles_of(*flat(100, 4))
    simulation = run(scripted(enter_short=[0]), candles)
    (trade,) = trades_of(simulation, candles).to_dict("records")
    assert (trade["side"], trade["size"]) == ("short", 9.5)
    assert trade["refused_because"] == "this market does not allow selling short"


def test_a_short_trade_comes_out_to_the_cent() -> None:
    """Sells 9.49 at 100 for 949.00 - 0.949, buys them back at 90 for 854.10 + 0.8541: +93.0969."""
    candles = candles_of(*flat(100, 2), *flat(90, 3))
    simulation = run(scripted(enter_short=[0], exit_short=[2]), candles, costs=COMMISSION, allow_short=True)
    (trade,) = trades_of(simulation, candles).to_dict("records")
    assert (trade["side"], trade["size"], trade["entry_price"], trade["exit_price"]) == ("short", 9.49, 100.0, 90.0)
    assert (trade["gross_pnl"], trade["commission"], trade["net_pnl"]) == pytest.approx((94.9, 1.8031, 93.0969))
    np.testing.assert_allclose(simulation.equity["equity"], [1000, 999.051, 1093.951, 1093.0969, 1093.0969], rtol=1e-12)


def test_a_short_position_keeps_all_of_its_stops_and_can_always_be_bought_back() -> None:
    """Buying back 95.00 short at 210 costs more than all cash: it is paid, and the equity is negative."""
    rules = {"stop_loss": 0.5, "trailing_stop": 0.5, "take_profit": 0.5}
    candles = candles_of(*flat(100, 3), (100, 100, 40, 45), *flat(45, 1))
    simulation = run(scripted(enter_short=[0], **rules), candles, allow_short=True, costs=COMMISSION)
    assert [(fill.reason, fill.price) for fill in simulation.fills] == [("enter_short", 100.0), ("take_profit", 50.0)]
    candles = candles_of(*flat(100, 3), *flat(210, 3))
    for leave, reason in (({"stop_loss": 0.5}, "stop_loss"), ({"exit_short": [2]}, "exit_short")):
        simulation = run(scripted(enter_short=[0, 4], **leave), candles, allow_short=True)
        assert [(fill.reason, fill.price) for fill in simulation.fills] == [("enter_short", 100.0), (reason, 210.0)]
        assert simulation.equity["equity"].iloc[-1] == pytest.approx(1000 - 9.5 * 110)
        assert [refusal.why for refusal in simulation.refusals] == ["smaller than one lot of 0.01"]


def test_long_and_short_at_once_cancel_each_other() -> None:
    candles = candles_of(*flat(100, 4))
    assert run(scripted(enter_long=[0], enter_short=[0]), candles, allow_short=True).fills == []


def test_no_trades_leave_equity_exactly_at_cash() -> None:
    candles = make_candles(500)
    simulation = run(scripted(), candles, cash=1234.56)
    assert (simulation.equity == 1234.56).all(axis=None)
    assert len(trades_of(simulation, candles)) == 0


def test_an_open_trade_at_the_end_is_valued_at_the_last_close() -> None:
    """9.49 bought at 100 for 949 + 0.949; at 120 they are worth 1,138.80: +188.851 so far."""
    candles = candles_of(*flat(100, 2), *flat(120, 2))
    simulation = run(scripted(enter_long=[0]), candles, costs=COMMISSION)
    (trade,) = trades_of(simulation, candles).to_dict("records")
    assert (trade["status"], trade["exit_reason"], trade["bars_held"]) == ("open", "", 3)
    assert pd.isna(trade["exit_time"])
    assert pd.isna(trade["exit_price"])
    assert trade["net_pnl"] == pytest.approx(188.851)
    assert simulation.equity["equity"].iloc[-1] == pytest.approx(1188.851)


def test_a_portfolio_shares_cash_over_symbols_that_begin_and_break_at_different_times() -> None:
    """1,000 over at most two of four, 47.5% of the equity each.

    BTC from minute 0, ETH from 1, SOL from 2 without 3, ADA from 0 without 2; all at 100, ADA at 50.
    close 0: BTC and ADA want in, both do: 4.75 at 100 and, as minute 2 of ADA is another matter, 9.50 at 50 (open 1).
    close 1: ETH wants in; two positions are open: nothing happens.
    close 1: ADA leaves; its next candle is minute 3: sold there.
    close 3: ETH wants in: one position is open, 4.75 at open 4. SOL at close 4: two are open again.
    """
    btc = candles_of(*flat(100, 7))
    eth = candles_of(*flat(100, 6), symbol="ETH/USDT", first=1)
    sol = candles_of(*flat(100, 5), symbol="SOL/USDT", first=2, missing=[1])
    ada = candles_of(*flat(50, 7), symbol="ADA/USDT", missing=[2])
    enters = {"BTC/USDT": [0], "ETH/USDT": [0, 2], "SOL/USDT": [1], "ADA/USDT": [0]}
    exits = {"ADA/USDT": [1]}

    class Four(Strategy):
        params = {"max_positions": 2}

        def enter_long(self, bars: Any) -> Any:
            return np.isin(np.arange(len(bars.candles)), enters[bars.symbol])

        def exit_long(self, bars: Any) -> Any:
            return np.isin(np.arange(len(bars.candles)), exits.get(bars.symbol, []))

    simulation = run(Four, btc, eth, sol, ada)
    market = {candles.symbol: candles for candles in (btc, eth, sol, ada)}
    assert [(f.symbol, market[f.symbol].time[f.row].minute, f.size) for f in simulation.fills] == [
        ("BTC/USDT", 1, 4.75), ("ADA/USDT", 1, 9.5), ("ADA/USDT", 3, -9.5), ("ETH/USDT", 4, 4.75),
    ]  # fmt: skip
    assert list(simulation.equity.index) == list(btc.time)
    assert list(simulation.equity["cash"]) == [1000, 50, 50, 525, 50, 50, 50]
    assert (simulation.equity["equity"] == 1000).all()


def test_an_order_that_has_lapsed_takes_no_place_from_another_symbol() -> None:
    """BTC's order of close 0 cannot fill in minute 1, which is missing; at close 2, in its hole, ETH gets the place."""
    btc = candles_of(*flat(100, 8), missing=[1, 2, 3])
    eth = candles_of(*flat(100, 8), symbol="ETH/USDT")
    enters = {"BTC/USDT": [0], "ETH/USDT": [1, 2]}

    class One(Strategy):
        params = {"max_positions": 1}

        def enter_long(self, bars: Any) -> Any:
            return np.isin(np.arange(len(bars.candles)), enters[bars.symbol])

    simulation = run(One, btc, eth)
    assert [(fill.symbol, fill.row) for fill in simulation.fills] == [("ETH/USDT", 3)]
    assert [(r.symbol, r.decided_row) for r in simulation.refusals] == [("BTC/USDT", 0)]


def test_an_order_is_not_tried_again_on_an_old_candle_when_only_another_symbol_has_a_new_one() -> None:
    """The close of 110 lifts BTC's trailing stop from 95 to 104.50; that candle's low of 100 was before."""
    btc = candles_of(*flat(100, 2), (100, 110, 100, 110), *flat(110, 3), missing=[3, 4])
    eth = candles_of(*flat(100, 6), symbol="ETH/USDT")

    class Trail(Strategy):
        params = {"trailing_stop": 0.05}

        def enter_long(self, bars: Any) -> Any:
            return (np.arange(len(bars.candles)) == 0) & (bars.symbol == "BTC/USDT")

    assert [fill.reason for fill in run(Trail, btc, eth).fills] == ["enter_long"]


class Turner(bt.Strategy):
    """Long at first, then short with twice the size."""

    def next(self) -> None:
        if len(self) == 1:
            self.buy(size=2)
        elif len(self) == 3:
            self.sell(size=4)


def test_a_position_that_is_turned_around_is_two_trades() -> None:
    """+2 at 100, -4 at 110: 20 won, and 2 short at 110 that are 10 down at the close of 115."""
    candles = candles_of(*flat(100, 3), *flat(110, 1), *flat(115, 1))
    simulation = run(Turner, candles, costs=COMMISSION, allow_short=True)
    first, second = trades_of(simulation, candles).to_dict("records")
    assert (first["side"], first["status"], first["net_pnl"]) == ("long", "closed", pytest.approx(20 - 0.2 - 0.22))
    assert (second["side"], second["status"], second["size"]) == ("short", "open", 2.0)
    assert second["net_pnl"] == pytest.approx(-10 - 0.22)


def test_a_plain_strategy_cannot_turn_short_on_spot() -> None:
    candles = candles_of(*flat(100, 6))
    simulation = run(Turner, candles)
    assert [fill.size for fill in simulation.fills] == [2.0]
    (refused,) = [row for row in trades_of(simulation, candles).to_dict("records") if row["status"] == "refused"]
    assert (refused["size"], refused["refused_because"]) == (4.0, "this market does not allow selling short")


def test_the_half_of_an_order_that_could_be_paid_for_is_in_the_trade_list() -> None:
    """1 bought at 100, then 12 sold, then 25 bought at 100 with 2,100 in cash after closing: only the 11 are closed."""

    class Greedy(bt.Strategy):
        def next(self) -> None:
            if len(self) == 1:
                self.sell(size=10)
            elif len(self) == 2:
                self.buy(size=19)

    candles = candles_of(*flat(100, 2), *flat(200, 3))
    simulation = run(Greedy, candles, allow_short=True)
    assert [fill.size for fill in simulation.fills] == [-10.0, 10.0]
    assert [refusal.why for refusal in simulation.refusals] == [
        "costs 1,800.00 with commission, and there are 0.00 in cash"
    ]
    assert simulation.equity["equity"].iloc[-1] == 0.0


def test_a_plain_strategy_without_sizes_buys_with_95_percent_of_the_cash_and_sells_all() -> None:
    events: list[str] = []

    class Plain(bt.Strategy):
        params = (("period", 3),)

        def __init__(self) -> None:
            self.average = bt.indicators.SMA(self.data.close, period=self.p.period)

        def notify_order(self, order: bt.Order) -> None:
            if order.status == order.Completed:
                events.append("buy" if order.isbuy() else "sell")

        def next(self) -> None:
            if not self.position and self.data.close[0] > self.average[0]:
                self.buy()
            elif self.position and self.data.close[0] < self.average[0]:
                self.sell()

    candles = candles_of(*flat(100, 3), *flat(110, 2), *flat(90, 3))
    simulation = run(Plain, candles)
    assert [(fill.row, fill.size) for fill in simulation.fills] == [(4, 8.63), (6, -8.63)]
    assert events == ["buy", "sell"]


def test_a_plain_order_too_small_to_send_is_listed_and_not_dropped() -> None:
    class Small(bt.Strategy):
        def next(self) -> None:
            if len(self) == 1:
                self.buy()
            elif len(self) == 2:
                self.buy(size=0.01)

    simulation = run(Small, candles_of(*flat(100, 4)), cash=0.5)
    assert [refusal.why for refusal in simulation.refusals] == [
        "smaller than one lot of 0.01", "worth 1.00, below the minimum notional of 5",
    ]  # fmt: skip


def test_a_candle_that_just_touches_the_stop_or_the_profit_fills_it() -> None:
    """Bought at 100: the stop at 95 and the profit at 125 are the low of one candle and the high of the other."""
    for candle, reason, price in (
        ((100, 100, 95, 100), "stop_loss", 95.0),
        ((100, 125, 100, 100), "take_profit", 125.0),
    ):
        candles = candles_of(*flat(100, 4), candle, *flat(100, 3))
        simulation = run(scripted(enter_long=[0], stop_loss=0.05, take_profit=0.25), candles)
        assert [(fill.row, fill.reason, fill.price) for fill in simulation.fills[1:]] == [(4, reason, price)]


def test_an_order_that_fills_in_parts_is_so_many_fills() -> None:
    """5 wanted, at most 2 a bar: 2, 2 and 1, each with its own commission."""

    class Slow(bt.Strategy):
        def __init__(self) -> None:
            self.broker.set_filler(bt.fillers.FixedSize(size=2))

        def next(self) -> None:
            if len(self) == 1:
                self.buy(size=5)

    candles = make_candles(8).frame.assign(volume=10.0)
    simulation = run(Slow, Candles.from_frame(candles, "BTC/USDT", "1m"), costs=COMMISSION)
    assert [(fill.row, fill.size) for fill in simulation.fills] == [(1, 2.0), (2, 2.0), (3, 1.0)]
    assert [fill.price for fill in simulation.fills] == list(candles["open"].iloc[1:4])
    assert [fill.commission for fill in simulation.fills] == pytest.approx(
        [fill.size * fill.price * 0.001 for fill in simulation.fills]
    )


def test_an_order_without_size_for_a_symbol_that_has_not_begun_says_so() -> None:
    class Early(bt.Strategy):
        def prenext(self) -> None:
            self.buy(data=self.datas[1])

    with pytest.raises(PluginError) as error:
        run(Early, candles_of(*flat(100, 3)), candles_of(*flat(50, 1), symbol="ETH/USDT", first=2))
    assert str(error.value) == "ETH/USDT has no candle yet, so an order has no size. Wait for len(data) > 0."


def test_brackets_stop_limits_and_orders_at_the_close_of_a_plain_strategy_are_backtraders() -> None:
    """The stop-limit of a bracket: triggered at 95, sold at its limit of 94 or better, and never below."""

    class Bracket(bt.Strategy):
        def next(self) -> None:
            if len(self) == 1:
                self.buy_bracket(
                    size=2, price=100, limitprice=120, stopprice=95, stopexec=bt.Order.StopLimit,
                    stopargs={"plimit": 94.999},
                )  # fmt: skip

    candles = candles_of(*flat(100, 3), (100, 100, 90, 96), *flat(96, 2))
    simulation = run(Bracket, candles, costs=Costs(0.0, 0.001))
    assert [(fill.size, fill.price) for fill in simulation.fills] == [(2.0, 100.0), (-2.0, 94.999)]
    assert simulation.refusals == []


def test_analyzers_see_every_bar_of_a_strategy_of_conditions() -> None:
    seen: list[float] = []

    class Watched(scripted(enter_long=[1])):  # type: ignore[misc]
        def notify_cashvalue(self, cash: float, value: float) -> None:
            seen.append(value)

    candles = candles_of(*flat(100, 3), *flat(120, 3))
    simulation = run(Watched, candles)
    assert seen == list(simulation.equity["equity"])


def test_a_strategy_that_overrides_next_reads_its_prediction_and_overrides_init_without_calling_super() -> None:
    class Own(Strategy):
        signals = {"prediction": "lstm"}

        def __init__(self) -> None:
            self.read: list[float] = []
            collected.append(self.read)

        def next(self) -> None:
            self.read.append(self.prediction[0])
            if self.prediction[0] > 0 and not self.position:
                self.buy(size=1)

    collected: list[list[float]] = []
    candles = candles_of(*flat(100, 4))
    predictions = {"BTC/USDT": pd.DataFrame({"prediction": [np.nan, -1.0, 0.5, np.nan]}, index=candles.time)}
    simulation = run(Own, candles, predictions=predictions)
    np.testing.assert_array_equal(collected[0], [np.nan, -1.0, 0.5, np.nan])
    assert [(fill.decided_row, fill.row, fill.size) for fill in simulation.fills] == [(2, 3, 1.0)]


def test_a_strategy_of_conditions_may_override_init_and_notify_order() -> None:
    """And it trades as without them."""
    orders: list[int] = []
    rules = {"enter_long": [0, 40, 90], "exit_long": [20, 60], "stop_loss": 0.001, "trailing_stop": 0.002}

    class Told(scripted(**rules)):  # type: ignore[misc]
        def __init__(self) -> None:
            self.note = "mine"

        def notify_order(self, order: bt.Order) -> None:
            assert self.note == "mine"
            orders.append(order.status)

    candles = make_candles(200)
    assert_same(run(Told, candles), run(scripted(**rules), candles))
    assert bt.Order.Completed in orders


def test_a_strategy_with_its_own_next_is_not_called_before_every_symbol_has_begun() -> None:
    calls: list[int] = []

    class Own(Strategy):
        def next(self) -> None:
            calls.append(len(self.datas[1]))

    run(Own, candles_of(*flat(100, 5)), candles_of(*flat(50, 3), symbol="ETH/USDT", first=2))
    assert calls == [1, 2, 3]


def test_a_look_back_beyond_the_first_candle_finds_nan_and_not_the_future() -> None:
    read: list[float] = []

    class Back(bt.Strategy):
        def prenext(self) -> None:
            read.append(self.datas[1].close[0])
            assert self.getposition(self.datas[1]).size == 0

        def next(self) -> None:
            read.extend([self.data.close[-3], self.data.close[-len(self.data) - 1], self.datas[1].close[-1]])
            assert self.broker.getvalue() == 1000.0

    run(Back, candles_of(*flat(100, 3)), candles_of(*flat(50, 1), symbol="ETH/USDT", first=2))
    assert len(read) == 5
    assert np.isnan(read).all()


def test_an_error_in_a_plugin_is_told_with_its_line() -> None:
    class Broken(bt.Strategy):
        def next(self) -> None:
            1 / 0  # noqa: B018

    class BrokenNotice(scripted(enter_long=[0])):  # type: ignore[misc]
        def notify_order(self, order: bt.Order) -> None:
            raise KeyError("x")

    with pytest.raises(
        PluginError, match=r"^Broken stopped at line \d+ of its file with ZeroDivisionError: division by"
    ):
        run(Broken, candles_of(*flat(100, 3)))
    with pytest.raises(PluginError, match=r"^BrokenNotice stopped at line \d+ of its file with KeyError: 'x'\.$"):
        run(BrokenNotice, candles_of(*flat(100, 3)))


def test_self_prediction_without_a_signal_says_what_is_missing() -> None:
    class Own(Strategy):
        def next(self) -> None:
            self.prediction[0]

    with pytest.raises(PluginError) as error:
        run(Own, candles_of(*flat(100, 3)))
    assert str(error.value) == ("Own reads self.prediction, but no signal of Own has that name. Add one to signals.")


def test_a_strategy_that_stops_the_run_has_equity_up_to_there() -> None:
    class Stops(bt.Strategy):
        def next(self) -> None:
            if len(self) == 3:
                self.env.runstop()

    assert len(run(Stops, candles_of(*flat(100, 8))).equity) == 3


def test_the_time_that_backtrader_sees_is_the_open_time_and_timeframe_of_the_candle() -> None:
    times: list[Any] = []

    class Clock(bt.Strategy):
        def next(self) -> None:
            times.append(self.data.datetime.datetime(0))
            assert (self.data._timeframe, self.data._compression) == (bt.TimeFrame.Minutes, 1)

    candles = make_candles(3000)
    run(Clock, candles)
    assert times == [time.to_pydatetime().replace(tzinfo=None) for time in candles.time]
    assert (np.diff(backtrader_days(candles.time)) > 0).all()
    day = ColumnFeed(make_candles(3, timeframe="1d"), {}, None, FINE, False)
    assert (day.p.timeframe, day.p.compression) == (bt.TimeFrame.Days, 1)
    hour = ColumnFeed(make_candles(3, timeframe="1h"), {}, None, FINE, False)
    assert (hour.p.timeframe, hour.p.compression) == (bt.TimeFrame.Minutes, 60)


def assert_same(left: Simulation, right: Simulation) -> None:
    """Bit for bit."""
    assert left.fills == right.fills
    assert left.refusals == right.refusals
    pd.testing.assert_frame_equal(left.equity, right.equity, check_exact=True)


def watched(strategy: type[Strategy]) -> type[Strategy]:
    """The same strategy on Backtrader's own loop, because it listens to every bar."""

    class Watched(strategy):  # type: ignore[misc, valid-type]
        def notify_cashvalue(self, cash: float, value: float) -> None:
            pass

    return Watched


@st.composite
def adventures(draw: st.DrawFn) -> tuple[list[Candles], type[Strategy], Costs, bool]:
    """One to three symbols with holes, conditions at random, and every rule on or off."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    market = []
    for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT")[: draw(st.integers(1, 3))]:
        whole = make_candles(120, seed=int(random.integers(1 << 30)), symbol=symbol)
        kept = random.random(120) > draw(st.sampled_from([0.0, 0.05, 0.3]))
        kept[: int(random.integers(0, 30))] = False
        kept[-2:] = True
        market.append(Candles.from_frame(whole.frame[kept], symbol, "1m"))
    tables = {c.symbol: random.random((4, len(c))) < draw(st.sampled_from([0.02, 0.1, 0.4])) for c in market}
    fraction = st.sampled_from([0.0, 0.0005, 0.002])
    rules = {
        "stop_loss": draw(fraction), "take_profit": draw(fraction), "trailing_stop": draw(fraction),
        "max_holding": draw(st.sampled_from([0, 1, 2, 7])), "max_positions": draw(st.integers(0, 2)),
        "exposure": draw(st.sampled_from([0.3, 0.95, 1.0])),
    }  # fmt: skip

    class Adventure(Strategy):
        params = rules

        def enter_long(self, bars: Any) -> Any:
            return tables[bars.symbol][0]

        def exit_long(self, bars: Any) -> Any:
            return tables[bars.symbol][1]

        def enter_short(self, bars: Any) -> Any:
            return tables[bars.symbol][2]

        def exit_short(self, bars: Any) -> Any:
            return tables[bars.symbol][3]

    costs = Costs(draw(st.sampled_from([0.0, 0.001])), draw(st.sampled_from([0.0, 0.0003])))
    return market, Adventure, costs, draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(adventures())
def test_passing_over_bars_notes_the_same_to_the_bit_as_backtraders_own_loop(adventure: Any) -> None:
    market, strategy, costs, allow_short = adventure
    passed_over = run(strategy, *market, costs=costs, allow_short=allow_short)
    assert_same(passed_over, run(watched(strategy), *market, costs=costs, allow_short=allow_short))


@settings(max_examples=60, deadline=None)
@given(adventures())
def test_invariants_of_every_run(adventure: Any) -> None:
    """A market order fills at the open after its decision; profits add up to the equity; positions keep to the rules."""
    market, strategy, costs, allow_short = adventure
    simulation = run(strategy, *market, costs=costs, allow_short=allow_short)
    candles = {c.symbol: c for c in market}
    held = dict.fromkeys(candles, 0.0)
    for fill in simulation.fills:
        frame = candles[fill.symbol].frame
        if fill.reason.startswith(("enter", "exit", "max")):
            assert fill.row == fill.decided_row + 1
            slip = 1 + np.sign(fill.size) * costs.slippage
            assert fill.price == frame["open"].iloc[fill.row] * slip
        if fill.reason.startswith("enter"):
            assert candles[fill.symbol].time[fill.row] - candles[fill.symbol].time[fill.decided_row] == pd.Timedelta(
                "1min"
            )
        assert fill.commission == pytest.approx(abs(fill.size) * fill.price * costs.commission, rel=1e-9, abs=1e-12)
        held[fill.symbol] += fill.size
        assert allow_short or held[fill.symbol] > -1e-9
        assert sum(abs(size) > 1e-9 for size in held.values()) <= (strategy.params().max_positions or len(held))
    trades = trades_of(simulation, *market)
    gained = simulation.equity["equity"].iloc[-1] - 1000.0
    assert trades.net_pnl.sum() == pytest.approx(gained, abs=1e-6)
    parts = trades.gross_pnl - trades.commission - trades.slippage
    np.testing.assert_allclose(parts, trades.net_pnl, atol=1e-9)
    assert len(trades[trades.status == "open"]) == sum(abs(size) > 1e-9 for size in held.values())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 58), st.integers(-12, 12).filter(bool).map(lambda quarters: quarters / 4)), max_size=12),
    st.floats(0.0, 0.01), st.floats(0.0, 0.01),
)  # fmt: skip
def test_dearer_commission_never_raises_the_outcome_of_the_same_fills(
    orders: list[tuple[int, float]], commission: float, more: float
) -> None:
    class Fixed(bt.Strategy):
        def next(self) -> None:
            for bar, size in orders:
                if bar == len(self):
                    (self.buy if size > 0 else self.sell)(size=abs(size))

    candles = make_candles(60)
    cheap = run(Fixed, candles, cash=1e5, costs=Costs(commission, 0.0001), allow_short=True)
    dear = run(Fixed, candles, cash=1e5, costs=Costs(commission + more, 0.0001), allow_short=True)
    assert [fill.price for fill in cheap.fills] == [fill.price for fill in dear.fills]
    assert len(cheap.fills) == len(orders)
    turnover = sum(abs(fill.size) * fill.price for fill in cheap.fills)
    lost = cheap.equity["equity"].iloc[-1] - dear.equity["equity"].iloc[-1]
    assert lost == pytest.approx(more * turnover, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(adventures())
def test_prices_ten_times_as_high_with_lots_a_tenth_leave_returns_unchanged(adventure: Any) -> None:
    market, strategy, costs, allow_short = adventure
    times_ten = [
        Candles.from_frame(
            c.frame.assign(**{n: c.frame[n] * 10 for n in ("open", "high", "low", "close")}), c.symbol, "1m"
        )
        for c in market
    ]
    one = run(strategy, *market, costs=costs, allow_short=allow_short, rules=MarketRules(1e-3, 5.0))
    ten = run(strategy, *times_ten, costs=costs, allow_short=allow_short, rules=MarketRules(1e-4, 5.0))
    assert [(f.row, f.reason) for f in one.fills] == [(f.row, f.reason) for f in ten.fills]
    np.testing.assert_allclose(one.equity["equity"], ten.equity["equity"], rtol=1e-9)


def stock_fills(
    strategy: type[bt.Strategy], candles: Candles, costs: Costs, cash: float
) -> tuple[list[Any], list[float]]:
    """(time, size, price, commission) of every fill and the equity of every bar, by Backtrader as it comes."""
    fills: list[Any] = []
    values: list[float] = []

    class Stock(strategy):  # type: ignore[misc, valid-type]
        def notify_order(self, order: bt.Order) -> None:
            if order.status == order.Completed:
                done = order.executed
                fills.append((bt.num2date(done.dt), done.size, done.exbits[-1].price, done.comm))

        def notify_cashvalue(self, cash: float, value: float) -> None:
            values.append(value)

    frame = candles.frame.tz_localize(None)
    frame.index = frame.index.as_unit("ns")
    cerebro = bt.Cerebro()
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(Stock)
    cerebro.broker.set_cash(cash)
    cerebro.broker.setcommission(commission=costs.commission)
    cerebro.broker.set_slippage_perc(costs.slippage, slip_out=True)
    cerebro.run()
    return fills, values


class Crossing(bt.Strategy):
    """Market orders, both sides, turned around in one order."""

    def __init__(self) -> None:
        self.fast = bt.indicators.SMA(self.data.close, period=7)
        self.slow = bt.indicators.SMA(self.data.close, period=23)

    def next(self) -> None:
        size = round(0.5 * self.broker.getvalue() / self.data.close[0], 5)
        self.order_target_size(target=size if self.fast[0] > self.slow[0] else -size)


class Resting(bt.Strategy):
    """Stops, limits, trailing stops and brackets."""

    def next(self) -> None:
        close = self.data.close[0]
        if len(self) % 97 == 0 and not self.position:
            self.buy_bracket(
                size=round(0.4 * self.broker.getvalue() / close, 5), exectype=bt.Order.Market,
                stopprice=close * 0.997, limitprice=close * 1.003,
            )  # fmt: skip
        elif len(self) % 97 == 50 and not self.position:
            self.buy(size=0.1, exectype=bt.Order.Stop, price=close * 1.001, valid=self.data.datetime[0] + 0.01)
        elif len(self) % 97 == 80 and self.position:
            self.sell(size=self.position.size, exectype=bt.Order.StopTrail, trailpercent=0.001)


@pytest.mark.parametrize("strategy", [Crossing, Resting])
def test_column_feed_and_ledger_fill_like_stock_backtrader_to_the_bit_on_a_random_walk(strategy: Any) -> None:
    assert_like_stock(strategy, make_candles(1500, seed=3))


@pytest.mark.parametrize("strategy", [Crossing, Resting])
def test_column_feed_and_ledger_fill_like_stock_backtrader_to_the_bit_on_real_candles(
    strategy: Any, real_data: Path
) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_5m_20210101_20210513.parquet", "BTC/USDT", "5m")
    assert_like_stock(strategy, candles.rows(0, 4000))


def assert_like_stock(strategy: type[bt.Strategy], candles: Candles) -> None:
    costs = Costs(0.001, 0.0002)
    loose = MarketRules(1e-8, 0.0)
    simulation = run(strategy, candles, costs=costs, cash=1e5, rules=loose, allow_short=True)
    fills, values = stock_fills(strategy, candles, costs, 1e5)
    ours = [
        (candles.time[f.row].to_pydatetime().replace(tzinfo=None), f.size, f.price, f.commission)
        for f in simulation.fills
    ]
    assert len(fills) > 20
    assert ours == fills
    assert list(simulation.equity["equity"]) == values


def test_two_runs_are_the_same_to_the_bit() -> None:
    candles = make_candles(400)
    strategy = scripted(enter_long=range(0, 400, 9), exit_long=range(4, 400, 9), stop_loss=0.001)
    assert_same(run(strategy, candles), run(strategy, candles))


def test_the_loop_that_passes_over_bars_is_the_one_in_use() -> None:
    """So that the comparison above compares two loops."""
    steps: list[int] = []

    class Counted(scripted(enter_long=[10], exit_long=[100])):  # type: ignore[misc]
        @property
        def desks(self) -> Any:
            steps.append(1)
            return super().desks

    assert Simulator._runonce is not bt.Cerebro._runonce
    rows = 300
    simulation = run(Counted, make_candles(rows))
    assert len(simulation.equity) == rows
    assert len(steps) < 20


def in_own_cerebro(strategy: type[bt.Strategy], *frames: pd.DataFrame, cash: float = 1000.0, **settings: Any) -> Any:
    """The strategy after a run in a Cerebro that knows nothing of freqlstm."""
    cerebro = bt.Cerebro(**settings)
    for number, frame in enumerate(frames):
        lines = tuple(frame.columns[5:])
        feed = type("Feed", (bt.feeds.PandasData,), {"lines": lines, "params": tuple((name, -1) for name in lines)})
        cerebro.adddata(feed(dataname=frame.tz_localize(None)), name=f"feed {number}")
    cerebro.broker.set_cash(cash)
    cerebro.broker.setcommission(commission=0.001)
    cerebro.addanalyzer(bt.analyzers.Transactions, _name="fills")
    cerebro.addstrategy(strategy)
    return cerebro.run()[0]


class Averages(Strategy):
    params = dict(stop_loss=0.01)

    def enter_long(self, bars: Any) -> Any:
        return (bars.close > bars.close.rolling(5).mean()) & (bars.rsi(3) > 50)

    def exit_long(self, bars: Any) -> Any:
        return bars.close < bars.close.rolling(5).mean()

    def enter_short(self, bars: Any) -> Any:
        return bars.rsi(3) < 20

    def exit_short(self, bars: Any) -> Any:
        return bars.rsi(3) > 40


@pytest.mark.parametrize("settings", [{}, {"runonce": False}])
def test_a_strategy_of_conditions_trades_in_a_users_own_cerebro_as_in_a_backtest(settings: dict[str, Any]) -> None:
    candles = make_candles(400)
    running = in_own_cerebro(Averages, candles.frame, **settings)
    own = [row for rows in running.analyzers.fills.get_analysis().values() for row in rows]
    loosest = MarketRules(min_notional=0.0)
    simulation = run(Averages, candles, costs=COMMISSION, rules=loosest, allow_short=True)
    assert len(own) > 20
    assert [(row[0], row[1]) for row in own] == [(fill.size, fill.price) for fill in simulation.fills]
    assert running.broker.getvalue() == simulation.equity["equity"].iloc[-1]


def test_two_symbols_that_begin_at_different_times_trade_in_a_users_own_cerebro() -> None:
    candles = make_candles(300)
    running = in_own_cerebro(Averages, candles.frame, candles.frame.iloc[100:])
    own = [row for rows in running.analyzers.fills.get_analysis().values() for row in rows]
    assert {row[2] for row in own} == {0, 1}


def test_predictions_that_are_a_line_of_the_users_own_feed_are_decided_by() -> None:
    class Predicted(Strategy):
        signals = dict(outlook="lstm")

        def enter_long(self, bars: Any) -> Any:
            return bars.outlook > 0

    candles = candles_of(*flat(100, 5))
    running = in_own_cerebro(Predicted, candles.frame.assign(outlook=[np.nan, 0.0, 1.0, 0.0, 0.0]))
    ((time, _),) = running.analyzers.fills.get_analysis().items()
    assert pd.Timestamp(time, tz="UTC") == candles.time[3]
    with pytest.raises(PluginError) as error:
        in_own_cerebro(Predicted, candles.frame)
    assert str(error.value) == (
        "Predicted decides by the signal 'lstm', but its data has no line 'outlook'. Run it with "
        "`freqlstm backtest`, or give the feed a line of that name with the predictions."
    )


@pytest.mark.parametrize("settings", [{"preload": False}, {"exactbars": True}])
def test_a_users_own_cerebro_that_loads_its_data_bar_by_bar_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(PluginError) as error:
        in_own_cerebro(Averages, make_candles(50).frame, **settings)
    assert str(error.value) == (
        "Averages decides over whole columns, but its data is not loaded before the run. Run the Cerebro with "
        "preload=True and exactbars=False, on a feed that is neither live, resampled nor replayed."
    )


def test_candles_of_a_users_own_feed_that_are_no_timeframe_apart_are_refused() -> None:
    frame = make_candles(50).frame
    frame.index = pd.date_range("2024-01-01", periods=50, freq="7min", tz="UTC")
    with pytest.raises(PluginError, match=r"^The candles that Averages got are 0 days 00:07:00 apart, which"):
        in_own_cerebro(Averages, frame)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(1e-4, 1e5), st.floats(20, 1e7), st.sampled_from([0.0, 0.00075, 0.001]), st.sampled_from([0.0, 0.0001]),
    st.sampled_from([1e-8, 1e-5, 0.1]),
)  # fmt: skip
def test_rounding_never_refuses_an_entry_with_all_of_the_cash(
    price: float, cash: float, commission: float, slippage: float, lot_step: float
) -> None:
    assume(cash / price / lot_step < 1e11)  # beyond, one lot is in the last bits of a size
    rules, costs = MarketRules(lot_step, 0.0), Costs(commission, slippage)
    simulation = run(
        scripted(enter_long=[0], exposure=1.0), candles_of(*flat(price, 3)), cash=cash, costs=costs, rules=rules
    )
    assert all("smaller than one lot" in refusal.why for refusal in simulation.refusals)


def test_a_take_profit_above_the_whole_price_paid_is_for_long_positions_only() -> None:
    """Bought at 100, it is sold at 250; sold short at 100, no price is low enough."""
    candles = candles_of(*flat(100, 3), *flat(240, 1), (240, 260, 240, 255), *flat(255, 1))
    long = run(scripted(enter_long=[0], take_profit=1.5), candles)
    assert [(fill.row, fill.price) for fill in long.fills] == [(1, 100.0), (4, 250.0)]
    for whole in (1.0, 1.5):
        short = run(scripted(enter_short=[0], take_profit=whole), candles, allow_short=True)
        assert [fill.reason for fill in short.fills] == ["enter_short"]
