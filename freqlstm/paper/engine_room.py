"""What runs on the gateway's thread: streams, clock, kill switch, and what to do when one of them fails."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from freqlstm.errors import ExchangeUnavailable, FreqlstmError, JournalError, PaperError
from freqlstm.paper.account import Account, balances_of
from freqlstm.paper.archive import moment
from freqlstm.paper.assembler import Assembler
from freqlstm.paper.audit import Audit
from freqlstm.paper.breaker import Breaker
from freqlstm.paper.candle_stream import CandleStream
from freqlstm.paper.client import Client
from freqlstm.paper.clock import JUMP_MS, Clock
from freqlstm.paper.emergency import Emergency
from freqlstm.paper.journal import Journal
from freqlstm.paper.keys import Keys, hide
from freqlstm.paper.limits import KillSwitch
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.order_stream import OrderStream
from freqlstm.paper.orders import Orders
from freqlstm.paper.outcome import TOO_LITTLE, CallFailed
from freqlstm.paper.pace import Pace
from freqlstm.paper.records import Bundle, Halt, Health, Order, OrderEvent
from freqlstm.paper.recovery import reach, read_account, read_rules, recover
from freqlstm.paper.target import Target

LOG = logging.getLogger(__name__)
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class EngineRoom:
    """Owns the client and everything that listens to it. Its methods belong on its event loop, its attributes to readers."""

    client: Client
    rules: dict[str, SymbolRules]
    account: Account
    orders: Orders
    candles: CandleStream
    stream: OrderStream
    emergency: Emergency
    audit: Audit

    def __init__(
        self,
        target: Target,
        keys: Keys,
        journal: Journal,
        pairs: Sequence[str],
        timeframe: str,
        step_ms: int,
        switch: KillSwitch,
        pace: Pace,
        deliver: Callable[[Bundle | Halt], None],
        emit: Callable[[OrderEvent], None],
        *,
        poll: bool,
        may_withdraw: bool,
        accept: bool,
    ) -> None:
        self.target, self._keys, self._journal, self._pairs, self._timeframe = target, keys, journal, pairs, timeframe
        self._step_ms, self._switch, self.pace, self._deliver, self._told = step_ms, switch, pace, deliver, emit
        self._poll, self._may_withdraw, self._accept = poll, may_withdraw, accept
        self.clock = Clock(target.speed)
        self.breaker = Breaker()
        self.rules = {}
        self.fatal = ""  # why the gateway has stopped for good
        self._halts: dict[str, str] = {}  # what: why no entries are sent
        self.on_bar: Callable[[int], object] = lambda now_ms: None
        self.held_back: Callable[[Order], str] = lambda order: ""  # why an order that waits is not wanted any more
        self._live = False
        self._over = asyncio.Event()
        self._connected = {True: 0.0, False: 0.0}  # when (clock ticks): of orders, of candles
        self._reconnects = -2  # the first two connections are none

    # Life

    async def live(self, since_ms: int | None, began: concurrent.futures.Future[None]) -> None:
        """Begin, say so, and run until :meth:`leave` or something fatal."""
        self.client = Client(self.target, self._keys, self.clock, self.breaker, self, self.pace.timeout)
        try:
            try:
                await self._begin(since_ms)
            except CallFailed as failure:
                raise ExchangeUnavailable(
                    f"The {self.target.name} exchange did not answer ({failure}). Try again later."
                ) from failure
            began.set_result(None)
            works = [self.candles.watch, self._keep_house, self._keep_time, self.audit.keep]
            if not self._poll:
                works += [self.candles.listen, self.stream.listen]
            running = [asyncio.ensure_future(self._guarded(work)) for work in works]
            await self._over.wait()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self.orders.close()
        finally:
            await self.client.shut()

    async def _begin(self, since_ms: int | None) -> None:
        journal = self._journal
        await reach(self.client, self.target)
        self._check_time()
        self.rules = await read_rules(self.client, self.target, self._pairs)
        held = balances_of(await read_account(self.client, self.target, may_withdraw=self._may_withdraw))
        self.account = Account(journal, self.rules)
        self.orders = Orders(self.client, journal, self.account, self.rules, self.pace, self._emit, self.fail)
        self.stream = OrderStream(
            self.client, journal, self.rules, self.orders.apply, self.orders.look_up, self.pace.timeout
        )
        self.stream.wallet.update(held)
        await recover(
            self.client, journal, self.account, self.orders, self.pace, may_withdraw=self._may_withdraw, accept=self._accept,
            target=self.target,
        )  # fmt: skip
        if self.fatal:
            raise PaperError(self.fatal)
        now = self.clock.now_ms()
        first = self._first_bar(now, since_ms)
        assembler = Assembler(self._pairs, self._step_ms, first, self.pace.stale_after)
        for symbol in self._pairs:
            assembler.remember(symbol, journal.bars(symbol, first - 120 * self._step_ms))
        self.candles = CandleStream(
            self.client, journal, self.rules, self._timeframe, assembler, self.pace, self._bundle, poll=self._poll
        )
        await self.candles.look()
        self.emergency = Emergency(
            self._switch, self.client, journal, self.account, self.orders, self.rules, self.candles.last_prices, self.name,
        )  # fmt: skip
        self.orders.held_back = lambda order: self.emergency.reason(order) or self.held_back(order)
        self.audit = Audit(
            self.client, journal, self.account, self.orders, self.pace, self.halt, self.resume, self.fail
        )
        journal.event("start", now, first_bar=first, wall_clock_off_ms=round(self.clock.offset_ms), mode=self.mode)
        self._live = self.orders.live = True

    def _check_time(self) -> None:
        """A session cannot go on at an exchange whose clock is before the candles that it has seen close."""
        newest, now = self._journal.last_bar_ms(), self.clock.now_ms()
        if newest is not None and now < newest + self._step_ms - JUMP_MS * self.clock.speed:
            raise PaperError(
                f"The {self.target.name} exchange's clock says {moment(now):%Y-%m-%d %H:%M:%S} UTC, and this session has seen the candle of "
                f"{moment(newest):%Y-%m-%d %H:%M} close. If the exchange began anew in the past, begin a new session with --name; else wait "
                f"until its clock is right."
            )

    def _first_bar(self, now: int, since_ms: int | None) -> int:
        """Open time of the bar that is to be handed over next."""
        newest, step = self._journal.last_bar_ms(), self._step_ms
        if newest is not None:
            return newest + step
        return now // step * step if since_ms is None else -(-since_ms // step) * step

    def leave(self) -> None:
        self._over.set()

    def fail(self, reason: str) -> None:
        """Stop for good: send nothing more, and say why."""
        if not self.fatal:
            self.fatal = hide(reason)
            with suppress(JournalError):  # that is why
                self._journal.event("fatal", self.clock.now_ms(), reason=reason)
            if self._live:
                self._deliver(Halt(self.fatal, final=True))
            self._over.set()

    def name(self, symbol: str, open_ms: int, seq: int) -> str:
        """The client id of an order."""
        return client_order_id(self._journal, self.rules[symbol].id, open_ms, seq)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except FreqlstmError as error:
            self.fail(str(error))
        except Exception as error:  # a bug: nothing may be sent by a trader who has one
            LOG.exception("the gateway failed")
            self.fail(f"The gateway failed ({type(error).__name__}: {error}).")

    # Halts that pass

    @property
    def halted(self) -> str:
        return next(iter(self._halts.values()), "")

    def halt(self, what: str, reason: str) -> None:
        """Send no entries until :meth:`resume`."""
        if self._halts.get(what) != reason:
            known = what in self._halts
            self._halts[what] = reason
            if not known:
                self._journal.event("halt", self.clock.now_ms(), what=what, reason=reason)
                self._deliver(Halt(reason))

    def resume(self, what: str) -> None:
        if self._halts.pop(what, None) is not None:
            self._journal.event("resume", self.clock.now_ms(), what=what)

    # What arrives

    def on_kline(self, kline: Mapping[str, Any]) -> None:
        self.candles.on_kline(kline)

    def on_report(self, report: Mapping[str, Any]) -> None:
        self.stream.on_report(report)

    def on_account(self, event: Mapping[str, Any]) -> None:
        self.stream.on_account(event)

    def on_connected(self, orders: bool) -> None:
        self._connected[orders] = self.clock.ticks()
        self._reconnects += 1
        if not orders:
            self.candles.on_connected()

    def on_subscribed(self) -> None:
        self.stream.on_subscribed()

    def on_terminated(self) -> None:
        self.stream.distrust("the exchange ended it (eventStreamTerminated)")

    def on_shutdown(self, orders: bool) -> None:
        self._renew(orders, "the exchange announced that it closes the connection (serverShutdown)")

    def on_trouble(self, what: str, error: Exception) -> None:
        try:
            if isinstance(error, JournalError):
                raise error
            self._journal.event("trouble", self.clock.now_ms(), what=what, error=f"{type(error).__name__}: {error}")
        except JournalError as failure:
            self.fail(str(failure))

    def _renew(self, orders: bool, why: str) -> None:
        if orders:
            self.stream.distrust(why)
        else:
            self._journal.event("candle stream", self.clock.now_ms(), error=why)
            self.orders.spawn(self.client.drop(orders=False))
        self._connected[orders] = self.clock.ticks()

    def _bundle(self, bundle: Bundle) -> None:
        self.resume("candles")
        self.on_bar(self.clock.now_ms())
        self._deliver(bundle)

    def _emit(self, event: OrderEvent) -> None:
        if self._live:
            self._told(event)
            if event.order.note.startswith(TOO_LITTLE):
                self.audit.doubt.set()

    # Routine

    async def _keep_time(self) -> None:
        """Look at the exchange's clock now and then; while it and ours disagree, no entries."""
        wait = self.pace.clock
        while True:
            await asyncio.sleep(wait)
            wait = self.pace.clock
            try:
                await self.client.time()
            except CallFailed:
                wait = min(5.0, wait)
                continue
            if self.clock.jump_ms and not self.target.stepped:
                self.halt(
                    "clock",
                    f"The exchange's clock jumped by {self.clock.jump_ms / 1000:+,.1f} s; no entries until it keeps time again.",
                )
                wait = min(1.0, wait)
            elif self.candles.ahead_ms > JUMP_MS * self.clock.speed:
                self.halt(
                    "clock",
                    f"The exchange's clock says {moment(self.clock.now_ms()):%Y-%m-%d %H:%M:%S} UTC, before candles that it has closed; no "
                    f"entries until it is right.",
                )
            elif not self.candles.late:  # after a leap ahead, candles have to catch up first
                self.resume("clock")

    async def _keep_house(self) -> None:
        looked = self.clock.ticks()
        while True:
            await asyncio.sleep(self.pace.tick)
            now = self.clock.ticks()
            self.look_at_switch()
            if now - looked >= (min(1.0, self.pace.look) if self._poll else self.pace.look):
                looked = now
                self.orders.look_up()
            if not self._poll:
                for orders in (True, False):
                    if self._connected[orders] and now - self._connected[orders] > self.pace.renewal:
                        self._renew(orders, "it is as old as the exchange lets it become")
            self._notice_deafness(now)
            quiet = now - self.candles.bar
            patience = max(self.pace.patience, 2 * self._step_ms / 1000 / self.clock.speed)
            if quiet > patience:
                self.halt("candles", f"No candle has come for {patience:,.0f} s; it goes on as soon as one does.")

    def _notice_deafness(self, now: float) -> None:
        """The stream must speak of every order that was accepted; one that does not is connected anew."""
        if self._poll:
            self.orders.accepted.clear()
        for cid, when in list(self.orders.accepted.items()):
            if cid in self.stream.spoken_of:
                del self.orders.accepted[cid]
            elif now - when > self.pace.deaf:
                self.orders.accepted.clear()
                self.stream.distrust(f"it said nothing of order {cid}, which was accepted")
                break
        if len(self.stream.spoken_of) > 1000:
            self.stream.spoken_of.clear()

    def look_at_switch(self) -> None:
        """Do what the kill switch asks for, once."""
        tripped = self.emergency.look()
        if tripped is None:
            self.resume("switch")
        else:
            self.halt("switch", f"The kill switch is on: {tripped[1]}.")

    # What is known

    @property
    def busy(self) -> bool:
        """Whether an order is on its way or in doubt, or the kill switch not yet done."""
        return not self.fatal and (self.emergency.busy or bool(self.orders.unsettled))

    @property
    def mode(self) -> str:
        return "poll" if self._poll else "stream"

    def health(self) -> Health:
        now = self.clock.ticks()

        def age(moment: float) -> float | None:
            return now - moment if moment else None

        ages = {"candles": age(self.candles.heard), "orders": age(self.stream.heard), "rest": age(self.candles.asked)}
        return Health(
            stream_age=ages,
            clock_offset_ms=self.clock.offset_ms,
            weight_used=self.breaker.used,
            weight_limit=self.breaker.limit,
            breaker_seconds=self.breaker.seconds,
            reconnects=max(0, self._reconnects),
            halted=self.fatal or self.halted,
            mode=self.mode,
        )


def client_order_id(journal: Journal, name: str, open_ms: int, seq: int) -> str:
    """At most 36 letters: epoch, session, the exchange's name of the symbol, bar and number; the same at every restart."""
    number, digits = open_ms, ""
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return f"f{journal.epoch}-{journal.tag}-{name[:12]}-{digits or '0'}-{seq}"
