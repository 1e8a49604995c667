"""Every fault of the menu, one by one, with the effect that it has on the real ccxt client."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt
import pytest
from sandboxing import client_of, eventually, market_of, trading, within

from freqlstm.errors import UsageError
from freqlstm.sandbox import Limits, Sandbox, Terms
from freqlstm.sandbox.accounts import KEY

QUIET = (100.0, 100.0, 100.0, 100.0, 10.0)
RISING = [(100.0 + n, 101.0 + n, 100.0 + n, 101.0 + n, 5.0) for n in range(8)]


def orders(sandbox: Sandbox) -> list[str]:
    """The client order ids of all orders, in order."""
    return [order.client_id for order in sandbox.venue.accounts[KEY].orders.values()]


async def buy(client: Any, name: str = "mine", **more: Any) -> Any:
    return await client.create_order("BTC/USDT", "market", "buy", 0.1, None, {"newClientOrderId": name, **more})


@pytest.mark.parametrize(
    ("kind", "options", "expected", "said"),
    [
        ("drop", {}, ccxt.ExchangeNotAvailable, ""),
        ("timeout", {}, ccxt.RequestTimeout, "-1007"),
        ("unknown", {}, ccxt.OperationFailed, "-1006"),
        ("html", {}, ccxt.ExchangeNotAvailable, "502"),
        ("html", {"status": 504}, ccxt.RequestTimeout, "504"),
        ("hang", {"seconds": 5}, ccxt.RequestTimeout, ""),
    ],
)
async def test_the_order_is_there_although_the_answer_says_nothing_of_it(
    kind: str, options: dict[str, Any], expected: type[Exception], said: str
) -> None:
    async with trading(QUIET, timeout=2000) as (sandbox, client):
        sandbox.arm(kind, path="/api/v3/order", method="POST", **options)
        with pytest.raises(expected, match=said or "."):
            await buy(client)
        assert orders(sandbox) == ["mine"]
        assert (await client.fetch_order(None, "BTC/USDT", {"origClientOrderId": "mine"}))["status"] == "closed"
        assert sandbox.venue.faults.listed()["consumed"] == {kind: 1}


async def test_an_empty_answer_is_no_error_to_ccxt_and_the_order_is_there() -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.arm("empty", path="/api/v3/order")
        with suppress(TypeError, AttributeError, KeyError):  # which of them ccxt meets is its own affair
            assert (await buy(client))["id"] is None
        assert orders(sandbox) == ["mine"]


@pytest.mark.parametrize(
    ("kind", "options", "expected", "said"),
    [
        ("busy", {}, ccxt.OperationFailed, "-1008"),
        ("limited", {"retry_after": 7}, ccxt.DDoSProtection, "429"),
        ("banned", {}, ccxt.DDoSProtection, "418"),
        ("lost", {}, ccxt.ExchangeNotAvailable, ""),
        ("refuse", {}, ccxt.OperationFailed, "-1000"),
        ("refuse", {"code": -1021, "message": "Timestamp for this request is outside of the recvWindow."}, ccxt.InvalidNonce, "-1021"),
        ("refuse", {"code": -1015, "message": "Too many new orders."}, ccxt.DDoSProtection, "-1015"),
    ],
)  # fmt: skip
async def test_the_order_is_not_there_when_it_was_refused_before(
    kind: str, options: dict[str, Any], expected: type[Exception], said: str
) -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.arm(kind, path="/api/v3/order", **options)
        with pytest.raises(expected, match=said or "."):
            await buy(client)
        if kind == "limited":
            assert client.last_response_headers["Retry-After"] == "7"
        assert orders(sandbox) == []
        assert (await buy(client))["status"] == "closed"


async def test_a_resent_order_is_a_second_order() -> None:
    async with trading(QUIET) as (sandbox, client):
        client.options |= {"maxRetriesOnFailure": 2, "maxRetriesOnFailureDelay": 1}
        sandbox.arm("timeout", path="/api/v3/order", count=2)
        await buy(client)
        assert orders(sandbox) == ["mine"] * 3
        assert sandbox.venue.truth()["accounts"][KEY]["duplicates"] == ["mine"]


async def test_an_order_that_is_late_reaches_the_matching_only_within_its_recv_window() -> None:
    async with trading(QUIET, QUIET) as (sandbox, client):
        sandbox.arm("late", path="/api/v3/order", count=2, seconds=0.3)
        with pytest.raises(ccxt.RequestTimeout):
            await buy(client, "in-time", recvWindow=5000)
        assert orders(sandbox) == []
        await eventually(lambda: orders(sandbox) == ["in-time"])
        with pytest.raises(ccxt.RequestTimeout):
            await buy(client, "too-late", recvWindow=200)
        await asyncio.sleep(0.4)
        assert orders(sandbox) == ["in-time"]
        assert sandbox.venue.counts["late request refused with -1021"] == 1


async def test_the_timing_is_checked_again_after_a_delay_before_the_matching() -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.arm("latency", path="/api/v3/order", seconds=0.3)
        with pytest.raises(ccxt.InvalidNonce):
            await buy(client, recvWindow=200)
        assert orders(sandbox) == []
        sandbox.arm("slow_answer", path="/api/v3/order", seconds=0.2)
        began = time.monotonic()
        await buy(client, recvWindow=150)
        assert time.monotonic() - began > 0.2
        assert orders(sandbox) == ["mine"]


async def test_a_new_order_can_be_invisible_for_a_while() -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.arm("invisible", seconds=0.3)
        await buy(client)
        with pytest.raises(ccxt.OrderNotFound, match="-2013"):
            await client.fetch_order(None, "BTC/USDT", {"origClientOrderId": "mine"})
        assert await client.fetch_my_trades("BTC/USDT") == []
        await asyncio.sleep(0.3)
        assert (await client.fetch_order(None, "BTC/USDT", {"origClientOrderId": "mine"}))["status"] == "closed"


async def test_a_thin_book_leaves_a_market_order_expired_in_part() -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.arm("thin_book", amount=20)
        order = await client.create_order("BTC/USDT", "market", "buy", 1)
        assert order["status"] == "expired"
        assert 0 < order["filled"] < 1
        assert (await buy(client))["status"] == "closed"


async def test_a_refused_user_stream_is_refused_once() -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.arm("subscribe")
        with pytest.raises((ccxt.BaseError, KeyError)):
            await within(2, client.watch_orders("BTC/USDT"))
        poisoned = client.clients.pop(client.urls["api"]["ws"]["ws-api"]["spot"], None)
        if poisoned is not None:
            await poisoned.close()
        watching = asyncio.ensure_future(client.watch_orders("BTC/USDT"))
        await eventually(lambda: any(each.subscriptions for each in sandbox._connections.all.values()))
        await buy(client)
        assert (await within(2, watching))[0]["clientOrderId"] == "mine"


@pytest.mark.parametrize("kind", ["close", "abort"])
async def test_a_connection_that_ends_is_an_error_and_what_was_sent_meanwhile_is_lost(kind: str) -> None:
    async with trading(*RISING) as (sandbox, client):
        watching = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1m"))
        await eventually(lambda: sandbox._connections.wanted())
        sandbox.arm(kind, path="market")
        await sandbox.step()
        with pytest.raises(ccxt.NetworkError):
            await within(2, watching)
        assert all(each["lost"] for each in sandbox.venue.sent)
        watching = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1m"))
        await eventually(lambda: sandbox._connections.wanted())
        await sandbox.step()
        rows = await within(2, watching)
        assert rows[0][0] == sandbox.venue.replay.open_time - 60_000  # the candle that closed meanwhile never came


async def test_a_half_open_connection_answers_no_ping_and_a_stalled_one_only_pings() -> None:
    async with trading(*RISING) as (sandbox, client):
        client.streaming = {**client.streaming, "keepAlive": 400}
        watching = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1m"))
        await eventually(lambda: sandbox._connections.wanted())
        assert sandbox.strike("stall", path="market") == 1
        await sandbox.step(2)
        await asyncio.sleep(1.5)
        assert not watching.done()  # pongs come, so the client never notices
        assert len(sandbox._connections.all) == 1
        sandbox.strike("half_open", path="market")
        with pytest.raises(ccxt.RequestTimeout):
            await within(3, watching)
        assert all(each["lost"] for each in sandbox.venue.sent)


async def test_a_client_that_answers_no_ping_is_cut_off() -> None:
    terms = Terms(limits=Limits(ping=0.05, pong=0.1))
    async with (
        Sandbox(market_of(QUIET), terms) as sandbox,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{sandbox.url}/ws", autoping=False) as socket,
    ):
        kinds = [message.type async for message in socket]
        assert kinds
        assert set(kinds) == {aiohttp.WSMsgType.PING}
        assert socket.close_code == 1008


async def test_a_stream_lives_for_24_hours_of_the_exchange() -> None:
    async with trading(*RISING, terms=Terms(limits=Limits(life=0.05))) as (sandbox, client):
        watching = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1m"))
        await eventually(lambda: sandbox._connections.wanted())
        await sandbox.step(3)
        await within(2, watching)
        assert sandbox._connections.all
        await sandbox.step()
        await eventually(lambda: not sandbox._connections.all)


async def test_shutdowns_are_announced_and_user_streams_can_be_terminated() -> None:
    async with (
        trading(QUIET, QUIET) as (sandbox, client),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{sandbox.url}/ws-api/v3") as socket,
    ):
        given = client.sign_params({})
        await socket.send_json({"id": "1", "method": "userDataStream.subscribe.signature", "params": given})
        assert (await socket.receive_json())["result"] == {"subscriptionId": 0}
        sandbox.strike("terminate")
        assert (await socket.receive_json())["event"]["e"] == "eventStreamTerminated"
        await buy(client)  # nothing of it is told
        await socket.send_json({"id": "2", "method": "userDataStream.subscribe.signature", "params": given})
        assert (await socket.receive_json())["status"] == 200
        sandbox.arm("terminate")
        await buy(client)  # nor of this, but that the stream ends with it
        assert (await socket.receive_json())["event"]["e"] == "eventStreamTerminated"
        assert all(each["lost"] for each in sandbox.venue.sent)
        sandbox.strike("shutdown", seconds=0.1)
        assert (await socket.receive_json())["event"]["e"] == "serverShutdown"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_events_of_the_account_can_be_swallowed() -> None:
    async with trading(QUIET) as (sandbox, client):
        watching = asyncio.ensure_future(client.watch_orders("BTC/USDT"))
        await eventually(lambda: any(each.subscriptions for each in sandbox._connections.all.values()))
        sandbox.arm("account_silent", count=3)
        await buy(client, "unheard")
        await buy(client, "heard")
        assert {each["clientOrderId"] for each in await within(2, watching)} == {"heard"}
        assert orders(sandbox) == ["unheard", "heard"]


async def seen(sandbox: Sandbox, ticks: int = 9, **fault: Any) -> list[tuple[int, float, bool]]:
    """(minute, close, closed) of every kline that is sent while the first candle closes under a fault."""
    got: list[tuple[int, float, bool]] = []
    start = sandbox.venue.replay.open_time
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{sandbox.url}/ws/btcusdt@kline_1m") as socket:
        await sandbox.step()
        if fault:
            sandbox.arm(**fault)
        await sandbox.step(0, ticks)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 9})
        while (message := await socket.receive_json()).get("id") != 9:
            kline = message["k"]
            got.append(((kline["t"] - start) // 60_000, float(kline["c"]), kline["x"]))
    return got


@pytest.mark.parametrize(
    ("kind", "closed"),
    [
        ("", [(0, 101.0), (1, 102.0), (2, 103.0)]),
        ("kline_missing", [(0, 101.0), (2, 103.0)]),
        ("kline_duplicate", [(0, 101.0), (1, 102.0), (1, 102.0), (2, 103.0)]),
        ("kline_late", [(0, 101.0), (1, 102.0), (2, 103.0)]),
        ("kline_out_of_order", [(0, 101.0), (1, 102.0), (-1, 100.0), (2, 103.0)]),
        ("kline_corrected", [(0, 101.0), (1, 102.1), (1, 102.0), (2, 103.0)]),
        ("kline_unfinished", [(0, 101.0), (2, 103.0)]),
    ],
)
async def test_a_closed_candle_can_go_wrong_in_every_way_while_rest_stays_right(
    kind: str, closed: list[tuple[int, float]]
) -> None:
    async with Sandbox(market_of(*RISING)) as sandbox:
        got = await seen(sandbox, **({"kind": kind} if kind else {}))
        assert [(minute, close) for minute, close, done in got if done] == closed
        place = got.index((1, 102.0, True)) if (1, 102.0, True) in got else None
        if kind == "kline_late":
            assert place is not None
            assert got[place - 1][0] == 2  # after the first of the next candle
        async with client_of(sandbox) as client:
            await client.load_markets()
            rows = await client.fetch_ohlcv("BTC/USDT", "1m")
            assert [row[4] for row in rows[:4]] == [100.0, 101.0, 102.0, 103.0]


async def test_a_maintenance_leaves_a_gap_everywhere() -> None:
    async with trading(*RISING) as (sandbox, client):
        sandbox.venue.maintain(2)
        outcome = [(await sandbox.step())["closed"] for _ in range(5)]
        assert [len(each) for each in outcome] == [1, 0, 0, 1, 1]
        rows = await client.fetch_ohlcv("BTC/USDT", "1m")
        minutes = [(row[0] - rows[0][0]) // 60_000 for row in rows]
        assert minutes == [0, 1, 4, 5, 6]


async def test_a_wipe_forgets_orders_balances_and_numbers_without_a_word() -> None:
    async with trading(QUIET) as (sandbox, client):
        await buy(client, "before")
        sandbox.wipe()
        with pytest.raises(ccxt.OrderNotFound):
            await client.fetch_order(None, "BTC/USDT", {"origClientOrderId": "before"})
        assert (await client.fetch_balance())["USDT"]["free"] == 10_000
        assert (await buy(client, "after"))["id"] == "1"
        assert sandbox.venue.truth()["epoch"] == 1


async def test_a_revoked_key_is_refused_in_the_middle_of_a_run() -> None:
    async with trading(QUIET) as (sandbox, client):
        await buy(client)
        sandbox.revoke(KEY)
        with pytest.raises((ccxt.AuthenticationError, ccxt.DDoSProtection), match="-2015"):
            await client.fetch_balance()


async def test_a_deposit_is_told_as_an_update_of_the_balance() -> None:
    async with trading(QUIET) as (sandbox, client):
        await client.fetch_balance()
        watching = asyncio.ensure_future(client.watch_balance())
        await eventually(lambda: any(each.subscriptions for each in sandbox._connections.all.values()))
        sandbox.venue.deposit(KEY, "USDT", Decimal(5))
        assert await within(2, watching)
        assert (await client.fetch_balance())["USDT"]["free"] == 10_005


async def test_faults_strike_as_often_as_they_were_told_and_only_in_their_scope() -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.arm("busy", path="/api/v3/order", method="GET")
        sandbox.arm("busy", symbol="ETH/USDT")
        sandbox.arm("busy", probability=1e-9, count=5)
        assert (await buy(client))["status"] == "closed"
        listed = sandbox.venue.faults.listed()
        assert listed["consumed"] == {}
        assert listed["armed"] == {"busy": 7}
        with pytest.raises(ccxt.OperationFailed):
            await client.fetch_order("1", "BTC/USDT")
        assert [each["symbol"] for each in sandbox.venue.faults.listed()["waiting"]] == ["ETHUSDT", ""]


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("hangs", {}, "No fault named 'hangs'. Did you mean 'hang'?"),
        ("hang", {"second": 3}, "No detail of the fault 'hang' named 'second'. Did you mean 'seconds'?"),
        ("hang", {"count": 0}, "The fault 'hang' has count 0 and probability 1.0. The count must be at least 1, the probability above 0 and at most 1."),
    ],
)  # fmt: skip
def test_a_fault_that_cannot_be_is_refused(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        Sandbox(market_of(QUIET)).arm(kind, **options)


def test_only_connections_are_struck_at_once() -> None:
    with pytest.raises(UsageError, match=r"The fault 'hang' is none of connections\. Arm it instead\."):
        Sandbox(market_of(QUIET)).strike("hang")
