"""The endpoints that need a signature: orders, trades and balances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freqlstm.sandbox.accounts import Account
from freqlstm.sandbox.listing import text
from freqlstm.sandbox.market_data import limit_of, listing, whole
from freqlstm.sandbox.orders import ZERO, Order
from freqlstm.sandbox.refusal import Refusal, missing, no_such_order, unknown_order
from freqlstm.sandbox.tickets import client_id, read_ticket
from freqlstm.sandbox.venue import Venue

Parameters = Mapping[str, Any]


def place(venue: Venue, account: Account, parameters: Parameters) -> dict[str, Any]:
    """Place an order."""
    ticket = read_ticket(parameters)
    order = venue.matching.place(account, ticket, venue.now)
    fault = venue.faults.take("invisible", symbol=order.symbol, key=account.key)
    if fault is not None:
        order.visible_from = venue.now + int(float(fault.details["seconds"]) * 1000)
    return order.answered(ticket.answer)


def test(venue: Venue, account: Account, parameters: Parameters) -> dict[str, Any]:
    """Check an order without placing it."""
    venue.matching.check(account, read_ticket(parameters))
    return {}


def _asked(venue: Venue, account: Account, parameters: Parameters, prefix: str = "") -> Order | None:
    """The order that is asked about by its number or its client order id."""
    symbol = listing(venue, parameters).name
    number_name = f"{prefix}OrderId" if prefix else "orderId"
    client_name = f"{prefix}OrigClientOrderId" if prefix else "origClientOrderId"
    number = whole(parameters, number_name)
    name = client_id(parameters, client_name)
    if number is None and name is None:
        raise Refusal(-1102, f"Param '{client_name}' or '{number_name}' must be sent, but both were empty/null!")
    return account.find(symbol, number, name)


def _visible(venue: Venue, order: Order | None) -> bool:
    return order is not None and order.visible_from <= venue.now


def status(venue: Venue, account: Account, parameters: Parameters) -> dict[str, Any]:
    """One order, if it is there and can be seen yet."""
    order = _asked(venue, account, parameters)
    if order is None or not _visible(venue, order):
        raise no_such_order()
    return order.queried()


def cancel(venue: Venue, account: Account, parameters: Parameters) -> dict[str, Any]:
    """Cancel one open order."""
    return _cancel(venue, account, parameters, _asked(venue, account, parameters), "newClientOrderId")


def _cancel(
    venue: Venue, account: Account, parameters: Parameters, order: Order | None, id_name: str
) -> dict[str, Any]:
    own_id = client_id(parameters, id_name)
    if order is None:
        raise unknown_order()
    restrictions = parameters.get("cancelRestrictions")
    if restrictions not in (None, "ONLY_NEW", "ONLY_PARTIALLY_FILLED"):
        raise Refusal(-1145, "`cancelRestrictions` has to be either `ONLY_NEW` or `ONLY_PARTIALLY_FILLED`.")
    if order.open and restrictions is not None and order.status != str(restrictions).removeprefix("ONLY_"):
        raise Refusal(-2011, "Order was not canceled due to cancel restrictions.")
    return venue.matching.cancel(account, order, own_id or f"cancel{order.id:016d}", venue.now).cancelled()


def cancel_replace(venue: Venue, account: Account, parameters: Parameters) -> dict[str, Any]:
    """Cancel an order and place another one; what each half came to is told in any case."""
    mode = parameters.get("cancelReplaceMode")
    if mode not in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
        raise missing("cancelReplaceMode")
    ticket = read_ticket(parameters)
    old = _asked(venue, account, parameters, prefix="cancel")
    venue.matching.check(account, ticket)
    answer: dict[str, Any] = {
        "cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED", "cancelResponse": None, "newOrderResponse": None,
    }  # fmt: skip
    try:
        answer["cancelResponse"] = _cancel(venue, account, parameters, old, "cancelNewClientOrderId")
    except Refusal as refusal:
        answer.update(cancelResult="FAILURE", cancelResponse=refusal.body)
        if mode == "STOP_ON_FAILURE":
            raise Refusal(-2022, "Order cancel-replace failed.", **answer) from None
    try:
        answer["newOrderResponse"] = venue.matching.place(account, ticket, venue.now).answered(ticket.answer)
        answer["newOrderResult"] = "SUCCESS"
    except Refusal as refusal:
        answer.update(newOrderResult="FAILURE", newOrderResponse=refusal.body)
        if answer["cancelResult"] == "SUCCESS":
            venue.matching.reject(account, ticket, refusal, venue.now)
    failed = [answer[name] != "SUCCESS" for name in ("cancelResult", "newOrderResult")]
    if all(failed):
        raise Refusal(-2022, "Order cancel-replace failed.", **answer)
    if any(failed):
        raise Refusal(-2021, "Order cancel-replace partially failed.", status=409, **answer)
    return answer


def open_orders(venue: Venue, account: Account, parameters: Parameters) -> list[dict[str, Any]]:
    """The open orders of one symbol, or of all."""
    symbol = listing(venue, parameters).name if parameters.get("symbol") else None
    return [order.queried() for order in account.open_orders(symbol) if _visible(venue, order)]


def cancel_all(venue: Venue, account: Account, parameters: Parameters) -> list[dict[str, Any]]:
    """Cancel every open order of a symbol."""
    orders = account.open_orders(listing(venue, parameters).name)
    if not orders:
        raise unknown_order()
    return [
        venue.matching.cancel(account, order, f"cancel{order.id:016d}", venue.now).cancelled() for order in orders
    ]  # fmt: skip


def all_orders(venue: Venue, account: Account, parameters: Parameters) -> list[dict[str, Any]]:
    """Orders of a symbol, whatever became of them."""
    symbol, limit = listing(venue, parameters).name, limit_of(parameters, 500, 1000)
    since, first = whole(parameters, "orderId"), whole(parameters, "startTime")
    last = whole(parameters, "endTime")
    found = [
        order
        for order in account.orders.values()
        if order.symbol == symbol and _visible(venue, order)
        and (since is None or order.id >= since)
        and (first is None or order.created >= first) and (last is None or order.created <= last)
    ]  # fmt: skip
    from_start = since is not None or first is not None
    return [order.queried() for order in (found[:limit] if from_start else found[-limit:])]


def my_trades(venue: Venue, account: Account, parameters: Parameters) -> list[dict[str, Any]]:
    """Fills of a symbol."""
    symbol, limit = listing(venue, parameters).name, limit_of(parameters, 500, 1000)
    number, from_id = whole(parameters, "orderId"), whole(parameters, "fromId")
    first, last = whole(parameters, "startTime"), whole(parameters, "endTime")
    if from_id is not None and (first is not None or last is not None):
        raise Refusal(-1128, "Combination of optional parameters invalid. Recommendation: 'fromId' alone.")
    if first is not None and last is not None and last - first > 86_400_000:
        raise Refusal(-1127, "More than 24 hours between startTime and endTime.")
    trades = [
        trade
        for order in account.orders.values()
        if order.symbol == symbol and _visible(venue, order) and number in (None, order.id)
        for trade in order.trades
        if (from_id is None or trade.id >= from_id)
        and (first is None or trade.time >= first) and (last is None or trade.time <= last)
    ]  # fmt: skip
    trades.sort(key=lambda trade: trade.id)
    from_start = from_id is not None or first is not None
    return [trade.listed() for trade in (trades[:limit] if from_start else trades[-limit:])]


def account_status(venue: Venue, account: Account, parameters: Parameters) -> dict[str, Any]:
    """Rights and balances."""
    balances = account.listed()
    if str(parameters.get("omitZeroBalances", "false")).lower() == "true":
        zero = text(ZERO)
        balances = [row for row in balances if row["free"] != zero or row["locked"] != zero]
    maker, taker = venue.terms.maker, venue.terms.taker
    return {
        "makerCommission": int(maker * 10_000), "takerCommission": int(taker * 10_000), "buyerCommission": 0,
        "sellerCommission": 0, "commissionRates": _rates(venue), "canTrade": True,
        "canWithdraw": account.may_withdraw, "canDeposit": False, "brokered": False,
        "requireSelfTradePrevention": False, "preventSor": False, "updateTime": account.updated,
        "accountType": "SPOT", "balances": balances, "permissions": ["SPOT"], "uid": 1,
    }  # fmt: skip


def _rates(venue: Venue) -> dict[str, str]:
    return {
        "maker": text(venue.terms.maker),
        "taker": text(venue.terms.taker),
        "buyer": text(ZERO),
        "seller": text(ZERO),
    }


def commission(venue: Venue, account: Account, parameters: Parameters) -> dict[str, Any]:
    """The rates of a symbol; nothing is paid in BNB here."""
    nothing = {name: text(ZERO) for name in ("maker", "taker", "buyer", "seller")}
    return {
        "symbol": listing(venue, parameters).name, "standardCommission": _rates(venue),
        "specialCommission": nothing, "taxCommission": nothing,
        "discount": {
            "enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "BNB", "discount": text(ZERO),
        },
    }  # fmt: skip


def order_limits(venue: Venue, account: Account, parameters: Parameters) -> list[dict[str, Any]]:
    """The unfilled orders that count against the limits."""
    counts = venue.usage.orders(account.key, venue.now)
    return [
        {**row, "count": count} for row, count in zip(venue.terms.limits.listed()[1:], counts, strict=True)
    ]  # fmt: skip
