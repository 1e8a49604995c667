"""Backtrader's broker whose orders go to an exchange and come back as fills."""

from __future__ import annotations

from collections import deque
from typing import Any

import backtrader as bt
from backtrader.position import Position

from freqlstm.costs import Costs
from freqlstm.engines.fills import SHORT_REFUSED, Refusal
from freqlstm.paper.dispatch import Dispatch
from freqlstm.paper.feed import LiveFeed
from freqlstm.paper.holdings import Holdings, Tell
from freqlstm.paper.ticket import KINDS, Exchange, Ticket


class PaperBroker(bt.BrokerBase):  # type: ignore[misc]
    """Orders become intents, fills become positions; both are those of the session, not of the whole account."""

    params = (("slip_perc", 0.0),)

    def __init__(self, exchange: Exchange, cash: float, costs: Costs, tell: Tell, kept: int | None = None) -> None:
        """``kept``: of the newest fills, refusals and bars so many are remembered; None: all."""
        super().__init__()
        self.setcommission(commission=costs.commission)
        self.p.slip_perc = costs.slippage  # sizes leave room for it, as in a backtest
        self.startingcash = cash
        self.holdings = Holdings(cash, exchange.rules, kept)
        self.dispatch = Dispatch(exchange, self.holdings, self.notify, self._refused, tell)
        self.refusals: deque[Refusal] = deque(maxlen=kept)
        self.refused = 0  # orders so far
        self.equity: deque[float] = deque(maxlen=kept)  # at the close of each bar
        self.idle_cash: deque[float] = deque(maxlen=kept)
        self._tell = tell
        self._notifications: deque[Any] = deque()

    # What Backtrader asks

    def getcash(self) -> float:
        return float(self.holdings.money)

    def getvalue(self, datas: Any = None) -> float:
        if datas is None:
            return self.holdings.value
        return sum(self.holdings.worth(feed) for feed in datas)

    get_cash, get_value = getcash, getvalue

    def getposition(self, data: Any) -> Position:
        return self.holdings.positions[data]

    def get_notification(self) -> Any:
        return self._notifications.popleft() if self._notifications else None

    def notify(self, order: Any) -> None:
        self._notifications.append(order.clone())

    def orderstatus(self, order: Any) -> int:
        return int(order.status)

    def get_orders_open(self, safe: bool = False) -> list[Any]:
        return [ticket.order.clone() if safe else ticket.order for ticket in self.dispatch.open]

    def buy(self, owner: Any, data: Any, size: float, **asked: Any) -> Any:
        return self._order(bt.BuyOrder, owner, data, size, **asked)

    def sell(self, owner: Any, data: Any, size: float, **asked: Any) -> Any:
        return self._order(bt.SellOrder, owner, data, size, **asked)

    def cancel(self, order: Any) -> bool:
        ticket = self.dispatch.ticket_of(order)
        if ticket is not None:
            self.dispatch.cancel(ticket)
        return ticket is not None

    def next(self) -> None:
        """Called at the close of every bar, before the strategy decides."""
        self.dispatch.watch()
        self.equity.append(self.holdings.value)
        self.idle_cash.append(self.getcash())

    def end_bar(self) -> None:
        """Called when the strategy has decided."""
        self.dispatch.end_bar()

    # Orders

    def _order(
        self, kind: Any, owner: Any, data: Any, size: float, price: Any = None, plimit: Any = None, exectype: Any = None,
        valid: Any = None, tradeid: int = 0, oco: Any = None, trailamount: Any = None, trailpercent: Any = None,
        parent: Any = None, transmit: bool = True, **info: Any,
    ) -> Any:  # fmt: skip
        order = kind(
            owner=owner, data=data, size=size, price=price, pricelimit=plimit, exectype=exectype, valid=valid,
            tradeid=tradeid, trailamount=trailamount, trailpercent=trailpercent, parent=parent, transmit=transmit,
        )  # fmt: skip
        order.addinfo(**info)
        order.submit(self)
        held = self.getposition(data).size
        reduces = held * order.created.size < 0
        cid = self.dispatch.next_cid(data.symbol)  # also of what is refused: the ids of a bar never move
        why = self._refusal(order, held, reduces, plain=parent is None and transmit and valid is None)
        if why:
            self.refuse(data, order.created.size, order.info.get("reason", ""), why)
            order.reject(self)
            self.notify(order)
            return order
        self.notify(order)
        first = None if oco is None else self.dispatch.ticket_of(oco)
        group = order.ref if first is None else first.group
        self.dispatch.add(Ticket(order, cid, reduces, group, self.dispatch.now_ms, len(data) - 1))
        return order

    def _refusal(self, order: Any, held: float, reduces: bool, plain: bool) -> str:
        feed, size = order.data, order.created.size
        if order.exectype not in KINDS or not plain:
            return (
                f"{order.getordername()} orders of this kind are not traded on paper: market, limit, stop and trailing stop orders "
                f"without parent and expiry are"
            )
        if size < 0:
            return "" if reduces and abs(size) <= held * (1 + 1e-9) else SHORT_REFUSED
        if not feed.fresh:
            return "the candle came too late to enter on"
        price = float(order.created.price) * (1 + (self.p.slip_perc if order.exectype == bt.Order.Market else 0.0))
        why = str(feed.market_rules.refusal(feed.market_rules.floor(size), float(order.created.price)))
        cost = size * (price + self.getcommissioninfo(feed).getcommission(1.0, price))
        free = self.getcash() - self._reserved()
        if not why and cost > free * (1 + 1e-9):
            why = f"costs {cost:,.2f} with commission, and there are {free:,.2f} in cash"
        return why

    def _reserved(self) -> float:
        """Cash that open buy orders may still take."""
        buys = [ticket.order for ticket in self.dispatch.open if ticket.order.isbuy()]
        margin = 1 + self.p.slip_perc
        return float(sum(abs(order.executed.remsize) * order.created.price * margin for order in buys))

    def refuse(self, data: LiveFeed, size: float, reason: str, why: str) -> None:
        """Note an order that is not even sent."""
        self._note(Refusal(data.symbol, len(data) - 1, size, reason, why))
        self._tell("refusal", f"{data.symbol} {reason or 'order'}: {why}")

    def _refused(self, ticket: Ticket, why: str) -> None:
        size = ticket.order.created.size
        self._note(Refusal(ticket.symbol, ticket.row, size, ticket.order.info.get("reason", ""), why))
        self._tell("refusal", f"{ticket.symbol} {ticket.reason}: {why}")

    def _note(self, refusal: Refusal) -> None:
        self.refused += 1
        self.refusals.append(refusal)
