"""The exchange itself, without its wires: markets, accounts and orders on the clock of the replay."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.sandbox.accounts import BALANCES, KEY, SECRET, Account, Balance
from freqlstm.sandbox.book import Liquidity
from freqlstm.sandbox.events import Event, account_position, balance_update
from freqlstm.sandbox.faults import Faults
from freqlstm.sandbox.limits import Limits, Usage
from freqlstm.sandbox.listing import listing_of, text
from freqlstm.sandbox.matching import Matching
from freqlstm.sandbox.orders import Order
from freqlstm.sandbox.replay import Moment, replay_of
from freqlstm.sandbox.tape import INTERVALS

KEPT = 50_000  # of the newest messages that were sent


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a sandbox exchange is like."""

    start: int | None = (
        None  # milliseconds: candles that opened before are history; None: all but the first are replayed
    )
    end: int | None = None  # milliseconds, not included
    speed: float = 0.0  # seconds of the market in one second; 0: only as it is stepped
    ticks: int = 4  # prices in each candle
    seed: int = 0  # of books and faults
    balances: Mapping[str, Decimal] = field(default_factory=lambda: dict(BALANCES))
    keys: Mapping[str, str] = field(default_factory=lambda: {KEY: SECRET})  # key: secret
    liquidity: Liquidity = field(default_factory=Liquidity)
    limits: Limits = field(default_factory=Limits)
    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")

    def __post_init__(self) -> None:
        if self.ticks < 4:
            raise UsageError(f"A candle has {self.ticks} ticks. It needs at least 4: open, high, low and close.")
        if self.speed < 0:
            raise UsageError(f"The speed is {self.speed:g}. It must be 0 (stepped) or more.")


