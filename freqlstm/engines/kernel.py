"""The kernel of the compiled engine: the rules in the docstring of :mod:`freqlstm.strategy`, at the speed of the machine.

It does what the desks and the broker of the reference engine do, in their order and with the same operations on the same
numbers, so that what it notes is the same to the bit. It visits only the steps on which something can happen.

A *step* is an open time of any symbol. A *candle* is one row of one symbol; those of all symbols are numbered through.

All of it is in one file, long as it is: compiled code is cached by the text of its own file, and would not notice a
change of another.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from freqlstm.compiling import inner_kernel as kernel

FLAT, SENT, WAITING, HELD, LEAVING = range(5)  # what a symbol is doing; SENT: its entry was decided at the step before

REASONS = (
    "enter_long", "enter_short", "exit_long", "exit_short", "max_holding", "stop_loss", "trailing_stop", "take_profit",
)  # fmt: skip
ENTER_LONG, ENTER_SHORT, EXIT_LONG, EXIT_SHORT, MAX_HOLDING, STOP_LOSS, TRAILING_STOP, TAKE_PROFIT = range(8)

NO_SHORTS, MARKET_RULES, UNAFFORDABLE, LAPSED = range(4)  # why an entry is refused

BLOCK = 256  # candles that are searched at a time


class Prices(NamedTuple):
    """The market: the candles of one symbol after the other, and what is the same for every run on them."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    visits: np.ndarray  # the step of each candle
    first: np.ndarray  # the first candle of each symbol; at the end, the number of all candles
    newest: np.ndarray  # shape (symbols, steps): the close of the newest candle; NaN before the first
    days: np.ndarray  # when each step opens, in days
    patience: np.ndarray  # days after which an entry in each symbol lapses
    lot_step: np.ndarray  # of each symbol
    min_notional: np.ndarray  # of each symbol
    evenings: np.ndarray  # the last step of each UTC day; of a day without any, that of the day before


class Flags(NamedTuple):
    """What the conditions say at the close of each candle."""

    enter_long: np.ndarray
    exit_long: np.ndarray
    enter_short: np.ndarray
    exit_short: np.ndarray
    share: np.ndarray  # of the exposure; empty: all of it


class Terms(NamedTuple):
    """The parameters that every strategy has, and what trading costs."""

    stop_loss: float
    take_profit: float
    trailing_stop: float
    max_holding: int
    exposure: float
    max_positions: int
    commission: float
    slippage: float
    allow_short: bool


class Curve(NamedTuple):
    """The account at the close of each step; where ``equity`` is empty only its extremes and its evenings."""

    equity: np.ndarray  # shape (steps,)
    cash: np.ndarray  # shape (steps,)
    evenings: np.ndarray  # shape (days,): equity at the end of each
    scratch: np.ndarray  # room for the steps that are valued at a time


BOOK = np.dtype([  # of one symbol
    ("state", np.int64),
    ("amount", np.float64),  # of the position or of the entry order; negative: short
    ("price", np.float64),  # paid, or at the close of the entry's decision
    ("decided", np.int64),  # candle of the decision behind the newest order
    ("reason", np.int64),  # of that order
    ("filled", np.int64),  # candle in which the entry filled
    ("next", np.int64),  # candle on which something can happen next; the end of the symbol's candles: none
    ("stop", np.float64),  # levels of the orders that protect the position; infinite where there is none
    ("trail", np.float64),
    ("profit", np.float64),
    ("refused", np.int64),  # candle of the newest refusal
    ("refused_kind", np.int64),
])  # fmt: skip

ACCOUNT = np.dtype([
    ("cash", np.float64),
    ("equity", np.float64),  # at the step being visited
    ("taken", np.int64),  # symbols with a position or an entry order
    ("held", np.int64),  # symbols with a position
    ("queued", np.int64),  # symbols with orders in the market
    ("fills", np.int64),
    ("refusals", np.int64),
    ("trades", np.int64),  # closed round trips
    ("wins", np.int64),  # those with a profit after costs
    ("refused", np.int64),  # refusals, those that repeat candle after candle counted once
    ("commission", np.float64),
    ("exposed", np.int64),  # steps with a position
    ("day", np.int64),  # the next evening to be noted
    ("peak", np.float64),  # of the equity so far
    ("lowest", np.float64),  # of the equity since that peak
    ("drawdown", np.float64),  # the deepest before that peak, a fraction
])  # fmt: skip

