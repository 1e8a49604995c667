"""A sandbox exchange in a thread, and a session that trades on it in the thread of the test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from freqlstm.candles import Candles
from freqlstm.paper.keys import Keys
from freqlstm.paper.session import Session
from freqlstm.paper.target import Target
from freqlstm.paper.target import sandbox as sandbox_target
from freqlstm.paper_run import PaperRun, opened
from freqlstm.project import Project
from freqlstm.sandbox import Liquidity, Sandbox, Terms

CHURN = '''"""Trades on next to nothing."""

from freqlstm import Strategy


class Churn(Strategy):
    warmup = 9

    def enter_long(self, bars):
        return bars.close < bars.close.shift(2)

    def exit_long(self, bars):
        return bars.close > bars.close.shift(9)
'''
DEEP = Liquidity(levels=1, amount=Decimal(10**9), spread=0)  # any order fills at the last price


class Floor:
    """A running sandbox; its methods may be called from any thread."""

    def __init__(self, market: Mapping[str, Candles], **terms: Any) -> None:
        self.sandbox = Sandbox(market, Terms(**{"liquidity": DEEP, **terms}))
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="sandbox", daemon=True)

    def __enter__(self) -> Floor:
        self._thread.start()
        self.wait(self.sandbox.start())
        return self

    def __exit__(self, *failure: object) -> None:
        self.wait(self.sandbox.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def wait(self, work: Any) -> Any:
        """What a coroutine returns that runs in the sandbox's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def do(self, work: Callable[[], Any]) -> Any:
        """What ``work`` returns in the sandbox's thread."""

        async def done() -> Any:
            return work()

        return self.wait(done())

    def connect(self) -> tuple[Target, Keys]:
        """How a session reaches it."""
        return sandbox_target(self.sandbox.url)

    @property
    def now_ms(self) -> int:
        return int(self.do(lambda: self.sandbox.venue.now))


def step(floor: Floor, session: Session) -> dict[str, Any]:
    """One candle, when the session has done with the one before; it is done with this one on return.

    A bar that a symbol lacks comes only with the next candle of that symbol, so nobody waits for it here.
    """
    ticks = floor.sandbox.venue.terms.ticks
    floor.wait(floor.sandbox.step(0, ticks - 1))
    found: dict[str, Any] = floor.wait(floor.sandbox.step(0, 1))
    whole = found["closed"].keys() == floor.sandbox.venue.replay.tapes.keys()
    closed = max(found["closed"].values()) if whole else 0
    until = time.monotonic() + 60
    while session.settled_ms < closed and time.monotonic() < until:
        time.sleep(0.0005)
    assert session.settled_ms >= closed, f"the bar {closed} was not done with"
    return found


@contextmanager
def driven(
    floor: Floor, session: Session, bars: int, before: Callable[[int], None] = lambda bar: None
) -> Iterator[None]:
    """Have the market go on by so many candles in another thread while the block runs, and the session stopped after them."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for bar in range(bars):
                before(bar)
                if step(floor, session)["over"]:
                    break
        except BaseException as error:
            failed.append(error)
        session.stop("the market has ended")

    thread = threading.Thread(target=work, name="driver")
    thread.start()
    try:
        yield
    finally:
        session.stop("the block ended")
        thread.join()
    if failed:
        raise failed[0]


def traded(
    floor: Floor, run: PaperRun, root: Path, bars: int, before: Callable[[int], None] = lambda bar: None, **options: Any
) -> list[tuple[str, str]]:
    """Run a session, begun or gone on with, over so many candles; what it told."""
    told: list[tuple[str, str]] = []
    target, keys = floor.connect()
    with opened(
        run, Project(root), target, keys, "test",
        tell=lambda kind, text: told.append((kind, text)), **options,
    ) as session, driven(floor, session, bars, before):  # fmt: skip
        session.run()
    return told
