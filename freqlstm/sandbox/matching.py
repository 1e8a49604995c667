"""The matching: how orders are accepted, filled, triggered, cancelled and expired as the price moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_DOWN, Decimal

from freqlstm.sandbox.accounts import Account
from freqlstm.sandbox.book import Book, Level, Liquidity
from freqlstm.sandbox.events import Event, account_position, execution_report
from freqlstm.sandbox.filters import check_filters
from freqlstm.sandbox.listing import EIGHT, Listing, floored
from freqlstm.sandbox.orders import ZERO, Order, Trade
from freqlstm.sandbox.refusal import Refusal, insufficient, unknown_order
from freqlstm.sandbox.tickets import Ticket

ONE = Decimal(1)

REASONS = {  # of an executionReport that says REJECTED
    "Account has insufficient balance for requested action.": "INSUFFICIENT_BALANCES",
    "Order would immediately match and take.": "WOULD_MATCH_IMMEDIATELY",
    "Stop price would trigger immediately.": "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY",
    "Duplicate order sent.": "DUPLICATE_ORDER",
}

Tell = Callable[[Account, Event], None]


class Matching:
    """Orders of all accounts against the books of all symbols.

    ``tell`` is given every event of an account, in order. ``changed`` collects what a state file has to keep.
    """

    def __init__(
        self,
        listings: Mapping[str, Listing],
        liquidity: Liquidity,
        maker: Decimal,
        taker: Decimal,
        seed: int,
        tell: Tell,
    ) -> None:
        self.listings = dict(listings)  # by name: BTCUSDT
        self.books = {name: Book(listing, liquidity, seed) for name, listing in listings.items()}
        self.maker, self.taker = maker, taker
        self.tell = tell
        self.orders = 0  # the number of the newest order
        self.trades = 0
        self.moves = 0  # of prices
        self.open: dict[str, list[tuple[Account, Order]]] = {name: [] for name in listings}
        self.changed: list[tuple[Account, Order]] = []
        self.thin: Callable[[str], Liquidity | None] = lambda name: None  # what is left of a book, for one order
        self.portion: Callable[[Order], Decimal] = lambda order: ONE  # of a resting order that is filled at once
        self.average: Callable[[str], Decimal] = lambda name: self.books[name].price

    def listing(self, name: str) -> Listing:
        """The listing of BTCUSDT."""
        if name not in self.listings:
            raise Refusal(-1121, "Invalid symbol.")
        return self.listings[name]

    def check(self, account: Account, ticket: Ticket) -> Listing:
        """Refuse what would be refused before the matching."""
        listing = self.listing(ticket.symbol)
        base = account.balance(listing.base)
        mine = account.open_orders(listing.name)
        check_filters(ticket, listing, self.average(listing.name), mine, base.free + base.locked)
        if listing.status != "TRADING":
            raise Refusal(-1013, "Market is closed.")
        return listing

    def place(self, account: Account, ticket: Ticket, now: int) -> Order:
        """Accept an order and do with it at once what can be done."""
        listing = self.check(account, ticket)
        if any(order.client_id == ticket.client_id for order in account.open_orders() if order.symbol == listing.name):
            raise Refusal(-2010, "Duplicate order sent.")
        order = self._order(account, ticket, now)
        price = self.books[listing.name].price
        if ticket.contingent:
            if ticket.stop_price and ticket.trailing_delta is None and order.reached(price):
                raise Refusal(-2010, "Stop price would trigger immediately.")
            order.waiting = True
            order.active = ticket.trailing_delta is not None and not ticket.stop_price
            order.extreme = price
            reserve = order.price or order.stop_price or price
            self._lock(account, order, order.quantity * reserve if order.buys else order.quantity)
            self._accept(account, order, now)
            self._announce(account, order, "NEW", now)
            self.open[listing.name].append((account, order))
        else:
            self._enter(account, order, now, accepted=False)
        self._positions(account, listing, now)
        return order

    def reject(self, account: Account, ticket: Ticket, refusal: Refusal, now: int) -> None:
        """Tell the account of a new order that was refused after another one was cancelled for it."""
        order = self._order(account, ticket, now)
        self.orders = order.id
        order.status = "REJECTED"
        self.tell(account, execution_report(order, "REJECTED", now, reason=REASONS.get(refusal.message, "UNKNOWN")))

    def cancel(self, account: Account, order: Order, cancel_id: str, now: int) -> Order:
        """Take an open order out of the book."""
        if not order.open:
            raise unknown_order()
        order.cancel_id = cancel_id
        self._end(account, order, "CANCELED", now)
        self._positions(account, self.listings[order.symbol], now)
        return order

    def move(self, name: str, price: Decimal, now: int, jump: bool = False) -> None:
        """The market trades from its last price to ``price``, through all prices between them unless it jumps."""
        book = self.books[name]
        self.moves += 1
        while not jump and (halt := self._next_halt(name, price)) is not None:
            book.move(halt, now)
            self._react(name, now)
        book.move(price, now)
        self._react(name, now)

    def wipe(self) -> None:
        """Forget every order; numbers begin anew."""
        self.orders = self.trades = 0
        for waiting in self.open.values():
            waiting.clear()

    def adopt(self, account: Account, order: Order) -> None:
        """Take in an order that was kept in a state file."""
        account.orders[order.id] = order
        if order.open:
            self.open[order.symbol].append((account, order))

    # What happens to an order

    def _order(self, account: Account, ticket: Ticket, now: int) -> Order:
        return Order(
            id=self.orders + 1,
            key=account.key,
            symbol=ticket.symbol,
            client_id=ticket.client_id or f"sandbox{self.orders + 1:015d}",
            side=ticket.side,
            type=ticket.type,
            tif=ticket.tif,
            quantity=ticket.quantity,
            quote_quantity=ticket.quote_quantity,
            price=ticket.price,
            stop_price=ticket.stop_price,
            trailing_delta=ticket.trailing_delta,
            prevention=ticket.prevention,
            created=now,
            updated=now,
        )

    def _accept(self, account: Account, order: Order, now: int) -> None:
        self.orders = order.id
        account.orders[order.id] = order

    def _enter(self, account: Account, order: Order, now: int, accepted: bool) -> None:
        """An order meets the book: it takes what it may, and rests, expires or is refused."""
        offers = list(self._offers(order))
        if order.type == "LIMIT_MAKER" and offers:
            raise Refusal(-2010, "Order would immediately match and take.")
        fills = list(self._walk(order, offers))
        if order.quote_quantity:
            order.quantity = sum((quantity for _, quantity in fills), ZERO)
        filled = sum((quantity for _, quantity in fills), ZERO)
        whole = filled >= order.quantity and filled > 0
        reserve = order.quantity * order.price if order.limited else sum((p * q for p, q in fills), ZERO)
        self._lock(account, order, reserve if order.buys else order.quantity)
        if not accepted:
            self._accept(account, order, now)
        order.working, order.waiting, order.updated = now, False, now
        self._announce(account, order, "NEW", now)
        if order.tif == "FOK" and not whole:
            fills = []
        self._prevent_self_trade(account, order, fills, now)
        for price, quantity in fills if order.open else ():
            self.books[order.symbol].take(order.buys, price, quantity)
            self._fill(account, order, price, quantity, now, maker=False)
        if not order.open:
            return
        if order.limited and order.tif == "GTC":
            self.open[order.symbol].append((account, order))
        else:
            order.expiry_reason = "" if order.limited else "INSUFFICIENT_LIQUIDITY"
            self._end(account, order, "EXPIRED", now)

    def _offers(self, order: Order) -> Iterator[Level]:
        """What it can take of the book, best first, within its limit."""
        for price, quantity in self.books[order.symbol].offers(order.buys, self.thin(order.symbol)):
            if order.limited and (price > order.price if order.buys else price < order.price):
                return
            yield price, quantity

    def _walk(self, order: Order, offers: list[Level]) -> Iterator[Level]:
        """The fills of an order for a quantity, or for an amount of the quote asset."""
        step = self.listings[order.symbol].step
        quantity, amount = order.quantity, order.quote_quantity
        for price, offered in offers:
            taken = min(offered, floored(amount / price, step)) if order.quote_quantity else min(offered, quantity)
            if taken <= 0:
                return
            yield price, taken
            quantity, amount = quantity - taken, amount - taken * price

    def _prevent_self_trade(self, account: Account, order: Order, fills: list[Level], now: int) -> None:
        """Let expire what would trade with itself, as the order's self-trade prevention asks."""
        if not fills or order.prevention == "NONE":
            return
        worst = fills[-1][0]
        for owner, other in list(self.open[order.symbol]):
            crosses = (
                other.limited and not other.waiting and (other.price <= worst if order.buys else other.price >= worst)
            )
            if owner is account and other.buys != order.buys and crosses:
                if order.prevention in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
                    self._end(owner, other, "EXPIRED_IN_MATCH", now, kind="TRADE_PREVENTION")
                if order.prevention in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
                    self._end(account, order, "EXPIRED_IN_MATCH", now, kind="TRADE_PREVENTION")
                    return

    def _fill(self, account: Account, order: Order, price: Decimal, quantity: Decimal, now: int, maker: bool) -> None:
        """One trade: the money moves, and the account is told."""
        listing = self.listings[order.symbol]
        got_asset, got = (listing.base, quantity) if order.buys else (listing.quote, price * quantity)
        rate = self.maker if maker else self.taker
        commission = (got * rate).quantize(EIGHT, rounding=ROUND_DOWN)
        spent = price * quantity if order.buys else quantity
        given = account.balance(listing.quote if order.buys else listing.base)
        given.locked -= spent
        order.locked -= spent
        account.balance(got_asset).free += got - commission
        self.trades += 1
        trade = Trade(
            self.trades, order.symbol, order.id, price, quantity, commission, got_asset, now, order.buys, maker
        )  # fmt: skip
        order.trades.append(trade)
        order.executed += quantity
        order.amount += trade.amount
        order.updated = now
        order.status = "FILLED" if order.remaining <= 0 else "PARTIALLY_FILLED"
        if order.buys and order.limited:  # what it was bought for less than the limit is free again
            self._unlock(account, order, order.locked - order.remaining * order.price)
        if not order.open:
            self._unlock(account, order, order.locked)
            self._forget(order)
        self._announce(account, order, "TRADE", now, trade)

    def _end(self, account: Account, order: Order, status: str, now: int, kind: str | None = None) -> None:
        order.status, order.updated = status, now
        self._unlock(account, order, order.locked)
        self._forget(order)
        self._announce(account, order, kind or status, now)

    def _forget(self, order: Order) -> None:
        self.open[order.symbol] = [(owner, each) for owner, each in self.open[order.symbol] if each is not order]

    def _lock(self, account: Account, order: Order, amount: Decimal) -> None:
        listing = self.listings[order.symbol]
        if not account.lock(listing.quote if order.buys else listing.base, amount):
            raise insufficient()
        order.locked += amount

    def _unlock(self, account: Account, order: Order, amount: Decimal) -> None:
        listing = self.listings[order.symbol]
        account.release(listing.quote if order.buys else listing.base, amount)
        order.locked -= amount

    def _announce(self, account: Account, order: Order, kind: str, now: int, trade: Trade | None = None) -> None:
        self.changed.append((account, order))
        self.tell(account, execution_report(order, kind, now, trade))

    def _positions(self, account: Account, listing: Listing, now: int) -> None:
        for asset in (listing.base, listing.quote):
            account.balance(asset)
        account.updated = now
        self.tell(account, account_position(account.balances, (listing.base, listing.quote), now))

    # What a new price does to open orders

    def _next_halt(self, name: str, target: Decimal) -> Decimal | None:
        """The first price on the way to ``target`` at which an open order reacts."""
        price, tick = self.books[name].price, self.listings[name].tick
        points = []
        for _, order in self.open[name]:
            point = order.trigger if order.waiting else order.price
            up = point > price
            points.append(-(-point // tick) * tick if up else floored(point, tick))
        between = [p for p in points if price < p < target or target < p < price]
        return min(between, key=lambda point: abs(point - price), default=None)

    def _react(self, name: str, now: int) -> None:
        price = self.books[name].price
        for account, order in list(self.open[name]):
            if not order.open:  # it expired because of one before it
                continue
            if order.waiting:
                if order.triggered_by(price):
                    self._trigger(account, order, now)
            elif order.touched != self.moves and (price <= order.price if order.buys else price >= order.price):
                order.touched = self.moves
                step = self.listings[name].step
                part = floored(order.remaining * self.portion(order), step) or order.remaining
                self._fill(account, order, order.price, part, now, maker=True)
                self._positions(account, self.listings[name], now)

    def _trigger(self, account: Account, order: Order, now: int) -> None:
        """A stop price is met: the order goes to the book like a new one."""
        self._forget(order)
        self._unlock(account, order, order.locked)
        try:
            self._enter(account, order, now, accepted=True)
        except Refusal:
            order.expiry_reason = "INSUFFICIENT_BALANCE"
            self._end(account, order, "EXPIRED", now)
        self._positions(account, self.listings[order.symbol], now)
