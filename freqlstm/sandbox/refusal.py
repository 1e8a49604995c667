"""What the exchange refuses, in Binance's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The HTTP status that goes with a code; 400 with every other.
STATUS = {
    -1000: 500, -1001: 500, -1006: 500, -1007: 504, -1008: 503, -1016: 503,
    -1002: 401, -2014: 401, -2015: 401, -1003: 429, -1015: 429,
}  # fmt: skip


class Refusal(Exception):
    """A request that is answered with a code and a message instead of a result."""

    def __init__(
        self, code: int, message: str, status: int | None = None, headers: Mapping[str, str] | None = None, **data: Any
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS.get(code, 400) if status is None else status
        self.headers = dict(headers or {})
        self.data = data  # what cancel-replace says of its two halves

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that is sent."""
        return {"code": self.code, "msg": self.message, **({"data": self.data} if self.data else {})}


def filter_failure(name: str) -> Refusal:
    """An order that one of the symbol's filters does not let through."""
    return Refusal(-1013, f"Filter failure: {name}")


def missing(name: str) -> Refusal:
    """A parameter that is not there, or is empty."""
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def insufficient() -> Refusal:
    """An order that the account cannot pay for."""
    return Refusal(-2010, "Account has insufficient balance for requested action.")


def no_such_order() -> Refusal:
    """A question about an order that is not there."""
    return Refusal(-2013, "Order does not exist.")


def unknown_order() -> Refusal:
    """A cancellation of an order that is not open."""
    return Refusal(-2011, "Unknown order sent.")
