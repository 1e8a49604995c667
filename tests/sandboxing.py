"""Markets written by hand, and the real ccxt client connected to a sandbox under the testnet's own addresses."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
import ccxt.pro
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.sandbox import Liquidity, Sandbox, Terms, loopback_session
from freqlstm.sandbox.accounts import KEY, SECRET

Result = TypeVar("Result")

DEEP = Liquidity(levels=5, amount=Decimal(1_000_000))
QUIET = (100.0, 100.0, 100.0, 100.0, 10.0)

CONFIG = {
    "apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "timeout": 5000,
    "options": {
        "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "adjustForTimeDifference": True,
    },
}  # fmt: skip


def market_of(
    *rows: Sequence[float], symbol: str = "BTC/USDT", start: str = "2024-01-01", missing: Sequence[int] = ()
) -> dict[str, Candles]:
    """One-minute candles from rows of open, high, low, close and volume, behind one quiet candle of 100."""
    index = pd.date_range(start, periods=len(rows) + 1, freq="min", tz="UTC")
    frame = pd.DataFrame([QUIET, *rows], columns=["open", "high", "low", "close", "volume"], index=index)
    return {symbol: Candles.from_frame(frame.drop(index[list(missing)]), symbol, "1m")}


@asynccontextmanager
async def client_of(sandbox: Sandbox, **config: Any) -> AsyncIterator[Any]:
    """ccxt.pro's own Binance client in sandbox mode, nothing overridden but whose machine the testnet is."""
    session = loopback_session(sandbox.tls_port, sandbox.authority)
    made = ccxt.pro.binance({**CONFIG, **config, "session": session})
    made.set_sandbox_mode(True)
    try:
        yield made
    finally:
        await made.close()
        await session.close()


@asynccontextmanager
async def trading(
    *rows: Sequence[float], terms: Terms | None = None, **config: Any
) -> AsyncIterator[tuple[Sandbox, Any]]:
    """A sandbox over these candles, and a client that has loaded its markets."""
    market = market_of(*rows) if rows else None
    async with Sandbox(market, terms or Terms(liquidity=DEEP)) as sandbox, client_of(sandbox, **config) as client:
        await client.load_markets()
        yield sandbox, client


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """The result of ``work``, which must not take longer than that."""
    return await asyncio.wait_for(work, seconds)


async def raw(
    sandbox: Sandbox,
    method: str,
    path: str,
    signed: bool = True,
    secret: str = SECRET,
    key: str = KEY,
    **parameters: Any,
) -> tuple[int, Any, dict[str, str]]:
    """(status, JSON, headers) of one request without ccxt, signed over its query as it is sent."""
    if signed:
        parameters = {"timestamp": sandbox.venue.now, **parameters}
    query = urlencode(parameters)
    if signed:
        query += "&signature=" + hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    headers = {"X-MBX-APIKEY": key} if key else {}
    async with aiohttp.ClientSession() as session:
        url = f"{sandbox.url}/api/v3/{path}"
        where = {"data": query} if method == "POST" else {}
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            url += f"?{query}"
        async with session.request(method, url, headers=headers, **where) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text, dict(answer.headers)


async def eventually(what: Any, seconds: float = 3.0) -> None:
    """Wait until ``what()`` is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)
