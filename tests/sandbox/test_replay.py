"""Candles as the exchange lives through them: nothing before its time, all symbols in step, the same every time."""

from __future__ import annotations

import asyncio
import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pandas as pd
import pytest
from conftest import read_real
from hypothesis import given, settings
from hypothesis import strategies as st
from sandboxing import DEEP, market_of, raw

from freqlstm.candles import resample
from freqlstm.demo import demo_candles, demo_market
from freqlstm.errors import UsageError
from freqlstm.sandbox import Limits, Liquidity, Sandbox, Terms
from freqlstm.sandbox.accounts import KEY
from freqlstm.sandbox.market_data import klines
from freqlstm.sandbox.tape import price_path
from freqlstm.sandbox.trading import my_trades, place
from freqlstm.sandbox.venue import Venue

QUIET = (100.0, 100.0, 100.0, 100.0, 10.0)


def candle(venue: Venue) -> None:
    before = venue.replay.open_time
    while venue.replay.open_time == before and not venue.replay.over:
        venue.advance()


def rows_of(venue: Venue, interval: str = "1m", symbol: str = "BTCUSDT", **more: Any) -> list[list[Any]]:
    return klines(venue, {"symbol": symbol, "interval": interval, **more})


price = st.floats(1.0, 1000.0).map(lambda value: round(value, 2))


@settings(max_examples=50, deadline=None)
@given(prices=st.lists(price, min_size=4, max_size=4), ticks=st.integers(4, 40), falling=st.booleans())
def test_a_price_path_is_the_candle_and_nothing_else(prices: list[float], ticks: int, falling: bool) -> None:
    low, first, second, high = sorted(prices)
    open_, close = (second, first) if falling else (first, second)
    path = price_path(open_, high, low, close, ticks)
    assert (path[0], path[-1], max(path), min(path)) == (open_, close, high, low)
    assert len(path) == ticks


def test_a_forming_candle_shows_only_what_has_happened() -> None:
    venue = Venue(market_of((100.0, 104.0, 90.0, 95.0, 12.0), QUIET), Terms())
    venue.begin()
    shown = [rows_of(venue)[-1]]
    for _ in range(3):
        venue.advance()
        shown.append(rows_of(venue)[-1])
    told = [[float(value) for value in row[1:6]] for row in shown]
    assert told == [
        [100.0, 100.0, 100.0, 100.0, 0.0], [100.0, 104.0, 100.0, 104.0, 4.0], [100.0, 104.0, 90.0, 90.0, 8.0],
        [100.0, 104.0, 90.0, 95.0, 12.0],
    ]  # fmt: skip
    assert len({row[0] for row in shown}) == 1


def test_what_is_shown_does_not_depend_on_later_candles() -> None:
    calm = market_of((100.0, 104.0, 90.0, 95.0, 12.0), *[QUIET] * 4)
    wild = market_of((100.0, 104.0, 90.0, 95.0, 12.0), QUIET, (500.0, 900.0, 1.0, 2.0, 99.0), QUIET, QUIET)
    seen = []
    for market in (calm, wild):
        venue = Venue(market, Terms())
        venue.begin()
        shown = []
        for _ in range(8):
            venue.advance()
            shown.append((rows_of(venue), venue.matching.books["BTCUSDT"].price))
        seen.append(shown[:7])
    assert seen[0] == seen[1]


def test_klines_are_keyed_by_open_time_and_cut_as_asked() -> None:
    venue = Venue(market_of(*[(100.0 + n, 101.0 + n, 99.0 + n, 100.5 + n, 1.0) for n in range(9)]), Terms())
    venue.begin()
    for _ in range(6):
        candle(venue)
    every = rows_of(venue)
    opens = [row[0] for row in every]
    assert all(b - a == 60_000 for a, b in itertools.pairwise(opens))
    assert opens[-1] == venue.replay.open_time
    assert all(row[6] == row[0] + 59_999 for row in every)
    assert rows_of(venue, limit="3") == every[-3:]
    assert rows_of(venue, startTime=str(opens[1]), limit="2") == every[1:3]
    assert rows_of(venue, startTime=str(opens[1] - 1), endTime=str(opens[3])) == every[1:4]
    assert rows_of(venue, endTime=str(opens[2] + 5)) == every[:3]
    assert rows_of(venue, startTime=str(opens[-1] + 1)) == []


