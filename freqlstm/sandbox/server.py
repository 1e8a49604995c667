"""The sandbox exchange as a server on this machine: HTTP, HTTPS, websockets, and its controls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from freqlstm.candles import Candles
from freqlstm.demo import demo_market
from freqlstm.errors import UsageError
from freqlstm.sandbox.accounts import KEY
from freqlstm.sandbox.book import Liquidity
from freqlstm.sandbox.connections import Connections
from freqlstm.sandbox.control import Control
from freqlstm.sandbox.faults import OF_CONNECTIONS, Fault
from freqlstm.sandbox.gate import Gate
from freqlstm.sandbox.memory import Memory
from freqlstm.sandbox.replay import Moment
from freqlstm.sandbox.rest import Rest
from freqlstm.sandbox.streams import Streams
from freqlstm.sandbox.tls import HOSTS, throwaway_certificate
from freqlstm.sandbox.venue import Terms, Venue
from freqlstm.sandbox.ws_api import WsApi

ADDRESS = "127.0.0.1"  # never anything else: the controls have no lock


class Sandbox:
    """A local exchange with Binance's spot API that replays candles::

        async with Sandbox({"BTC/USDT": candles}) as sandbox:
            await sandbox.step()  # one candle

    ``market`` is the demo market's BTC/USDT if nothing is given. ``port`` and ``tls_port`` 0 take any free one. ``state``
    names a file that lets it go on where it was when it was killed.
    """

    def __init__(
        self, market: Mapping[str, Candles] | None = None, terms: Terms | None = None, *, port: int = 0,
        tls_port: int = 0, state: Path | None = None,
    ) -> None:  # fmt: skip
        self.venue = Venue(market or demo_market(symbols=["BTC/USDT"]), terms or Terms())
        self.port, self.tls_port = port, tls_port
        self.authority = ""  # the certificate to trust, in PEM, once it is running
        self._memory = None if state is None else Memory(state)
        self._gate = Gate(self.venue, self.keep)
        self._connections = Connections(self.venue)
        self._streams = Streams(self.venue, self._connections)
        self._runner: web.AppRunner | None = None
        self._clock: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.ended = asyncio.Event()  # set when the last candle has closed

    @property
    def url(self) -> str:
        """Where it listens without TLS."""
        return f"http://{ADDRESS}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the first candles and the doors."""
        if self._memory is None or not self._memory.restore(self.venue):
            self.venue.begin()
        self.keep()
        context, self.authority = throwaway_certificate()
        application = web.Application()
        for route in ("/ws", "/ws/{streams:.*}", "/stream", "/stream/{streams:.*}"):
            application.router.add_get(route, self._streams.handle)
        application.router.add_get("/ws-api/v3", WsApi(self._gate, self._connections).handle)
        application.router.add_route("*", "/control/{verb}", Control(self).handle)
        application.router.add_route("*", "/api/{path:.*}", Rest(self._gate).handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self.port = await self._listen(self.port, None)
        self.tls_port = await self._listen(self.tls_port, context)
        self.run(self.venue.replay.speed)

    async def _listen(self, port: int, context: Any) -> int:
        assert self._runner is not None
        site = web.TCPSite(self._runner, ADDRESS, port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise UsageError(f"Port {port} of {ADDRESS} is not free ({error.strerror}). Choose another one.") from error
        number: int = self._runner.addresses[-1][1]
        return number

    async def stop(self) -> None:
        """Close everything."""
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        await self._gate.close()
        await self._connections.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._memory is not None:
            self._memory.close()

    def keep(self) -> None:
        """Write what has changed, if there is a file for it."""
        if self._memory is not None:
            self._memory.keep(self.venue)
        else:
            self.venue.matching.changed.clear()

    # Time

    async def step(self, candles: int = 1, ticks: int = 0) -> dict[str, Any]:
        """Go on by so many candles (until the next ones open) and ticks; says where the market is and what has closed."""
        closed: dict[str, int] = {}
        async with self._turn:
            for _ in range(candles):
                before = self.venue.replay.open_time
                while self.venue.replay.open_time == before and not self.venue.replay.over:
                    self._advance(closed)
                await self._connections.flushed()
            for _ in range(ticks):
                self._advance(closed)
            await self._connections.flushed()
        replay = self.venue.replay
        return {
            "now": self.venue.now,
            "open_time": replay.open_time,
            "tick": replay.tick,
            "over": replay.over,
            "closed": closed,
        }

    def _advance(self, closed: dict[str, int]) -> None:
        if self.venue.replay.over:
            return
        moment: Moment = self.venue.advance()
        self.keep()
        closed |= {name: kline.open_time for name, kline in moment.closed.items()}
        self._streams.publish(moment)
        self._connections.expire()
        if self.venue.replay.over:
            self.ended.set()

    def run(self, speed: float) -> None:
        """From now on, so many seconds of the market pass in one second; 0 stops the market until it is stepped."""
        if speed < 0:
            raise UsageError(f"The speed is {speed:g}. It must be 0 (stepped) or more.")
        self.venue.replay.run(speed)
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        if speed:
            self._clock = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while not self.venue.replay.over:
            await asyncio.sleep(self.venue.replay.wait())
            async with self._turn:
                self._advance({})

    # Trouble

    def arm(self, kind: str, **options: Any) -> Fault:
        """Have a fault of :data:`.faults.KINDS` strike: see there and :class:`.faults.Fault`."""
        return self.venue.faults.arm(kind, **options)

    def strike(self, kind: str, path: str = "", **options: Any) -> int:
        """Let a fault of connections happen at once to all of them (``path``: market or user): how many they are."""
        if kind not in OF_CONNECTIONS:
            raise UsageError(f"The fault {kind!r} is none of connections. Arm it instead.")
        struck = 0
        for connection in list(self._connections.all.values()):
            if path in ("", connection.kind) and (kind != "terminate" or connection.subscriptions):
                fault = self.venue.faults.arm(kind, path=connection.kind, **options)
                self.venue.faults.waiting.remove(fault)
                self.venue.faults.consumed[kind] += 1
                self._connections.strike(connection, fault)
                struck += 1
        return struck

    def wipe(self) -> None:
        """What the testnet does about once a month: orders, trades and balances begin anew."""
        self.venue.wipe()
        if self._memory is not None:
            self._memory.wipe()
        self.keep()

    def revoke(self, key: str, revoked: bool = True) -> None:
        """Let a key be refused with -2015 from now on, and end its user data streams."""
        self.venue.accounts[key].revoked = revoked
        for connection in list(self._connections.all.values()):
            if any(account.key == key for account in connection.subscriptions.values()):
                self._connections.strike(connection, Fault("terminate"))
        self.keep()

    def skew(self, milliseconds: int) -> None:
        """Set the exchange's clock wrong by so much."""
        self.venue.replay.skew = milliseconds

    def thin(self, levels: int | None = None, amount: Decimal | None = None, spread: int | None = None) -> Liquidity:
        """Change the depth of all books until further notice."""
        for book in self.venue.matching.books.values():
            before = book.liquidity
            book.liquidity = Liquidity(
                before.levels if levels is None else levels, before.amount if amount is None else amount,
                before.spread if spread is None else spread, before.gap,
            )  # fmt: skip
        return book.liquidity

    def described(self) -> dict[str, Any]:
        """How to connect; keys that somebody chose are theirs to know."""
        replay = self.venue.replay
        timeframe = next(iter(self.venue.market.values())).timeframe
        return {
            "url": self.url, "tls_port": self.tls_port, "hosts": list(HOSTS), "authority": self.authority,
            "keys": {key: account.secret for key, account in self.venue.accounts.items() if key == KEY},
            "pairs": list(self.venue.market), "timeframe": timeframe, "synthetic": any(c.synthetic for c in self.venue.market.values()),
            "start": replay.start, "end": replay.end, "now": self.venue.now, "speed": replay.speed,
        }  # fmt: skip