LOG = np.dtype([  # one fill, or one refusal
    ("symbol", np.int64),
    ("decided", np.int64),  # candle
    ("candle", np.int64),  # of the fill
    ("amount", np.float64),
    ("price", np.float64),  # refused: what it costs, or the close at which it was decided
    ("commission", np.float64),  # refused: the cash that there was
    ("slippage", np.float64),
    ("reason", np.int64),
    ("why", np.int64),  # refused
])  # fmt: skip


@kernel
def trade(
    prices: Prices, flags: Flags, terms: Terms, books: Any, queue: np.ndarray, account: Any, fills: Any, refusals: Any,
    curve: Curve,
) -> None:  # fmt: skip
    """One run. ``fills`` and ``refusals`` (:data:`LOG`) are only counted where they have no room."""
    symbols, steps = prices.newest.shape
    for symbol in range(symbols):
        books[symbol].state = FLAT
        books[symbol].refused = -2
        books[symbol].next = next_entry(prices, flags, symbol, prices.first[symbol])
    step = next_step(prices, terms, books, account, -1)
    draw(prices, books, account, curve, 0, step)
    while step < steps:
        send(prices, flags, terms, books, queue, account, refusals)
        execute(prices, flags, terms, books, queue, account, fills, refusals, step)
        value(prices, books, account, step, curve.scratch[:1])
        account.equity = curve.scratch[0]
        decide(prices, flags, terms, books, queue, account, refusals, step)
        following = next_step(prices, terms, books, account, step)
        draw(prices, books, account, curve, step, following)
        step = following
    account.drawdown = max(account.drawdown, 1.0 - account.lowest / account.peak)


# When something can happen.


@kernel
def next_step(prices: Prices, terms: Terms, books: Any, account: Any, step: int) -> int:
    """The step after ``step`` on which any symbol has to be looked at."""
    following: int = len(prices.days)
    for symbol in range(len(books)):
        state, candle = books[symbol].state, books[symbol].next
        if state in (SENT, WAITING):
            return step + 1
        if candle < prices.first[symbol + 1] and (state != FLAT or account.taken < terms.max_positions):
            following = min(following, prices.visits[candle])
    return following


@kernel
def next_entry(prices: Prices, flags: Flags, symbol: int, candle: int) -> int:
    """The first candle from ``candle`` on that enters; long and short at once cancel each other."""
    end: int = prices.first[symbol + 1]
    long, short = flags.enter_long, flags.enter_short
    entering = False
    while candle + 32 <= end and not entering:  # so many at once, where there is none among them
        for at in range(candle, candle + 32):
            entering |= long[at] != short[at]
        candle += 0 if entering else 32
    while candle < end and long[candle] == short[candle]:
        candle += 1
    return candle


@kernel
def next_of_position(prices: Prices, flags: Flags, terms: Terms, book: Any, symbol: int, candle: int) -> int:
    """The first candle from ``candle`` on at which the position ends or is left; the trailing stop follows until there."""
    end: int = prices.first[symbol + 1]
    if terms.max_holding:
        end = min(end, max(candle, book.filled + terms.max_holding - 1))
    leaves = flags.exit_long if book.amount > 0 else flags.exit_short
    while candle < end:
        last = min(candle + BLOCK, end)
        left = candle
        while left < last and not leaves[left]:
            left += 1
        touched = next_touch(prices, terms, book, candle, left)
        if touched < last:
            return touched
        candle = last
    return end


@kernel
def next_touch(prices: Prices, terms: Terms, book: Any, candle: int, end: int) -> int:
    """The first candle before ``end`` that touches a stop or the profit; the trailing stop follows the closes before it."""
    if not is_protected(terms):
        return end
    trailing = terms.trailing_stop
    if book.amount > 0:
        below = max(book.stop, book.trail)
        while candle < end and prices.low[candle] > below and prices.high[candle] < book.profit:
            if trailing:
                book.trail = max(book.trail, prices.close[candle] - prices.close[candle] * trailing)
                below = max(book.stop, book.trail)
            candle += 1
    else:
        above = min(book.stop, book.trail)
        while candle < end and prices.high[candle] < above and prices.low[candle] > book.profit:
            if trailing:
                book.trail = min(book.trail, prices.close[candle] + prices.close[candle] * trailing)
                above = min(book.stop, book.trail)
            candle += 1
    return candle


