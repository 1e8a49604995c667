"""What is certain about a request: by HTTP status, the exchange's own code and how far it got, never by the error's class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import aiohttp

from freqlstm.paper.keys import hide

CLOCK = -1021  # the timestamp is outside the window
NO_SUCH_ORDER = -2013
UNKNOWN_ORDER = -2011  # of a cancellation: it may have filled
UNCERTAIN = frozenset({-1000, -1001, -1006, -1007, -1016})  # the exchange itself does not know
TOO_MANY = frozenset({-1003, -1015})
KEYS = frozenset({-1002, -1022, -2008, -2014, -2015})
ARCHIVED = -2026  # too old to be shown
TOO_LITTLE = "too little balance"  # how the note of an order begins that could not be paid for


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"  # certain never to happen
    NOT_SENT = "not sent"  # no connection: certain too
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """What came back, if anything did; ``code`` is 0 where the body is not one of the exchange's errors."""

    status: int = 0
    code: int = 0
    message: str = ""
    headers: Mapping[str, str] | None = None
    data: Any = None  # of an error's body, where it has more to say

    def header(self, name: str) -> str | None:
        """A header's value, whatever its case."""
        return next((value for key, value in (self.headers or {}).items() if key.lower() == name.lower()), None)


class CallFailed(Exception):
    """A request that did not bring what it asked for. Not the user's error: whoever asked decides what it means."""

    def __init__(self, what: str, answer: Answer, error: BaseException | None) -> None:
        self.answer = answer
        self.outcome = judge(answer, error)
        self.cause = error
        detail = f"{answer.code} {answer.message}" if answer.code else f"HTTP {answer.status}" if answer.status else ""
        super().__init__(hide(f"{what}: {detail or described(error)}"))

    @property
    def code(self) -> int:
        return self.answer.code

    @property
    def busy(self) -> bool:
        """Whether the exchange asked to wait; such a request was not looked at."""
        return self.answer.status in (418, 429)


def judge(answer: Answer, error: BaseException | None) -> Outcome:
    """What is certain about a request that failed."""
    if not answer.status:
        unconnected = isinstance(_cause(error), aiohttp.ClientConnectorError | aiohttp.ClientConnectorDNSError)
        return Outcome.NOT_SENT if unconnected else Outcome.UNKNOWN
    if answer.status in (418, 429):
        return Outcome.REJECTED
    if 400 <= answer.status < 500 and answer.code < 0 and answer.code not in UNCERTAIN:
        return Outcome.REJECTED
    return Outcome.UNKNOWN


def described(error: BaseException | None) -> str:
    """An error in a few words."""
    cause = _cause(error)
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    text = " ".join(str(cause or error or "no answer").split())
    return text if len(text) <= 160 else f"{text[:159]}…"


def _cause(error: BaseException | None) -> BaseException | None:
    """What lies behind ccxt's own error."""
    return error.__cause__ if error is not None and error.__cause__ is not None else error
