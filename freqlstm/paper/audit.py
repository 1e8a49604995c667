"""The ledger beside the balances, again and again while the session trades."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from freqlstm.errors import ExchangeUnavailable
from freqlstm.paper.account import Account, Difference, balances_of
from freqlstm.paper.client import Client
from freqlstm.paper.journal import Journal
from freqlstm.paper.orders import Orders
from freqlstm.paper.outcome import KEYS, CallFailed
from freqlstm.paper.pace import Pace
from freqlstm.paper.recovery import TRIES, was_reset

RESET = "The exchange no longer knows orders that it had accepted: it was reset. Start again: a new epoch begins."


class Audit:
    """Halts entries while ledger and balances differ, and everything after a reset."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        account: Account,
        orders: Orders,
        pace: Pace,
        halt: Callable[[str, str], None],
        resume: Callable[[str], None],
        fail: Callable[[str], None],
    ) -> None:
        self._client, self._journal, self._account, self._orders, self._pace = client, journal, account, orders, pace
        self._halt, self._resume, self._fail = halt, resume, fail
        self.doubt = asyncio.Event()  # set it, and the next comparison is made at once

    async def keep(self) -> None:
        """Compare for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.audit):
                    await self.doubt.wait()
            self.doubt.clear()
            try:
                differences = await self._differences()
            except CallFailed as failure:
                if failure.code in KEYS:
                    why = f"{failure.code} {failure.answer.message.rstrip('.')}"
                    self._halt("keys", f"The exchange refuses the API keys ({why}). No entries until it takes them.")
                continue  # the next time, then
            self._resume("keys")
            if not differences:
                self._resume("ledger")
            elif await self._was_reset():
                self._fail(RESET)
            else:
                self._halt(
                    "ledger", f"The account holds {'; '.join(map(str, differences))}. No entries until they agree."
                )

    async def _differences(self) -> list[Difference]:
        """What differs, however often one looks: a fill may be on its way."""
        differences: list[Difference] = []
        for attempt in range(TRIES):
            differences = self._account.differences(balances_of(await self._client.held()))
            if not differences:
                break
            await asyncio.sleep(self._pace.tick * 2**attempt)
            await self._orders.recover()
            await self._orders.look_again()
        return differences

    async def _was_reset(self) -> bool:
        try:
            return await was_reset(self._client, self._journal, self._account, self._pace)
        except ExchangeUnavailable:  # it does not say
            return False