@kernel
def is_protected(terms: Terms) -> bool:
    """Whether positions have orders in the market that end them."""
    return terms.stop_loss > 0 or terms.trailing_stop > 0 or terms.take_profit > 0


# What the market does with orders.


@kernel
def send(
    prices: Prices, flags: Flags, terms: Terms, books: Any, queue: np.ndarray, account: Any, refusals: Any
) -> None:
    """The entries of the step before reach the market, as long as the closes that they were decided at can be paid."""
    left = account.cash
    for symbol in range(len(books)):
        book = books[symbol]
        if book.state == SENT:
            there = left
            left -= book.amount * book.price
            left -= abs(book.amount) * terms.commission * book.price
            if left < 0.0:
                give_up(prices, flags, book, symbol, account, refusals, UNAFFORDABLE, there - left, there)
            else:
                book.state = WAITING
                enqueue(queue, account, symbol)


@kernel
def execute(
    prices: Prices, flags: Flags, terms: Terms, books: Any, queue: np.ndarray, account: Any, fills: Any, refusals: Any,
    step: int,
) -> None:  # fmt: skip
    """Try the orders in the market on the candles that open at ``step``, in the order in which they were sent."""
    waiting, account.queued = account.queued, 0
    for place in range(waiting):
        symbol = queue[place]
        book = books[symbol]
        candle = book.next
        here = candle < prices.first[symbol + 1] and prices.visits[candle] == step
        if book.state == WAITING:
            if prices.days[step] > prices.days[prices.visits[book.decided]] + prices.patience[symbol]:
                give_up(prices, flags, book, symbol, account, refusals, LAPSED, 0.0, 0.0)
            elif here:
                enter(prices, flags, terms, book, symbol, account, fills, refusals)
        elif here:
            leave(prices, terms, book, symbol, account, fills)
        if book.state != FLAT and not (book.state == HELD and book.filled == candle):
            enqueue(queue, account, symbol)


@kernel
def enter(
    prices: Prices, flags: Flags, terms: Terms, book: Any, symbol: int, account: Any, fills: Any, refusals: Any
) -> None:
    """The entry fills at the open, if that can be paid for."""
    candle, size = book.next, book.amount
    open_ = prices.open[candle]
    price = open_ * (1 + terms.slippage) if size > 0 else open_ * (1 - terms.slippage)
    commission = abs(size) * terms.commission * price
    left = account.cash - size * price
    left -= commission
    if left < 0.0:
        cost = abs(size) * price + commission
        give_up(prices, flags, book, symbol, account, refusals, UNAFFORDABLE, cost, account.cash)
        return
    account.cash = left
    account.held += 1
    log_fill(prices, book, symbol, account, fills, size, price, open_, commission)
    book.state, book.price, book.filled = HELD, price, candle


@kernel
def leave(prices: Prices, terms: Terms, book: Any, symbol: int, account: Any, fills: Any) -> None:
    """A position that is being left is closed at the open, a protected one where a stop or the profit is reached.

    The stop comes first, then the trailing stop, then the profit. A stop that the market opens beyond fills at the open.
    """
    candle, size, paid = book.next, book.amount, book.price
    open_, high, low = prices.open[candle], prices.high[candle], prices.low[candle]
    slip = 1 - terms.slippage if size > 0 else 1 + terms.slippage
    before = 0.0  # the price before slippage
    price = 0.0
    if book.state == LEAVING:
        before = open_
        price = before * slip
    elif size > 0:
        if low <= book.stop:
            book.reason, before = STOP_LOSS, min(open_, book.stop)
            price = before * slip
        elif low <= book.trail:
            book.reason, before = TRAILING_STOP, min(open_, book.trail)
            price = before * slip
        elif high >= book.profit:
            book.reason, before = TAKE_PROFIT, max(open_, book.profit)
            price = max(before * slip, book.profit)
    else:
        if high >= book.stop:
            book.reason, before = STOP_LOSS, max(open_, book.stop)
            price = before * slip
        elif high >= book.trail:
            book.reason, before = TRAILING_STOP, max(open_, book.trail)
            price = before * slip
        elif low <= book.profit:
            book.reason, before = TAKE_PROFIT, min(open_, book.profit)
            price = min(before * slip, book.profit)
    if before == 0.0:
        return
    commission = abs(size) * terms.commission * price
    account.cash += size * paid + size * (price - paid)
    account.cash -= commission
    account.held -= 1
    account.taken -= 1
    log_fill(prices, book, symbol, account, fills, -size, price, before, commission)
    earned = 0.0 - (size * paid - size * price) - (abs(size) * terms.commission * paid + commission)
    account.trades += 1
    account.wins += earned > 0
    book.state = FLAT


