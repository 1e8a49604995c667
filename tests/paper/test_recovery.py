"""Beginning again: after a crash, a reset exchange, an exchange that was restarted, a ledger that does not agree."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest
from paper_world import (
    BTC,
    MINUTE,
    QUICK,
    World,
    agrees,
    becomes,
    bundles,
    crash,
    events,
    final,
    halt,
    intent,
    shown,
    trading,
    until,
)

from freqlstm.errors import JournalError, LedgerError
from freqlstm.paper.limits import KillSwitch, Stop
from freqlstm.paper.records import LIMIT, SELL, STOP, Order, State

POST = {"path": "/api/v3/order", "method": "POST"}


def test_an_order_whose_fate_was_unknown_at_the_crash_is_found_at_the_next_start(world: World) -> None:
    gateway = trading(world)
    world.arm("hang", **POST)
    world.arm("account_silent", count=2)
    order = gateway.submit(intent(gateway))
    until(lambda: world.consumed.get("hang"))
    crash(world, gateway)
    again = world.gateway()
    assert final(again, order).state == State.FILLED
    assert again.position(BTC) == Decimal("0.00999")
    assert events(again) == []  # what was before is in the journal
    agrees(world, again)


def test_an_order_that_was_written_down_and_never_sent_is_not_sent_later(world: World) -> None:
    gateway = trading(world)
    world.arm("limited", **POST, retry_after=30)
    order = gateway.submit(intent(gateway, deadline_ms=gateway.now_ms() + MINUTE))
    becomes(gateway, order, State.INTENT)
    crash(world, gateway)
    again = world.gateway()
    found = final(again, order)
    assert (found.state, found.note) == (State.NOT_ACCEPTED, "the trader ended before it was sent")
    assert again.submit(order.intent) == found
    assert world.truth["orders"] == []


def test_an_order_that_was_written_down_as_sent_and_was_not_is_proved_so(world: World) -> None:
    gateway = trading(world)
    wanted = intent(gateway)
    now = gateway.now_ms()
    gateway.journal.add_order(Order(wanted, 1, State.SENT, sent_ms=now, window_ms=2000), now)
    crash(world, gateway)
    again = world.gateway()
    assert final(again, wanted.cid).state == State.NOT_ACCEPTED
    agrees(world, again)


def test_what_filled_while_nobody_was_there_is_taken_in(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    last = gateway.last_price(BTC)
    assert last is not None
    stop = gateway.submit(intent(gateway, 2, SELL, STOP, "0.00999", f"{last * Decimal('0.9998'):.2f}"))
    far = gateway.submit(intent(gateway, 3, kind=LIMIT, price=f"{last * Decimal('0.91'):.2f}"))
    for order in (stop, far):
        becomes(gateway, order, State.OPEN)
    gateway.stop()
    gateway.journal.close()
    world._gateways.remove(gateway)
    world.step(2)
    for _ in range(60):
        world.step()
        if any(row["status"] == "FILLED" and row["type"] == "STOP_LOSS" for row in world.truth["orders"]):
            break
    again = world.gateway()
    assert final(again, stop).state == State.FILLED
    assert again.journal.order(far.cid).state == State.OPEN  # type: ignore[union-attr]
    assert again.position(BTC) == 0
    found = bundles(again, 2)  # and the bars of that time, too late for entries
    assert found[0].stale
    assert shown(found[0], BTC) == world.candles(BTC, 1, 61)[0]
    agrees(world, again)


def test_a_reset_exchange_begins_a_new_epoch_and_sells_nothing(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    last = gateway.last_price(BTC)
    assert last is not None
    resting = gateway.submit(intent(gateway, 2, kind=LIMIT, price=f"{last * Decimal('0.95'):.2f}"))
    becomes(gateway, resting, State.OPEN)
    world.do(world.sandbox.wipe)
    assert "it was reset" in until(lambda: gateway.health().halted if "reset" in gateway.health().halted else "", 12)
    assert halt(gateway).final
    assert gateway.submit(intent(gateway, 3)).state == State.REJECTED
    world.release(gateway)
    again = world.gateway()
    assert again.journal.epoch == 2
    assert again.position(BTC) == 0
    assert again.journal.orders() == []
    ended = {order.cid: order for order in again.journal.orders(epoch=1)}
    assert (ended[resting.cid].state, ended[resting.cid].note) == (State.CANCELED, "the exchange was reset")
    assert final(again, again.submit(intent(again))).state == State.FILLED
    agrees(world, again)


def test_a_ledger_that_does_not_agree_stops_the_start_and_says_what_differs(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    world.release(gateway)
    (key,) = world.sandbox.venue.accounts
    world.do(lambda: world.sandbox.venue.deposit(key, "BTC", Decimal("-0.001")))
    with pytest.raises(LedgerError) as caught:
        world.gateway()
    assert "BTC 0.00899, and the journal says 0.00999" in str(caught.value)
    assert "--accept-balances" in str(caught.value)
    agrees(world, world.gateway(accept_balances=True))


def test_a_deposit_while_it_trades_is_no_difference(world: World) -> None:
    gateway = trading(world)
    (key,) = world.sandbox.venue.accounts
    world.do(lambda: world.sandbox.venue.deposit(key, "USDT", Decimal(5)))
    until(lambda: gateway.journal.adjustments() == {"USDT": Decimal(5)})
    agrees(world, gateway)


def test_an_exchange_that_is_killed_and_started_again_is_survived(tmp_path: Path) -> None:
    world = World(tmp_path, state=tmp_path / "exchange.sqlite")
    try:
        gateway = trading(world)
        assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
        world.shut()
        leaving = gateway.submit(intent(gateway, 2, SELL, quantity="0.00999"))
        until(lambda: gateway.journal.order(leaving.cid).note)  # type: ignore[union-attr]
        world.open()
        world.step()
        assert final(gateway, leaving, 15).state in (State.FILLED, State.NOT_ACCEPTED)
        until(world._listening, 15)
        found = bundles(gateway, 1, 15)
        assert shown(found[0], BTC) == world.candles(BTC, 1, 61)[0]
        agrees(world, gateway)
    finally:
        world.close()


USER_FAULTS = {"close": {}, "abort": {}, "terminate": {}, "shutdown": {"seconds": 0.2}}


@pytest.mark.parametrize("kind", USER_FAULTS)
def test_a_stream_of_orders_that_breaks_is_subscribed_anew_and_nothing_is_missed(world: World, kind: str) -> None:
    gateway = trading(world)
    last = gateway.last_price(BTC)
    assert last is not None
    resting = gateway.submit(intent(gateway, kind=LIMIT, price=f"{last * Decimal('0.9999'):.2f}"))
    becomes(gateway, resting, State.OPEN)
    world.arm("subscribe")  # and the first new subscription is refused, which poisons the client's connection
    world.strike(kind, "user", **USER_FAULTS[kind])
    for _ in range(60):
        world.step(0, 1)
    assert final(gateway, resting, 12).state == State.FILLED
    until(world._listening, 12)
    assert world.consumed["subscribe"] == 1
    agrees(world, gateway)


def test_connections_are_replaced_before_the_exchange_cuts_them(world: World) -> None:
    gateway = trading(world, pace=dataclasses.replace(QUICK, renewal=0.5))
    until(lambda: gateway.health().reconnects >= 3)
    world.step()
    assert len(bundles(gateway, 1)) == 1


def test_keys_that_are_revoked_stop_nothing_but_what_needs_them(world: World) -> None:
    gateway = trading(world)
    (key,) = world.sandbox.venue.accounts
    world.do(lambda: world.sandbox.revoke(key))
    order = gateway.submit(intent(gateway))
    assert "the exchange refuses the API keys" in final(gateway, order).note
    world.step()
    bundles(gateway, 1)


def test_keys_that_are_refused_halt_entries_until_they_are_taken_again(world: World) -> None:
    gateway = trading(world, pace=dataclasses.replace(QUICK, audit=0.2))
    (account,) = world.sandbox.venue.accounts.values()
    account.revoked = True
    assert halt(gateway).reason == (
        "The exchange refuses the API keys (-2015 Invalid API-key, IP, or permissions for action). No entries until it takes them."
    )
    account.revoked = False
    until(lambda: not gateway.health().halted)


def test_a_disk_that_is_full_halts_everything_and_nothing_is_sent(world: World) -> None:
    gateway = trading(world)
    gateway.journal._connection.execute("PRAGMA max_page_count = 1")

    def submit() -> bool:
        return bool(gateway.submit(intent(gateway, gateway.journal.count_orders(), reason="x" * 100_000)))

    with pytest.raises(JournalError, match="database or disk is full"):
        until(lambda: not submit())
    told = halt(gateway)
    assert told.final
    assert "database or disk is full" in told.reason
    sent = {row["clientOrderId"] for row in world.truth["orders"]}
    world.release(gateway)
    again = world.gateway()
    assert sent <= {order.cid for order in again.journal.orders()}
    agrees(world, again)


@pytest.mark.parametrize("how", Stop)
def test_the_kill_switch_stops_cancels_or_sells_everything(world: World, how: Stop) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    last = gateway.last_price(BTC)
    assert last is not None
    stop = gateway.submit(intent(gateway, 2, SELL, STOP, "0.00999", f"{last * Decimal('0.9'):.2f}"))
    becomes(gateway, stop, State.OPEN)
    KillSwitch(gateway.switch.path).trip(how, "a test says so")  # as another process would, by the file
    assert halt(gateway).reason == "The kill switch is on: a test says so."
    assert gateway.settle()
    assert gateway.submit(intent(gateway, 3)).note == "the kill switch is on: a test says so"
    stands = gateway.journal.order(stop.cid)
    assert stands is not None
    assert stands.state == (State.OPEN if how == Stop.KEEP else State.CANCELED)
    assert gateway.position(BTC) == (0 if how == Stop.FLATTEN else Decimal("0.00999"))
    agrees(world, gateway)
    gateway.switch.reset()
    until(lambda: not gateway.health().halted)
    assert final(gateway, gateway.submit(intent(gateway, 4))).state == State.FILLED


def test_an_order_that_was_known_to_be_over_but_not_by_which_trades_is_completed(world: World) -> None:
    gateway = trading(world)
    order = final(gateway, gateway.submit(intent(gateway)))
    with gateway.journal._writing() as connection:  # as a crash between two messages leaves it
        connection.execute("DELETE FROM fills")
        connection.execute("UPDATE orders SET state = 'open'")
    crash(world, gateway)
    again = world.gateway()
    assert final(again, order).state == State.FILLED
    agrees(world, again)


def test_an_exchange_that_was_reset_while_nothing_rested_is_noticed_by_its_balances(world: World) -> None:
    gateway = trading(world, pace=dataclasses.replace(QUICK, audit=0.3))
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    world.do(world.sandbox.wipe)
    assert "it was reset. Start again: a new epoch begins" in halt(gateway).reason
    world.release(gateway)
    again = world.gateway()
    assert (again.journal.epoch, again.position(BTC)) == (2, 0)


def test_somebody_else_who_trades_on_the_account_halts_entries_until_the_ledger_agrees(world: World) -> None:
    gateway = trading(world, pace=dataclasses.replace(QUICK, audit=0.3))
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    query = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.005", "newClientOrderId": "by-hand"}
    gateway._ask(gateway._room.client.ask("privatePostOrder", query, weight=1))
    assert "The account holds BTC 0.00499, and the journal says 0.00999" in halt(gateway).reason
    assert gateway.journal.events("foreign order")
    assert gateway.submit(intent(gateway, 2)).note.startswith("trading is halted: The account holds BTC 0.00499")
    gateway._ask(gateway._room.client.ask("privatePostOrder", {**query, "side": "BUY", "quantity": "0.005"}, weight=1))
    assert gateway.health().halted


def test_what_cannot_be_sold_is_called_dust_and_not_sold_again_and_again(world: World) -> None:
    gateway = trading(world)
    assert final(gateway, gateway.submit(intent(gateway))).state == State.FILLED
    assert final(gateway, gateway.submit(intent(gateway, 2, SELL, quantity="0.0098"))).state == State.FILLED
    assert gateway.position(BTC) == Decimal("0.00019")
    gateway.kill(Stop.FLATTEN, "the end")
    assert gateway.settle()
    ((_, _, facts),) = gateway.journal.events("flat")
    assert facts == {"symbol": BTC, "dust": "0.00019000"}
    assert len(world.truth["orders"]) == 2


def test_an_order_that_the_exchange_hid_for_too_long_is_counted_when_the_balances_tell_of_it(world: World) -> None:
    gateway = trading(world, pace=dataclasses.replace(QUICK, window=0.3, slack=0.1, audit=0.3))
    world.arm("drop", **POST)
    world.arm("invisible", seconds=1.5)
    world.arm("account_silent", count=2)
    order = gateway.submit(intent(gateway))
    becomes(gateway, order, State.NOT_ACCEPTED)
    told = until(
        lambda: gateway.health().halted if "which was taken to be not_accepted" in gateway.health().halted else "", 12
    )
    assert told.endswith("Start again: it is counted now.")
    world.release(gateway)
    again = world.gateway()
    assert final(again, order).state == State.FILLED
    assert again.position(BTC) == Decimal("0.00999")
    agrees(world, again)


def test_an_order_that_was_hidden_until_the_next_start_is_counted_there(world: World) -> None:
    gateway = trading(world, pace=dataclasses.replace(QUICK, window=0.3, slack=0.1))
    world.arm("drop", **POST)
    world.arm("invisible", seconds=1.5)
    world.arm("account_silent", count=2)
    order = gateway.submit(intent(gateway))
    becomes(gateway, order, State.NOT_ACCEPTED)
    world.release(gateway)
    until(lambda: world.now > (order.sent_ms or 0) + 1600)
    again = world.gateway()
    assert final(again, order).state == State.FILLED
    assert again.journal.events("contradiction")
    agrees(world, again)
