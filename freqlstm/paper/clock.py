"""The exchange's clock, kept here between two looks at it."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_MS = 1_000  # the exchange accepts timestamps up to one second ahead of its own


def _ticks() -> float:
    """Seconds that no setting of the wall clock moves, and that go on while the computer sleeps where that can be had."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Clock:
    """Milliseconds by the exchange's clock. Setting this computer's wall clock, by an hour or a year, changes nothing.

    ``speed``: a sandbox's clock can run faster than ours.
    """

    def __init__(self, speed: float = 1.0, ticks: Callable[[], float] = _ticks) -> None:
        self.speed = speed
        self.ticks = ticks
        self._anchor = ticks(), time.time() * 1000  # (ours, the exchange's)
        self.set = False  # whether it was ever compared with the exchange's
        self.jump_ms = 0.0  # how far off the last comparison found it
        self._leapt_ms = 0.0  # what the exchange's own messages have moved it since then
        self.doubt_ms = 0.0  # how far off it may be since then, by the time that the answer took

    def now(self) -> float:
        ours, theirs = self._anchor
        return theirs + (self.ticks() - ours) * 1000 * self.speed

    def now_ms(self) -> int:
        return int(self.now())

    @property
    def offset_ms(self) -> float:
        """The exchange's clock minus this computer's wall clock."""
        return self.now() - time.time() * 1000

    def correct(self, server_ms: float, asked: float, answered: float) -> float:
        """Take over the exchange's time, asked for at ``asked`` and answered at ``answered`` (:attr:`ticks`).

        How far off we were in ms, 0 where the way there and back explains it.
        """
        middle = (asked + answered) / 2
        ours, theirs = self._anchor
        off = server_ms - (theirs + (middle - ours) * 1000 * self.speed)
        doubt = (answered - asked) / 2 * 1000 * self.speed
        if not self.set or abs(off) > doubt or doubt < self.doubt_ms:
            self._anchor = middle, server_ms
            self.doubt_ms = doubt
        jump = off + self._leapt_ms
        self.jump_ms = jump if self.set and abs(jump) > doubt + JUMP_MS * self.speed else 0.0
        self.set, self._leapt_ms = True, 0.0
        return off

    def at_least(self, server_ms: float) -> None:
        """The exchange has just said that it is no earlier than this."""
        if self.set and (leap := server_ms - self.now()) > 0:
            self._leapt_ms += leap
            self._anchor = self.ticks(), server_ms
