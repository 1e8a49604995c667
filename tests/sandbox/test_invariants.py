"""Whatever is asked of it, the exchange keeps its books: money, locks, fills and answers."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandboxing import market_of

from freqlstm.demo import demo_candles
from freqlstm.sandbox import Liquidity, Terms
from freqlstm.sandbox.accounts import KEY, Account
from freqlstm.sandbox.operations import OPERATIONS
from freqlstm.sandbox.refusal import Refusal
from freqlstm.sandbox.trading import cancel, place
from freqlstm.sandbox.venue import Venue

OTHER = "another" * 9 + "k"
START = {"USDT": Decimal(20_000), "BTC": Decimal(1)}
QUIET = (100.0, 100.0, 100.0, 100.0, 10.0)


def random_order(draw: random.Random, price: float) -> dict[str, str]:
    side, kind = draw.choice(["BUY", "SELL"]), draw.choice(["MARKET"] * 3 + ["LIMIT"] * 4 + ["LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"])  # fmt: skip
    order = {"symbol": "BTCUSDT", "side": side, "type": kind, "quantity": f"{draw.uniform(0.001, 0.08):.5f}"}

    def near() -> str:
        return f"{price * draw.uniform(0.998, 1.002):.2f}"

    if kind == "MARKET" and draw.random() < 0.3:
        del order["quantity"]
        order["quoteOrderQty"] = f"{draw.uniform(20, 2000):.2f}"
    if "LIMIT" in kind:
        order["price"] = near()
    if kind.endswith("LIMIT"):
        order["timeInForce"] = draw.choice(["GTC", "GTC", "GTC", "IOC", "FOK"])
    if kind.startswith(("STOP", "TAKE")):
        if draw.random() < 0.4:
            order["trailingDelta"] = str(draw.randint(10, 40))
        if "trailingDelta" not in order or draw.random() < 0.5:
            order["stopPrice"] = near()
    order["selfTradePreventionMode"] = draw.choice(["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])
    return order


def check_books(venue: Venue, account: Account, events: list[dict[str, Any]]) -> None:
    """Balances follow from the trades, locks from the open orders, and the last event of each order from both."""
    money: dict[str, Decimal] = defaultdict(Decimal, START)
    locks: dict[str, Decimal] = defaultdict(Decimal)
    for order in account.orders.values():
        for trade in order.trades:
            sign = 1 if order.buys else -1
            money["BTC"] += sign * trade.quantity
            money["USDT"] -= sign * trade.amount
            money[trade.commission_asset] -= trade.commission
            assert trade.commission_asset == ("BTC" if order.buys else "USDT")
            assert not order.limited or (trade.price <= order.price if order.buys else trade.price >= order.price)
        assert order.executed == sum(trade.quantity for trade in order.trades) <= order.quantity
        assert (order.status == "FILLED") == (order.executed == order.quantity > 0)
        assert order.open or not order.locked
        locks["USDT" if order.buys else "BTC"] += order.locked
    for asset, balance in account.balances.items():
        assert balance.free >= 0
        assert balance.locked == locks[asset] >= 0
        assert balance.free + balance.locked == money[asset]
    last = {event["i"]: event for event in events if event["e"] == "executionReport"}
    for order in account.orders.values():
        assert (last[order.id]["X"], Decimal(last[order.id]["z"])) == (order.status, order.executed)
    fills = [event["t"] for event in events if event.get("x") == "TRADE"]
    assert len(fills) == len(set(fills)) == sum(len(order.trades) for order in account.orders.values())
    assert {id(order) for _, order in venue.matching.open["BTCUSDT"] if order.key == account.key} == {
        id(order) for order in account.open_orders()
    }


@pytest.mark.parametrize("seed", range(4))
def test_the_books_balance_after_any_orders_over_any_prices(seed: int) -> None:
    draw = random.Random(seed)
    terms = Terms(
        seed=seed, balances=START, keys={KEY: "a", OTHER: "b"}, liquidity=Liquidity(levels=4, amount=Decimal(1500))
    )  # fmt: skip
    first = 2000 * seed
    venue = Venue({"BTC/USDT": demo_candles("BTC/USDT", "1m").rows(first, first + 200)}, terms)
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    venue.tell = lambda account, event: told[account.key].append(event)
    venue.begin()
    outcomes: set[str] = set()
    while not venue.replay.over:
        venue.advance()
        account = venue.accounts[draw.choice([KEY, OTHER])]
        try:
            if draw.random() < 0.2 and (mine := account.open_orders()):
                cancel(venue, account, {"symbol": "BTCUSDT", "orderId": str(draw.choice(mine).id)})
            elif draw.random() < 0.8:
                if draw.random() < 0.2:
                    venue.faults.arm("partial", share=0.3)
                place(venue, account, random_order(draw, float(venue.matching.books["BTCUSDT"].price)))
        except Refusal as refusal:
            outcomes.add(str(refusal.code))
    for account in venue.accounts.values():
        check_books(venue, account, told[account.key])
        outcomes |= {order.status for order in account.orders.values()}
    assert outcomes >= {"FILLED", "EXPIRED", "CANCELED", "-2010"}
    ids = [order.id for account in venue.accounts.values() for order in account.orders.values()]
    assert sorted(ids) == list(range(1, len(ids) + 1))


NAMES = (
    "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice", "trailingDelta", "limit",
    "newClientOrderId", "orderId", "origClientOrderId", "startTime", "endTime", "fromId", "interval", "newOrderRespType",
    "selfTradePreventionMode", "cancelReplaceMode", "cancelOrderId", "cancelRestrictions",
)  # fmt: skip
VALUES = (
    "", "0", "-1", "1", "1.5", "100", "1e5", "99999999999999999999", "0.000000001", "NaN", "BTCUSDT", "ETHUSDT", "btcusdt",
    "BUY", "SELL", "LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "LIMIT_MAKER", "GTC", "FOK", "1m", "1w", "5m",
    "STOP_ON_FAILURE", "ALLOW_FAILURE", "ONLY_NEW", "ACK", "FULL", "EXPIRE_BOTH", "é", "a b", "'; --", "x" * 40,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    operation=st.sampled_from(OPERATIONS),
    parameters=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=9),
    known=st.booleans(),
)
def test_every_question_is_answered_or_refused(operation: Any, parameters: dict[str, str], known: bool) -> None:
    venue = Venue(market_of(QUIET, QUIET), Terms())
    venue.begin()
    asked = {**parameters, "symbol": "BTCUSDT"} if known else parameters
    operation.cost(asked)
    refusal = None
    try:
        operation(venue, asked, venue.accounts[KEY])
    except Refusal as refused:
        refusal = refused
    assert refusal is None or (-3000 < refusal.code < 0 and refusal.message and 400 <= refusal.status < 600)
    assert all(min(each.free, each.locked) >= 0 for each in venue.accounts[KEY].balances.values())


def test_numbers_that_no_clock_reaches_are_answered_with_nothing() -> None:
    venue = Venue(market_of(QUIET, QUIET), Terms())
    venue.begin()
    for name in ("startTime", "endTime", "fromId", "orderId"):
        for operation in OPERATIONS:
            asked = {"symbol": "BTCUSDT", "interval": "1m", name: "9" * 20}
            if operation.ws in ("klines", "myTrades", "allOrders"):
                operation(venue, asked, venue.accounts[KEY])
