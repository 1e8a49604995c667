"""A sandbox exchange on a thread of its own, and gateways that talk to it through the real client over TLS."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from queue import Empty
from typing import Any

import pandas as pd
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.paper.gateway import Gateway
from freqlstm.paper.journal import Journal
from freqlstm.paper.pace import Pace
from freqlstm.paper.records import (
    BUY,
    LIMIT,
    MARKET,
    SELL,
    STOP,
    Bundle,
    Candle,
    Halt,
    Intent,
    Order,
    OrderEvent,
    SessionFacts,
    State,
)
from freqlstm.paper.target import Target, sandbox
from freqlstm.sandbox import Sandbox, Terms

BTC, ETH = "BTC/USDT", "ETH/USDT"
START = int(pd.Timestamp("2024-01-01 01:00", tz="UTC").timestamp() * 1000)
MINUTE = 60_000
QUICK = Pace(grace=0.15, window=2.0, slack=0.2, timeout=0.8, tick=0.05, look=0.5, deaf=0.4, silence=30.0, clock=0.3)


class World:
    """A market of minutes from 00:00, of which the first hour is history, stepped by the test."""

    def __init__(self, folder: Path, pairs: tuple[str, ...] = (BTC,), state: Path | None = None, **terms: Any) -> None:
        self.folder, self.pairs, self._terms, self._state = folder, pairs, terms, state
        self.market = {
            pair: _priced(make_candles(400, seed=7 + number, symbol=pair)) for number, pair in enumerate(pairs)
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._gateways: list[Gateway] = []
        self._ports: dict[str, int] = {}
        self.open()

    def open(self) -> None:
        """Start the exchange; after :meth:`shut` on the same ports."""
        terms = Terms(start=START, **self._terms)
        self.sandbox = self.do(lambda: Sandbox(self.market, terms, state=self._state, **self._ports))
        self.run(self.sandbox.start())
        self._ports = {"port": self.sandbox.port, "tls_port": self.sandbox.tls_port}
        self.target, keys = sandbox(self.sandbox.url)
        assert keys is not None
        self.keys = keys

    def shut(self) -> None:
        self.run(self.sandbox.stop())

    def close(self) -> None:
        for gateway in self._gateways:
            gateway.stop()
            gateway.journal.close()
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def do(self, work: Callable[[], Any]) -> Any:
        """Call something of the sandbox on its own thread."""

        async def done() -> Any:
            return work()

        return self.run(done())

    def step(self, candles: int = 1, ticks: int = 0) -> None:
        self.run(self.sandbox.step(candles, ticks))

    def arm(self, kind: str, **options: Any) -> None:
        self.do(lambda: self.sandbox.arm(kind, **options))

    def strike(self, kind: str, path: str = "", **options: Any) -> int:
        return int(self.do(lambda: self.sandbox.strike(kind, path, **options)))

    @property
    def consumed(self) -> dict[str, int]:
        return dict(self.sandbox.venue.faults.consumed)

    @property
    def now(self) -> int:
        return self.sandbox.venue.now

    # The truth

    @property
    def truth(self) -> dict[str, Any]:
        (account,) = self.do(self.sandbox.venue.truth)["accounts"].values()
        return dict(account)

    def candles(self, symbol: str, count: int, first: int = 60) -> list[tuple[int, tuple[float, ...]]]:
        """(open_ms, values) of the market's own candles."""
        frame = self.market[symbol].frame.iloc[first : first + count]
        return [
            (int(time.value // 10**6), tuple(row))
            for time, row in zip(frame.index, frame.round(8).to_numpy(), strict=True)
        ]

    # Gateways

    def gateway(
        self, name: str = "session", *, started: bool = True, target: Target | None = None, **options: Any
    ) -> Gateway:
        facts = SessionFacts("lstm_rsi", "digest", self.pairs, "1m", "sandbox")
        journal = Journal(self.folder / name / "journal.sqlite", facts)
        keys = options.pop("keys", self.keys)
        since_ms = options.pop("since_ms", None)
        gateway = Gateway(
            target or self.target, keys, journal, self.pairs, "1m", pace=options.pop("pace", QUICK), **options
        )
        self._gateways.append(gateway)
        if started:
            try:
                gateway.start(since_ms)
            except BaseException:
                self.release(gateway)
                raise
            until(lambda: options.get("poll") or self._listening())
        return gateway

    def release(self, gateway: Gateway) -> None:
        """Stop a gateway and let go of its journal, so that another one can open it."""
        gateway.stop()
        gateway.journal.close()
        if gateway in self._gateways:
            self._gateways.remove(gateway)

    def _listening(self) -> bool:
        connections = list(self.sandbox._connections.all.values())
        return {"market", "user"} <= {one.kind for one in connections if one.streams or one.subscriptions}


def _priced(candles: Candles) -> Candles:
    """The same candles with prices around 20,000, in cents, and volumes in lots."""
    frame = candles.frame.copy()
    frame[["open", "high", "low", "close"]] = (frame[["open", "high", "low", "close"]] * 200).round(2)
    frame["volume"] = frame["volume"].round(5) + 1e-5
    return Candles.from_frame(frame, candles.symbol, "1m")


def until(true: Callable[[], Any], seconds: float = 8.0) -> Any:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.01)
    return found


def bundles(gateway: Gateway, count: int, seconds: float = 8.0) -> list[Bundle]:
    """The next bundles; halts are passed over."""
    found: list[Bundle] = []
    while len(found) < count:
        one = gateway.bundles.get(timeout=seconds)
        if isinstance(one, Bundle):
            found.append(one)
        else:
            assert not one.final, one.reason
    return found


def trading(world: World, **options: Any) -> Gateway:
    """A gateway that has seen its first bar."""
    gateway = world.gateway(**options)
    world.step()
    bundles(gateway, 1)
    return gateway


def crash(world: World, gateway: Gateway) -> None:
    """End a gateway as a kill would: nothing is written any more, no connection is closed in good order."""
    gateway.journal.failed = "it was killed"
    world.release(gateway)


def halt(gateway: Gateway, seconds: float = 8.0) -> Halt:
    """The next halt; bundles are passed over."""
    while not isinstance(one := gateway.bundles.get(timeout=seconds), Halt):
        pass
    return one


def events(gateway: Gateway) -> list[OrderEvent]:
    """What was told so far."""
    found = []
    while True:
        try:
            found.append(gateway.order_events.get_nowait())
        except Empty:
            return found


def shown(bundle: Bundle, symbol: str) -> tuple[int, tuple[float, ...]]:
    return bundle.open_ms, bundle.candles[symbol].floats


def intent(
    gateway: Gateway,
    seq: int = 1,
    side: str = BUY,
    kind: str = MARKET,
    quantity: str = "0.01",
    price: str | None = None,
    symbol: str = BTC,
    **more: Any,
) -> Intent:
    open_ms = gateway.now_ms() // MINUTE * MINUTE - MINUTE
    named = {STOP: "stop_price", LIMIT: "limit_price"}
    if price is not None:
        more[named[kind]] = Decimal(price)
    cid = more.pop("cid", None) or gateway.client_order_id(symbol, open_ms, seq)
    return Intent(cid, symbol, side, kind, Decimal(quantity), open_ms, reduces=side == SELL, **more)


def final(gateway: Gateway, order: Order | str, seconds: float = 8.0) -> Order:
    """The order when nothing can happen to it any more."""
    cid = order if isinstance(order, str) else order.cid

    def over() -> Order | None:
        found = gateway.journal.order(cid)
        return found if found is not None and found.state.final else None

    return until(over, seconds)  # type: ignore[no-any-return]


def becomes(gateway: Gateway, order: Order, state: State, seconds: float = 8.0) -> Order:
    def is_so() -> Order | None:
        found = gateway.journal.order(order.cid)
        return found if found is not None and found.state == state else None

    return until(is_so, seconds)  # type: ignore[no-any-return]


def agrees(world: World, gateway: Gateway) -> None:
    """The journal and the exchange tell the same story: orders, fills and balances, to the last decimal."""
    truth = world.truth
    assert truth["duplicates"] == []
    accepted = {order.cid: order for order in gateway.journal.orders() if order.exchange_id is not None}
    assert {row["clientOrderId"] for row in truth["orders"]} == set(accepted)
    for row in truth["orders"]:
        order = accepted[row["clientOrderId"]]
        assert (row["orderId"], Decimal(row["executedQty"])) == (order.exchange_id, order.executed)
    fills = {
        (fill.trade_id, fill.price, fill.quantity, fill.commission, fill.commission_asset)
        for fill in gateway.journal.fills()
    }
    assert fills == {
        (row["id"], Decimal(row["price"]), Decimal(row["qty"]), Decimal(row["commission"]), row["commissionAsset"])
        for row in truth["trades"]
    }
    held = {asset: Decimal(one["free"]) + Decimal(one["locked"]) for asset, one in truth["balances"].items()}

    def ledger() -> dict[str, Decimal]:
        return {asset: gateway.ledger().get(asset, Decimal(0)) for asset in held}

    until(lambda: ledger() == held, 2)


__all__ = ["BTC", "ETH", "MINUTE", "QUICK", "START", "Candle", "Candles", "World"]
