"""What a session did, gone through again from its journal alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

from freqlstm.candles import Candles
from freqlstm.errors import JournalError
from freqlstm.paper.broker import PaperBroker
from freqlstm.paper.diary import Diary, Entry
from freqlstm.paper.engine_room import client_order_id
from freqlstm.paper.journal import Journal
from freqlstm.paper.machine import Machine, Orders
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.records import Fill, Intent, Order, OrderEvent, State
from freqlstm.paper.route import UNSENT

RULES = "rules"  # kind of event: the exchange's rules of every symbol


def write_rules(journal: Journal, rules: Mapping[str, SymbolRules], now_ms: int) -> None:
    """Keep the rules that hold now, if they are not those that were kept last."""
    told = {symbol: {**asdict(each), "order_types": sorted(each.order_types)} for symbol, each in rules.items()}
    kept = journal.events(RULES)
    if not kept or kept[-1][2] != json.loads(json.dumps(told, default=str)):
        journal.event(RULES, now_ms, **told)


def read_rules(journal: Journal) -> dict[str, SymbolRules]:
    """The newest rules that were kept."""
    kept = journal.events(RULES)
    if not kept:
        raise JournalError(
            f"{journal.path} is of a session that has not begun to trade. Nothing can be said of it yet."
        )
    return {symbol: _rules_of(facts) for symbol, facts in kept[-1][2].items()}


def _rules_of(facts: Mapping[str, Any]) -> SymbolRules:
    texts = ("symbol", "id", "base", "quote", "order_types", "trading", "min_notional_of_market")
    values: dict[str, Any] = {name: value if name in texts else Decimal(value) for name, value in facts.items()}
    values["order_types"] = frozenset(facts["order_types"])
    return SymbolRules(**values)


class Past:
    """An :class:`~freqlstm.paper.ticket.Exchange` that knows what became of everything and accepts nothing new."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._rules = read_rules(journal)
        self.orders = {order.cid: order for order in journal.orders()}

    def client_order_id(self, symbol: str, open_ms: int, seq: int) -> str:
        return client_order_id(self._journal, self._rules[symbol].id, open_ms, seq)

    def rules(self, symbol: str) -> SymbolRules:
        return self._rules[symbol]

    def submit(self, intent: Intent) -> Order:
        order = self.orders.get(intent.cid)
        if order is None:
            return Order(intent, self._journal.epoch, State.REJECTED, note=UNSENT)
        if order.state is State.REJECTED and order.sent_ms is None:
            return order
        return replace(order, state=State.SENT, executed=Decimal(0))

    def replace(self, cid: str, intent: Intent) -> Order:
        return self.submit(intent)

    def cancel(self, cid: str) -> None:
        pass


def played(
    journal: Journal, orders: Orders, like: Mapping[str, Candles], names: tuple[str, ...]
) -> tuple[PaperBroker, list[Entry]]:
    """The broker as the session's was after its newest bar and everything that came after it, and the session's bars."""
    entries = list(Diary(journal).entries())
    past = Past(journal)

    def steps() -> Iterator[None]:
        for entry in entries:
            for event in entry.news:
                machine.broker.dispatch.take(event)
            machine.push(entry.open_ms, entry.candles, entry.said, entry.decisions, fresh=not entry.stale)
            yield
        fills: dict[str, list[Fill]] = {}
        for fill in journal.fills():
            fills.setdefault(fill.cid, []).append(fill)
        for order in past.orders.values():
            machine.broker.dispatch.take(OrderEvent(order, tuple(fills.get(order.cid, ()))))

    machine = Machine(orders, past, like, names, steps, lambda kind, text: None)
    machine.run()
    return machine.broker, entries
