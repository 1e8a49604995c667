"""A session: one strategy on one gateway, bar by bar, from its first candle on or from wherever it was left."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from freqlstm.candles import Candles
from freqlstm.paper.archive import moment
from freqlstm.paper.decision import Decision
from freqlstm.paper.deliberation import Deliberation
from freqlstm.paper.diary import Diary
from freqlstm.paper.gateway import Gateway
from freqlstm.paper.limits import Stop
from freqlstm.paper.machine import Machine, Orders
from freqlstm.paper.records import LIMIT, STOP, Bundle, Halt, OrderEvent
from freqlstm.paper.route import Route

TICK = 0.25  # seconds between two looks at what is not a candle
STALE = 0.5  # bars after its close, from which on nothing is entered on a candle
KEPT = 1000  # fills, refusals and bars that are remembered; the journal has all of them
OBEYING = 30.0  # seconds that cancelling and selling by the kill switch may take
NOT_FLAT = "not flat"  # kind of event: the kill switch could not do all that it was to
PATIENCE = 5.0  # seconds, at most half a bar, that a market order may take before the next bar goes on without it


class Session:
    """Runs in the thread that calls :meth:`run`; the gateway has one of its own."""

    def __init__(
        self, orders: Orders, gateway: Gateway, deliberation: Deliberation, like: Mapping[str, Candles], speed: float = 1.0,
        tell: Callable[[str, str], None] = lambda kind, text: None,
    ) -> None:  # fmt: skip
        """``like`` names the candles; ``speed`` is that of the exchange's clock; ``tell`` hears (kind, text) of what happens."""
        self.gateway = gateway
        self.deliberation = deliberation
        self.models = deliberation.models
        self.diary = Diary(gateway.journal)
        self.route = Route(gateway, gateway.journal)
        self.machine = Machine(orders, self.route, like, deliberation.names, self._steps, self._told, KEPT)
        self.broker, self.feeds = self.machine.broker, self.machine.feeds
        self.patience = min(PATIENCE, gateway.step_ms / 2000 / speed)
        self.tick: Callable[[], None] = lambda: None  # called when there is nothing to do
        self.bars = 0
        self.last: tuple[Bundle | None, dict[str, dict[str, float]], dict[str, Decision]] = (None, {}, {})
        self.settled_ms = 0  # open time of the newest bar with which everything is done
        self.halt = ""  # why no bars come at the moment
        self.decide_seconds = 0.0  # from the arrival of the newest bar until its orders were handed over
        self._tell = tell
        self._problems: dict[str, str] = {}  # column -> why its newest model is not there, as it was told
        self._speaking: dict[str, str] = {}  # column -> id of the model that was told to speak for it
        self.failed = False  # whether it stopped because it could not go on
        self._stopping = ""

    def run(self) -> str:
        """Trade until it is stopped; why it stopped. What the strategy itself does wrong is a PluginError."""
        self.machine.run()
        self.gateway.settle(2 * PATIENCE)  # what is on its way is known before the process ends
        return self._stopping

    def stop(self, why: str) -> None:
        """Stop before the next bar; what rests at the exchange stays there. May be called from a signal handler."""
        self._stopping = self._stopping or why

    # The loop

    def _steps(self) -> Iterator[None]:
        yield from self._again()
        for bundle in self.diary.unread():
            yield from self._through(bundle)
        while (item := self._next()) is not None:
            if isinstance(item, Halt):
                self._halted(item)
            elif item.open_ms > self.settled_ms:  # else it was in the journal already
                if self.halt and not self.gateway.health().halted:
                    self._told("resumed", "Bars come again.")
                    self.halt = ""
                yield from self._through(item)

    def _through(self, bundle: Bundle) -> Iterator[None]:
        if not bundle.stale and self._age(bundle.open_ms) > STALE:
            bundle = replace(bundle, stale=True)
        self._await_touched(bundle)
        yield from self._bar(bundle)
        self._settle()
        self.settled_ms = bundle.open_ms
        self.broker.holdings.forget(KEPT)
        self.deliberation.ahead()

    def _next(self) -> Bundle | Halt | None:
        """The next thing that the gateway has; None when the session is to stop."""
        while not self._over():
            self._listen()
            self.tick()
            try:
                return self.gateway.bundles.get(timeout=TICK)
            except queue.Empty:
                continue
        return None

    def _over(self) -> bool:
        tripped = self.gateway.switch.state
        if tripped is not None and not self._stopping:
            how, why = tripped
            self.gateway.kill(how, why)
            self._told("stop", f"The kill switch is on: {why}.")
            if how is not Stop.KEEP:
                self.gateway.settle(OBEYING)
                self._listen()
            if left := self.gateway.left(how):
                self._told(NOT_FLAT, f"It was to {how} and is not done with it: there is still {left}.")
                why, self.failed = f"{why}, and there is still {left}", True
            self.stop(f"the kill switch is on: {why}")
        return bool(self._stopping)

    def _halted(self, halt: Halt) -> None:
        self.halt = halt.reason
        self._told("halt", halt.reason)
        if halt.final:
            self.failed = True
            self.stop(halt.reason)

    def _bar(self, bundle: Bundle) -> Iterator[None]:
        began = time.perf_counter()
        self.models.turn(moment(bundle.open_ms))
        self._say_who_speaks(bundle.open_ms)
        self.deliberation.append(bundle.candles)
        said, decisions = self.deliberation.decide(bundle.candles)
        ids = {name: speaker.model_id for name, speaker in self.models.speakers.items()}
        self.diary.write(bundle, said, decisions, ids)
        self.last = bundle, said, decisions
        yield from self._push(bundle, said, decisions)
        self.decide_seconds = time.perf_counter() - began
        self.models.keep()
        for cid in self.broker.dispatch.orphans(self.gateway.journal.orders(unresolved=True)):
            self._told("orphan", f"Order {cid} rests at the exchange and is not wanted any more: it is cancelled.")
            self.route.cancel(cid)

    def _push(
        self, bundle: Bundle, said: Mapping[str, Mapping[str, float]], decisions: Mapping[str, Decision]
    ) -> Iterator[None]:
        self.machine.push(bundle.open_ms, bundle.candles, said, decisions, fresh=not bundle.stale)
        self.bars += 1
        yield

    def _say_who_speaks(self, open_ms: int) -> None:
        """Write down and tell which model speaks for a column from this bar on, if it is another than before; and why no other does."""
        for column, speaker in self.models.speakers.items():
            if not speaker.model_id or self._speaking.get(column) == speaker.model_id:
                continue
            self._speaking[column] = speaker.model_id
            for symbol in self.feeds:
                self.gateway.journal.add_model(speaker.model_id, symbol, open_ms, speaker.digest)
            self._told(
                "model",
                f"{column} is spoken for by model {speaker.model_id} from {moment(open_ms):%Y-%m-%d %H:%M} UTC on.",
            )
        for column, problem in self.models.problems.items():
            if self._problems.get(column) != problem:
                self._told("model", f"{column} goes on with the model that it has: {problem}")
        self._problems = dict(self.models.problems)

    # Orders

    def _listen(self, wait: float = 0.0) -> bool:
        """Tell the strategy's broker everything that has happened to orders; whether there was anything."""
        heard = False
        while True:
            try:
                event = self.gateway.order_events.get(timeout=wait) if wait else self.gateway.order_events.get_nowait()
            except queue.Empty:
                return heard
            self._take(event)
            heard, wait = True, 0.0

    def _take(self, event: OrderEvent) -> None:
        self.diary.heard(event)
        self.broker.dispatch.take(event)

    def _settle(self) -> None:
        """Wait for what ends in moments, so that the next bar finds it done."""
        until = time.monotonic() + self.patience
        while self.broker.dispatch.in_flight and time.monotonic() < until and not self._stopping:
            self._listen(wait=0.05)

    def _await_touched(self, bundle: Bundle) -> None:
        """A candle that reached the price of a resting order has filled it: hear of that before it is decided upon."""
        until = time.monotonic() + self.patience / 2
        while self._touched(bundle) and time.monotonic() < until and not self._stopping:
            self._listen(wait=0.02)

    def _touched(self, bundle: Bundle) -> bool:
        for ticket in self.broker.dispatch.open:
            candle = bundle.candles.get(ticket.symbol)
            if candle is None or ticket.resting is None or ticket.price is None or ticket.kind not in (STOP, LIMIT):
                continue
            below = (ticket.kind == STOP) == (ticket.order.issell())
            if candle.low <= ticket.price if below else candle.high >= ticket.price:
                return True
        return False

    # What was before

    def _again(self) -> Iterator[None]:
        """Go through the bars of before as they were, with the journal's answers, and then find out what came since."""
        self.route.past = True
        entries = list(self.diary.entries())
        for number, entry in enumerate(entries, 1):
            for event in entry.news:
                self.broker.dispatch.take(event)
            last = number == len(entries)
            late = self._age(entry.open_ms) > STALE
            self.route.still = lambda intent, last=last, late=late: last and (intent.reduces or not late)  # type: ignore[misc]
            self.deliberation.append(entry.candles)
            self.deliberation.remember(entry.said)
            bundle = Bundle(entry.open_ms, entry.candles, 0, entry.stale, "journal")
            self.last = bundle, {symbol: dict(said) for symbol, said in entry.said.items()}, dict(entry.decisions)
            yield from self._push(bundle, entry.said, entry.decisions)
            self.settled_ms = entry.open_ms
        self.route.past = False
        if entries:
            self._catch_up()
            self._told(
                "restart",
                f"Went through {len(entries):,} bars again; {len(self.broker.dispatch.open)} orders are open.",
            )

    def _catch_up(self) -> None:
        """What became of orders since the last bar, and what had been decided and was not said to the exchange."""
        journal = self.gateway.journal
        fills: dict[str, list[Any]] = {}
        for fill in journal.fills():
            fills.setdefault(fill.cid, []).append(fill)
        for order in journal.orders():
            event = OrderEvent(order, tuple(fills.get(order.cid, ())))
            if self.broker.dispatch.is_news(event):
                self._take(event)
        for ticket in list(self.broker.dispatch.open):
            if ticket.cancelling and ticket.resting is not None:
                self.route.cancel(ticket.resting)
        for intent in self.route.unsent:
            self._told(
                "unsent",
                f"{intent.symbol} {intent.reason or intent.side} of {moment(intent.open_ms):%Y-%m-%d %H:%M} UTC was never sent.",
            )
        self._settle()

    def _age(self, open_ms: int) -> float:
        """Bars since the close of the bar that opened at ``open_ms``."""
        return (self.gateway.now_ms() - open_ms) / self.gateway.step_ms - 1

    def _told(self, kind: str, text: str) -> None:
        if not self.route.past:
            self.gateway.journal.event(kind, self.gateway.now_ms(), text=text)
            self._tell(kind, text)
