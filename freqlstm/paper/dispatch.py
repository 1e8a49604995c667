"""How the strategy's orders stand at the exchange, where coins can be locked by one order at a time.

Of several protections of a position, the stop that would trigger first rests at the exchange, and the others are
watched here at every close, by its high and low; one that was touched becomes a market order. A trailing stop is moved
at each close, as in a backtest. A market exit waits until what rests is cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import backtrader as bt

from freqlstm.paper.holdings import Holdings, Tell
from freqlstm.paper.outcome import TOO_LITTLE
from freqlstm.paper.records import BUY, LIMIT, MARKET, SELL, STOP, Intent, Order, OrderEvent, State
from freqlstm.paper.ticket import Exchange, Ticket, reached_at

KEPT = 250  # ids of orders, of which a late fill still finds what it was for


class Dispatch:
    """The tickets of a session. ``notify`` is called with every order that has changed, ``refused`` when one is."""

    def __init__(
        self, exchange: Exchange, holdings: Holdings, notify: Callable[[Any], None],
        refused: Callable[[Ticket, str], None], tell: Tell,
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.holdings = holdings
        self.open: list[Ticket] = []
        self.now_ms = 0  # open time of the newest bar
        self._notify, self._refused, self._tell = notify, refused, tell
        self._by_cid: dict[str, Ticket] = {}
        self._booked: dict[str, Decimal] = {}  # cid -> what its fills so far add up to
        self._over: deque[str] = deque(maxlen=KEPT)  # cids that have ended
        self._moves: dict[
            str, tuple[Ticket, str, Decimal | None]
        ] = {}  # cid -> whom and what it is to replace, and its price
        self._seq: dict[str, int] = {}  # of the newest bar

    @property
    def in_flight(self) -> bool:
        """Whether something is on its way of which news comes in moments."""
        return any(self._moving(each) for each in self.open)

    @staticmethod
    def _moving(ticket: Ticket) -> bool:
        unheard = ticket.resting is not None and not ticket.heard
        sold = ticket.kind == MARKET and (ticket.resting is not None or not ticket.leaving)
        return sold or ticket.cancelling or ticket.waits or unheard

    def begin_bar(self, open_ms: int) -> None:
        """A bar has closed."""
        self.now_ms = open_ms
        self._seq.clear()
        standing = {cid for each in self.open for cid in (each.cid, each.resting)}
        for cid in list(self._by_cid)[:-KEPT]:  # fills are booked by trade, and only told apart by ticket
            if cid not in standing:
                del self._by_cid[cid]
                self._moves.pop(cid, None)
                self._booked.pop(cid, None)

    def next_cid(self, symbol: str) -> str:
        seq = self._seq[symbol] = self._seq.get(symbol, -1) + 1
        return self.exchange.client_order_id(symbol, self.now_ms, seq)

    def ticket_of(self, order: Any) -> Ticket | None:
        return next((each for each in self.open if each.order is order), None)

    # Out

    def add(self, ticket: Ticket) -> None:
        """Send a new order; of protections, :meth:`end_bar` sends the one that is to rest."""
        self.open.append(ticket)
        self._by_cid[ticket.cid] = ticket
        if ticket.kind == MARKET or not ticket.reduces:
            self._send(ticket)

    def end_bar(self) -> None:
        """The strategy has decided."""
        for symbol in self.holdings.feeds:
            self._guard(symbol)

    def cancel(self, ticket: Ticket) -> None:
        if ticket.resting is None:
            self._end(ticket, ticket.order.cancel)
        elif not ticket.cancelling and ticket.kind != MARKET:
            ticket.cancelling = True
            self.exchange.cancel(ticket.resting)

    def _locker(self, ticket: Ticket) -> Ticket | None:
        """Another order at the exchange that locks coins of the position."""
        for each in self.open:
            if each is not ticket and each.symbol == ticket.symbol and each.reduces and each.resting is not None:
                return each
        return None

    def _send(self, ticket: Ticket) -> None:
        ticket.waits = ticket.reduces and self._locker(ticket) is not None
        if ticket.waits:
            return
        intent = self._intent(ticket)
        if intent is None:  # nothing is left to sell
            self._end(ticket, ticket.order.cancel)
            return
        ticket.resting, ticket.price, ticket.heard = ticket.cid, intent.price, False
        self._answered(self.exchange.submit(intent))

    def _intent(self, ticket: Ticket) -> Intent | None:
        order, feed = ticket.order, ticket.order.data
        rules, kind, asked = self.exchange.rules(ticket.symbol), ticket.kind, abs(float(order.executed.remsize))
        wanted = Decimal(repr(feed.market_rules.floor(asked)))
        if ticket.reduces:
            held = self.holdings.held[ticket.symbol]
            whole = asked >= float(held) * (1 - 1e-9)
            wanted = held + self.holdings.dust[ticket.symbol] if whole and held else min(wanted, held)
        quantity = rules.floor(wanted)
        if quantity <= 0:
            return None
        price = None if kind == MARKET else reached_at(ticket, rules.tick)
        step = int(feed.candles.step.total_seconds() * 1000)
        return Intent(
            ticket.cid, ticket.symbol, BUY if order.isbuy() else SELL, kind, quantity, self.now_ms,
            order.info.get("reason", ""), stop_price=price if kind == STOP else None,
            limit_price=price if kind == LIMIT else None, reduces=ticket.reduces,
            deadline_ms=None if ticket.reduces else ticket.open_ms + 2 * step,
        )  # fmt: skip

    def _answered(self, order: Order) -> None:
        """All that is known as soon as an order was handed over: whether it was refused here."""
        if order.state.final:
            self.take(OrderEvent(order))

    def orphans(self, unresolved: Sequence[Order]) -> list[str]:
        """Orders at the exchange that nothing stands behind any more; none while anything is on its way."""
        if self.in_flight:
            return []
        mine = {each.resting for each in self.open}
        return [
            order.cid for order in unresolved if order.state in (State.OPEN, State.PARTIAL) and order.cid not in mine
        ]

    # At every close

    def watch(self) -> None:
        """Look at what waits for a price, in the bar that has just closed."""
        for ticket in list(self.open):
            feed = ticket.order.data
            waits = not self._moving(ticket) and ticket in self.open
            if waits and ticket.open_ms < self.now_ms == feed.open_ms:
                self._watch(ticket, feed)

    def _watch(self, ticket: Ticket, feed: Any) -> None:
        if ticket.leaving:
            self._leave(ticket)
            return
        if ticket.resting is None:
            below = (ticket.kind == STOP) == ticket.order.issell()
            if feed.low[0] <= ticket.level if below else feed.high[0] >= ticket.level:
                self._leave(ticket)
                return
        if ticket.order.exectype == bt.Order.StopTrail:
            ticket.order.trailadjust(float(feed.close[0]))

    def _leave(self, ticket: Ticket) -> None:
        """A protection was touched: sell at the market what it was for, after whatever else is selling it already."""
        for other in list(self.open):
            if other is not ticket and other.symbol == ticket.symbol and other.reduces and other.resting is not None:
                self.cancel(other)
        ticket.leaving = True
        ticket.order.exectype = bt.Order.Market
        self._restamp(ticket)
        self._send(ticket)

    def _guard(self, symbol: str) -> None:
        """Let the stop that would trigger first rest at the exchange, at its price of now; without stops, a limit."""
        mine = [each for each in self.open if each.symbol == symbol and each.reduces]
        if any(self._moving(each) or each.leaving for each in mine):
            return
        stops = [each for each in mine if each.kind == STOP]
        if not stops:
            for limit in mine:
                if limit.resting is None and not self._locker(limit):
                    self._rest(limit)
            return
        best = max(stops, key=lambda each: each.level)
        resting = next((each for each in mine if each.resting is not None), None)
        price = reached_at(best, self.exchange.rules(symbol).tick)
        if resting is None:
            self._rest(best)
        elif resting is best:
            if price != resting.price:
                self._replace(resting, best)
        elif resting.kind != STOP or resting.price is None or price > resting.price:
            self._replace(resting, best)

    def _rest(self, ticket: Ticket) -> None:
        if ticket.open_ms < self.now_ms:
            self._restamp(ticket)
        self._send(ticket)

    def _restamp(self, ticket: Ticket) -> None:
        """Another id, for an order that goes to the exchange at a later bar than that of its decision."""
        ticket.cid, ticket.open_ms = self.next_cid(ticket.symbol), self.now_ms
        self._by_cid[ticket.cid] = ticket

    def _replace(self, old: Ticket, new: Ticket) -> None:
        before, price = old.resting, old.price
        assert before is not None
        self._restamp(new)
        intent = self._intent(new)
        if intent is None:
            return
        old.resting = None
        new.resting, new.price, new.heard = new.cid, intent.price, False
        self._moves[new.cid] = old, before, price
        self._answered(self.exchange.replace(before, intent))

    # In

    def is_news(self, event: OrderEvent) -> bool:
        """Whether :meth:`take` would change anything."""
        ticket = self._by_cid.get(event.cid)
        if any(not self.holdings.knows(fill) for fill in event.fills):
            return True
        if ticket is None or ticket not in self.open:
            return False
        rests = event.state in (State.OPEN, State.PARTIAL) and event.cid == ticket.resting
        return event.state.final or (rests and not ticket.heard)

    def take(self, event: OrderEvent) -> None:
        """Something has happened to an order."""
        ticket = self._by_cid.get(event.cid)
        for fill in event.fills:
            order, row, reason = (
                (None, None, "stopped") if ticket is None else (ticket.order, ticket.row, ticket.reason)
            )
            if self.holdings.take(fill, order, row, reason):
                if ticket is not None:
                    self._booked[fill.cid] = self._booked.get(fill.cid, Decimal(0)) + fill.quantity
                side = "bought" if fill.side == BUY else "sold"
                self._tell("fill", f"{fill.symbol}: {side} {fill.quantity:f} at {fill.price:f} ({reason})")
                if order is not None:
                    self._notify(order)
        if ticket is None or ticket not in self.open:
            return
        if event.state in (State.OPEN, State.PARTIAL):
            self._moves.pop(event.cid, None)
            ticket.heard = ticket.heard or event.cid == ticket.resting
        if event.state.final and self._booked.get(event.cid, Decimal(0)) >= event.order.executed:
            self._booked.pop(event.cid, None)
            self._ended(ticket, event)
        elif ticket.order.status == bt.Order.Submitted and event.state in (State.OPEN, State.PARTIAL):
            ticket.order.accept()
            self._notify(ticket.order)

    def _ended(self, ticket: Ticket, event: OrderEvent) -> None:
        cid, order = event.cid, ticket.order
        filled = event.order.executed > 0
        self._over.append(cid)
        if cid == ticket.resting and not filled and self._moved_back(ticket, event):
            return
        if cid == ticket.resting:
            ticket.resting = None
        elif not filled:
            return  # it was replaced
        lacking = event.order.sent_ms is None and event.order.note.startswith(TOO_LITTLE)
        sellable = self.holdings.sellable(ticket.symbol) and not lacking
        if sellable and self._goes_on(ticket, event, filled):
            why = event.order.note or event.state.replace("_", " ")
            first = not ticket.leaving
            self._tell(
                "refusal",
                f"{ticket.symbol} {ticket.reason} did not sell everything ({why}): it goes on "
                f"{'at the market' if first else 'at the next close'}",
            )
            if first:
                self._leave(ticket)
        elif filled:
            self._done(ticket, order.completed, sellable)
        elif ticket.cancelling or (event.state is State.CANCELED and ticket.kind == MARKET):
            self._end(ticket, order.cancel)
        elif event.state is State.CANCELED or (ticket.reduces and ticket.kind == STOP and sellable):
            self._unprotected(ticket, event)
        else:
            self._refused(ticket, event.order.note or event.state.replace("_", " "))
            self._done(ticket, order.reject, sellable)
        for other in list(self.open):  # what has waited for coins that are free now
            if other.symbol == ticket.symbol and other.waits:
                self._send(other)

    def _goes_on(self, ticket: Ticket, event: OrderEvent, filled: bool) -> bool:
        """Whether a protection that was touched, here or at the exchange, has yet to sell the rest."""
        broke_off = filled and event.state is State.EXPIRED and ticket.kind == STOP and not ticket.cancelling
        return event.state is not State.CANCELED if ticket.leaving else ticket.reduces and broke_off

    def _done(self, ticket: Ticket, how: Callable[[], Any], sellable: bool) -> None:
        """An order has filled or was refused: if nothing is left that could be sold, nothing has to be protected."""
        filled = ticket.order.executed.size
        if ticket.reduces and not sellable:
            self.holdings.sweep(ticket.symbol, ticket.order, ticket.row, ticket.reason, self._tell)
        self._end(ticket, how)
        if filled or (ticket.reduces and not self.holdings.held[ticket.symbol]):
            for other in list(self.open):
                if other.group == ticket.group:
                    self.cancel(other)

    def _moved_back(self, ticket: Ticket, event: OrderEvent) -> bool:
        """An order that was to replace another was refused: the other still stands, unless it has ended."""
        old, before, price = self._moves.pop(event.cid, (ticket, "", None))
        if not before or before in self._over:
            return False
        self._tell("refusal", f"{ticket.symbol} {old.reason} stays at {price}: {event.order.note}")
        ticket.resting = None
        stands = old if old in self.open else ticket  # the strategy may have given up the old one meanwhile
        stands.resting, stands.price, stands.heard = before, price, True
        self._by_cid[before] = stands
        if stands.cancelling:
            self.exchange.cancel(before)
        elif ticket.cancelling:
            self._end(ticket, ticket.order.cancel)
        return True

    def _unprotected(self, ticket: Ticket, event: OrderEvent) -> None:
        """A protection that does not rest any more, or never did, is watched from here; if it is too late, leave at once."""
        why = event.order.note or event.state.replace("_", " ")
        self._tell(
            "refusal", f"{ticket.symbol} {ticket.reason} does not rest at the exchange ({why}): it is watched here"
        )
        beyond = float(ticket.order.data.close[0]) <= ticket.level or "trigger" in why
        if ticket.kind == STOP and ticket.order.issell() and beyond:
            self._leave(ticket)

    def _end(self, ticket: Ticket, how: Callable[[], Any]) -> None:
        if ticket in self.open:
            self.open.remove(ticket)
        ticket.waits = ticket.cancelling = False
        how()
        self._notify(ticket.order)