def test_coarser_candles_are_put_together_from_what_is_known() -> None:
    candles = demo_candles("BTC/USDT", "1m").rows(0, 400)
    start = int(candles.time[0].value // 1_000_000)
    venue = Venue({"BTC/USDT": candles}, Terms(start=start + 300 * 60_000))
    venue.begin()
    for _ in range(7):
        candle(venue)
    shown = rows_of(venue, "5m", limit="20")
    coarse = resample(candles.rows(0, 305), "5m").frame.iloc[-19:]
    assert [[float(value) for value in row[1:5]] for row in shown[:-1]] == coarse.to_numpy()[:, :4].tolist()
    assert [row[0] for row in shown[:-1]] == [int(time.value // 1_000_000) for time in coarse.index]
    assert shown[-1][0] == start + 305 * 60_000
    assert float(shown[-1][4]) == candles.open.iloc[307]


def test_gaps_of_real_candles_are_gaps_of_the_exchange(real_data: Path) -> None:
    """Both symbols lack the minutes of the outage of 2023-03-24, and the clock goes through them."""
    names = {"BTC/USDT": "BINANCE_BTCUSDT_15m_20230102_20241231", "ETH/USDT": "BINANCE_ETHUSDT_15m_20230102_20241231"}
    market = {symbol: read_real(real_data, f"{name}.parquet", symbol, "15m") for symbol, name in names.items()}
    start = int(pd.Timestamp("2023-03-24 11:00", tz="UTC").value // 1_000_000)
    venue = Venue(market, Terms(start=start))
    venue.begin()
    for _ in range(16):
        candle(venue)
    assert venue.replay.open_time == start + 16 * 900_000
    for symbol, candles in market.items():
        shown = [row[0] for row in rows_of(venue, "15m", symbol.replace("/", ""), startTime=str(start))]
        known = candles.between(pd.Timestamp(start, unit="ms", tz="UTC"), pd.Timestamp(venue.now, unit="ms", tz="UTC"))
        assert shown[: len(known)] == [int(time.value // 1_000_000) for time in known.time]
        assert len(shown) < 17


def test_symbols_move_in_step() -> None:
    market = demo_market(symbols=["BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT"])
    venue = Venue(market, Terms())
    venue.begin()
    for _ in range(5):
        candle(venue)
        opens = {rows_of(venue, symbol=name)[-1][0] for name in venue.replay.tapes}
        assert opens == {venue.replay.open_time}


def test_the_market_of_the_next_open_is_there_when_a_candle_closes() -> None:
    """An order decided at the close is filled at the next open, to the last digit if the book has no spread."""
    market = market_of((100.0, 104.0, 90.0, 95.0, 12.0), (97.53, 98.0, 97.0, 97.5, 3.0))
    venue = Venue(market, Terms(liquidity=Liquidity(amount=Decimal(10_000_000), spread=0)))
    venue.begin()
    candle(venue)
    order = {"symbol": "BTCUSDT", "type": "MARKET", "quantity": "1"}
    for side in ("BUY", "SELL"):
        place(venue, venue.accounts[KEY], {**order, "side": side, "quantity": "1" if side == "BUY" else "0.9"})
    assert [row["price"] for row in my_trades(venue, venue.accounts[KEY], {"symbol": "BTCUSDT"})] == ["97.53000000"] * 2


def test_a_replay_is_the_same_every_time_and_the_book_another_with_another_seed() -> None:
    def fills(seed: int) -> list[tuple[str, str, str]]:
        terms = Terms(seed=seed, liquidity=Liquidity(levels=20, amount=Decimal(500)))
        venue = Venue({"BTC/USDT": demo_candles("BTC/USDT", "1m").rows(0, 100)}, terms)
        venue.begin()
        account = venue.accounts[KEY]
        for number in range(30):
            side = "BUY" if number % 2 == 0 else "SELL"
            given = {
                "symbol": "BTCUSDT",
                "side": side,
                "type": "MARKET",
                "quantity": "0.05" if number % 2 == 0 else "0.049",
            }
            place(venue, account, given)
            candle(venue)
        return [
            (row["price"], row["qty"], row["commission"]) for row in my_trades(venue, account, {"symbol": "BTCUSDT"})
        ]

    assert fills(1) == fills(1)
    assert fills(1) != fills(2)


async def test_a_timed_replay_goes_on_by_itself_at_any_speed_and_stops_when_told() -> None:
    market = {"BTC/USDT": demo_candles("BTC/USDT", "1m").rows(0, 3000)}
    async with Sandbox(market, Terms(speed=6000)) as sandbox:
        first, began = sandbox.venue.now, asyncio.get_running_loop().time()
        await asyncio.sleep(0.3)
        passed = asyncio.get_running_loop().time() - began
        now = sandbox.venue.now
        assert now - first == pytest.approx(passed * 1000 * 6000, rel=0.1)
        assert sandbox.venue.replay.open_time <= now < sandbox.venue.replay.open_time + 60_000
        sandbox.run(0)
        still = sandbox.venue.replay.open_time
        await asyncio.sleep(0.05)
        assert sandbox.venue.replay.open_time == still
        _, body, _ = await raw(sandbox, "GET", "time", signed=False)
        assert still <= body["serverTime"] < still + 60_000


async def test_the_clock_never_goes_back_and_stops_at_the_next_candle_until_it_is_stepped() -> None:
    async with Sandbox(market_of(*[QUIET] * 5)) as sandbox:
        seconds = iter(range(0, 10_000, 7))
        sandbox.venue.replay._seconds = lambda: float(next(seconds))
        sandbox.run(0)
        seen = []
        for _ in range(6):
            seen += [sandbox.venue.now for _ in range(4)]
            await sandbox.step(0, 1)
        assert seen == sorted(seen)
        start = sandbox.venue.replay.start
        assert seen[12:16] == [start + 59_999] * 4  # 7 seconds a glance: the end of the candle was reached
        assert seen[-1] > start + 60_000


async def test_the_replay_ends_with_its_last_candle() -> None:
    async with Sandbox(market_of(QUIET, (100.0, 101.0, 99.0, 100.5, 1.0)), Terms(liquidity=DEEP)) as sandbox:
        outcome = await sandbox.step(10)
        assert outcome["over"]
        assert outcome["closed"] == {"BTCUSDT": sandbox.venue.replay.start + 60_000}
        status, rows, _ = await raw(sandbox, "GET", "klines", signed=False, symbol="BTCUSDT", interval="1m")
        assert status == 200
        assert float(rows[-1][4]) == 100.5


async def test_streams_are_combined_named_in_the_address_and_given_up() -> None:
    async with (
        Sandbox(market_of(*[QUIET] * 5)) as sandbox,
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{sandbox.url}/stream?streams=btcusdt@kline_1m/btcusdt@bookTicker/btcusdt@aggTrade"
        ) as socket,
    ):
        await sandbox.step(0, 1)
        messages = [await socket.receive_json() for _ in range(3)]
        assert {message["stream"] for message in messages} == {
            "btcusdt@kline_1m",
            "btcusdt@bookTicker",
            "btcusdt@aggTrade",
        }
        for asked, answer in (
            ({"method": "UNSUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 5}, {"result": None, "id": 5}),
            ({"method": "LIST_SUBSCRIPTIONS", "id": 6}, {"result": ["btcusdt@aggTrade", "btcusdt@bookTicker"], "id": 6}),
            ({"method": "SUBSCRIBE", "params": ["nonsense"], "id": 7}, {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 7}),
        ):  # fmt: skip
            await socket.send_json(asked)
            assert await socket.receive_json() == answer
        await socket.send_str("{")
        assert (await socket.receive_json())["error"]["code"] == 3


async def test_too_many_messages_in_a_second_end_a_market_stream() -> None:
    async with (
        Sandbox(market_of(QUIET)) as sandbox,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{sandbox.url}/ws") as socket,
    ):
        for number in range(6):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        got = [message async for message in socket]
        assert len(got) <= 5
        assert socket.close_code == 1008


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"ticks": 3}, r"A candle has 3 ticks\. It needs at least 4: open, high, low and close\."),
        ({"speed": -1.0}, r"The speed is -1\. It must be 0 \(stepped\) or more\."),
    ],
)
def test_terms_that_cannot_be_are_refused(terms: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Terms(**terms)


def test_candles_of_several_timeframes_are_refused() -> None:
    market = {"BTC/USDT": demo_candles("BTC/USDT", "1m"), "ETH/USDT": demo_candles("ETH/USDT", "1h")}
    with pytest.raises(UsageError, match=r"The candles are of 1h, 1m\. All symbols of a sandbox must have the same\."):
        Sandbox(market)
    with pytest.raises(UsageError, match=r"Binance has no 5s candles\. Replay one of 1s, 1m, 3m, "):
        Sandbox({"BTC/USDT": demo_candles("BTC/USDT", "5s")})


async def test_connections_and_streams_are_limited() -> None:
    limits = Limits(connections=2, streams=2)
    async with Sandbox(market_of(QUIET), Terms(limits=limits)) as sandbox, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{sandbox.url}/ws") as socket:
            names = [f"btcusdt@kline_{interval}" for interval in ("1m", "5m", "15m")]
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            assert (await socket.receive()).data == 1008
        async with session.ws_connect(f"{sandbox.url}/ws"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{sandbox.url}/ws")
            assert refused.value.status == 429
