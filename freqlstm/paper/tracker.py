"""What became of an order: heard by the stream or asked for, until it is certain.

An order without a clear answer is looked for by its client id; one that the exchange still does not know after its window
(``recvWindow``, which the exchange checks right before matching) is over can no longer be accepted, and that is the only
proof that counts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from freqlstm.errors import JournalError
from freqlstm.paper.account import Account
from freqlstm.paper.client import Client
from freqlstm.paper.journal import Journal
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.outcome import CLOCK, NO_SUCH_ORDER, Answer, CallFailed
from freqlstm.paper.pace import Pace
from freqlstm.paper.records import Fill, Order, OrderEvent, State
from freqlstm.paper.reports import Report, answered, traded

LOG = logging.getLogger(__name__)

IN_DOUBT = (State.SENT, State.UNKNOWN)
RANK = {State.INTENT: 0, State.SENT: 1, State.UNKNOWN: 1, State.OPEN: 2, State.PARTIAL: 3}  # final states: 4


class Tracker:
    """Follows every order of the session; lives on the event loop of the gateway."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        account: Account,
        rules: Mapping[str, SymbolRules],
        pace: Pace,
        emit: Callable[[OrderEvent], None],
        fail: Callable[[str], None],
    ) -> None:
        self._client, self._journal, self._account, self._rules, self._pace = client, journal, account, rules, pace
        self.window_ms, self._slack_ms = pace.window_ms(client.clock.speed), pace.slack_ms(client.clock.speed)
        self._emit = emit
        self._fail = fail  # told why nothing may go on
        self.live = False  # whether a strategy already goes by what is known
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: dict[str, tuple[State, str]] = {}  # final by the exchange, but fills are still missing here
        self._fetching: set[str] = set()
        self._looking: set[str] = set()  # orders that are being looked up
        self._wanted: set[str] = set()  # orders that are to be looked up, for the first time or once more
        self._changed: dict[str, asyncio.Event] = {}
        self.accepted: dict[
            str, float
        ] = {}  # answered to be accepted, and when (clock ticks): the stream must say so too

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside everything else; what it cannot cope with halts the gateway."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # if it was cancelled before it began

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def unsettled(self) -> list[Order]:
        """Orders of which it is not certain where they stand."""
        return [
            order
            for order in self._journal.orders(unresolved=True)
            if order.state in (State.INTENT, *IN_DOUBT) or order.cid in self._ending
        ]

    # Finding out

    async def resolve(self, cid: str) -> None:
        """Ask for an order in doubt until it is found, or proved never to have been accepted."""
        delay = 0.1
        while (order := self._order(cid)).state in IN_DOUBT:
            last = (order.sent_ms or 0) + order.window_ms + self._slack_ms
            try:
                # The exchange's own clock, looked at before the question: our own could have jumped.
                over = self._client.clock.now() > last and await self._client.time() > last
                await self._look(order)
            except CallFailed as failure:
                if failure.code == CLOCK:
                    await self._quietly(self._client.time())
                elif failure.code == NO_SUCH_ORDER and over:
                    self._end(order, State.NOT_ACCEPTED, f"the exchange never accepted it ({order.note})")
                    return
            await self._pause(cid, delay)
            delay = min(1.6 * delay, 2.0)

    async def refresh(self, cid: str) -> None:
        """Ask once where an order stands that was accepted; try again where the question fails."""
        delay = 0.2
        while not (order := self._order(cid)).state.final:
            if order.state in (State.INTENT, *IN_DOUBT):
                await self.resolve(cid)
                return
            try:
                await self._look(order)
                return
            except CallFailed as failure:
                if failure.code == NO_SUCH_ORDER and order.exchange_id is not None:
                    visible = (order.sent_ms or 0) + order.window_ms + self._slack_ms  # by then at the latest
                    if delay > 1 and self._client.clock.now() > visible:  # it was accepted and is gone
                        self._fail(f"The exchange no longer knows order {cid}, which it had accepted: it was reset.")
                        return
                elif failure.code == CLOCK:
                    await self._quietly(self._client.time())
            await asyncio.sleep(delay)
            delay = min(2 * delay, 5.0)

    async def _look(self, order: Order) -> None:
        query = {"symbol": self._rules[order.intent.symbol].id, "origClientOrderId": order.cid}
        body = await self._client.ask("privateGetOrder", query, weight=4)
        self.apply(self._read(body, order))

    async def _trades(self, cid: str) -> None:
        """Fetch the trades of an order of which fills are missing; the stream often is faster."""
        delay = 0.05
        while self._lacks(cid):
            await asyncio.sleep(delay)
            order = self._order(cid)
            query = {"symbol": self._rules[order.intent.symbol].id, "orderId": order.exchange_id}
            try:
                rows = await self._client.ask("privateGetMyTrades", query, weight=5) if self._lacks(cid) else []
                self._take(order, [traded(row, order.intent.symbol, cid) for row in rows])
            except (KeyError, TypeError, ValueError, ArithmeticError) as error:
                self._journal.event(
                    "trades", self._client.clock.now_ms(), cid=cid, error=f"they cannot be read: {error!r}"
                )
            except CallFailed as failure:
                if failure.code == CLOCK:
                    await self._quietly(self._client.time())
            delay = min(2 * delay, 2.0)
        self._fetching.discard(cid)

    def _lacks(self, cid: str) -> bool:
        """Whether more of an order has filled than is written down."""
        order = self._order(cid)
        filled = sum((fill.quantity for fill in self._journal.fills(cid=cid)), Decimal(0))
        return cid in self._ending or (order.executed > filled and not order.state.final)

    def look_up(self) -> None:
        """Reports may have passed unheard: have every order looked up, one question at a time for each of them."""
        for order in self._journal.orders(unresolved=True):
            self._wanted.add(order.cid)
            if order.cid not in self._looking:
                self._looking.add(order.cid)
                self.spawn(self._look_up(order.cid))

    async def _look_up(self, cid: str) -> None:
        while cid in self._wanted:
            self._wanted.discard(cid)
            await self.refresh(cid)
        self._looking.discard(cid)

    async def recover(self) -> None:
        """Make certain of every order that is not final; after a crash and after every reconnection."""
        orders = self._journal.orders(unresolved=True)
        await asyncio.gather(*(self.refresh(order.cid) for order in orders))
        while self._ending or self._fetching:
            await asyncio.sleep(0.02)

    async def look_again(self) -> None:
        """Ask once more for what was proved never to have been accepted: the account holds something else than it must."""
        for order in self._journal.orders():
            if order.state == State.NOT_ACCEPTED and order.sent_ms is not None:
                await self._quietly(self._look(order))
        while self._ending or self._fetching:
            await asyncio.sleep(0.02)

    def give_up_unsent(self) -> None:
        """Orders that were written down and never sent, when a process before this one ended."""
        for order in self._journal.orders(unresolved=True):
            if order.state == State.INTENT:
                self._end(order, State.NOT_ACCEPTED, "the trader ended before it was sent")

    # What the exchange says

    def apply(self, report: Report) -> None:
        """Take in what a message says; the same message twice, or an old one late, changes nothing."""
        order = self._journal.order(report.cid)
        if order is None or order.epoch != self._journal.epoch:
            self._journal.event(
                "foreign order", self._client.clock.now_ms(), cid=report.cid, symbol=report.symbol, state=report.state
            )
            return
        if order.state in (State.NOT_ACCEPTED, State.REJECTED) and report.state != State.REJECTED:
            order = self._contradicted(order, report)
        if report.state.final:
            self._ending.setdefault(order.cid, (report.state, report.note))
        ahead = RANK.get(report.state, 4) > RANK.get(order.state, 4)
        self._take(
            order,
            report.fills,
            state=report.state if ahead and not report.state.final else None,
            exchange_id=order.exchange_id or report.exchange_id,
            executed=max(order.executed, report.executed),
        )

    def _contradicted(self, order: Order, report: Report) -> Order:
        """The exchange has an order that it cannot have: believe it, and let a new start go on from there."""
        self._journal.event(
            "contradiction", self._client.clock.now_ms(), cid=order.cid, ours=order.state, theirs=report.state
        )
        if self.live:
            self._fail(
                f"The exchange has accepted order {order.cid}, which was taken to be {order.state}. Start again: it is counted now."
            )
        return self._journal.update_order(order.cid, state=State.SENT, note=f"found after it was {order.state}")[0]

    def _take(
        self,
        order: Order,
        fills: list[Fill] | tuple[Fill, ...],
        *,
        state: State | None = None,
        exchange_id: int | None = None,
        executed: Decimal = Decimal(0),
    ) -> None:
        """Write down fills and where the order stands, and say so if anything is new."""
        cid = order.cid
        known = {fill.trade_id: fill.quantity for fill in self._journal.fills(cid=cid)}
        known.update((fill.trade_id, fill.quantity) for fill in fills)
        filled = sum(known.values(), Decimal(0))
        executed = max(executed, order.executed, filled)
        changes: dict[str, Any] = {}
        if exchange_id is not None and exchange_id != order.exchange_id:
            changes["exchange_id"] = exchange_id
        if executed != order.executed:
            changes["executed"] = executed
        if order.state.final:
            self._ending.pop(cid, None)
        elif cid in self._ending and filled >= executed:
            state, note = self._ending.pop(cid)
            changes.update(state=state, resolved_ms=self._client.clock.now_ms(), note=note)
        elif filled and RANK[order.state] < RANK[State.PARTIAL]:
            changes["state"] = State.PARTIAL
        elif state is not None:
            changes["state"] = state
        elif cid in self._ending and order.state in IN_DOUBT:
            changes["state"] = State.OPEN
        if (cid in self._ending or executed > filled) and cid not in self._fetching:
            self._fetching.add(cid)
            self.spawn(self._trades(cid))
        if not changes and not fills:
            return
        with self._journal.held():  # whoever reads of the fill finds it in the position too
            after, fresh = self._journal.update_order(cid, fills, **changes)
            self._account.add(fresh)
        if after.state != order.state or fresh:
            self._tell(OrderEvent(after, tuple(fresh)))

    def _mark(self, order: Order, **changes: Any) -> Order:
        """Note where an order stands that is on its way; what is further already stays."""
        current = self._order(order.cid)
        if current.state not in (State.INTENT, *IN_DOUBT):
            return current
        after, _ = self._journal.update_order(order.cid, **changes)
        if after.state != current.state:
            self._tell(OrderEvent(after))
        return after

    def _end(self, order: Order, state: State, note: str) -> None:
        if self._order(order.cid).state in (State.INTENT, *IN_DOUBT):
            self._mark(order, state=state, note=note, resolved_ms=self._client.clock.now_ms())

    def _tell(self, event: OrderEvent) -> None:
        changed = self._changed.pop(event.cid, None)
        if changed is not None:
            changed.set()
        self._emit(event)

    # Small things

    def _order(self, cid: str) -> Order:
        order = self._journal.order(cid)
        assert order is not None, cid
        return order

    def _read(self, body: Any, order: Order) -> Report:
        """What an answer says of ``order``; one that lacks what it must say leaves it in doubt."""
        try:
            return dataclasses.replace(answered(body, order.intent.symbol), cid=order.cid)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise CallFailed("an answer that is not an order", Answer(), error) from error

    async def _certain(self, cid: str) -> None:
        """Wait until an order is neither waiting to be sent nor in doubt."""
        while self._order(cid).state in (State.INTENT, *IN_DOUBT):
            await self._pause(cid, 1.0)

    async def _pause(self, cid: str, seconds: float) -> None:
        """Wait, but no longer than until something happens to the order."""
        event = self._changed.setdefault(cid, asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _quietly(self, work: Awaitable[Any]) -> None:
        with suppress(CallFailed):
            await work

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except JournalError as error:
            self._fail(str(error))
        except Exception as error:  # a bug: nothing may be sent by a trader who has one
            LOG.exception("an order could not be followed")
            self._fail(f"An order could not be followed ({type(error).__name__}: {error}).")
