"""Websocket connections: what is sent on each, in order, and the ways in which they die."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from freqlstm.sandbox.accounts import Account
from freqlstm.sandbox.events import server_shutdown, stream_terminated
from freqlstm.sandbox.faults import Fault
from freqlstm.sandbox.venue import Venue

QUEUE = 20_000  # messages that may wait for a slow reader
FAULTS = ("close", "abort", "half_open", "stall", "shutdown")

OnText = Callable[["Connection", Any], Awaitable[None]]


@dataclass(eq=False)
class Connection:
    """One websocket; ``kind`` is market or user."""

    id: int
    kind: str
    opened: int  # on the exchange's clock
    combined: bool = False
    streams: set[str] = field(default_factory=set)
    subscriptions: dict[int, Account] = field(default_factory=dict)
    socket: web.WebSocketResponse = field(default_factory=lambda: web.WebSocketResponse(autoping=False, compress=False))
    transport: asyncio.Transport | None = None
    waiting: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    stalled: bool = False  # answers pings, sends no data
    half_open: bool = False  # does nothing any more
    ponged: float = field(default_factory=time.monotonic)
    messages: deque[float] = field(default_factory=deque)  # times of the newest that came in

    @property
    def silent(self) -> bool:
        """Whether nothing that is sent on it arrives."""
        return self.stalled or self.half_open or self.socket.closed

    def send(self, message: object) -> None:
        """Put a message behind those that wait."""
        if not self.silent:
            try:
                self.waiting.put_nowait(json.dumps(message, separators=(",", ":")))
            except asyncio.QueueFull:
                self.abort()

    def abort(self) -> None:
        """Tear it down without a word."""
        self.half_open = True  # until the reader notices
        if self.transport is not None:
            self.transport.abort()

    async def close(self, code: int, reason: bytes = b"") -> None:
        """Close it properly."""
        with suppress(ConnectionError, RuntimeError):
            await self.socket.close(code=code, message=reason, drain=False)


class Connections:
    """All websockets of the exchange."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.all: dict[int, Connection] = {}
        self._count = 0
        self._recent: deque[float] = deque()
        self._tasks: set[asyncio.Future[None]] = set()
        venue.tell = self.tell

    # What is sent

    def publish(self, stream: str, payload: dict[str, Any]) -> None:
        """Send an event to everyone who subscribed to its stream."""
        for connection in list(self.all.values()):
            if stream in connection.streams:
                self._deliver(
                    connection, {"stream": stream, "data": payload} if connection.combined else payload, payload
                )

    def wanted(self) -> set[str]:
        """The streams that anybody has subscribed to."""
        return {stream for connection in self.all.values() for stream in connection.streams}

    def tell(self, account: Account, event: dict[str, Any]) -> None:
        """Send an event of an account to its user data streams."""
        for connection in list(self.all.values()):
            for number, subscriber in list(connection.subscriptions.items()):
                if subscriber is account and not self._silenced(event, account):
                    self._deliver(connection, {"subscriptionId": number, "event": event}, event)

    def _silenced(self, event: dict[str, Any], account: Account) -> bool:
        return bool(self.venue.faults.take("account_silent", symbol=event.get("s", ""), key=account.key))

    def _deliver(self, connection: Connection, message: object, event: dict[str, Any]) -> None:
        own = ("terminate",) if connection.kind == "user" else ()
        fault = self.venue.faults.take(*FAULTS, *own, path=connection.kind)
        if fault is not None:
            self.strike(connection, fault)
        lost = connection.silent or (fault is not None and fault.kind == "terminate")
        self._note(connection, event, lost)
        if not lost:
            connection.send(message)

    def _note(self, connection: Connection, event: dict[str, Any], lost: bool) -> None:
        kind = str(event.get("e", "bookTicker"))
        self.venue.counts[kind] += 1
        if kind == "kline" and event["k"]["x"]:
            told = {"t": event["k"]["t"], "s": event["s"], "i": event["k"]["i"], "c": event["k"]["c"]}
        elif kind == "executionReport":
            told = {name: event[name] for name in ("s", "c", "C", "x", "X", "i", "t", "z")}
        elif connection.kind == "user":
            told = {}
        else:
            return
        self.venue.sent.append({"to": connection.id, "e": kind, "E": event["E"], "lost": lost, **told})

    def strike(self, connection: Connection, fault: Fault) -> None:
        """Let a fault happen to one connection."""
        now = self.venue.now
        if fault.kind == "close":
            connection.half_open = True  # nothing more is sent
            self._soon(connection.close(int(fault.details["code"]), b"closed by the exchange"))
        elif fault.kind == "abort":
            connection.abort()
        elif fault.kind == "half_open":
            connection.half_open = True
        elif fault.kind == "stall":
            connection.stalled = True
        elif fault.kind == "shutdown":
            event = server_shutdown(now)
            connection.send({"event": event} if connection.kind == "user" else event)
            self._soon(self._close_later(connection, float(fault.details["seconds"])))
        elif fault.kind == "terminate":
            for number in list(connection.subscriptions):
                connection.send({"subscriptionId": number, "event": stream_terminated(now)})
            connection.subscriptions.clear()

    async def _close_later(self, connection: Connection, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await connection.close(1001, b"shutdown")

    def _soon(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def expire(self) -> None:
        """Close the connections that have lived for as long as one may."""
        oldest = self.venue.now - int(self.venue.terms.limits.life * 3_600_000)
        for connection in list(self.all.values()):
            if connection.opened < oldest and not connection.half_open:
                connection.half_open = True
                self._soon(connection.close(1001, b"24 hours"))

    async def flushed(self) -> None:
        """Wait until what was sent has left, but for those who do not read."""
        for connection in list(self.all.values()):
            if not connection.half_open and not connection.socket.closed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(connection.waiting.join(), 1.0)

    # The life of one

    async def serve(self, request: web.Request, kind: str, on_text: OnText, combined: bool = False, streams: tuple[str, ...] = ()) -> web.StreamResponse:  # fmt: skip
        """Accept a websocket and hold it until it ends."""
        limits = self.venue.terms.limits
        now = time.monotonic()
        while self._recent and now - self._recent[0] > 300:
            self._recent.popleft()
        if len(self._recent) >= limits.connections:
            return web.Response(status=429, text="Too many connections.", headers={"Retry-After": "60"})
        self._recent.append(now)
        self._count += 1
        connection = Connection(self._count, kind, self.venue.now, combined, set(streams))
        connection.transport = request.transport
        await connection.socket.prepare(request)
        self.all[connection.id] = connection
        writer = asyncio.create_task(self._write(connection))
        pinger = asyncio.create_task(self._ping(connection))
        try:
            await self._read(connection, on_text)
        finally:
            del self.all[connection.id]
            writer.cancel()
            pinger.cancel()
            await asyncio.gather(writer, pinger, return_exceptions=True)
        return connection.socket

    async def _read(self, connection: Connection, on_text: OnText) -> None:
        async for message in connection.socket:
            if connection.half_open:
                continue
            if message.type is WSMsgType.PONG:
                connection.ponged = time.monotonic()
            elif message.type is WSMsgType.PING:
                await connection.socket.pong(message.data)
            if self._too_many(connection):
                await connection.close(1008, b"Too many requests")
            elif message.type is WSMsgType.TEXT:
                try:
                    asked = json.loads(message.data)
                except ValueError:
                    connection.send({"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}})
                    continue
                await on_text(connection, asked)

    def _too_many(self, connection: Connection) -> bool:
        """Whether more came in within a second than may; orders and questions to the WS-API have limits of their own."""
        if connection.kind == "user":
            return False
        now = time.monotonic()
        connection.messages.append(now)
        while now - connection.messages[0] > 1.0:
            connection.messages.popleft()
        return len(connection.messages) > self.venue.terms.limits.messages

    async def _write(self, connection: Connection) -> None:
        while True:
            message = await connection.waiting.get()
            try:
                if not connection.half_open:
                    await connection.socket.send_str(message)
            except ConnectionError:
                pass
            finally:
                connection.waiting.task_done()

    async def _ping(self, connection: Connection) -> None:
        limits = self.venue.terms.limits
        while True:
            await asyncio.sleep(limits.ping)
            if connection.half_open:
                continue
            if time.monotonic() - connection.ponged > limits.ping + limits.pong:
                await connection.close(1008, b"Pong timeout")
                return
            with suppress(ConnectionError):
                await connection.socket.ping(str(self.venue.now).encode())

    async def close(self) -> None:
        """End all of them."""
        for connection in list(self.all.values()):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
