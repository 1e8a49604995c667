"""The exchange's limits on requests: counted by its own headers, and obeyed when it says wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from freqlstm.paper.outcome import Answer

USED = "X-MBX-USED-WEIGHT-1M"
BUSY, BANNED = 30.0, 120.0  # seconds to stay away after 429 and 418 without a Retry-After
SHARE, URGENT_SHARE = 0.6, 0.95  # of the limit, up to which questions and orders are still sent


class Breaker:
    """Opens when the exchange asks to wait, and closes when that time is over; nothing is sent meanwhile."""

    def __init__(self, limit: int = 6_000, ticks: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit  # weight a minute
        self.used = 0
        self._ticks = ticks
        self._counted = ticks()
        self._until = 0.0

    @property
    def seconds(self) -> float:
        """How long nothing may be sent."""
        return max(0.0, self._until - self._ticks())

    def note(self, answer: Answer) -> None:
        """Learn from an answer."""
        used = answer.header(USED)
        if used is not None and used.isdecimal():
            self.used, self._counted = int(used), self._ticks()
        if answer.status in (418, 429):
            asked = answer.header("Retry-After") or ""
            wait = float(asked) if asked.isdecimal() else BANNED if answer.status == 418 else BUSY
            self._until = max(self._until, self._ticks() + wait)

    def wait_for(self, weight: int, urgent: bool) -> float:
        """Seconds until a request of that weight may be sent."""
        if self._ticks() - self._counted >= 60:  # the minute that was counted is over
            self.used, self._counted = 0, self._ticks()
        share = URGENT_SHARE if urgent else SHARE
        full = 0.0 if self.used + weight <= share * self.limit else max(0.0, 60 - (self._ticks() - self._counted))
        return max(self.seconds, full)

    async def wait(self, weight: int, urgent: bool = False) -> None:
        """Come back when a request of that weight may be sent; until an answer tells better, it counts as sent."""
        while (seconds := self.wait_for(weight, urgent)) > 0:
            await asyncio.sleep(min(seconds, 1.0))
        self.used += weight
