"""How fills become trades; every number worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading import candles_of, flat

from freqlstm.engines.fills import Fill, Refusal, trade_list
from freqlstm.stats import cost_summary

BTC = candles_of(*flat(100, 10))
MARKET = {"BTC/USDT": BTC, "ETH/USDT": candles_of(*flat(50, 10), symbol="ETH/USDT")}


def fill(row: int, size: float, price: float = 100.0, symbol: str = "BTC/USDT", **other: float) -> Fill:
    costs = {"commission": abs(size) * price * 0.001, "slippage": 0.0, **other}
    return Fill(symbol, row - 1, row, size, price, costs["commission"], costs["slippage"], f"reason {row}")


def trades(fills: list[Fill], refusals: list[Refusal] | None = None) -> pd.DataFrame:
    return trade_list(fills, refusals or [], MARKET, lambda symbol, reason, row: (f"{reason}!", f"{row}", row / 10))


def test_no_fills_make_an_empty_table_with_its_columns() -> None:
    table = trades([])
    assert len(table) == 0
    assert table.columns[0] == "symbol"
    assert str(table.dtypes["entry_time"]) == "datetime64[ms, UTC]"


def test_a_round_trip_tells_when_it_was_decided_and_why() -> None:
    (trade,) = trades([fill(2, 1.0), fill(5, -1.0, 110.0)]).to_dict("records")
    assert (trade["decided_at"], trade["entry_time"], trade["exit_time"]) == (BTC.time[2], BTC.time[2], BTC.time[5])
    assert (trade["entry_reason"], trade["exit_reason"]) == ("reason 2!", "reason 5!")
    assert (trade["votes"], trade["prediction"], trade["bars_held"]) == ("1", 0.1, 3)


def test_several_fills_in_and_out_are_one_trade_at_mean_prices() -> None:
    """1 at 100 and 3 at 120 (mean 115), out 2 at 130 and 2 at 140 (mean 135): 4 x 20 = 80, fees 0.46 + 0.54."""
    (trade,) = trades([fill(1, 1.0), fill(2, 3.0, 120.0), fill(3, -2.0, 130.0), fill(4, -2.0, 140.0)]).to_dict(
        "records"
    )
    assert (trade["size"], trade["entry_price"], trade["exit_price"]) == (4.0, 115.0, 135.0)
    assert (trade["gross_pnl"], trade["commission"], trade["net_pnl"]) == pytest.approx((80.0, 1.0, 79.0))
    assert trade["net_return"] == pytest.approx(79 / 460)


def test_slippage_is_part_of_the_net_and_not_of_the_gross() -> None:
    """Bought at 101 and sold at 109 where the market was at 100 and 110: 10 gross, 2 slippage, 0.21 commission."""
    legs = [fill(1, 1.0, 101.0, slippage=1.0), fill(3, -1.0, 109.0, slippage=1.0)]
    (trade,) = trades(legs).to_dict("records")
    assert (trade["gross_pnl"], trade["slippage"], trade["net_pnl"]) == pytest.approx((10.0, 2.0, 7.79))


def test_an_order_that_turns_a_position_around_is_split_with_its_costs() -> None:
    """Long 1 at 100, then -3 at 110 with 0.33 commission and 0.30 slippage: a third of both ends the first trade."""
    legs = [fill(1, 1.0), fill(4, -3.0, 110.0, slippage=0.3), fill(6, 2.0, 105.0)]
    first, second = trades(legs).to_dict("records")
    assert (first["side"], second["side"]) == ("long", "short")
    assert (first["commission"], first["slippage"]) == pytest.approx((0.1 + 0.11, 0.1))
    assert (second["size"], second["commission"], second["slippage"]) == pytest.approx((2.0, 0.22 + 0.21, 0.2))
    assert first["net_pnl"] + second["net_pnl"] == pytest.approx(10 + 10 - 0.1 - 0.33 - 0.21)


def test_what_is_still_open_is_valued_at_the_last_close() -> None:
    """2 bought at 90, 1 sold at 95: 5 gained, and 10 on the other at 100, less 0.18 + 0.095."""
    (trade,) = trades([fill(1, 2.0, 90.0), fill(3, -1.0, 95.0)]).to_dict("records")
    assert (trade["status"], trade["bars_held"]) == ("open", 9)
    assert pd.isna(trade["exit_time"])
    assert trade["net_pnl"] == pytest.approx(15 - 0.275)
    assert trade["turnover"] == pytest.approx(2 * 90 + 95)
    costs = cost_summary(trades([fill(1, 2.0, 90.0), fill(3, -1.0, 95.0)]))
    assert (costs["turnover"], costs["paid_bps"]) == pytest.approx((275.0, 10.0))


def test_fractions_that_do_not_add_up_exactly_still_close_a_trade() -> None:
    (trade,) = trades([fill(1, 0.1), fill(2, 0.2), fill(3, -0.3)]).to_dict("records")
    assert trade["status"] == "closed"


def test_symbols_are_kept_apart_and_sorted_by_time_of_decision() -> None:
    table = trades([fill(3, 1.0), fill(1, 2.0, 50.0, "ETH/USDT"), fill(5, -1.0), fill(6, -2.0, 55.0, "ETH/USDT")])
    assert list(table.symbol) == ["ETH/USDT", "BTC/USDT"]
    assert list(table.net_pnl) == pytest.approx([10 - 0.21, -0.2])


def test_a_refusal_that_repeats_bar_after_bar_is_listed_once() -> None:
    def refusal(row: int, reason: str = "enter_long", size: float = 1.0) -> Refusal:
        return Refusal("BTC/USDT", row, size, reason, f"why {row}")

    table = trades([], [refusal(1), refusal(2), refusal(3), refusal(5), refusal(6, "enter_short", -1.0)])
    assert list(table.refused_because) == ["why 1", "why 5", "why 6"]
    assert list(table.side) == ["long", "long", "short"]
    assert (table.status == "refused").all()
    assert table.entry_time.isna().all()


def test_a_refused_buy_and_a_refused_sell_of_a_plain_strategy_are_two() -> None:
    rows = [Refusal("BTC/USDT", 1, 1.0, "", "a"), Refusal("BTC/USDT", 2, -1.0, "", "b")]
    assert list(trades([], rows).side) == ["long", "short"]


@given(st.lists(st.tuples(st.floats(-5, 5).filter(lambda size: abs(size) > 0.01), st.floats(50, 150)), max_size=9))
def test_the_profits_of_all_trades_add_up_to_cash_and_position(legs: list[tuple[float, float]]) -> None:
    fills = [fill(row, size, price) for row, (size, price) in enumerate(legs, start=1)]
    table = trades(fills)
    cash = -sum(f.size * f.price + f.commission for f in fills)
    assert table.net_pnl.sum() == pytest.approx(cash + 100 * sum(f.size for f in fills), abs=1e-6)
    assert np.isclose(table.commission.sum(), sum(f.commission for f in fills))