@kernel
def give_up(
    prices: Prices, flags: Flags, book: Any, symbol: int, account: Any, refusals: Any, why: int, cost: float, there: float
) -> None:  # fmt: skip
    """An entry order that will not fill; the symbol may enter again from its next candle on."""
    log_refusal(book, symbol, account, refusals, book.decided, book.amount, book.reason, why, cost, there)
    account.taken -= 1
    book.state = FLAT
    book.next = next_entry(prices, flags, symbol, book.decided + 1)


# What is decided.


@kernel
def decide(
    prices: Prices, flags: Flags, terms: Terms, books: Any, queue: np.ndarray, account: Any, refusals: Any, step: int
) -> None:
    """The orders of every symbol that has a candle at ``step``, at its close."""
    for symbol in range(len(books)):
        book = books[symbol]
        if book.state == FLAT:
            if account.taken >= terms.max_positions:
                continue
            catch_up(prices, flags, book, symbol, step)
        elif book.state != HELD:
            continue
        candle = book.next
        if candle == prices.first[symbol + 1] or prices.visits[candle] != step:
            continue
        if book.state == FLAT:
            decide_entry(prices, flags, terms, book, symbol, account, refusals)
        else:
            decide_exit(prices, flags, terms, book, symbol, queue, account)


@kernel
def catch_up(prices: Prices, flags: Flags, book: Any, symbol: int, step: int) -> None:
    """While there was no place for it, a symbol was not looked at: its next entry is the first from ``step`` on."""
    first, end = prices.first[symbol], prices.first[symbol + 1]
    if book.next < end and prices.visits[book.next] < step:
        candle = first + np.searchsorted(prices.visits[first:end], step)
        book.next = next_entry(prices, flags, symbol, candle)


@kernel
def decide_exit(
    prices: Prices, flags: Flags, terms: Terms, book: Any, symbol: int, queue: np.ndarray, account: Any
) -> None:
    """Leave at the next open, or protect a position that was filled in this candle."""
    candle, long = book.next, book.amount > 0
    leaves = flags.exit_long[candle] if long else flags.exit_short[candle]
    if leaves or (terms.max_holding and candle - book.filled + 1 >= terms.max_holding):
        dequeue(queue, account, symbol)
        enqueue(queue, account, symbol)
        book.state, book.decided, book.next = LEAVING, candle, candle + 1
        book.reason = MAX_HOLDING if not leaves else EXIT_LONG if long else EXIT_SHORT
        return
    if candle == book.filled:
        protect(prices, terms, book, symbol, queue, account)
    book.next = next_of_position(prices, flags, terms, book, symbol, candle + 1)


@kernel
def protect(prices: Prices, terms: Terms, book: Any, symbol: int, queue: np.ndarray, account: Any) -> None:
    """Stop, trailing stop and profit, as fractions of the price paid and of the close."""
    paid, close, side = book.price, prices.close[book.filled], 1.0 if book.amount > 0 else -1.0
    book.decided = book.filled
    book.stop = book.trail = -side * np.inf
    book.profit = side * np.inf
    if terms.stop_loss:
        book.stop = paid * (1 - side * terms.stop_loss)
    if terms.trailing_stop:
        book.trail = close - side * (close * terms.trailing_stop)
    if terms.take_profit and -side * terms.take_profit < 1:  # no price falls by all of itself
        book.profit = paid * (1 + side * terms.take_profit)
    if is_protected(terms):
        enqueue(queue, account, symbol)


