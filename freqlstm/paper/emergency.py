"""What the kill switch asks for, done at the exchange: cancel what rests, sell what is held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal

from freqlstm.paper.account import Account, balances_of
from freqlstm.paper.client import Client
from freqlstm.paper.journal import Journal
from freqlstm.paper.limits import KillSwitch, Stop
from freqlstm.paper.money import SymbolRules, sellable
from freqlstm.paper.orders import Orders
from freqlstm.paper.outcome import CallFailed
from freqlstm.paper.records import MARKET, SELL, Intent, Order, State

REASON = "kill_switch"  # of its own orders
TRIES = 5  # sales of one symbol: a book can be too thin for all of it


class Emergency:
    """Looks at the kill switch, and obeys it once each time it is tripped."""

    def __init__(
        self,
        switch: KillSwitch,
        client: Client,
        journal: Journal,
        account: Account,
        orders: Orders,
        rules: Mapping[str, SymbolRules],
        last_prices: Mapping[str, Decimal],
        name: Callable[[str, int, int], str],
    ) -> None:
        self._switch, self._client, self._journal, self._account = switch, client, journal, account
        self._orders, self._rules, self._last_prices = orders, rules, last_prices
        self._name = name  # of an order: (symbol, ms, number) -> client order id
        self._obeyed: tuple[Stop, str] | None = None
        self._working = False

    @property
    def busy(self) -> bool:
        """Whether it has not yet done all that was asked for."""
        return self._switch.state not in (None, self._obeyed) or self._working

    def reason(self, order: Order) -> str:
        """Why an order that waits to be sent is not to be; empty if it is."""
        tripped = self._switch.state
        return f"the kill switch is on: {tripped[1]}" if tripped and order.intent.reason != REASON else ""

    def look(self) -> tuple[Stop, str] | None:
        """Begin to do what is asked for; the state of the switch."""
        tripped = self._switch.state
        if tripped is None:
            self._obeyed = None
        elif tripped != self._obeyed and not self._working:
            self._working = True  # first: other threads ask for both, in the other order
            self._obeyed = tripped
            self._orders.spawn(self._obey(tripped[0]))
        return tripped

    async def _obey(self, how: Stop) -> None:
        try:
            if how in (Stop.CANCEL, Stop.FLATTEN):
                resting = self._journal.orders(unresolved=True)
                await asyncio.gather(*(self._orders.cancel(order.cid) for order in resting))
            if how == Stop.FLATTEN:
                await asyncio.gather(*map(self._flatten, self._rules))
        finally:
            self._working = False

    async def _flatten(self, symbol: str) -> None:
        """Sell what is held of a symbol; what is too little to be sold stays, and is called dust."""
        for attempt in range(TRIES):
            quantity = await self._sellable(symbol)
            now = self._client.clock.now_ms()
            last = self._last_prices.get(symbol)
            if not quantity or (last is not None and self._rules[symbol].is_dust(quantity, last)):
                self._journal.event("flat", now, symbol=symbol, dust=self._account.position(symbol))
                return
            cid = self._name(symbol, now, 90 + attempt)
            intent = Intent(cid, symbol, SELL, MARKET, quantity, now, REASON, reduces=True)
            order = Order(intent, self._journal.epoch, State.SENT, sent_ms=now, window_ms=self._orders.window_ms)
            self._journal.add_order(order, now)
            await self._orders.send(cid)
            await self._orders.recover()
        left = self._account.position(symbol)
        self._journal.event("unsold", self._client.clock.now_ms(), symbol=symbol, left=left)

    async def _sellable(self, symbol: str) -> Decimal:
        rules = self._rules[symbol]
        while True:
            try:
                body = await self._client.held()
            except CallFailed:
                await asyncio.sleep(0.5)
                continue
            held = balances_of(body).get(rules.base)
            quantity = sellable(self._account.position(symbol), held.free if held else Decimal(0), rules)
            largest = rules.floor(rules.max_market_quantity)
            return min(quantity, largest) if largest else quantity
