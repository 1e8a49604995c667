"""The ledger: what the account must hold, by what it began with and every fill since, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from freqlstm.paper.journal import Journal
from freqlstm.paper.money import SymbolRules, plain, signed
from freqlstm.paper.records import Balance, Fill

ZERO = Decimal(0)
SMALLEST = Decimal("0.00000001")  # the exchange shows 8 decimals


@dataclass(frozen=True)
class Difference:
    """An asset of which the account holds something else than the ledger says."""

    asset: str
    ledger: Decimal
    account: Decimal

    def __str__(self) -> str:
        return f"{self.asset} {plain(self.account)}, and the journal says {plain(self.ledger)}"


def flows(fills: Iterable[Fill], rules: Mapping[str, SymbolRules]) -> dict[str, Decimal]:
    """What the fills have changed, by asset; commission is taken from whichever asset it was paid in."""
    sums: dict[str, Decimal] = {}
    for fill in fills:
        market = rules[fill.symbol]
        for asset, amount in (
            (market.base, signed(fill.side, fill.quantity)),
            (market.quote, -signed(fill.side, fill.worth)),
            (fill.commission_asset, -fill.commission),
        ):
            if amount:
                sums[asset] = sums.get(asset, ZERO) + amount
    return sums


class Account:
    """What this session has done to the account in the current epoch; tell it of every new fill by :meth:`add`."""

    def __init__(self, journal: Journal, rules: Mapping[str, SymbolRules]) -> None:
        self._journal = journal
        self.rules = rules
        self.load()

    def load(self) -> None:
        """Count anew, from the journal: when it is opened and when an epoch begins."""
        self._flows: dict[str, Decimal] = {}
        self._held: dict[str, Decimal] = {}
        self.add(self._journal.fills())

    def add(self, fills: Iterable[Fill]) -> None:
        """Count fills that the journal has just taken in."""
        fills = list(fills)
        held, changed = dict(self._held), dict(self._flows)
        for asset, amount in flows(fills, self.rules).items():
            changed[asset] = changed.get(asset, ZERO) + amount
        for fill in fills:
            own = fill.commission if fill.commission_asset == self.rules[fill.symbol].base else ZERO
            held[fill.symbol] = held.get(fill.symbol, ZERO) + signed(fill.side, fill.quantity) - own
        self._held, self._flows = held, changed  # whole, for readers in other threads

    def ledger(self) -> dict[str, Decimal]:
        """What the account must hold of each asset."""
        totals = self._journal.start_balances()
        for changes in (self._journal.adjustments(), self._flows):
            for asset, amount in changes.items():
                totals[asset] = totals.get(asset, ZERO) + amount
        return totals

    def differences(self, balances: Mapping[str, Balance]) -> list[Difference]:
        """Where the account holds something else; empty if it is as it must be.

        Only assets that the session trades or has paid commission in are compared.
        """
        ledger = self.ledger()
        found = []
        ours_alone = {asset for market in self.rules.values() for asset in (market.base, market.quote)}
        for asset in sorted(ours_alone | self._flows.keys()):
            ours, theirs = ledger.get(asset, ZERO), balances.get(asset, Balance()).total
            if abs(ours - theirs) >= SMALLEST:
                found.append(Difference(asset, ours, theirs))
        return found

    def position(self, symbol: str) -> Decimal:
        """What was bought and not sold, less the commission that was taken from it."""
        return self._held.get(symbol, ZERO)

    def profit(self, prices: Mapping[str, Decimal]) -> Decimal:
        """What the fills have earned in the epoch, positions valued at ``prices``, in units of the quote asset.

        Commission in a third asset counts only where its price against the quote asset is among ``prices``.
        """
        quote = {market.quote for market in self.rules.values()}
        worth = {self.rules[symbol].base: price for symbol, price in prices.items()}
        return sum(
            (amount if asset in quote else amount * worth.get(asset, ZERO) for asset, amount in self._flows.items()),
            ZERO,
        )


def balances_of(account: Mapping[str, object]) -> dict[str, Balance]:
    """Of the exchange's ``account``; assets of which nothing is held are left out."""
    held = {}
    for row in account["balances"]:  # type: ignore[attr-defined]
        balance = Balance(Decimal(row["free"]), Decimal(row["locked"]))
        if balance.total:
            held[row["asset"]] = balance
    return held