@kernel
def decide_entry(
    prices: Prices, flags: Flags, terms: Terms, book: Any, symbol: int, account: Any, refusals: Any
) -> None:
    """Buy or sell short at the next open what the share of the equity pays for."""
    candle = book.next
    long, close = flags.enter_long[candle], prices.close[candle]
    if long == flags.enter_short[candle]:
        book.next = next_entry(prices, flags, symbol, candle + 1)
        return
    exposure = terms.exposure * flags.share[candle] if len(flags.share) else terms.exposure
    lot_step = prices.lot_step[symbol]
    size = affordable(max(0.0, account.equity) * exposure / terms.max_positions, close, account.cash, lot_step, terms)
    signed, reason = (size, ENTER_LONG) if long else (-size, ENTER_SHORT)
    lots = size / lot_step
    if not (long or terms.allow_short):
        log_refusal(book, symbol, account, refusals, candle, signed, reason, NO_SHORTS, 0.0, 0.0)
    elif size == 0.0 or abs(lots - np.rint(lots)) > 1e-3 or size * close < prices.min_notional[symbol]:
        log_refusal(book, symbol, account, refusals, candle, signed, reason, MARKET_RULES, close, 0.0)
    else:
        book.state, book.amount, book.price, book.decided, book.reason = SENT, signed, close, candle, reason
        book.next = candle + 1
        account.taken += 1
        return
    book.next = next_entry(prices, flags, symbol, candle + 1)


@kernel
def affordable(worth: float, close: float, cash: float, lot_step: float, terms: Terms) -> float:
    """The whole lots that ``worth`` buys, slippage and commission included, if the next candle opens at ``close``."""
    price = close * (1 + terms.slippage)
    unit = price + terms.commission * price
    size = whole_lots(worth / unit, lot_step)
    if size * unit > max(worth, cash):  # the last bits of all the cash: a lot was rounded up
        size = whole_lots(max(0.0, size * (1 - 2e-12) - lot_step), lot_step)
    return size


@kernel
def whole_lots(size: float, lot_step: float) -> float:
    """What :meth:`freqlstm.costs.MarketRules.floor` makes of a size."""
    lots = size / lot_step
    return rounded(np.floor(lots + max(1e-9, 1e-12 * lots)) * lot_step)


@kernel
def rounded(value: float) -> float:
    """Python's ``round(value, 12)``, which rounds the exact value and ties to even."""
    if value >= 8192.0:  # floats lie further apart than such decimals
        return value
    scaled = value * 1e12
    split = value * 134217729.0
    high = split - (split - value)
    low = value - high
    lost = ((high * 999999995904.0 - scaled) + high * 4096.0 + low * 999999995904.0) + low * 4096.0  # Dekker (1971)
    nearest: float = np.rint(scaled)
    beyond = scaled - nearest
    if beyond - 0.5 > -lost:
        nearest += 1.0
    elif beyond + 0.5 < -lost:
        nearest -= 1.0
    return nearest / 1e12


# What is noted.


@kernel
def enqueue(queue: np.ndarray, account: Any, symbol: int) -> None:
    queue[account.queued] = symbol
    account.queued += 1


@kernel
def dequeue(queue: np.ndarray, account: Any, symbol: int) -> None:
    kept = 0
    for place in range(account.queued):
        if queue[place] != symbol:
            queue[kept] = queue[place]
            kept += 1
    account.queued = kept


@kernel
def log_fill(
    prices: Prices, book: Any, symbol: int, account: Any, fills: Any, size: float, price: float, before: float,
    commission: float,
) -> None:  # fmt: skip
    """Note a fill at ``price``, which was ``before`` until it slipped."""
    account.commission += commission
    if account.fills < len(fills):
        fill = fills[account.fills]
        fill.symbol, fill.decided, fill.candle = symbol, book.decided, book.next
        fill.amount, fill.price, fill.commission = size, price, commission
        fill.slippage, fill.reason = abs(price - before) * abs(size), book.reason
    account.fills += 1


