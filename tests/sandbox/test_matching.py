"""Orders against the book and the price: without any wire."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sandboxing import DEEP, market_of

from freqlstm.sandbox import Liquidity, Terms
from freqlstm.sandbox.accounts import KEY
from freqlstm.sandbox.refusal import Refusal
from freqlstm.sandbox.trading import cancel, cancel_replace, my_trades, place, status
from freqlstm.sandbox.venue import Venue

QUIET = (100.0, 100.0, 100.0, 100.0, 10.0)
THIN = Liquidity(levels=3, amount=Decimal(200))


class Desk:
    """A venue over hand-written candles, one account, and every event that it was told."""

    def __init__(self, *rows: tuple[float, ...], **terms: Any) -> None:
        given = {"liquidity": DEEP, "balances": {"USDT": Decimal(10_000), "BTC": Decimal(10)}, **terms}
        self.venue = Venue(market_of(*(rows or [QUIET])), Terms(**given))
        self.account = self.venue.accounts[KEY]
        self.events: list[dict[str, Any]] = []
        self.venue.tell = lambda account, event: self.events.append(event)
        self.venue.begin()

    def place(self, side: str = "BUY", type: str = "MARKET", **rest: Any) -> dict[str, Any]:
        if type in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
            rest.setdefault("timeInForce", "GTC")
        given = {"symbol": "BTCUSDT", "side": side, "type": type, "newOrderRespType": "FULL", **rest}
        return place(self.venue, self.account, given)

    def refused(self, *arguments: Any, **rest: Any) -> tuple[int, str]:
        with pytest.raises(Refusal) as caught:
            self.place(*arguments, **rest)
        return caught.value.code, caught.value.message

    def status(self, order: dict[str, Any]) -> dict[str, Any]:
        return status(self.venue, self.account, {"symbol": "BTCUSDT", "orderId": order["orderId"]})

    def candle(self) -> None:
        before = self.venue.replay.open_time
        while self.venue.replay.open_time == before:
            self.venue.advance()

    def holds(self, asset: str) -> tuple[Decimal, Decimal]:
        balance = self.account.balance(asset)
        return balance.free, balance.locked

    def kinds(self) -> list[str]:
        return [event.get("x", event["e"]) for event in self.events]


def test_a_market_order_walks_the_book_best_first_and_pays_its_fee_in_what_it_receives() -> None:
    desk = Desk(liquidity=THIN)
    order = desk.place(quantity="3")
    prices = [Decimal(fill["price"]) for fill in order["fills"]]
    assert order["status"] == "FILLED"
    assert prices == sorted(prices)
    assert prices[0] == Decimal("100.01")
    for fill in order["fills"]:
        assert Decimal(fill["commission"]) == (Decimal(fill["qty"]) * Decimal("0.001")).quantize(Decimal("1e-8"))
        assert fill["commissionAsset"] == "BTC"
    paid = sum(Decimal(fill["price"]) * Decimal(fill["qty"]) for fill in order["fills"])
    fee = sum(Decimal(fill["commission"]) for fill in order["fills"])
    assert Decimal(order["cummulativeQuoteQty"]) == paid
    assert desk.holds("USDT") == (10_000 - paid, 0)
    assert desk.holds("BTC") == (13 - fee, 0)


def test_a_sale_pays_its_fee_in_the_quote_asset_cut_off_after_eight_digits() -> None:
    desk = Desk((100.03, 100.03, 100.03, 100.03, 5.0))
    order = desk.place("SELL", quantity="0.12353")
    got = Decimal("100.03") * Decimal("0.12353")
    assert order["fills"][0]["commissionAsset"] == "USDT"
    assert order["fills"][0]["commission"] == "0.01235670"  # of 0.0123567059
    assert desk.holds("USDT")[0] == 10_000 + got - Decimal("0.01235670")


def test_a_market_order_that_empties_the_book_expires_with_what_it_has() -> None:
    desk = Desk(liquidity=THIN)
    order = desk.place(quantity="50")
    assert order["status"] == "EXPIRED"
    assert order["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
    assert 0 < Decimal(order["executedQty"]) < 50
    assert desk.kinds() == ["NEW", "TRADE", "TRADE", "TRADE", "EXPIRED", "outboundAccountPosition"]
    assert desk.holds("USDT")[1] == 0
    assert desk.place(quantity="0.1")["status"] == "EXPIRED"  # nothing comes back before the next price
    desk.venue.advance()
    assert desk.place(quantity="2.9")["status"] == "FILLED"


def test_a_market_order_for_an_amount_buys_whole_steps_of_it() -> None:
    desk = Desk()
    order = desk.place(quoteOrderQty="1000")
    assert order["origQty"] == order["executedQty"] == "9.99900000"
    assert Decimal(order["cummulativeQuoteQty"]) <= 1000
    assert order["origQuoteOrderQty"] == "1000.00000000"


def test_an_order_that_cannot_be_paid_is_refused_and_leaves_nothing() -> None:
    desk = Desk()
    assert desk.refused(quantity="100") == (-2010, "Account has insufficient balance for requested action.")
    assert desk.refused("SELL", "LIMIT", quantity="11", price="200") == (
        -2010, "Account has insufficient balance for requested action.",
    )  # fmt: skip
    assert not desk.account.orders
    assert not desk.events
    assert desk.holds("USDT") == (10_000, 0)


def test_a_limit_order_locks_rests_and_is_filled_as_the_maker_at_its_own_price() -> None:
    desk = Desk(QUIET, (100.0, 101.0, 95.0, 99.0, 10.0))
    order = desk.place(type="LIMIT", quantity="2", price="96")
    assert order["status"] == "NEW"
    assert desk.holds("USDT") == (10_000 - 192, 192)
    desk.candle()
    assert desk.status(order)["status"] == "NEW"
    desk.candle()
    assert desk.status(order)["status"] == "FILLED"
    trade = my_trades(desk.venue, desk.account, {"symbol": "BTCUSDT"})[0]
    assert (trade["price"], trade["isMaker"], trade["commission"]) == ("96.00000000", True, "0.00200000")
    assert desk.holds("USDT") == (10_000 - 192, 0)
    assert desk.holds("BTC") == (Decimal("11.998"), 0)


def test_a_limit_order_above_the_market_takes_and_gives_back_what_it_saved() -> None:
    desk = Desk(liquidity=THIN)
    order = desk.place(type="LIMIT", quantity="20", price="105")
    assert order["status"] == "PARTIALLY_FILLED"
    executed, paid = Decimal(order["executedQty"]), Decimal(order["cummulativeQuoteQty"])
    assert desk.holds("USDT") == (10_000 - paid - (20 - executed) * 105, (20 - executed) * 105)
    cancelled = cancel(
        desk.venue, desk.account, {"symbol": "BTCUSDT", "orderId": order["orderId"], "newClientOrderId": "my-cancel"}
    )
    assert (cancelled["clientOrderId"], cancelled["origClientOrderId"]) == ("my-cancel", order["clientOrderId"])
    assert (cancelled["status"], Decimal(cancelled["executedQty"])) == ("CANCELED", executed)
    assert desk.holds("USDT") == (10_000 - paid, 0)
    report = next(event for event in desk.events if event.get("x") == "CANCELED")
    assert (report["c"], report["C"]) == ("my-cancel", order["clientOrderId"])


def test_ioc_expires_with_its_rest_and_fok_with_everything() -> None:
    desk = Desk(liquidity=THIN)
    ioc = desk.place(type="LIMIT", quantity="20", price="100.01", timeInForce="IOC")
    assert ioc["status"] == "EXPIRED"
    assert Decimal(ioc["executedQty"]) > 0
    fok = desk.place(type="LIMIT", quantity="20", price="101", timeInForce="FOK")
    assert (fok["status"], fok["executedQty"]) == ("EXPIRED", "0.00000000")
    assert desk.holds("USDT")[1] == 0


def test_a_limit_maker_that_would_take_is_refused() -> None:
    desk = Desk()
    assert desk.refused("BUY", "LIMIT_MAKER", quantity="1", price="100.01") == (
        -2010, "Order would immediately match and take.",
    )  # fmt: skip
    assert desk.place("BUY", "LIMIT_MAKER", quantity="1", price="100")["status"] == "NEW"


@pytest.mark.parametrize(
    ("side", "type", "stop", "row", "price"),
    [
        ("SELL", "STOP_LOSS", "97", (100.0, 101.0, 95.0, 99.0, 10.0), "97"),
        ("BUY", "STOP_LOSS", "100.5", (100.0, 101.0, 95.0, 99.0, 10.0), "100.51"),
        ("SELL", "TAKE_PROFIT", "100.5", (100.0, 101.0, 95.0, 99.0, 10.0), "100.5"),
        ("BUY", "TAKE_PROFIT", "97", (100.0, 101.0, 95.0, 99.0, 10.0), "97.01"),
        ("SELL", "STOP_LOSS", "97", (96.0, 96.5, 95.0, 96.0, 10.0), "96"),  # the market opens beyond it
    ],
)
def test_a_stop_price_that_the_market_meets_turns_the_order_into_a_market_order_there(
    side: str, type: str, stop: str, row: tuple[float, ...], price: str
) -> None:
    desk = Desk(QUIET, row)
    order = desk.place(side, type, quantity="1", stopPrice=stop)
    assert (desk.status(order)["status"], desk.status(order)["isWorking"]) == ("NEW", False)
    desk.candle()
    assert desk.status(order)["status"] == ("FILLED" if row[0] == 96.0 else "NEW")
    desk.candle()
    assert desk.status(order)["status"] == "FILLED"
    trade = my_trades(desk.venue, desk.account, {"symbol": "BTCUSDT"})[0]
    assert Decimal(trade["price"]) == Decimal(price)
    assert not trade["isMaker"]
    assert all(desk.holds(asset)[1] == 0 for asset in ("BTC", "USDT"))


def test_a_stop_price_that_is_met_already_is_refused() -> None:
    desk = Desk()
    for side, type, stop in (("SELL", "STOP_LOSS", "101"), ("BUY", "TAKE_PROFIT", "101")):
        assert desk.refused(side, type, quantity="1", stopPrice=stop) == (
            -2010, "Stop price would trigger immediately.",
        )  # fmt: skip


def test_a_stop_limit_order_rests_at_its_limit_once_it_is_triggered() -> None:
    desk = Desk(QUIET, (100.0, 100.0, 96.0, 96.0, 10.0), (96.0, 99.0, 96.0, 99.0, 10.0))
    order = desk.place("SELL", "STOP_LOSS_LIMIT", quantity="1", price="98", stopPrice="97")
    desk.candle()
    desk.candle()
    assert (desk.status(order)["status"], desk.status(order)["isWorking"]) == ("NEW", True)
    desk.candle()
    assert desk.status(order)["status"] == "FILLED"
    assert my_trades(desk.venue, desk.account, {"symbol": "BTCUSDT"})[0]["price"] == "98.00000000"


def test_a_trailing_stop_follows_the_best_price_and_strikes_at_its_distance() -> None:
    desk = Desk(QUIET, (100.0, 110.0, 100.0, 110.0, 10.0), (110.0, 110.0, 100.0, 100.0, 10.0))
    order = desk.place("SELL", "STOP_LOSS", quantity="1", trailingDelta="500")
    desk.candle()
    desk.candle()
    assert desk.status(order)["status"] == "NEW"
    desk.candle()
    assert desk.status(order)["status"] == "FILLED"
    assert my_trades(desk.venue, desk.account, {"symbol": "BTCUSDT"})[0]["price"] == "104.50000000"  # 110 less 5%


def test_a_trailing_stop_with_a_stop_price_waits_for_it_first() -> None:
    desk = Desk(QUIET, (100.0, 104.0, 98.0, 98.0, 10.0), (98.0, 98.0, 94.0, 94.0, 10.0), (94.0, 94.0, 80.0, 80.0, 10.0))
    order = desk.place("SELL", "STOP_LOSS", quantity="1", stopPrice="95", trailingDelta="1000")
    for _ in range(3):
        desk.candle()
    assert desk.status(order)["status"] == "NEW"  # tracking from 95 on
    desk.candle()
    assert my_trades(desk.venue, desk.account, {"symbol": "BTCUSDT"})[0]["price"] == "85.50000000"  # 95 less 10%


def test_a_client_order_id_is_refused_while_its_order_is_open_and_accepted_again_once_it_is_filled() -> None:
    desk = Desk()
    for _ in range(2):  # so a resent market order is a second order
        assert desk.place(quantity="1", newClientOrderId="mine")["status"] == "FILLED"
    assert desk.place(type="LIMIT", quantity="1", price="90", newClientOrderId="mine")["status"] == "NEW"
    assert desk.refused(quantity="1", newClientOrderId="mine") == (-2010, "Duplicate order sent.")
    truth = desk.venue.truth()["accounts"][KEY]
    assert len(truth["orders"]) == 3
    assert truth["duplicates"] == ["mine"]


def test_an_order_does_not_trade_with_its_own_account() -> None:
    desk = Desk()
    resting = desk.place("SELL", "LIMIT", quantity="1", price="100.01")
    taking = desk.place("BUY", quantity="1")
    assert desk.status(resting)["status"] == "EXPIRED_IN_MATCH"
    assert taking["status"] == "FILLED"
    assert "TRADE_PREVENTION" in desk.kinds()
    desk.place("SELL", "LIMIT", quantity="1", price="100.02")
    assert desk.place("BUY", quantity="1", selfTradePreventionMode="EXPIRE_TAKER")["status"] == "FILLED"


def test_cancel_replace_says_what_became_of_both_halves() -> None:
    desk = Desk()
    new = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "91",
        "cancelReplaceMode": "STOP_ON_FAILURE",
    }  # fmt: skip
    old = desk.place(type="LIMIT", quantity="1", price="90")
    done = cancel_replace(desk.venue, desk.account, {**new, "cancelOrderId": old["orderId"]})
    assert (done["cancelResult"], done["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert done["newOrderResponse"]["price"] == "91.00000000"
    with pytest.raises(Refusal) as failed:
        cancel_replace(desk.venue, desk.account, {**new, "cancelOrderId": old["orderId"]})
    assert (failed.value.code, failed.value.data["newOrderResult"]) == (-2022, "NOT_ATTEMPTED")
    second = done["newOrderResponse"]["orderId"]
    with pytest.raises(Refusal) as partial:
        cancel_replace(desk.venue, desk.account, {**new, "quantity": "500", "cancelOrderId": second})
    assert (partial.value.code, partial.value.status) == (-2021, 409)
    assert partial.value.data["newOrderResponse"]["code"] == -2010
    assert desk.events[-1]["x"] == "REJECTED"
    assert desk.events[-1]["r"] == "INSUFFICIENT_BALANCES"


def test_a_resting_order_is_filled_in_parts_when_told_so() -> None:
    desk = Desk(QUIET, (100.0, 100.0, 95.0, 95.0, 10.0))
    order = desk.place(type="LIMIT", quantity="1", price="97")
    desk.venue.faults.arm("partial", share=0.25)
    desk.candle()
    desk.venue.advance()
    while not desk.venue.faults.consumed["partial"]:
        desk.venue.advance()
    assert desk.status(order)["status"] == "PARTIALLY_FILLED"
    assert desk.status(order)["executedQty"] == "0.25000000"
    desk.candle()
    assert desk.status(order)["status"] == "FILLED"


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"type": "LIMIT", "quantity": "1", "price": "100.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"type": "LIMIT", "quantity": "1", "price": "600"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.123456"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "200"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({"quantity": "0.04"}, -1013, "Filter failure: NOTIONAL"),
        ({"type": "LIMIT", "quantity": "0.05", "price": "99"}, -1013, "Filter failure: NOTIONAL"),
        ({"type": "STOP_LOSS", "side": "SELL", "quantity": "1", "trailingDelta": "5"}, -1013, "Filter failure: TRAILING_DELTA"),
        ({"quantity": "0.1234567891"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"quantity": "1e2"}, -1100, r"Illegal characters found in parameter 'quantity'; legal range is '^([0-9]{1,20})(\.[0-9]{1,20})?$'."),
        ({"quantity": "1", "price": "90"}, -1106, "Parameter 'price' sent when not required."),
        ({}, -1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."),
        ({"quantity": "1", "side": "LONG"}, -1117, "Invalid side."),
        ({"quantity": "1", "type": "ICEBERG"}, -1116, "Invalid orderType."),
        ({"quantity": "1", "symbol": "XYZUSDT"}, -1121, "Invalid symbol."),
        ({"quantity": "1", "pricee": "1"}, -1104, "Not all sent parameters were read; read '5' parameter(s) but was sent '6'."),
        ({"type": "LIMIT", "quantity": "1", "price": "90", "timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"quantity": "1", "newClientOrderId": "a b"}, -1100, r"Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\.A-Z\:/a-z0-9_-]{1,36}$'."),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused_and_never_rounded(given: dict[str, str], code: int, message: str) -> None:
    desk = Desk()
    assert desk.refused(**given) == (code, message)
    assert not desk.account.orders


def test_too_many_open_orders_are_refused() -> None:
    desk = Desk()
    for number in range(5):
        desk.place("SELL", "STOP_LOSS", quantity="1", stopPrice=f"{90 - number}")
    assert desk.refused("SELL", "STOP_LOSS", quantity="1", stopPrice="80")[1] == "Filter failure: MAX_NUM_ALGO_ORDERS"
    for number in range(195):
        desk.place(type="LIMIT", quantity="0.1", price=f"{80 - number / 10:.1f}")
    assert desk.refused(quantity="1")[1] == "Filter failure: MAX_NUM_ORDERS"


def test_the_events_of_an_order_carry_what_each_step_did() -> None:
    desk = Desk(liquidity=THIN)
    order = desk.place(quantity="3", newClientOrderId="mine")
    new, *trades, position = desk.events
    assert (new["x"], new["X"], new["z"], new["t"], new["N"]) == ("NEW", "NEW", "0.00000000", -1, None)
    assert [event["X"] for event in trades] == ["PARTIALLY_FILLED"] * (len(trades) - 1) + ["FILLED"]
    total = Decimal(0)
    for event, fill in zip(trades, order["fills"], strict=True):
        total += Decimal(event["l"])
        assert Decimal(event["z"]) == total
        told = (event["L"], event["l"], event["n"], event["N"], event["t"])
        assert told == (fill["price"], fill["qty"], fill["commission"], fill["commissionAsset"], fill["tradeId"])
        assert (event["c"], event["C"], event["m"]) == ("mine", "", False)
    assert [row["a"] for row in position["B"]] == ["BTC", "USDT"]


def test_a_symbol_in_a_break_takes_no_orders() -> None:
    desk = Desk()
    desk.venue.set_status("BTCUSDT", "BREAK")
    assert desk.refused(quantity="1") == (-1013, "Market is closed.")


def test_a_position_above_its_limit_is_refused() -> None:
    from dataclasses import replace

    desk = Desk()
    listings = desk.venue.matching.listings
    listings["BTCUSDT"] = replace(listings["BTCUSDT"], max_position=Decimal(11))
    assert desk.place(type="LIMIT", quantity="0.5", price="90")["status"] == "NEW"
    assert desk.refused(quantity="0.6") == (-1013, "Filter failure: MAX_POSITION")
    assert desk.place(quantity="0.5")["status"] == "FILLED"
