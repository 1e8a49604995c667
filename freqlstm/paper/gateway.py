"""The way to the exchange: closed candles in, orders out, everything journaled."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from freqlstm.candles import step_of
from freqlstm.errors import ExchangeUnavailable, JournalError, PaperError
from freqlstm.paper.account import balances_of
from freqlstm.paper.engine_room import EngineRoom
from freqlstm.paper.journal import Journal
from freqlstm.paper.keys import Keys
from freqlstm.paper.limits import KillSwitch, Limits, Standing, Stop
from freqlstm.paper.money import SymbolRules, plain, sellable
from freqlstm.paper.outcome import TOO_LITTLE, CallFailed
from freqlstm.paper.pace import Pace
from freqlstm.paper.records import BUY, SELL, Balance, Bundle, Candle, Halt, Health, Intent, Order, OrderEvent, State
from freqlstm.paper.target import Target

Result = TypeVar("Result")

DAY_MS, HOUR_MS = 86_400_000, 3_600_000


class Gateway:
    """Runs in a thread of its own; every method may be called from any other.

    ``bundles`` has every bar once, in order, as :class:`Bundle`, or a :class:`Halt` that says why none comes.
    ``order_events`` has an :class:`OrderEvent` for every change of an order since :meth:`start` returned; one that was
    journaled while the journal was being read is told nevertheless, so go by the trade ids of its fills.
    """

    def __init__(
        self,
        target: Target,
        keys: Keys,
        journal: Journal,
        pairs: Sequence[str],
        timeframe: str,
        *,
        limits: Limits | None = None,
        switch: KillSwitch | None = None,
        pace: Pace | None = None,
        poll: bool = False,
        may_withdraw: bool = False,
        accept_balances: bool = False,
    ) -> None:
        """``poll``: REST alone. ``may_withdraw``: accept such keys. ``accept_balances``: take over what differs, once."""
        self.bundles: queue.Queue[Bundle | Halt] = queue.Queue()
        self.order_events: queue.Queue[OrderEvent] = queue.Queue()
        self.journal = journal
        self.limits = limits or Limits()
        self.switch = switch or KillSwitch(journal.path.with_name("stop"))
        self.pairs = tuple(pairs)
        self.timeframe = timeframe
        self.step_ms = int(step_of(timeframe).total_seconds() * 1000)
        self._room = EngineRoom(
            target, keys, journal, self.pairs, timeframe, self.step_ms, self.switch, pace or Pace(),
            self.bundles.put, self.order_events.put, poll=poll, may_withdraw=may_withdraw, accept=accept_balances,
        )  # fmt: skip
        self._room.on_bar = self._profit_today  # so that a day begins with its first bar, not with its first order
        self._room.held_back = self._held_back
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._mutex = threading.Lock()
        self._day: tuple[int, Decimal] | None = None  # (days since 1970, profit with which it began)

    # Life

    def start(self, since_ms: int | None = None) -> None:
        """Connect, recover, and begin to deliver bundles.

        Recovery is the same after a crash and the first time: every order that is not final is looked up, fills that
        were missed are fetched, and the ledger is compared with the balances. On return the journal is up to date, so that it can
        be replayed. Bundles go on after the journal's newest bar; in a new journal, with the candle that opens at
        ``since_ms`` or, without it, with the one that is open now. Raises a FreqlstmError with one clear line if the
        session cannot begin.
        """
        began: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(since_ms, began), name="gateway", daemon=True)
        self._thread.start()
        try:
            began.result()
        except BaseException:
            if self._task is not None:  # it was interrupted by a key, not by an error of its own
                self._call(self._task.cancel)
            self._thread.join()
            self._thread = None
            raise

    def _run(self, since_ms: int | None, began: concurrent.futures.Future[None]) -> None:
        async def live() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            await self._room.live(since_ms, began)

        try:
            asyncio.run(live())
        except BaseException as error:
            if not began.done():
                began.set_exception(error)
            elif not isinstance(error, asyncio.CancelledError):
                self.bundles.put(Halt(f"The gateway failed ({type(error).__name__}: {error}).", final=True))
                raise

    def stop(self) -> None:
        """Close the connections and the thread. Orders that rest at the exchange stay there."""
        if self._thread is not None and self._loop is not None:
            self._call(self._room.leave)
            self._thread.join()
            self._thread = None

    def kill(self, how: Stop = Stop.KEEP, reason: str = "it was asked to stop") -> None:
        """Trip the kill switch: nothing more is sent but, if asked for, cancellations and sales of what is held."""
        self.switch.trip(how, reason)
        self._call(self._room.look_at_switch)

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until no order is on its way or in doubt and the kill switch has done its work; whether it was in time."""
        until = time.monotonic() + timeout
        while self._room.busy:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def left(self, how: Stop) -> str:
        """What the kill switch was to cancel or to sell and is there still; empty if it has done its work."""
        found = []
        for symbol in self.pairs if how is Stop.FLATTEN else ():
            held, last, rules = self.position(symbol), self.last_price(symbol), self.rules(symbol)
            if held > 0 and (last is None or not rules.is_dust(held, last)):
                found.append(f"{plain(held)} {rules.base}")
        if how is not Stop.KEEP:
            found += [f"order {order.cid}" for order in self.journal.orders(unresolved=True)]
        return ", ".join(found)

    # Orders

    def client_order_id(self, symbol: str, open_ms: int, seq: int) -> str:
        """The id of the ``seq``-th order decided at the close of the bar ``open_ms``: the same at every restart."""
        return self._room.name(self.rules(symbol).symbol, open_ms, seq)

    def submit(self, intent: Intent) -> Order:
        """Journal an order and send it. Returns at once, when it is on the disk and before the exchange has answered.

        An intent whose ``cid`` is known is not sent again: what became of it is returned. What breaks a rule of the
        exchange, a risk limit or the kill switch is journaled as REJECTED with the reason in its note, and never sent.
        An entry that cannot be sent while its bar is fresh is rejected too. Raises JournalError, and sends nothing, where the
        journal cannot be written.
        """
        return self._written(intent, lambda cid: self._room.orders.send(cid), State.SENT)

    def replace(self, cid: str, intent: Intent) -> Order:
        """Cancel ``cid`` and, only if that succeeded, send ``intent``, in one request (cancelReplace).

        The new order is REJECTED where the old one could not be cancelled, usually because it had filled; the old one's
        event says so.
        """
        return self._written(intent, lambda new: self._room.orders.replace(cid, new), State.INTENT)

    def cancel(self, cid: str) -> None:
        """Cancel an order; what became of it comes as an event, perhaps that it had filled."""
        self._spawn(lambda: self._room.orders.cancel(cid))

    def _written(self, intent: Intent, work: Callable[[str], Coroutine[Any, Any, None]], state: State) -> Order:
        room, journal = self._room, self.journal
        with self._mutex:
            known = journal.order(intent.cid)
            if known is not None:
                return known
            now = room.clock.now_ms()
            if not intent.reduces and intent.deadline_ms is None:
                fresh = int(self.step_ms * room.pace.stale_after)
                intent = dataclasses.replace(intent, deadline_ms=max(now, intent.open_ms + self.step_ms) + fresh)
            epoch = journal.epoch
            reason = room.fatal
            if intent.reduces and intent.side == SELL and not reason:
                intent, reason = self._affordable(intent)
            reason = reason or self._refusal(intent)
            if reason:
                order = Order(intent, epoch, State.REJECTED, resolved_ms=now, note=reason)
            elif state == State.SENT:
                order = Order(intent, epoch, State.SENT, sent_ms=now, window_ms=room.orders.window_ms)
            else:
                order = Order(intent, epoch, State.INTENT)
            try:
                journal.add_order(order, now)
            except JournalError as error:
                self._call(partial(room.fail, str(error)))
                raise
        if reason:
            self.order_events.put(OrderEvent(order))
        else:
            self._spawn(lambda: work(intent.cid))
        return order

    def _affordable(self, intent: Intent) -> tuple[Intent, str]:
        """The exit for no more than the account holds, from which commission on other pairs may have been taken."""
        rules = self.rules(intent.symbol)
        held = self.ledger().get(rules.base, Decimal(0))
        if held >= intent.quantity:
            return intent, ""
        left = sellable(intent.quantity, held, rules)
        if not left:
            return intent, f"{TOO_LITTLE}: the account holds {plain(held)} {rules.base}"
        return dataclasses.replace(intent, quantity=left), ""

    def _held_back(self, order: Order) -> str:
        """Why an entry that has been waiting is not wanted any more as things stand now; empty if it is."""
        return "" if order.intent.reduces else self._refusal(order.intent, waiting=order)

    def _refusal(self, intent: Intent, waiting: Order | None = None) -> str:
        """Why ``intent`` is not to be sent; ``waiting`` is its order if it is written down, and counted, already."""
        room = self._room
        tripped = self.switch.state
        if tripped is not None:
            return f"the kill switch is on: {tripped[1]}"
        last = self.last_price(intent.symbol)
        reason = self.rules(intent.symbol).refusal(intent, last)
        if reason:
            return reason
        if room.halted and not intent.reduces:
            return f"trading is halted: {room.halted}"
        now = room.clock.now_ms()
        age = (room.clock.ticks() - room.candles.bar) * 1000 * room.clock.speed / self.step_ms
        counted = int(waiting is not None and waiting.sent_ms is not None)
        bought = self._being_bought(intent.symbol)
        if waiting is not None and intent.side == BUY:
            bought -= intent.quantity
        standing = Standing(
            last=last,
            last_age_bars=age,
            position=self.position(intent.symbol) + bought,
            loss_today=-self._profit_today(now) if not intent.reduces else Decimal(0),
            orders_in_bar=self.journal.count_orders(open_ms=intent.open_ms) - counted,
            orders_in_hour=self.journal.count_orders(since_ms=now - HOUR_MS) - counted,
        )
        return self.limits.refusal(intent, standing)

    def _being_bought(self, symbol: str) -> Decimal:
        """What the buying orders that are not over may still add."""
        orders = self.journal.orders(unresolved=True)
        buys = (order for order in orders if order.intent.symbol == symbol and order.intent.side == BUY)
        return sum((order.intent.quantity - order.executed for order in buys), Decimal(0))

    def _profit_today(self, now: int) -> Decimal:
        """What was earned since 00:00 UTC, units of the quote asset."""
        profit = self._room.account.profit(self._room.candles.last_prices)
        day = now // DAY_MS
        if self._day is None or self._day[0] < day:
            self._day = day, self.journal.day_profit(f"{datetime.fromtimestamp(now / 1000, UTC):%Y-%m-%d}", profit)
        return profit - self._day[1]

    # What is known

    def history(self, symbol: str, since_ms: int, until_ms: int) -> list[Candle]:
        """Closed candles that open in [since_ms, until_ms), by REST, in order; the exchange may lack some."""
        return self._ask(self._room.candles.history(symbol, since_ms, until_ms))

    def balances(self) -> dict[str, Balance]:
        """What the account holds now, by REST."""
        return balances_of(self._ask(self._room.client.held()))

    def wallet(self) -> dict[str, Balance]:
        """What the account held when it was last told of, by stream or at the start: at once, without asking."""
        return dict(self._room.stream.wallet)

    def ledger(self) -> dict[str, Decimal]:
        """What the account must hold of each asset by the journal: what it began with, and every fill since."""
        return self._room.account.ledger()

    def position(self, symbol: str) -> Decimal:
        """What this session has bought and not sold, less commission that was taken from it; may be dust."""
        return self._room.account.position(symbol)

    def used(self, open_ms: int) -> dict[str, Decimal | int]:
        """How much of the limits is used: the largest position, the loss of today, orders of a bar and within an hour."""
        now = self.now_ms()
        worths = (self.position(symbol) * (self.last_price(symbol) or 0) for symbol in self.pairs)
        return {
            "position": max(worths),
            "loss_today": max(Decimal(0), -self._profit_today(now)),
            "orders_in_bar": self.journal.count_orders(open_ms=open_ms),
            "orders_in_hour": self.journal.count_orders(since_ms=now - HOUR_MS),
        }

    def rules(self, symbol: str) -> SymbolRules:
        """The exchange's filters of the symbol."""
        if symbol not in self._room.rules:
            raise PaperError(f"{symbol} is not among the pairs of this session: {', '.join(self.pairs)}.")
        return self._room.rules[symbol]

    def last_price(self, symbol: str) -> Decimal | None:
        """The newest price that was seen, on a closed candle or not."""
        return self._room.candles.last_prices.get(symbol)

    def now_ms(self) -> int:
        """The exchange's clock, as far as it is known here."""
        return self._room.clock.now_ms()

    def clock_warning(self) -> str:
        """One line if this computer's clock is off, which harms nobody here; empty if it is right."""
        off = self._room.clock.offset_ms / 1000
        if abs(off) < 1 or self._room.target.name == "sandbox":  # which lives in another time
            return ""
        return (
            f"This computer's clock is {abs(off):,.1f} s {'behind' if off > 0 else 'ahead of'} the exchange's. The exchange's is "
            f"used; set this one right all the same."
        )

    def health(self) -> Health:
        """How the streams, the clock and the request limits are."""
        return self._room.health()

    # Between threads

    def _call(self, work: Callable[[], object]) -> None:
        """Have ``work`` done on the gateway's thread, soon; nothing if that is over."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # closed in between
                self._loop.call_soon_threadsafe(work)

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._call(lambda: self._room.orders.spawn(work()))

    def _ask(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise PaperError("The gateway is not running. Start it first.")
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except CallFailed as failure:
            raise ExchangeUnavailable(f"The exchange did not answer ({failure}). Try again later.") from failure
        except concurrent.futures.CancelledError:
            raise PaperError("The gateway was stopped before the exchange answered.") from None
