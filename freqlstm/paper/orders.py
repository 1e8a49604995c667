"""Orders on their way to the exchange: written down, sent once, cancelled, replaced.

Nothing is ever sent a second time under a doubt: see :mod:`freqlstm.paper.tracker` for how a doubt ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from freqlstm.paper.money import WIRE_TYPES, plain
from freqlstm.paper.outcome import CLOCK, KEYS, TOO_LITTLE, UNCERTAIN, CallFailed, Outcome
from freqlstm.paper.records import LIMIT, STOP, Order, State
from freqlstm.paper.tracker import Tracker


class Orders(Tracker):
    """Sends the orders of the session, and follows them."""

    held_back: Callable[[Order], str] = staticmethod(lambda order: "")  # why an order that waits is not wanted any more

    async def send(self, cid: str) -> None:
        """Send an order that is written down as SENT (then its timestamp is the one that is signed) or INTENT."""
        delay = 0.1
        while True:
            order = self._order(cid)
            reason = await self._hold(order)
            if reason:
                self._end(order, State.REJECTED, reason)
                return
            order = self._order(cid)
            if order.state not in (State.INTENT, State.SENT):  # what was said of it while it waited
                return
            if order.state == State.INTENT:
                order = self._mark(
                    order, state=State.SENT, sent_ms=self._client.clock.now_ms(), window_ms=self.window_ms
                )
            try:
                body = await self._client.ask("privatePostOrder", self._request(order), weight=1, urgent=True)
                report = self._read(body, order)
            except CallFailed as failure:
                if not await self._retries(order, failure):
                    return
                await asyncio.sleep(delay)
                delay = min(2 * delay, 5.0)
            else:
                self.accepted[cid] = self._client.clock.ticks()
                self.apply(report)
                return

    async def replace(self, former: str, cid: str) -> None:
        """Cancel ``former`` and send ``cid`` in one request; only if the first succeeds is the second done."""
        await self._certain(former)
        order = self._order(cid)
        if self._order(former).state.final:
            self._end(order, State.REJECTED, f"{former} could not be cancelled: it is {self._order(former).state}")
            return
        if reason := await self._hold(order):
            self._end(order, State.REJECTED, reason)
            return
        request = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": former}
        order = self._mark(order, state=State.SENT, sent_ms=self._client.clock.now_ms(), window_ms=self.window_ms)
        try:
            body = await self._client.ask(
                "privatePostOrderCancelReplace", {**self._request(order), **request}, weight=1, urgent=True
            )
            reports = [
                self._read(body["cancelResponse"], self._order(former)),
                self._read(body["newOrderResponse"], order),
            ]
        except CallFailed as failure:
            data = failure.answer.data if isinstance(failure.answer.data, dict) else {}
            half = data.get("newOrderResponse") or data.get("cancelResponse") or {}
            if failure.outcome in (Outcome.REJECTED, Outcome.NOT_SENT) and half.get("code") not in UNCERTAIN:
                said = half.get("msg")
                self._end(order, State.REJECTED, said or refusal_of(failure))
            else:
                self._mark(order, state=State.UNKNOWN, note=str(failure))
            if failure.code == CLOCK:
                await self._quietly(self._client.time())
            await self.resolve(cid)
            await self.refresh(former)
        except (KeyError, TypeError) as error:
            self._mark(order, state=State.UNKNOWN, note=f"an answer without {error}")
            await self.resolve(cid)
            await self.refresh(former)
        else:
            for report in reports:
                self.apply(report)

    async def cancel(self, cid: str) -> None:
        """Cancel an order, as often as it takes to know that it is over; it may turn out to have filled."""
        delay = 0.1
        while True:
            await self._certain(cid)
            order = self._order(cid)
            if order.state.final or cid in self._ending:
                return
            query = {"symbol": self._rules[order.intent.symbol].id, "origClientOrderId": cid}
            try:
                body = await self._client.ask("privateDeleteOrder", query, weight=1, urgent=True)
                self.apply(self._read(body, order))
                return
            except CallFailed as failure:
                if failure.code == CLOCK:
                    await self._quietly(self._client.time())
                await self.refresh(cid)
                await asyncio.sleep(delay)
                delay = min(2 * delay, 5.0)

    def _request(self, order: Order) -> dict[str, Any]:
        intent = order.intent
        request: dict[str, Any] = {
            "symbol": self._rules[intent.symbol].id,
            "side": intent.side.upper(),
            "type": WIRE_TYPES[intent.kind],
            "quantity": plain(intent.quantity),
            "newClientOrderId": intent.cid,
            "newOrderRespType": "FULL",
            "timestamp": order.sent_ms,
            "recvWindow": order.window_ms,
        }
        if intent.kind == LIMIT and intent.limit_price is not None:
            request.update(price=plain(intent.limit_price), timeInForce="GTC")
        if intent.kind == STOP and intent.stop_price is not None:
            request.update(stopPrice=plain(intent.stop_price))
        return request

    async def _hold(self, order: Order) -> str:
        """Wait while the exchange wants no orders; why this one is not to be sent any more, empty if it is."""
        while True:
            deadline = order.intent.deadline_ms
            if deadline is not None and self._client.clock.now_ms() > deadline:
                return f"it could not be sent in time{f': {order.note}' if order.note else ''}"
            if order.state == State.INTENT and (reason := self.held_back(order)):
                return reason
            if self._client.breaker.wait_for(1, urgent=True) <= 0:
                return ""
            if order.state == State.SENT:  # what was signed would be too old
                order = self._mark(order, state=State.INTENT, note="the exchange asked to wait")
            await asyncio.sleep(min(1.0, self._client.breaker.wait_for(1, urgent=True)))

    async def _retries(self, order: Order, failure: CallFailed) -> bool:
        """Deal with a failure to send: whether it is certain that nothing arrived and it is to be tried again."""
        if failure.outcome == Outcome.UNKNOWN:
            self._mark(order, state=State.UNKNOWN, note=str(failure))
            await self.resolve(order.cid)
            return False
        if failure.outcome == Outcome.REJECTED and failure.code != CLOCK and not failure.busy:
            self._end(order, State.REJECTED, refusal_of(failure))
            return False
        self._mark(order, state=State.INTENT, note=str(failure))
        if failure.code == CLOCK:
            await self._quietly(self._client.time())
        return True


def refusal_of(failure: CallFailed) -> str:
    """Why the exchange refused an order, in one line."""
    message = failure.answer.message
    if "insufficient balance" in message:
        return f"{TOO_LITTLE}: {message}"
    if failure.code in KEYS:
        return f"the exchange refuses the API keys: {message}"
    return message or str(failure)
