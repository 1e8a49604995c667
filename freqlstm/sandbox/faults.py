"""Faults: the ways in which the exchange can be told to fail, and which of them have happened."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from freqlstm.errors import UnknownName, UsageError

# kind: (where it strikes, what it does). ``after``: the request has been carried out, but its answer is not what it should be.
KINDS: dict[str, tuple[str, str]] = {
    "latency": ("request", "waits `seconds` before the request is carried out; its timing is checked again after that"),
    "slow_answer": ("request", "waits `seconds` before the answer is sent"),
    "refuse": ("request", "is not carried out: answers `status` with `code` and `message`"),
    "busy": ("request", "is not carried out: 503 with -1008"),
    "limited": ("request", "is not carried out: 429 with -1003 and `retry_after`"),
    "banned": ("request", "is not carried out: 418 with -1003 and `retry_after`"),
    "lost": ("request", "is not carried out: the connection is dropped before"),
    "hang": ("request", "is carried out, but no answer comes for `seconds`, then the connection is dropped"),
    "drop": ("request", "is carried out, then the connection is dropped"),
    "timeout": ("request", "is carried out: answers 504 with -1007"),
    "unknown": ("request", "is carried out: answers 500 with -1006"),
    "html": ("request", "is carried out: answers `status` (502) with a page of HTML"),
    "empty": ("request", "is carried out: answers 200 with nothing"),
    "late": ("request", "answers 504 with -1007 at once, and is carried out `seconds` later if its recvWindow allows"),
    "invisible": ("order", "is accepted, but cannot be found for `seconds`"),
    "subscribe": ("user", "refuses the next user data subscription with `code` and `message`"),
    "close": ("stream", "closes connections with `code` (1001)"),
    "abort": ("stream", "drops connections without a word"),
    "half_open": ("stream", "neither sends nor answers anything any more"),
    "stall": ("stream", "answers pings, but sends no data"),
    "shutdown": ("stream", "announces serverShutdown, and closes connections `seconds` later"),
    "terminate": ("user", "ends user data streams with eventStreamTerminated"),
    "kline_missing": ("kline", "does not send a closed candle"),
    "kline_late": ("kline", "sends a closed candle `ticks` ticks late"),
    "kline_duplicate": ("kline", "sends a closed candle twice"),
    "kline_out_of_order": ("kline", "sends an older closed candle once more, after the newest"),
    "kline_corrected": ("kline", "sends a closed candle with a wrong close, and the right one `ticks` ticks later"),
    "kline_unfinished": ("kline", "sends a closed candle as if it were not finished"),
    "thin_book": ("order", "leaves `levels` levels of `amount` in the quote asset for one order"),
    "partial": ("maker", "fills only `share` of a resting order whose price is met"),
    "account_silent": ("event", "does not send an event of the user data stream"),
}  # fmt: skip

# What these need, and what they are if nothing is said.
DEFAULTS: dict[str, dict[str, Any]] = {
    "latency": {"seconds": 0.2},
    "slow_answer": {"seconds": 0.2},
    "refuse": {"status": 400, "code": -1000, "message": "An unknown error occurred while processing the request."},
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