class Venue:
    """Candles that are replayed, and everything that clients do meanwhile.

    ``tell`` hands the events of an account to its user data streams; whoever serves them sets it.
    """

    def __init__(self, market: Mapping[str, Candles], terms: Terms) -> None:
        self.terms = terms
        self.market = dict(market)
        timeframes = sorted({candles.timeframe for candles in market.values()})
        if len(timeframes) != 1:
            raise UsageError(
                f"The candles are of {', '.join(timeframes) or 'no timeframe'}. All symbols of a sandbox must have the same."
            )
        if timeframes[0] not in INTERVALS:
            raise UsageError(f"Binance has no {timeframes[0]} candles. Replay one of {', '.join(INTERVALS)}.")
        listings = {listing.name: listing for listing in map(listing_of, market.values())}
        self.faults = Faults(terms.seed)
        self.replay = replay_of(market, listings, terms.start, terms.end, terms.ticks, terms.speed)
        self.matching = Matching(listings, terms.liquidity, terms.maker, terms.taker, terms.seed, self._told)
        self.matching.average = self.average
        self.matching.thin = self._thin
        self.matching.portion = self._portion
        self.accounts = {key: Account(key, secret) for key, secret in terms.keys.items()}
        self.tell: Callable[[Account, Event], None] = lambda account, event: None
        self.sent: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()  # of messages, by kind
        self.epoch = 0  # wipes so far
        self.usage = Usage(terms.limits)
        self.fund(terms.balances)

    @property
    def now(self) -> int:
        """The exchange's clock, in milliseconds."""
        return self.replay.now

    def fund(self, balances: Mapping[str, Decimal]) -> None:
        """Every account has exactly these balances, and zero of every other listed asset."""
        assets = dict.fromkeys(
            [*balances, *(asset for one in self.matching.listings.values() for asset in (one.base, one.quote))]
        )
        for account in self.accounts.values():
            account.balances = {asset: Balance(Decimal(balances.get(asset, 0))) for asset in assets}

    def begin(self) -> Moment:
        """Open the first candles."""
        moment = self.replay.begin()
        self._priced(moment)
        return moment

    def resume(self, open_time: int, tick: int) -> None:
        """Be again where the replay had come, without anything happening to open orders."""
        self.replay.begin(open_time)
        for _ in range(tick):
            self.replay.advance()
        for name, tape in self.replay.tapes.items():
            self.matching.books[name].move(Decimal(repr(tape.last)), self.now)

    def advance(self) -> Moment:
        """One tick of the market, and what it does to open orders."""
        moment = self.replay.advance()
        self._priced(moment)
        return moment

    def _priced(self, moment: Moment) -> None:
        for name, (price, jump) in moment.prices.items():
            book = self.matching.books[name]
            self.matching.move(name, price, self.now, jump=jump or not book.price)

    def average(self, name: str) -> Decimal:
        """The average price of the last minutes, weighted by volume."""
        tape, minutes = self.replay.tapes[name], self.matching.listings[name].average_minutes
        rows = max(1, minutes * 60_000 // tape.step)
        known = tape.values[max(0, tape.closed - rows) : tape.closed]
        volume = known[:, 4].sum()
        if not volume:
            return self.matching.books[name].price
        typical = (known[:, :4].mean(axis=1) * known[:, 4]).sum() / volume
        return Decimal(text(float(typical)))

    # What a person at the controls can do

    def deposit(self, key: str, asset: str, amount: Decimal) -> None:
        """Add to the free balance of an asset, or take from it if negative."""
        account = self.accounts[key]
        account.balance(asset).free += amount
        self.tell(account, balance_update(asset, amount, self.now))
        self.tell(account, account_position(account.balances, [asset], self.now))

    def wipe(self) -> None:
        """What the testnet does about once a month: orders, trades and balances begin anew, without a word."""
        self.epoch += 1
        self.matching.wipe()
        for account in self.accounts.values():
            account.orders.clear()
        self.fund(self.terms.balances)

    def maintain(self, candles: int) -> list[int]:
        """The next candles never happen, on the streams and in the REST API: their open times."""
        step = self.replay.step
        first = self.replay.open_time + step
        times = [first + step * number for number in range(candles)]
        for tape in self.replay.tapes.values():
            tape.hidden.update(times)
        return times

    def set_status(self, name: str, status: str) -> None:
        """TRADING, or anything else: its market is closed."""
        self.matching.listings[name] = self.matching.listing(name).with_status(status)

    def truth(self) -> dict[str, Any]:
        """Everything that happened here, to compare with what a client believes."""
        return {
            "now": self.now,
            "epoch": self.epoch,
            "open_time": self.replay.open_time,
            "over": self.replay.over,
            "accounts": {key: self._truth_of(account) for key, account in self.accounts.items()},
            "faults": self.faults.listed(),
            "sent": list(self.sent),
            "counts": dict(self.counts),
        }

    def _truth_of(self, account: Account) -> dict[str, Any]:
        orders = list(account.orders.values())
        ids = Counter((order.symbol, order.client_id) for order in orders)
        return {
            "balances": {row["asset"]: {"free": row["free"], "locked": row["locked"]} for row in account.listed()},
            "orders": [order.queried() for order in orders],
            "trades": [trade.listed() for order in orders for trade in order.trades],
            "duplicates": sorted(client_id for (_, client_id), count in ids.items() if count > 1),
        }

    # What the matching asks

    def _told(self, account: Account, event: Event) -> None:
        if event["e"] == "executionReport" and event["X"] == "FILLED":
            self.usage.forgive(account.key)
        self.tell(account, event)

    def _thin(self, name: str) -> Liquidity | None:
        fault = self.faults.take("thin_book", symbol=name)
        if fault is None:
            return None
        return self.terms.liquidity.thinned(int(fault.details["levels"]), Decimal(str(fault.details["amount"])))

    def _portion(self, order: Order) -> Decimal:
        fault = self.faults.take("partial", symbol=order.symbol, key=order.key)
        return Decimal(1) if fault is None else Decimal(str(fault.details["share"]))
