"""The way of a request through limits, keys, signature and timing to the exchange, and the faults on that way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from freqlstm.sandbox.accounts import Account, check_timing
from freqlstm.sandbox.faults import Fault
from freqlstm.sandbox.operations import Operation, Parameters
from freqlstm.sandbox.refusal import Refusal
from freqlstm.sandbox.venue import Venue

BEFORE = ("refuse", "busy", "limited", "banned", "lost")
AFTER = ("hang", "drop", "timeout", "unknown", "html", "empty", "late", "slow_answer")
PAGE = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


class Dropped(Exception):
    """The connection is to be torn down without an answer."""


@dataclass
class Reply:
    """What is answered: JSON, or ``page`` as it is."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    page: str | None = None


def timed_out() -> Refusal:
    """The answer that says nothing of what happened."""
    return Refusal(
        -1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    )


class Gate:
    """Carries requests out; ``keep`` is called after each that may have changed something, before it is answered."""

    def __init__(self, venue: Venue, keep: Callable[[], None]) -> None:
        self.venue = venue
        self.keep = keep
        self._later: set[asyncio.Task[None]] = set()

    async def serve(
        self,
        operation: Operation,
        parameters: Parameters,
        authorise: Callable[[], Account],
        path: str,
        method: str,
        key: str,
    ) -> Reply:
        """The reply to a request; :class:`Dropped` if there is none."""
        venue = self.venue
        scope = {"path": path, "method": method, "symbol": str(parameters.get("symbol", "")), "key": key}
        after = None
        try:
            venue.usage.charge(operation.cost(parameters), venue.now)
            await self._fail_before(venue.faults.take(*BEFORE, **scope))
            account = authorise() if operation.signed else None
            if operation.order and account is not None:
                venue.usage.count_order(account.key, venue.now)
            wait = venue.faults.take("latency", **scope)
            if wait is not None:
                await asyncio.sleep(float(wait.details["seconds"]))
            after = venue.faults.take(*AFTER, **scope)
            if after is not None and after.kind == "late":
                self._carry_out_later(float(after.details["seconds"]), operation, parameters, account)
                after = None
                raise timed_out()
            reply = Reply(200, self._carry_out(operation, parameters, account))
        except Refusal as refusal:
            reply = Reply(refusal.status, refusal.body, dict(refusal.headers))
        used = str(venue.usage.weight)
        reply.headers |= {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
        if operation.order and key in venue.accounts:
            short, long = venue.usage.orders(key, venue.now)
            reply.headers |= {"X-MBX-ORDER-COUNT-10S": str(short), "X-MBX-ORDER-COUNT-1D": str(long)}
        return reply if after is None else await self._fail_after(after, reply)

    def _carry_out(self, operation: Operation, parameters: Parameters, account: Account | None) -> Any:
        if operation.signed:  # once more, right before the matching
            check_timing(parameters, self.venue.now)
        try:
            return operation(self.venue, parameters, account)
        finally:
            self.keep()

    def _carry_out_later(
        self, seconds: float, operation: Operation, parameters: Parameters, account: Account | None
    ) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            try:
                self._carry_out(operation, parameters, account)
            except Refusal as refusal:
                self.venue.counts[f"late request refused with {refusal.code}"] += 1

        task = asyncio.get_running_loop().create_task(later())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def close(self) -> None:
        """Give up what is still on its way."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    async def _fail_before(self, fault: Fault | None) -> None:
        if fault is None:
            return
        told = fault.details
        if fault.kind == "lost":
            raise Dropped
        if fault.kind == "busy":
            raise Refusal(
                -1008, "Server is currently overloaded with other requests. Please try again in a few minutes."
            )
        if fault.kind == "refuse":
            raise Refusal(int(told["code"]), str(told["message"]), int(told["status"]) or None)
        status = 429 if fault.kind == "limited" else 418
        raise Refusal(
            -1003, "Too many requests queued.", status=status, headers={"Retry-After": str(told["retry_after"])}
        )  # fmt: skip

    async def _fail_after(self, fault: Fault, reply: Reply) -> Reply:
        seconds = float(fault.details.get("seconds", 0.0))
        if fault.kind in ("hang", "slow_answer"):
            await asyncio.sleep(seconds)
        if fault.kind in ("hang", "drop"):
            raise Dropped
        if fault.kind == "timeout":
            refusal = timed_out()
            return Reply(refusal.status, refusal.body, reply.headers)
        if fault.kind == "unknown":
            message = "An unexpected response was received from the message bus. Execution status unknown."
            return Reply(500, Refusal(-1006, message).body, reply.headers)
        if fault.kind == "html":
            return Reply(int(fault.details["status"]), headers=reply.headers, page=PAGE)
        if fault.kind == "empty":
            return Reply(200, headers=reply.headers, page="")
        return reply