@kernel
def log_refusal(
    book: Any, symbol: int, account: Any, refusals: Any, decided: int, size: float, reason: int, why: int, cost: float,
    there: float,
) -> None:  # fmt: skip
    """Note an entry that is refused; ``cost`` and ``there`` are what its words need."""
    kind = 2 * reason + (size < 0)
    account.refused += not (kind == book.refused_kind and decided - book.refused <= 1)
    book.refused, book.refused_kind = decided, kind
    if account.refusals < len(refusals):
        refusal = refusals[account.refusals]
        refusal.symbol, refusal.decided, refusal.amount, refusal.reason = symbol, decided, size, reason
        refusal.why, refusal.price, refusal.commission = why, cost, there
    account.refusals += 1


@kernel
def draw(prices: Prices, books: Any, account: Any, curve: Curve, first: int, end: int) -> None:
    """Note the account at the close of the steps from ``first`` up to ``end``, in which nothing changes but prices."""
    if account.held:
        account.exposed += end - first
    if len(curve.equity):
        value(prices, books, account, first, curve.equity[first:end])
        curve.cash[first:end] = account.cash
    elif account.held == 0:
        curve.scratch[0] = account.cash
        watch(prices, account, curve, curve.scratch[:1], first, end)
    else:
        while first < end:
            last = min(first + len(curve.scratch), end)
            value(prices, books, account, first, curve.scratch[: last - first])
            watch(prices, account, curve, curve.scratch[: last - first], first, last)
            first = last


@kernel
def value(prices: Prices, books: Any, account: Any, first: int, equity: np.ndarray) -> None:
    """The equity at the closes of the steps from ``first`` on, as many as there is room for."""
    equity[:] = 0.0
    for symbol in range(len(books)):
        book = books[symbol]
        if book.state >= HELD:
            size, paid = book.amount, book.price
            closes = prices.newest[symbol, first : first + len(equity)]
            if size > 0:
                for at in range(len(equity)):
                    gained = size * (closes[at] - paid)
                    equity[at] += size * closes[at] - gained
                    equity[at] += gained
            else:
                for at in range(len(equity)):
                    equity[at] += size * closes[at]
    for at in range(len(equity)):
        equity[at] = account.cash + equity[at]


@kernel
def watch(prices: Prices, account: Any, curve: Curve, equity: np.ndarray, first: int, end: int) -> None:
    """The deepest drawdown and the evenings among the steps from ``first`` up to ``end``; one value of ``equity``: it stays."""
    peak, lowest, drawdown = account.peak, account.lowest, account.drawdown
    for at in range(len(equity)):
        worth = equity[at]
        if worth > peak:
            drawdown = max(drawdown, 1.0 - lowest / peak)
            peak = lowest = worth
        elif worth < lowest:
            lowest = worth
    account.peak, account.lowest, account.drawdown = peak, lowest, drawdown
    while account.day < len(prices.evenings) and prices.evenings[account.day] < end:
        curve.evenings[account.day] = equity[min(prices.evenings[account.day] - first, len(equity) - 1)]
        account.day += 1


@kernel
def ratios(evenings: np.ndarray, returns: np.ndarray, cash: float, periods: int) -> tuple[float, float]:
    """Sharpe and Sortino ratio of the daily returns, as :mod:`freqlstm.stats` defines them; NaN where it says None.

    ``returns``, shape (days,), is room for them.
    """
    days = len(evenings)
    if days < 2:
        return np.nan, np.nan
    before, total = cash, 0.0
    for day in range(days):
        evening = evenings[day] if before > 0 and evenings[day] > 0 else 0.0
        returns[day] = evening / before - 1.0 if before > 0 else 0.0
        before = evening
        total += returns[day]
    mean = total / days
    squares = losses = 0.0
    same = True
    for daily in returns:
        squares += (daily - mean) ** 2
        losses += min(daily, 0.0) ** 2
        same = same and daily == returns[0]
    year = np.sqrt(periods)
    sharpe = np.nan if same else mean / np.sqrt(squares / (days - 1)) * year
    return sharpe, mean / np.sqrt(losses / days) * year if losses > 0 else np.nan
