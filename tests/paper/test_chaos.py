"""Orders under fire: faults of every kind, crashes at any moment, and not one order doubled, lost or left in doubt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from paper_world import BTC, ETH, MINUTE, World, agrees, crash, until

from freqlstm.errors import ExchangeError
from freqlstm.paper import orders
from freqlstm.paper.gateway import Gateway
from freqlstm.paper.limits import Limits
from freqlstm.paper.pace import Pace
from freqlstm.paper.records import BUY, MARKET, SELL, STOP, Intent, Order, State

BOLD = Limits(*[Decimal(10**9)] * 3, 10**6, 10**6, Decimal(1))  # the limits are tested elsewhere
PACE = Pace(grace=0.1, window=0.5, slack=0.3, timeout=0.4, tick=0.05, look=0.5, deaf=0.5, silence=5.0, clock=0.5)
REQUEST = ("drop", "timeout", "unknown", "html", "empty", "hang", "lost", "busy", "late")
PATHS = (
    ("/api/v3/order", "POST"), ("/api/v3/order", "GET"), ("/api/v3/order", "DELETE"), ("/api/v3/order/cancelReplace", "POST"),
    ("/api/v3/myTrades", "GET"), ("/api/v3/klines", "GET"),
)  # fmt: skip
DETAILS: dict[str, dict[str, Any]] = {"late": {"seconds": 0.2}, "hang": {"seconds": 1.0}, "invisible": {"seconds": 0.3}}
OTHER = (
    "invisible",
    "account_silent",
    "thin_book",
    "partial",
    "kline_missing",
    "kline_duplicate",
    "kline_unfinished",
    "subscribe",
)
STRIKES = ("close", "abort", "terminate")


class Trader:
    """Buys, protects by a stop, moves the stop and sells, bar after bar, and remembers nothing but its gateway's journal."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.dice = world, random.Random(seed)
        self.crashes = 0
        self.failures: list[str] = []
        self.gateway = self.begin()

    def begin(self) -> Gateway:
        while True:
            try:
                return self.world.gateway(limits=BOLD, pace=PACE)
            except ExchangeError as error:  # a start under fire may fail, in one line
                self.failures.append(str(error))

    def crash(self) -> None:
        self.crashes += 1
        crash(self.world, self.gateway)
        self.gateway = self.begin()

    def decide(self, symbol: str) -> None:
        """One decision at the close of a bar: the same bar is never decided twice."""
        gateway, dice = self.gateway, self.dice
        open_ms = gateway.now_ms() // MINUTE * MINUTE - MINUTE
        last = gateway.last_price(symbol)
        resting = [order for order in gateway.journal.orders(unresolved=True) if order.intent.symbol == symbol]
        held = gateway.rules(symbol).floor(gateway.position(symbol))
        if last is None or any(order.state not in (State.OPEN, State.PARTIAL) for order in resting):
            return

        def intent(seq: int, side: str, kind: str, quantity: Decimal, price: Decimal | None = None) -> Intent:
            cid = gateway.client_order_id(symbol, open_ms, seq)
            return Intent(cid, symbol, side, kind, quantity, open_ms, stop_price=price, reduces=side == SELL)

        stop = (last * Decimal(dice.choice(["0.999", "0.9999", "0.98"]))).quantize(Decimal("0.01"))
        if resting and dice.random() < 0.5:
            gateway.replace(resting[0].cid, intent(1, SELL, STOP, resting[0].intent.quantity, stop))
        elif resting:
            gateway.cancel(resting[0].cid)
        elif held * last < 10:
            gateway.submit(intent(2, BUY, MARKET, Decimal("0.01")))
        elif dice.random() < 0.6:
            gateway.submit(intent(3, SELL, STOP, held, stop))
        else:
            gateway.submit(intent(4, SELL, MARKET, held))

    def trouble(self) -> None:
        world, dice = self.world, self.dice
        for _ in range(dice.randrange(3)):
            kind = dice.choice(REQUEST)
            path, method = dice.choice(PATHS)
            world.arm(kind, path=path, method=method, **DETAILS.get(kind, {}))
        if dice.random() < 0.5:
            kind = dice.choice(OTHER)
            world.arm(kind, **DETAILS.get(kind, {}))
        if dice.random() < 0.1:
            world.strike(dice.choice(STRIKES), dice.choice(("", "user")))

    def trade(self, bars: int) -> None:
        for bar in range(bars):
            self.trouble()
            self.world.step()
            newest = self.world.sandbox.venue.replay.open_time - MINUTE
            until(lambda newest=newest: self.gateway.journal.last_bar_ms() == newest, 15)
            for symbol in (BTC, ETH):
                self.decide(symbol)
            time.sleep(self.dice.choice([0, 0.02, 0.15]))
            if bar % 5 == 4:
                self.crash()

    def calm(self) -> None:
        self.world.do(self.world.sandbox.venue.faults.clear)
        assert self.gateway.settle(20)
        self.gateway._call(self.gateway._room.orders.look_up)


def rage(world: World, seed: int, bars: int) -> Trader:
    trader = Trader(world, seed)
    trader.trade(bars)
    trader.calm()
    until(
        lambda: {order.state for order in trader.gateway.journal.orders(unresolved=True)} <= {State.OPEN, State.PARTIAL}
    )
    until(lambda: _open(world) == {order.cid for order in trader.gateway.journal.orders(unresolved=True)})
    agrees(world, trader.gateway)
    return trader


def _open(world: World) -> set[str]:
    return {row["clientOrderId"] for row in world.truth["orders"] if row["status"] in ("NEW", "PARTIALLY_FILLED")}


@pytest.mark.parametrize("seed", [3])
def test_no_order_is_doubled_lost_or_left_in_doubt(two: World, seed: int) -> None:
    trader = rage(two, seed, 30)
    assert trader.crashes >= 3
    assert len(two.truth["orders"]) > 10
    assert sum(two.consumed.values()) >= 20


async def resend(self: orders.Orders, cid: str) -> None:
    """What a naive trader does with an order that was not answered."""
    order = self._order(cid)
    self._mark(order, state=State.INTENT)
    await self.send(cid)


async def give_up(self: orders.Orders, cid: str) -> None:
    """What a hasty trader does with an order that he cannot find at once."""
    try:
        await self._look(self._order(cid))
    except orders.CallFailed:
        self._end(self._order(cid), State.NOT_ACCEPTED, "not found")


MUTATIONS: dict[str, Callable[..., Any]] = {"naive resend": resend, "no fence": give_up}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_test_has_teeth(two: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders.Orders, "resolve", MUTATIONS[name])
    two.arm("drop", path="/api/v3/order", method="POST", count=100)
    two.arm("invisible", seconds=0.6, count=100)
    two.arm("account_silent", count=1000)
    gateway = two.gateway(limits=BOLD, pace=PACE)
    order = Intent(gateway.client_order_id(BTC, 1, 1), BTC, BUY, MARKET, Decimal("0.01"), 1)
    gateway.submit(order)
    until(lambda: two.consumed.get("drop", 0) >= (2 if name == "naive resend" else 1))
    two.do(two.sandbox.venue.faults.clear)

    def over() -> Order | None:
        return found if (found := gateway.journal.order(order.cid)) is not None and found.state.final else None

    until(over)
    with pytest.raises(AssertionError):
        agrees(two, gateway)
