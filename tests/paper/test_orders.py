"""Orders through the real client against the sandbox: sent once, followed to the end, whatever the exchange does."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from paper_world import BTC, QUICK, World, agrees, becomes, bundles, events, final, intent, trading, until

from freqlstm.paper.gateway import Gateway
from freqlstm.paper.limits import Limits
from freqlstm.paper.outcome import Answer, CallFailed
from freqlstm.paper.records import LIMIT, SELL, STOP, State
from freqlstm.paper.route import Route

POST = {"path": "/api/v3/order", "method": "POST"}


def test_a_market_order_fills_and_its_commission_is_taken_from_what_was_bought(world: World) -> None:
    gateway = trading(world)
    order = gateway.submit(intent(gateway))
    assert order.state == State.SENT
    assert final(gateway, order).state == State.FILLED
    assert gateway.position(BTC) == Decimal("0.00999")
    until(gateway.order_events.qsize)
    told = events(gateway)
    assert [event.state for event in told] == [State.FILLED]
    assert [fill.commission_asset for event in told for fill in event.fills] == ["BTC"]
    agrees(world, gateway)


def test_the_same_client_id_is_sent_once(world: World) -> None:
    gateway = trading(world)
    wanted = intent(gateway)
    for _ in range(3):
        order = gateway.submit(wanted)
    assert final(gateway, order).state == State.FILLED
    assert gateway.submit(wanted).state == State.FILLED
    assert len(world.truth["orders"]) == 1


AFTER: dict[str, dict[str, Any]] = {
    "hang": {}, "drop": {}, "timeout": {}, "unknown": {}, "html": {}, "empty": {}, "late": {"seconds": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("kind", AFTER)
def test_an_answer_that_does_not_come_is_looked_for_and_never_resent(world: World, kind: str) -> None:
    gateway = trading(world)
    world.arm(kind, **POST, **AFTER[kind])
    world.arm("account_silent", count=2)  # the stream does not tell either
    order = gateway.submit(intent(gateway))
    assert final(gateway, order).state == State.FILLED
    assert world.consumed[kind] == 1
    agrees(world, gateway)


def test_an_order_that_cannot_be_seen_yet_is_not_taken_for_lost(world: World) -> None:
    gateway = trading(world)
    world.arm("drop", **POST)
    world.arm("invisible", seconds=1.0)
    world.arm("account_silent", count=2)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    agrees(world, gateway)


@pytest.mark.parametrize("kind", ["lost", "busy"])
def test_an_order_that_never_arrived_is_proved_so_by_its_window(world: World, kind: str) -> None:
    gateway = trading(world)
    world.arm(kind, **POST)
    order = final(gateway, gateway.submit(intent(gateway)))
    assert order.state == State.NOT_ACCEPTED
    assert world.now > (order.sent_ms or 0) + order.window_ms + 200
    assert world.truth["orders"] == []
    agrees(world, gateway)


def test_an_order_that_is_accepted_at_the_last_moment_is_found(world: World) -> None:
    gateway = trading(world)
    world.arm("late", **POST, seconds=1.8)  # of a window of 2
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    agrees(world, gateway)


def test_what_is_certain_not_to_have_been_looked_at_is_sent_again(world: World) -> None:
    gateway = trading(world)
    world.arm("refuse", **POST, code=-1021, message="Timestamp for this request is outside of the recvWindow.")
    assert final(gateway, gateway.submit(intent(gateway, 1))).state == State.FILLED
    world.arm("limited", **POST, retry_after=1)
    before = world.now
    assert final(gateway, gateway.submit(intent(gateway, 2))).state == State.FILLED
    assert world.now - before >= 1000
    assert world.consumed == {"refuse": 1, "limited": 1}
    agrees(world, gateway)


def test_an_entry_that_would_come_too_late_is_not_sent_and_an_exit_is(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway, 1))).state == State.FILLED
    world.arm("limited", **POST, retry_after=2)
    entry = gateway.submit(intent(gateway, 2, deadline_ms=gateway.now_ms() + 500))
    assert final(gateway, entry).state == State.REJECTED
    leaving = gateway.submit(intent(gateway, 3, SELL, quantity="0.00999"))
    assert final(gateway, leaving).state == State.FILLED
    assert "could not be sent in time" in final(gateway, entry).note
    agrees(world, gateway)


def test_an_entry_that_waits_is_judged_again_when_it_can_be_sent(world: World) -> None:
    gateway = trading(world, limits=Limits(max_orders_per_bar=3, max_position=Decimal(210)))
    world.arm("limited", **POST, retry_after=1)
    assert final(gateway, gateway.submit(intent(gateway, 1))).state == State.FILLED  # it is not counted twice
    assert final(gateway, gateway.submit(intent(gateway, 2, SELL, quantity="0.00999"))).state == State.FILLED
    world.arm("limited", **POST, retry_after=1)
    entry = gateway.submit(intent(gateway, 3))
    becomes(gateway, entry, State.INTENT)
    gateway._call(lambda: gateway._room.halt("test", "it is not safe"))
    assert (final(gateway, entry).state, final(gateway, entry).note) == (
        State.REJECTED, "trading is halted: it is not safe",
    )  # fmt: skip
    agrees(world, gateway)


def test_an_exit_asks_for_no_more_than_the_account_holds(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    (key,) = world.sandbox.venue.accounts
    world.do(lambda: world.sandbox.venue.deposit(key, "BTC", Decimal("-0.004")))  # as commission on another pair would
    until(lambda: gateway.ledger()["BTC"] == Decimal("0.00599"))
    leaving = final(gateway, gateway.submit(intent(gateway, 2, SELL, quantity="0.00999")))
    assert (leaving.state, leaving.executed) == (State.FILLED, Decimal("0.00599"))
    more = gateway.submit(intent(gateway, 3, SELL, quantity="0.004"))
    assert (more.state, more.note) == (State.REJECTED, "too little balance: the account holds 0 BTC")
    agrees(world, gateway)


def answering_late(
    monkeypatch: pytest.MonkeyPatch, gateway: Gateway, method: str, failure: CallFailed, when: Callable[[], Any]
) -> None:
    """The next request of this kind is carried out, and answered by ``failure`` as soon as something is so."""
    client = gateway._room.client
    ask, failures = client.ask, [failure]

    async def answered(name: str, *args: Any, **more: Any) -> Any:
        body = await ask(name, *args, **more)
        if name != method or not failures:
            return body
        while not when():
            await asyncio.sleep(0.01)
        raise failures.pop()

    monkeypatch.setattr(client, "ask", answered)


def test_an_order_that_turns_out_to_be_accepted_before_it_is_tried_again_is_not_sent_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = trading(world)
    wanted = intent(gateway)
    late = CallFailed("order", Answer(400, -1021, "Timestamp for this request is outside of the recvWindow."), None)

    def heard() -> bool:
        order = gateway.journal.order(wanted.cid)
        return order is not None and order.state.final

    answering_late(monkeypatch, gateway, "privatePostOrder", late, heard)
    gateway.submit(wanted)
    assert final(gateway, wanted.cid).state == State.FILLED
    until(lambda: not gateway._room.orders._tasks)
    assert len(world.truth["orders"]) == 1
    agrees(world, gateway)


@pytest.mark.parametrize("code", [-1006, -1007])
def test_a_moved_stop_of_which_the_exchange_itself_does_not_know_is_looked_for(
    world: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    last = gateway.last_price(BTC)
    assert last is not None
    stops = [f"{last * Decimal(share):.2f}" for share in ("0.9", "0.95")]
    first = gateway.submit(intent(gateway, 2, SELL, STOP, "0.00999", stops[0]))
    becomes(gateway, first, State.OPEN)
    half = {"code": code, "msg": "Timeout waiting for response from backend server."}
    data = {"cancelResult": "SUCCESS", "newOrderResult": "FAILURE", "cancelResponse": {}, "newOrderResponse": half}
    answer = Answer(409, -2021, "Order cancel-replace partially failed.", data=data)
    world.arm("account_silent", count=3)
    answering_late(
        monkeypatch, gateway, "privatePostOrderCancelReplace", CallFailed("order", answer, None), lambda: True
    )
    second = gateway.replace(first.cid, intent(gateway, 3, SELL, STOP, "0.00999", stops[1]))
    becomes(gateway, second, State.OPEN)
    assert final(gateway, first).state == State.CANCELED
    assert not gateway.health().halted
    agrees(world, gateway)


def test_a_thin_book_leaves_an_expired_order_with_fills(world: World) -> None:
    gateway = trading(world)
    world.arm("thin_book", levels=3, amount=50)
    order = final(gateway, gateway.submit(intent(gateway)))
    assert order.state == State.EXPIRED
    assert Decimal(0) < order.executed < Decimal("0.01")
    assert len(gateway.journal.fills(cid=order.cid)) == 3
    assert gateway.position(BTC) == order.executed - sum(f.commission for f in gateway.journal.fills())
    agrees(world, gateway)


def test_a_limit_order_rests_fills_in_part_and_is_cancelled(world: World) -> None:
    gateway = trading(world)
    last = gateway.last_price(BTC)
    assert last is not None
    order = gateway.submit(intent(gateway, kind=LIMIT, price=f"{last * Decimal('0.95'):.2f}"))
    becomes(gateway, order, State.OPEN)
    world.arm("timeout", path="/api/v3/order", method="DELETE")  # done, but not said
    gateway.cancel(order.cid)
    assert final(gateway, order).state == State.CANCELED
    near = gateway.submit(intent(gateway, 2, kind=LIMIT, price=f"{last * Decimal('0.9999'):.2f}"))
    becomes(gateway, near, State.OPEN)
    world.arm("partial", share=0.4)
    for _ in range(60):
        world.step(0, 1)
        if world.consumed.get("partial"):
            break
    becomes(gateway, near, State.PARTIAL)
    gateway.cancel(near.cid)
    done = final(gateway, near)
    assert done.state in (State.CANCELED, State.FILLED)
    assert done.executed > 0
    agrees(world, gateway)


def test_a_part_of_a_resting_order_that_filled_unheard_is_booked_while_the_rest_still_waits(world: World) -> None:
    gateway = trading(world)
    last = gateway.last_price(BTC)
    assert last is not None
    order = gateway.submit(intent(gateway, kind=LIMIT, price=f"{last * Decimal('0.9999'):.2f}"))
    becomes(gateway, order, State.OPEN)
    world.arm("partial", share=0.4)
    world.arm("account_silent", count=1000)
    for _ in range(60):
        world.step(0, 1)
        if world.consumed.get("partial"):
            break
    becomes(gateway, order, State.PARTIAL)
    until(lambda: gateway.journal.fills(cid=order.cid))
    agrees(world, gateway)


def test_a_stop_rests_at_the_exchange_and_is_moved_in_one_request(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    last = gateway.last_price(BTC)
    assert last is not None
    stops = [f"{last * Decimal(share):.2f}" for share in ("0.9", "0.95", "0.9998")]
    first = gateway.submit(intent(gateway, 2, SELL, STOP, "0.00999", stops[0]))
    becomes(gateway, first, State.OPEN)
    second = gateway.replace(first.cid, intent(gateway, 3, SELL, STOP, "0.00999", stops[1]))
    assert final(gateway, first).state == State.CANCELED
    becomes(gateway, second, State.OPEN)
    world.arm("timeout", path="/api/v3/order/cancelReplace")
    third = gateway.replace(second.cid, intent(gateway, 4, SELL, STOP, "0.00999", stops[2]))
    assert final(gateway, second).state == State.CANCELED
    becomes(gateway, third, State.OPEN)
    for _ in range(100):
        world.step(0, 1)
        if gateway.journal.order(third.cid).state.final:  # type: ignore[union-attr]
            break
    assert final(gateway, third).state == State.FILLED
    late = gateway.replace(third.cid, intent(gateway, 5, SELL, STOP, "0.00999", stops[0]))
    assert final(gateway, late).state == State.REJECTED
    assert gateway.position(BTC) == 0
    agrees(world, gateway)


def test_an_order_whose_report_never_comes_connects_the_stream_anew(world: World) -> None:
    gateway = trading(world)
    world.arm("account_silent", count=3)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    until(
        lambda: any("said nothing of order" in facts["error"] for _, _, facts in gateway.journal.events("order stream"))
    )
    until(world._listening)
    assert final(gateway, gateway.submit(intent(gateway, 2))).state == State.FILLED
    agrees(world, gateway)


REFUSED = {
    "lot": (dict(quantity="0.000015"), "0.000015 BTC is not a whole number of lots of 0.00001"),
    "worth": (dict(quantity="0.0001"), "below the minimum notional of 5"),
    "price": (dict(kind=LIMIT, price="-5"), "the price -5 is not a multiple of the tick"),
    "far": (dict(kind=LIMIT, price="10000"), "away from the last price"),
    "large": (dict(quantity="1"), "max_order is 10000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_order_that_breaks_a_rule_is_written_down_and_not_sent(world: World, name: str) -> None:
    gateway = trading(world)
    order = gateway.submit(intent(gateway, **REFUSED[name][0]))  # type: ignore[arg-type]
    assert order.state == State.REJECTED
    assert REFUSED[name][1] in order.note
    assert gateway.journal.order(order.cid) == order
    assert world.truth["orders"] == []


def test_too_little_balance_is_said_in_one_line(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway, 1, quantity="0.3"))).state == State.FILLED
    gateway.limits = Limits(max_position=Decimal(50_000))
    order = final(gateway, gateway.submit(intent(gateway, 2, quantity="0.3")))
    assert order.state == State.REJECTED
    assert order.note.startswith("too little balance: ")
    agrees(world, gateway)


def test_a_day_that_lost_too_much_sees_no_more_entries_and_still_exits(world: World) -> None:
    gateway = trading(world, limits=Limits(max_daily_loss=Decimal("0.1")))
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED  # its commission alone is 0.2
    entry = gateway.submit(intent(gateway, 2))
    assert entry.state == State.REJECTED
    assert entry.note.endswith("was lost since 00:00 UTC: max_daily_loss is 0.1")
    assert final(gateway, gateway.submit(intent(gateway, 3, SELL, quantity="0.00999"))).state == State.FILLED
    agrees(world, gateway)


def test_a_loop_of_orders_is_stopped_by_their_count(world: World) -> None:
    gateway = trading(world, limits=Limits(max_orders_per_bar=2, max_orders_per_hour=3))
    states = [gateway.submit(intent(gateway, seq, quantity="0.001")).state for seq in range(3)]
    assert states == [State.SENT, State.SENT, State.REJECTED]
    world.step()
    bundles(gateway, 1)
    assert gateway.submit(intent(gateway, 5, quantity="0.001")).state == State.SENT
    late = gateway.submit(intent(gateway, 6, quantity="0.001"))
    assert "3 orders were sent within an hour" in late.note
    assert gateway.settle()
    agrees(world, gateway)


def test_a_position_counts_what_is_still_being_bought(world: World) -> None:
    gateway = trading(world, limits=Limits(max_position=Decimal(300)))
    last = gateway.last_price(BTC)
    assert last is not None
    resting = gateway.submit(intent(gateway, kind=LIMIT, price=f"{last * Decimal('0.95'):.2f}"))
    assert resting.state == State.SENT
    assert "max_position is 300" in gateway.submit(intent(gateway, 2)).note


def test_looks_at_an_order_that_is_being_looked_up_become_one(world: World) -> None:
    gateway = trading(world, pace=dataclasses.replace(QUICK, look=60.0, deaf=60.0))
    last = gateway.last_price(BTC)
    assert last is not None
    order = gateway.submit(intent(gateway, kind=LIMIT, price=f"{last * Decimal('0.95'):.2f}"))
    becomes(gateway, order, State.OPEN)
    world.arm("slow_answer", path="/api/v3/order", method="GET", seconds=0.2, count=50)
    for _ in range(20):
        gateway._call(gateway._room.orders.look_up)
        time.sleep(0.005)
    until(lambda: not gateway._room.orders._looking)
    assert world.consumed["slow_answer"] == 2


def test_what_became_of_an_order_sent_before_a_restart_reaches_the_strategy_as_news(world: World) -> None:
    """Told at once, it would not be in the diary, and the next restart would go through other bars than this one did."""
    gateway = trading(world)
    wanted = intent(gateway)
    final(gateway, gateway.submit(wanted))
    until(gateway.order_events.qsize)
    events(gateway)
    again = Route(gateway, gateway.journal).submit(wanted)
    assert (again.state, again.executed) == (State.SENT, 0)
    (event,) = events(gateway)
    assert (event.order.state, len(event.fills)) == (State.FILLED, 1)
    refused = Route(gateway, gateway.journal).submit(intent(gateway, quantity="0.00001", seq=2))
    assert refused.state is State.REJECTED
