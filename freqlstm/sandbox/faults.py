"""Faults: the ways in which the exchange can be told to fail, and which of them have happened."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from freqlstm.errors import UnknownName, UsageError

# kind: (what it strikes, and how). Seconds are those of this machine, unless it says otherwise.
KINDS: dict[str, tuple[str, str]] = {
    "latency": ("a request", "waits `seconds` before it is carried out, after which its timing is checked again"),
    "slow_answer": ("a request", "is carried out, and its answer is sent `seconds` later"),
    "refuse": (
        "a request",
        "is not carried out: `code` and `message`, with the status that goes with it unless `status` says another",
    ),
    "busy": ("a request", "is not carried out: 503 with -1008"),
    "limited": ("a request", "is not carried out: 429 with -1003 and `retry_after`"),
    "banned": ("a request", "is not carried out: 418 with -1003 and `retry_after`"),
    "lost": ("a request", "is not carried out: the connection is dropped"),
    "hang": ("a request", "is carried out, but no answer comes for `seconds`, then the connection is dropped"),
    "drop": ("a request", "is carried out, then the connection is dropped"),
    "timeout": ("a request", "is carried out: 504 with -1007"),
    "unknown": ("a request", "is carried out: 500 with -1006"),
    "html": ("a request", "is carried out: `status` with a page of HTML"),
    "empty": ("a request", "is carried out: 200 with nothing"),
    "late": ("a request", "is answered with 504 and -1007, and carried out `seconds` later if its recvWindow allows"),
    "invisible": ("an order", "is accepted, but cannot be found for `seconds` of the exchange's clock"),
    "thin_book": ("an order", "finds a book of `levels` levels of `amount` in the quote asset"),
    "partial": ("a resting order", "whose price is met is filled by `share` only, until the next price"),
    "subscribe": ("a subscription to a user data stream", "is refused with `code` and `message`"),
    "account_silent": ("an event of a user data stream", "is not sent"),
    "terminate": ("a connection", "has its user data streams ended with eventStreamTerminated"),
    "close": ("a connection", "is closed with `code`"),
    "abort": ("a connection", "is dropped without a word"),
    "half_open": ("a connection", "neither sends nor answers anything any more"),
    "stall": ("a connection", "answers pings, but sends no data any more"),
    "shutdown": ("a connection", "is told serverShutdown, and closed `seconds` later"),
    "kline_missing": ("a closed candle", "is not sent"),
    "kline_late": ("a closed candle", "is sent `ticks` ticks late"),
    "kline_duplicate": ("a closed candle", "is sent twice"),
    "kline_out_of_order": ("a closed candle", "is followed by an older one, once more"),
    "kline_corrected": ("a closed candle", "is sent with a wrong close, and `ticks` ticks later with the right one"),
    "kline_unfinished": ("a closed candle", "is sent as if it were not closed"),
}

OF_CONNECTIONS = ("terminate", "close", "abort", "half_open", "stall", "shutdown")

# What these need, and what they are if nothing is said.
DEFAULTS: dict[str, dict[str, Any]] = {
    "latency": {"seconds": 0.2},
    "slow_answer": {"seconds": 0.2},
    "refuse": {"status": 0, "code": -1000, "message": "An unknown error occurred while processing the request."},
    "limited": {"retry_after": 5},
    "banned": {"retry_after": 120},
    "hang": {"seconds": 60.0},
    "html": {"status": 502},
    "late": {"seconds": 1.0},
    "invisible": {"seconds": 0.5},
    "subscribe": {"code": -1021, "message": "Timestamp for this request is outside of the recvWindow."},
    "close": {"code": 1001},
    "shutdown": {"seconds": 1.0},
    "kline_late": {"ticks": 1},
    "kline_corrected": {"ticks": 1},
    "thin_book": {"levels": 1, "amount": 20},
    "partial": {"share": 0.5},
}

SCOPES = ("path", "method", "symbol", "key")


@dataclass
class Fault:
    """One armed fault: how often it may still strike, how likely, and at what."""

    kind: str
    count: int = 1
    probability: float = 1.0
    path: str = ""  # of a request, such as /api/v3/order, or a method of the WS-API; empty: any
    method: str = ""  # GET, POST or DELETE
    symbol: str = ""  # BTCUSDT
    key: str = ""  # of the account
    details: dict[str, Any] = field(default_factory=dict)
    struck: int = 0

    def listed(self) -> dict[str, Any]:
        """As the control endpoint shows it."""
        return {**{name: value for name, value in vars(self).items() if name != "details"}, **self.details}


class Faults:
    """The armed faults, in order, and how many of each kind were armed and consumed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.waiting: list[Fault] = []
        self.armed: Counter[str] = Counter()
        self.consumed: Counter[str] = Counter()

    def arm(self, kind: str, **options: Any) -> Fault:
        """Have ``kind`` strike the next times that something in its scope happens."""
        if kind not in KINDS:
            raise UnknownName("fault", kind, KINDS)
        scope = {name: str(options.pop(name)) for name in SCOPES if options.get(name)}
        count, probability = options.pop("count", 1), options.pop("probability", 1.0)
        if not isinstance(count, int) or count < 1 or not 0 < float(probability) <= 1:
            raise UsageError(
                f"The fault {kind!r} has count {count} and probability {probability}. "
                f"The count must be at least 1, the probability above 0 and at most 1."
            )
        known = DEFAULTS.get(kind, {})
        for name in options:
            if name not in known:
                raise UnknownName(f"detail of the fault {kind!r}", name, [*known, "count", "probability", *SCOPES])
        if "symbol" in scope:
            scope["symbol"] = scope["symbol"].replace("/", "")
        fault = Fault(kind, count, float(probability), details={**known, **options}, **scope)  # type: ignore[arg-type]
        self.waiting.append(fault)
        self.armed[kind] += count
        return fault

    def take(self, *kinds: str, **context: str) -> Fault | None:
        """The first armed fault of these kinds that fits ``context`` and strikes; it is used up by one."""
        for fault in self.waiting:
            if fault.kind in kinds and self._fits(fault, context) and self._random.random() < fault.probability:
                fault.count -= 1
                fault.struck += 1
                self.consumed[fault.kind] += 1
                if not fault.count:
                    self.waiting.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Disarm everything."""
        self.waiting.clear()

    def listed(self) -> dict[str, Any]:
        """What is armed, and what has struck, by kind."""
        return {
            "waiting": [fault.listed() for fault in self.waiting],
            "armed": dict(self.armed),
            "consumed": dict(self.consumed),
        }

    @staticmethod
    def _fits(fault: Fault, context: Mapping[str, str]) -> bool:
        return all(not getattr(fault, name) or getattr(fault, name) == context.get(name, "") for name in SCOPES)
