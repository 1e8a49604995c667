"""The stream of the user's orders: kept subscribed, and connected anew whenever it can no longer be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from freqlstm.paper.client import Client
from freqlstm.paper.journal import Journal
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.outcome import CallFailed
from freqlstm.paper.records import Balance
from freqlstm.paper.reports import Report, streamed


class OrderStream:
    """Passes on every report of an order, none merged with another."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        rules: Mapping[str, SymbolRules],
        apply: Callable[[Report], None],
        missed: Callable[[], None],
        patience: float,
    ) -> None:
        self._client, self._journal, self._apply = client, journal, apply
        self._patience = patience  # seconds until a subscription must be answered
        self._missed = missed  # told when reports may have passed unheard
        self._symbols = {market.id: symbol for symbol, market in rules.items()}
        self._broken = asyncio.Event()  # the stream is up, but not to be trusted
        self.subscribed = asyncio.Event()
        self.heard = 0.0  # when it last spoke (clock ticks)
        self.spoken_of: dict[str, float] = {}  # client order id -> when
        self.wallet: dict[str, Balance] = {}

    def on_report(self, message: Mapping[str, Any]) -> None:
        self.heard = self._client.clock.ticks()
        symbol = self._symbols.get(message["s"])
        if symbol is not None:
            report = streamed(message, symbol)
            self.spoken_of[report.cid] = self.heard
            self._apply(report)

    def on_account(self, event: Mapping[str, Any]) -> None:
        """Balances after a change, and changes that no order made."""
        self.heard = self._client.clock.ticks()
        if event["e"] == "outboundAccountPosition":
            self.wallet.update((one["a"], Balance(Decimal(one["f"]), Decimal(one["l"]))) for one in event["B"])
        elif event["e"] == "balanceUpdate":
            key = f"balanceUpdate {event['T']} {event['a']} {event['d']}"
            self._journal.add_adjustment(key, event["a"], Decimal(event["d"]), int(event["T"]), "deposit or withdrawal")

    def on_subscribed(self) -> None:
        self.heard = self._client.clock.ticks()
        self.subscribed.set()
        self._missed()

    def distrust(self, why: str) -> None:
        """Connect anew: the exchange ended the stream, or it did not say what it must have said."""
        self._journal.event("order stream", self._client.clock.now_ms(), error=why)
        self._broken.set()

    async def listen(self) -> None:
        """Stay subscribed for ever."""
        delay = 0.1
        while True:
            self._broken.clear()
            watching = asyncio.ensure_future(self._watch())
            broken = asyncio.ensure_future(self._broken.wait())
            try:
                first = asyncio.FIRST_COMPLETED
                done, _ = await asyncio.wait((watching, broken), timeout=self._patience, return_when=first)
                if not done and self.subscribed.is_set():
                    await asyncio.wait((watching, broken), return_when=first)
                error = watching.exception() if watching.done() and not watching.cancelled() else None
            finally:
                watching.cancel()
                broken.cancel()
            if self.subscribed.is_set():
                delay = 0.1
            self.subscribed.clear()
            if error is not None:
                self._journal.event(
                    "order stream", self._client.clock.now_ms(), error=f"{type(error).__name__}: {error}"
                )
            # ccxt's connection is poisoned by a refused subscription: the next one would wait for ever.
            await self._client.drop(orders=True)
            await asyncio.gather(watching, return_exceptions=True)
            with suppress(CallFailed):
                await self._client.time()  # the usual reason for a refusal
            await asyncio.sleep(delay)
            delay = min(2 * delay, 10.0)

    async def _watch(self) -> None:
        while True:
            await self._client.watch_orders()
