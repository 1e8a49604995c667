"""The real ccxt client against the sandbox, over TLS, under the testnet's own addresses."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt
import ccxt.pro
import pytest
from sandboxing import CONFIG, DEEP, client_of, eventually, market_of, raw, trading, within

from freqlstm.demo import demo_market
from freqlstm.sandbox import Limits, Liquidity, Sandbox, Terms
from freqlstm.sandbox.accounts import KEY, Account
from freqlstm.sandbox.rest import unsigned

QUIET = (100.0, 100.0, 100.0, 100.0, 10.0)


async def test_ccxt_reads_the_symbols_with_their_real_filters() -> None:
    market = demo_market(symbols=["BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT"])
    async with Sandbox(market) as sandbox, client_of(sandbox) as client:
        await client.load_markets()
        assert sorted(client.symbols) == ["ADA/USDT", "BTC/USDT", "ETH/USDT", "SOL/USDT"]
        steps = {symbol: client.market(symbol)["precision"] for symbol in client.symbols}
        assert steps["BTC/USDT"]["amount"] == 1e-5
        assert steps["ADA/USDT"] == {**steps["ADA/USDT"], "amount": 0.1, "price": 1e-4}
        assert client.market("BTC/USDT")["limits"]["cost"]["min"] == 5
        commission = await client.private_get_account_commission({"symbol": "BTCUSDT"})
        assert commission["standardCommission"]["taker"] == "0.00100000"


async def test_ccxt_reads_candles_tickers_and_the_book() -> None:
    async with trading(QUIET, (101.0, 103.0, 99.0, 102.0, 8.0), QUIET) as (sandbox, client):
        await sandbox.step(2)
        rows = await client.fetch_ohlcv("BTC/USDT", "1m")
        start = rows[0][0]
        assert rows[2] == [start + 120_000, 101.0, 103.0, 99.0, 102.0, 8.0]
        assert rows[3][1:5] == [100.0] * 4  # the one that has just opened
        assert await client.fetch_time() == pytest.approx(start + 180_000, abs=3000)
        assert len(await client.fetch_ohlcv("BTC/USDT", "1m", since=start + 60_000, limit=2)) == 2
        ticker = await client.fetch_ticker("BTC/USDT")
        assert (ticker["last"], ticker["high"], ticker["low"]) == (100.0, 103.0, 99.0)
        assert (ticker["bid"], ticker["ask"]) == (100.0, 100.01)
        book = await client.fetch_order_book("BTC/USDT", 5)
        assert book["asks"][0][0] == 100.01
        assert len(book["bids"]) == 5


async def test_ccxt_places_queries_and_cancels_orders_of_every_type() -> None:
    async with trading(QUIET, QUIET) as (_, client):
        bought = await client.create_order("BTC/USDT", "market", "buy", 0.5)
        assert (bought["status"], bought["filled"], bought["average"]) == ("closed", 0.5, 100.01)
        assert bought["fee"] == {"currency": "BTC", "cost": 0.0005}
        by_amount = await client.create_order("BTC/USDT", "market", "buy", 0.01, 1000)  # a price: sized by its amount
        assert by_amount["amount"] == 0.09999
        limit = await client.create_order("BTC/USDT", "limit", "buy", 1, 90, {"newClientOrderId": "mine-1"})
        assert limit["status"] == "open"
        found = await client.fetch_order(None, "BTC/USDT", {"origClientOrderId": "mine-1"})
        assert (found["id"], found["clientOrderId"], found["fee"]) == (limit["id"], "mine-1", None)
        stop = await client.create_order("BTC/USDT", "market", "sell", 0.1, None, {"stopLossPrice": 95})
        assert (stop["type"], stop["info"]["type"], stop["triggerPrice"]) == ("market", "STOP_LOSS", 95.0)
        profit = await client.create_order("BTC/USDT", "limit", "sell", 0.1, 110, {"takeProfitPrice": 109})
        assert profit["info"]["type"] == "TAKE_PROFIT_LIMIT"
        trailing = await client.create_order(
            "BTC/USDT", "market", "sell", 0.1, None, {"trailingPercent": 5, "stopLossOrTakeProfit": "stopLoss"}
        )
        assert trailing["info"]["trailingDelta"] == 500
        maker = await client.create_order("BTC/USDT", "limit", "buy", 1, 99, {"postOnly": True})
        assert maker["info"]["type"] == "LIMIT_MAKER"
        assert await client.create_order("BTC/USDT", "limit", "buy", 1, 80, {"test": True})
        assert len(await client.fetch_open_orders("BTC/USDT")) == 5
        edited = await client.edit_order(limit["id"], "BTC/USDT", "limit", "buy", 1, 91)
        assert (edited["price"], edited["status"]) == (91.0, "open")
        gone = await client.cancel_order(edited["id"], "BTC/USDT")
        assert gone["status"] == "canceled"
        assert gone["clientOrderId"] != gone["info"]["origClientOrderId"]
        assert len(await client.cancel_all_orders("BTC/USDT")) == 4
        trades = await client.fetch_my_trades("BTC/USDT")
        assert [trade["order"] for trade in trades] == [bought["id"], by_amount["id"]]
        assert await client.fetch_order_trades(bought["id"], "BTC/USDT") == trades[:1]
        balance = await client.fetch_balance()
        assert balance["BTC"]["free"] == pytest.approx(0.5 * 0.999 + 0.09999 * 0.999 - 1e-8, abs=2e-8)
        assert balance["USDT"]["used"] == 0


async def test_ccxt_cuts_amounts_and_rounds_prices_so_that_they_pass() -> None:
    async with trading() as (_, client):
        order = await client.create_order("BTC/USDT", "limit", "buy", 0.0012399, 40_000.004)
        assert (order["amount"], order["price"]) == (0.00123, 40_000.0)


@pytest.mark.parametrize(
    ("kind", "amount", "price", "more", "expected"),
    [
        ("limit", 0.0123, 500.01, {}, ccxt.InvalidOrder),  # PERCENT_PRICE_BY_SIDE
        ("market", 9_999, None, {}, ccxt.InvalidOrder),  # LOT_SIZE
        ("market", 0.01, None, {}, ccxt.BadRequest),  # NOTIONAL
        ("market", 150, None, {}, ccxt.InsufficientFunds),
        ("limit", 1, 100.01, {"postOnly": True}, ccxt.OrderImmediatelyFillable),
        ("market", 1, None, {"stopLossPrice": 99}, ccxt.OrderImmediatelyFillable),
        ("market", 1, None, {"newClientOrderId": "not allowed"}, ccxt.BadRequest),
    ],
)
async def test_refusals_become_the_errors_that_ccxt_has_for_them(
    kind: str, amount: float, price: float | None, more: dict[str, Any], expected: type[Exception]
) -> None:
    async with trading(QUIET) as (_, client):
        with pytest.raises(expected) as caught:
            await client.create_order("BTC/USDT", kind, "buy", amount, price, more)
        assert type(caught.value) is expected


async def test_unknown_orders_and_closed_markets_become_the_errors_that_ccxt_has_for_them() -> None:
    async with trading(QUIET) as (sandbox, client):
        with pytest.raises(ccxt.OrderNotFound, match="-2013"):
            await client.fetch_order("77", "BTC/USDT")
        with pytest.raises(ccxt.OrderNotFound, match="-2011"):
            await client.cancel_order("77", "BTC/USDT")
        await client.create_order("BTC/USDT", "limit", "buy", 1, 90, {"newClientOrderId": "mine"})
        with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
            await client.create_order("BTC/USDT", "limit", "buy", 1, 90, {"newClientOrderId": "mine"})
        sandbox.venue.set_status("BTCUSDT", "BREAK")
        with pytest.raises(ccxt.MarketClosed):
            await client.create_order("BTC/USDT", "market", "buy", 1)


async def test_wrong_keys_and_wrong_secrets_are_refused() -> None:
    async with Sandbox(market_of(QUIET)) as sandbox:
        for change, code in (
            ({"secret": "wrong"}, "-1022"), ({"apiKey": "x" * 64}, "-2015"), ({"apiKey": "short"}, "-2014"),
        ):  # fmt: skip
            async with client_of(sandbox, **change) as client:
                with pytest.raises(ccxt.AuthenticationError, match=code):
                    await client.fetch_balance()


async def test_the_signature_is_over_what_was_sent_byte_for_byte() -> None:
    async with Sandbox(market_of(QUIET)) as sandbox:
        status, _, _ = await raw(sandbox, "GET", "account")
        assert status == 200
        status, body, _ = await raw(sandbox, "GET", "account", secret="wrong")
        assert (status, body["code"]) == (400, -1022)
        now = sandbox.venue.now
        for late, code in ((3000, 200), (5600, -1021), (-900, 200), (-4000, -1021)):
            status, body, _ = await raw(sandbox, "GET", "account", timestamp=now - late)
            assert (status if code == 200 else body["code"]) == code
        status, body, _ = await raw(sandbox, "GET", "account", timestamp=now - 30_000, recvWindow=60_000)
        assert status == 200
        status, body, _ = await raw(sandbox, "GET", "account", recvWindow=60_001)
        assert (status, body["code"]) == (400, -1131)
        status, body, _ = await raw(sandbox, "GET", "account", signed=False)
        assert (status, body["code"]) == (400, -1102)
        status, body, _ = await raw(sandbox, "GET", "account", signed=False, key="")
        assert (status, body["code"]) == (401, -2014)


def test_signatures_are_those_of_the_worked_examples_in_the_documentation_of_binance() -> None:
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    query, body = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC",
        "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
    )
    whole = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    mixed = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
    account = Account("", secret)
    assert account.signs(unsigned(f"{query}&{body}&signature={whole}"), whole)
    assert account.signs(unsigned(query) + unsigned(f"signature={mixed}&{body}"), mixed.upper())
    assert not account.signs(unsigned(f"{query}&{body}"), mixed)


async def test_what_is_sent_twice_is_refused_and_listen_keys_are_gone() -> None:
    async with Sandbox(market_of(QUIET)) as sandbox, aiohttp.ClientSession() as session:
        async with session.get(f"{sandbox.url}/api/v3/klines?symbol=BTCUSDT&symbol=ETHUSDT&interval=1m") as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, -1101)
        for path, status in (("userDataStream", 410), ("nothing", 404)):
            async with session.post(f"{sandbox.url}/api/v3/{path}") as answer:
                assert answer.status == status


async def test_a_clock_that_drifts_is_refused_until_it_is_set_again() -> None:
    async with trading(QUIET, QUIET) as (sandbox, client):
        sandbox.skew(30_000)
        with pytest.raises(ccxt.InvalidNonce):
            await client.fetch_balance()
        await client.load_time_difference()
        assert (await client.fetch_balance())["USDT"]["free"] == 10_000


async def test_used_weight_is_told_and_too_much_is_refused_then_banned() -> None:
    limits = Limits(weight=60, patience=2, ban=30)
    async with Sandbox(market_of(QUIET), Terms(limits=limits)) as sandbox:
        _, _, headers = await raw(sandbox, "GET", "account")
        assert headers["X-MBX-USED-WEIGHT-1M"] == "20"
        for _ in range(2):
            await raw(sandbox, "GET", "account")
        for _ in range(2):
            status, body, headers = await raw(sandbox, "GET", "time", signed=False)
            assert (status, body["code"]) == (429, -1003)
            assert 0 < int(headers["Retry-After"]) <= 61
        status, body, headers = await raw(sandbox, "GET", "time", signed=False)
        assert (status, body["code"], headers["Retry-After"]) == (418, -1003, "30")


async def test_unfilled_orders_are_counted_and_filled_ones_are_not() -> None:
    async with Sandbox(market_of(QUIET), Terms(limits=Limits(orders=3), liquidity=DEEP)) as sandbox:
        order = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "1",
            "price": "90",
        }
        market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
        for _ in range(4):
            assert (await raw(sandbox, "POST", "order", **market))[0] == 200
        for count in "123":
            status, _, headers = await raw(sandbox, "POST", "order", **order)
            assert (status, headers["X-MBX-ORDER-COUNT-10S"]) == (200, count)
        status, body, headers = await raw(sandbox, "POST", "order", **order)
        assert (status, body["code"]) == (429, -1015)
        assert "Retry-After" not in headers


async def test_watch_ohlcv_sees_each_candle_form_and_close() -> None:
    async with trading(QUIET, (101.0, 103.0, 99.0, 102.0, 8.0), QUIET) as (sandbox, client):
        watching = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1m"))
        await eventually(lambda: sandbox._connections.wanted())
        await sandbox.step()
        await within(2, watching)
        seen = []
        for ticks in (1, 1, 1, 1):
            watching = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1m"))
            await asyncio.sleep(0.01)
            await sandbox.step(0, ticks)
            seen += [row[1:] for row in await within(2, watching)]
        assert [row[3] for row in seen] == [103.0, 99.0, 102.0, 102.0] or [row[3] for row in seen] == [
            99.0,
            103.0,
            102.0,
            102.0,
        ]
        assert seen[-1] == [101.0, 103.0, 99.0, 102.0, 8.0]
        closed = [each for each in sandbox.venue.sent if each["e"] == "kline"]
        assert [each["lost"] for each in closed] == [False, False]


async def test_watch_orders_trades_and_balance_see_what_happens_to_an_order() -> None:
    async with trading(QUIET, (100.0, 100.0, 89.0, 95.0, 5.0)) as (sandbox, client):
        orders = asyncio.ensure_future(client.watch_orders("BTC/USDT"))
        await eventually(lambda: any(each.subscriptions for each in sandbox._connections.all.values()))
        await client.create_order("BTC/USDT", "limit", "buy", 1, 90, {"newClientOrderId": "mine"})
        assert [(each["clientOrderId"], each["status"]) for each in await within(2, orders)] == [("mine", "open")]
        trades = asyncio.ensure_future(client.watch_my_trades("BTC/USDT"))
        balance = asyncio.ensure_future(client.watch_balance())
        await asyncio.sleep(0.01)
        await sandbox.step(2)
        trade = (await within(2, trades))[0]
        assert (trade["price"], trade["amount"], trade["takerOrMaker"]) == (90.0, 1.0, "maker")
        assert trade["fee"] == {"currency": "BTC", "cost": 0.001}
        assert (await within(2, balance))["BTC"]["free"] == 0.999


async def test_ccxt_places_and_cancels_orders_over_the_ws_api() -> None:
    async with trading(QUIET) as (_, client):
        order = await client.create_order_ws("BTC/USDT", "limit", "buy", 1, 90, {"newClientOrderId": "mine"})
        assert (order["status"], order["clientOrderId"]) == ("open", "mine")
        assert (await client.fetch_order_ws(order["id"], "BTC/USDT"))["status"] == "open"
        assert (await client.cancel_order_ws(order["id"], "BTC/USDT"))["status"] == "canceled"
        free = {row["asset"]: row["free"] for row in (await client.fetch_balance_ws())["info"]["balances"]}
        assert free == {"USDT": "10000.00000000", "BTC": "0.00000000"}
        with pytest.raises(ccxt.InsufficientFunds):
            await client.create_order_ws("BTC/USDT", "market", "buy", 150)


async def test_tickers_best_prices_and_trades_are_streamed() -> None:
    async with trading(QUIET, QUIET, QUIET) as (sandbox, client):
        watching = [
            asyncio.ensure_future(work)
            for work in (
                client.watch_ticker("BTC/USDT"),
                client.watch_ticker("BTC/USDT", {"name": "ticker"}),
                client.watch_bids_asks(["BTC/USDT"]),
                client.watch_trades("BTC/USDT"),
            )
        ]
        await eventually(lambda: len(sandbox._connections.wanted()) >= 4)
        await sandbox.step(0, 2)
        mini, full, book, trades = await within(3, asyncio.gather(*watching))
        assert mini["last"] == full["last"] == 100.0
        assert book["BTC/USDT"]["ask"] == 100.01
        assert trades[0]["price"] == 100.0


async def test_the_session_reaches_no_other_host() -> None:
    async with Sandbox(market_of(QUIET)) as sandbox, client_of(sandbox) as client:
        client.set_sandbox_mode(False)
        with pytest.raises(ccxt.ExchangeNotAvailable, match=r"api\.binance\.com"):
            await client.fetch_time()
        assert "api.binance.com" in client.session.connector._resolver.refused
        client.urls["api"]["public"] = f"https://127.0.0.1:{sandbox.tls_port}/api/v3"  # not even by its number
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await client.fetch_time()
        assert client.session.connector._resolver.refused[-1] == "127.0.0.1"


async def test_plain_http_on_loopback_serves_a_client_with_changed_addresses() -> None:
    async with Sandbox(market_of(QUIET, QUIET), Terms(liquidity=DEEP)) as sandbox:
        client = ccxt.pro.binance(CONFIG)
        socket = sandbox.url.replace("http", "ws")
        rest = dict.fromkeys(("public", "private", "v1"), f"{sandbox.url}/api/v3")
        client.urls["test"] = {**rest, "ws": {"spot": f"{socket}/stream/ws", "margin": f"{socket}/stream/ws", "ws-api": {"spot": f"{socket}/ws-api/v3"}}}  # fmt: skip
        client.set_sandbox_mode(True)
        try:
            await client.load_markets()
            watching = asyncio.ensure_future(client.watch_ohlcv("BTC/USDT", "1m"))
            await eventually(lambda: sandbox._connections.wanted())
            assert (await client.create_order("BTC/USDT", "market", "buy", 1))["status"] == "closed"
            await sandbox.step()
            assert await within(2, watching)
        finally:
            await client.close()


async def test_many_partial_fills_add_up_to_what_the_exchange_says() -> None:
    thin = Liquidity(levels=12, amount=Decimal(100))
    async with trading(QUIET, terms=Terms(liquidity=thin)) as (sandbox, client):
        order = await client.create_order("BTC/USDT", "market", "buy", 10)
        assert len(order["trades"]) > 5
        fees = sum(Decimal(fill["commission"]) for fill in order["info"]["fills"])
        assert sandbox.venue.accounts[KEY].balance("BTC").free == 10 - fees
        assert len(await client.fetch_order_trades(order["id"], "BTC/USDT")) == len(order["trades"])


async def test_the_depth_of_the_book_and_the_rights_of_the_key_can_be_changed() -> None:
    async with trading(QUIET) as (sandbox, client):
        sandbox.thin(levels=1, amount=Decimal(50), spread=3)
        book = await client.fetch_order_book("BTC/USDT")
        assert (len(book["asks"]), book["asks"][0][0], book["bids"][0][0]) == (1, 100.03, 100.0)
        assert (await client.create_order("BTC/USDT", "market", "buy", 1))["status"] == "expired"
        account = (await client.fetch_balance())["info"]
        assert (account["canTrade"], account["canWithdraw"]) == (True, False)
        sandbox.venue.accounts[KEY].may_withdraw = True
        assert (await client.fetch_balance())["info"]["canWithdraw"] is True
