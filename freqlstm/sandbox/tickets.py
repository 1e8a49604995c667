"""What a client asks for when it places an order, read and checked one parameter at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from freqlstm.sandbox.listing import ORDER_TYPES
from freqlstm.sandbox.orders import CONTINGENT, ZERO, Side
from freqlstm.sandbox.refusal import Refusal, missing

NUMBER = r"([0-9]{1,20})(\.[0-9]{1,20})?"
CLIENT_ID = r"[\.A-Z\:/a-z0-9_-]{1,36}"
PREVENTIONS = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
DIGITS = 8

# Beside these, an order has nothing: a parameter that is not read is refused.
PARAMETERS = {
    "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId", "stopPrice",
    "trailingDelta", "newOrderRespType", "selfTradePreventionMode", "strategyId", "strategyType",
    "timestamp", "recvWindow", "signature", "apiKey", "returnRateLimits",
    "computeCommissionRates", "cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId",
    "cancelRestrictions", "orderRateLimitExceededMode",
}  # fmt: skip


@dataclass(frozen=True)
class Ticket:
    """A new order as it was asked for."""

    symbol: str
    side: Side
    type: str
    tif: str
    quantity: Decimal
    quote_quantity: Decimal
    price: Decimal
    stop_price: Decimal
    trailing_delta: int | None
    client_id: str | None
    answer: str  # ACK, RESULT or FULL
    prevention: str

    @property
    def buys(self) -> bool:
        return self.side == "BUY"

    @property
    def contingent(self) -> bool:
        return self.type in CONTINGENT


def read_ticket(parameters: Mapping[str, Any]) -> Ticket:
    """The order that ``parameters`` ask for."""
    for name in ("symbol", "side", "type"):
        if not parameters.get(name):
            raise missing(name)
    unread = [name for name in parameters if name not in PARAMETERS]
    if unread:
        read = len(parameters) - len(unread)
        raise Refusal(
            -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(parameters)}'."
        )
    side, kind = str(parameters["side"]).upper(), str(parameters["type"]).upper()
    if side not in ("BUY", "SELL"):
        raise Refusal(-1117, "Invalid side.")
    if kind not in ORDER_TYPES:
        raise Refusal(-1116, "Invalid orderType.")
    _check_composition(kind, parameters)
    answer = str(parameters.get("newOrderRespType") or ("FULL" if kind in ("MARKET", "LIMIT") else "ACK")).upper()
    if answer not in ("ACK", "RESULT", "FULL"):
        raise Refusal(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    prevention = str(parameters.get("selfTradePreventionMode") or "EXPIRE_MAKER").upper()
    if prevention not in PREVENTIONS:
        raise Refusal(-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
    delta = parameters.get("trailingDelta")
    if delta is not None and not re.fullmatch(r"[0-9]{1,20}", str(delta)):
        raise _illegal("trailingDelta", "^[0-9]{1,20}$")
    return Ticket(
        symbol=str(parameters["symbol"]),
        side=cast(Side, side),
        type=kind,
        tif=_tif(kind, parameters),
        quantity=number(parameters, "quantity"),
        quote_quantity=number(parameters, "quoteOrderQty"),
        price=number(parameters, "price"),
        stop_price=number(parameters, "stopPrice"),
        trailing_delta=None if delta is None else int(delta),
        client_id=client_id(parameters, "newClientOrderId"),
        answer=answer,
        prevention=prevention,
    )


def number(parameters: Mapping[str, Any], name: str) -> Decimal:
    """A quantity or price; 0 if it was not sent."""
    value = parameters.get(name)
    if value is None:
        return ZERO
    if not re.fullmatch(NUMBER, str(value)):
        raise _illegal(name, f"^{NUMBER}$") if str(value) else Refusal(-1105, f"Parameter '{name}' was empty.")
    found = Decimal(str(value))
    if -cast(int, found.normalize().as_tuple().exponent) > DIGITS:
        raise Refusal(-1111, f"Parameter '{name}' has too much precision.")
    return found


def client_id(parameters: Mapping[str, Any], name: str) -> str | None:
    """A client order id, or None if none was sent."""
    value = parameters.get(name)
    if value is None:
        return None
    if not re.fullmatch(CLIENT_ID, str(value)):
        raise _illegal(name, f"^{CLIENT_ID}$") if str(value) else Refusal(-1105, f"Parameter '{name}' was empty.")
    return str(value)


def _illegal(name: str, legal: str) -> Refusal:
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def _check_composition(kind: str, parameters: Mapping[str, Any]) -> None:
    """Refuse what this type of order must have and has not, or has and must not have."""
    limited = kind.endswith("LIMIT")
    needed = ["price"] if limited or kind == "LIMIT_MAKER" else []
    needed += ["timeInForce"] if limited else []
    needed += [] if kind == "MARKET" else ["quantity"]
    for name in needed:
        if not parameters.get(name):
            raise missing(name)
    if kind == "MARKET" and not (parameters.get("quantity") or parameters.get("quoteOrderQty")):
        raise missing("quantity")
    if kind in CONTINGENT and not (parameters.get("stopPrice") or parameters.get("trailingDelta")):
        raise Refusal(-1102, "Param 'stopPrice' or 'trailingDelta' must be sent, but both were empty/null!")
    idle = {
        "price": not limited and kind != "LIMIT_MAKER",
        "timeInForce": not limited,
        "stopPrice": kind not in CONTINGENT,
        "trailingDelta": kind not in CONTINGENT,
        "quoteOrderQty": kind != "MARKET" or bool(parameters.get("quantity")),
    }
    for name, needless in idle.items():
        if needless and parameters.get(name) is not None:
            raise Refusal(-1106, f"Parameter '{name}' sent when not required.")


def _tif(kind: str, parameters: Mapping[str, Any]) -> str:
    tif = str(parameters.get("timeInForce") or "GTC").upper()
    if tif not in ("GTC", "IOC", "FOK"):
        raise Refusal(-1115, "Invalid timeInForce.")
    return tif
