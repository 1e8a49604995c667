"""ccxt's own Binance client, with ears: what it drops, coalesces or chokes on is heard raw."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import aiohttp
import ccxt.pro

from freqlstm.paper.breaker import Breaker
from freqlstm.paper.clock import Clock
from freqlstm.paper.keys import Keys, guard_logs
from freqlstm.paper.outcome import CLOCK, Answer, CallFailed, Outcome
from freqlstm.paper.target import Target

Result = TypeVar("Result")

KEEP_ALIVE_MS = 10_000  # between two pings: a dead socket is noticed after three of them

_answer: contextvars.ContextVar[Answer | None] = contextvars.ContextVar("answer", default=None)


class Ears(Protocol):
    """Who is told what arrives, raw, as soon as it does, on the event loop."""

    def on_kline(self, kline: Mapping[str, Any]) -> None: ...
    def on_report(self, report: Mapping[str, Any]) -> None: ...
    def on_account(self, event: Mapping[str, Any]) -> None: ...
    def on_connected(self, orders: bool) -> None: ...
    def on_subscribed(self) -> None: ...
    def on_terminated(self) -> None: ...
    def on_shutdown(self, orders: bool) -> None: ...
    def on_trouble(self, what: str, error: Exception) -> None: ...


class Client(ccxt.pro.binance):  # type: ignore[misc]
    """A ccxt.pro client that hides nothing. Made on the event loop that it is to live on; :meth:`shut` closes it."""

    def __init__(self, target: Target, keys: Keys, clock: Clock, breaker: Breaker, ears: Ears, timeout: float) -> None:
        guard_logs()
        self.clock, self.breaker, self.ears = clock, breaker, ears
        self.wires = aiohttp.ClientSession(connector=target.connector(), trust_env=False)
        super().__init__(
            {
                "apiKey": keys.key,
                "secret": keys.secret,
                "session": self.wires,
                "timeout": int(timeout * 1000),
                "enableRateLimit": False,  # the breaker counts as the exchange does, and lets orders pass first
                "options": {
                    "defaultType": "spot",
                    "fetchMarkets": {"types": ["spot"]},
                    "fetchMargins": False,
                    "adjustForTimeDifference": False,  # the clock does that, all the time
                    "ordersLimit": 100,  # of its own caches, which nobody here reads
                    "tradesLimit": 100,
                    "OHLCVLimit": 100,
                },
            }
        )
        self.streaming: dict[str, Any] = {**self.describe()["streaming"], "keepAlive": KEEP_ALIVE_MS}
        if target.demo:
            self.enable_demo_trading(True)
        else:
            self.set_sandbox_mode(True)
        self.has["fetchCurrencies"] = False
        self.timeout_on_exit = 0

    async def shut(self) -> None:
        await self.close()
        await self.wires.close()
        await asyncio.sleep(0.05)  # until encrypted connections are really closed, of which nobody tells

    # Questions

    async def ask(self, method: str, params: Mapping[str, Any], *, weight: int, urgent: bool = False) -> Any:
        """Call one of ccxt's raw methods; CallFailed, with what is certain, unless it brings JSON with status 200.

        What arrives is the exchange's own JSON: every price and quantity still text.
        """
        await self.breaker.wait(weight, urgent)
        _answer.set(None)
        error: Exception | None = None
        body: Any = None
        try:
            body = await getattr(self, method)(dict(params))
        except Exception as caught:  # ccxt's parsers raise anything on a body they do not expect
            error = caught
        answer = _answer.get() or Answer()
        if error is None and answer.status == 200 and isinstance(body, dict | list):
            return body
        raise CallFailed(method, answer, error)

    async def time(self) -> float:
        """Look at the exchange's clock, and set ours; milliseconds."""
        asked = self.clock.ticks()
        server = await self.their_time()
        self.clock.correct(server, asked, self.clock.ticks())
        return server

    async def their_time(self) -> float:
        """The exchange's clock as it shows it; ours stays as it is."""
        body = await self.ask("publicGetTime", {}, weight=1, urgent=True)
        if not isinstance(body, dict) or not isinstance(server := body.get("serverTime"), int):
            raise CallFailed("publicGetTime", Answer(), ValueError("an answer without a time"))
        return float(server)

    async def held(self) -> dict[str, Any]:
        """The account, with its balances."""
        body = await self.ask("privateGetAccount", {"omitZeroBalances": "true"}, weight=20)
        if not isinstance(body, dict) or not isinstance(body.get("balances"), list):
            raise CallFailed("privateGetAccount", Answer(), ValueError("an account without balances"))
        return body

    # What ccxt asks its subclass

    def nonce(self) -> int:
        return self.clock.now_ms()

    def handle_errors(self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any) -> Any:
        if method:  # a websocket's error has none
            answer = _read(code, headers or {}, body)
            _answer.set(answer)
            self.breaker.note(answer)
        return super().handle_errors(code, reason, url, method, headers, body, *rest)

    def get_exceptions_by_url(self, url: str, kind: str) -> Any:
        return self.exceptions["spot"].get(kind, {})

    def is_spot_url(self, client: Any) -> bool:
        return True

    # What arrives

    def handle_message(self, client: Any, message: Any) -> None:
        try:  # an error here would end ccxt's receiving without a word
            event = message.get("event") or message if isinstance(message, dict) else {}
            if isinstance(moment := event.get("E"), int):
                self.clock.at_least(moment)
            if event.get("e") == "serverShutdown":
                self.ears.on_shutdown(is_orders(client.url))
            super().handle_message(client, message)
        except Exception as error:
            self.ears.on_trouble("a message", error)

    def handle_ohlcv(self, client: Any, message: Any) -> None:
        self.ears.on_kline(message["k"])
        super().handle_ohlcv(client, message)

    def handle_order_update(self, client: Any, message: Any) -> None:
        if message.get("e") == "executionReport":
            self.ears.on_report(message)
        super().handle_order_update(client, message)

    def handle_balance(self, client: Any, message: Any) -> None:
        self.ears.on_account(message)
        super().handle_balance(client, message)

    def handle_user_data_stream_subscribe(self, client: Any, message: Any) -> None:
        super().handle_user_data_stream_subscribe(client, message)
        if message.get("status") == 200:
            self.ears.on_subscribed()

    def handle_event_stream_terminated(self, client: Any, message: Any) -> None:
        self.ears.on_terminated()

    def on_connected(self, client: Any, message: Any = None) -> None:
        super().on_connected(client, message)
        self.ears.on_connected(is_orders(client.url))

    # Connections

    async def drop(self, orders: bool) -> None:
        """Close the connection of the user's orders, or those of the candles; the next ``watch`` opens it anew."""
        for url in [url for url in self.clients if is_orders(url) == orders]:
            client = self.clients.pop(url)
            client.error = client.error or ConnectionError("it was dropped")  # so that ccxt forgets it too
            await client.close()


def is_orders(url: str) -> bool:
    """Whether it is the connection of the user's orders rather than of candles."""
    return "/ws-api/" in url


def _read(status: int, headers: Mapping[str, str], body: str) -> Answer:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(code := parsed.get("code"), int):
        return Answer(status, headers=headers)
    return Answer(status, code, str(parsed.get("msg", ""))[:200], headers, parsed.get("data"))


async def patiently(question: Callable[[], Awaitable[Result]], client: Client, tries: int = 6) -> Result:
    """Ask a question that changes nothing, again after failures that can pass; the last failure is raised."""
    for attempt in range(tries):
        try:
            return await question()
        except CallFailed as failure:
            if attempt == tries - 1 or (
                failure.outcome == Outcome.REJECTED and failure.code != CLOCK and not failure.busy
            ):
                raise
            if failure.code == CLOCK:
                with suppress(CallFailed):
                    await client.time()
        await asyncio.sleep(min(2.0, 0.1 * 2**attempt))
    raise AssertionError("the last try either answers or raises")
