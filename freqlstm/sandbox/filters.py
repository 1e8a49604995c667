"""The filters that an order must pass before it reaches the matching: nothing is ever rounded for the client."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from freqlstm.sandbox.listing import Listing
from freqlstm.sandbox.orders import ZERO, Order
from freqlstm.sandbox.refusal import Refusal, filter_failure
from freqlstm.sandbox.tickets import Ticket


def check_filters(
    ticket: Ticket, listing: Listing, average: Decimal, mine: Sequence[Order], base_held: Decimal
) -> None:
    """Refuse a ticket that breaks a filter.

    ``average`` is the average price of the last minutes, ``mine`` the account's open orders of the symbol and
    ``base_held`` what it has of the base asset, free and locked.
    """
    _check_prices(ticket, listing, average)
    _check_quantity(ticket, listing)
    _check_notional(ticket, listing, average)
    _check_trailing(ticket, listing)
    if len(mine) >= listing.max_orders:
        raise filter_failure("MAX_NUM_ORDERS")
    if ticket.contingent and sum(order.waiting for order in mine) >= listing.max_algo_orders:
        raise filter_failure("MAX_NUM_ALGO_ORDERS")
    if listing.max_position is not None and ticket.buys:
        coming = sum((order.remaining for order in mine if order.buys), ZERO)
        if base_held + coming + ticket.quantity > listing.max_position:
            raise filter_failure("MAX_POSITION")


def _check_prices(ticket: Ticket, listing: Listing, average: Decimal) -> None:
    for price in (ticket.price, ticket.stop_price):
        if price and (price < listing.tick or price > listing.max_price or price % listing.tick):
            raise filter_failure("PRICE_FILTER")
    if ticket.price and not listing.price_down * average <= ticket.price <= listing.price_up * average:
        raise filter_failure("PERCENT_PRICE_BY_SIDE")


def _check_quantity(ticket: Ticket, listing: Listing) -> None:
    quantity = ticket.quantity
    if ticket.quote_quantity:
        return
    if not quantity:
        raise Refusal(-1013, "Invalid quantity.")
    if not listing.min_quantity <= quantity <= listing.max_quantity or quantity % listing.step:
        raise filter_failure("LOT_SIZE")
    if ticket.type in ("MARKET", "STOP_LOSS", "TAKE_PROFIT") and quantity > listing.max_market_quantity:
        raise filter_failure("MARKET_LOT_SIZE")


def _check_notional(ticket: Ticket, listing: Listing, average: Decimal) -> None:
    notional = ticket.quote_quantity or ticket.quantity * (ticket.price or average)
    if notional < listing.min_notional or (ticket.price and notional > listing.max_notional):
        raise filter_failure("NOTIONAL")


def _check_trailing(ticket: Ticket, listing: Listing) -> None:
    if ticket.trailing_delta is not None:
        low, high = listing.trailing
        if not low <= ticket.trailing_delta <= high:
            raise filter_failure("TRAILING_DELTA")
