"""What the paper trader writes down: candles, intents, orders, fills, balances.

Money is Decimal and never float; moments are milliseconds since 1970 by the exchange's clock, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

BUY, SELL = "buy", "sell"
MARKET, LIMIT, STOP = "market", "limit", "stop"  # a stop is STOP_LOSS: it becomes a market order at its stop price


class State(StrEnum):
    """Where an order stands."""

    INTENT = "intent"  # written down; nothing was sent
    SENT = "sent"  # on its way: what became of it is not known yet
    UNKNOWN = "unknown"  # sent without a clear answer: the exchange is asked until it is certain
    OPEN = "open"
    PARTIAL = "partial"  # some of it has filled, the rest may still
    FILLED = "filled"
    CANCELED = "canceled"  # perhaps after some fills, as the next two
    EXPIRED = "expired"  # by the exchange, for instance where a market order found no more depth
    REJECTED = "rejected"  # by the exchange, or by our own rules before sending; the note says which
    NOT_ACCEPTED = "not_accepted"  # sent, and proved never to have arrived in time

    @property
    def final(self) -> bool:
        """Whether nothing can happen to the order any more."""
        return self in FINAL


FINAL = frozenset({State.FILLED, State.CANCELED, State.EXPIRED, State.REJECTED, State.NOT_ACCEPTED})


@dataclass(frozen=True)
class Candle:
    """A closed candle, by its open time."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def floats(self) -> tuple[float, float, float, float, float]:
        """Open, high, low, close and volume as a backtest reads them."""
        return float(self.open), float(self.high), float(self.low), float(self.close), float(self.volume)


@dataclass(frozen=True)
class Bundle:
    """The candles of one bar, of every symbol that has one: closed, in order, each bar once.

    A symbol is absent only where the exchange itself has no such candle; a bar of which no symbol has a candle is no
    bundle at all.
    """

    open_ms: int
    candles: Mapping[str, Candle]
    delivered_ms: int
    stale: bool  # it came too late for an entry
    source: str  # "stream" or "rest"; "rest" as soon as one of its candles was


@dataclass(frozen=True)
class Halt:
    """Why no bundle comes. ``final``: the gateway has stopped for good; else the next bundle says that it goes on."""

    reason: str
    final: bool = False


@dataclass(frozen=True)
class Intent:
    """An order that the strategy wants. Its ``cid`` is the same whenever the same bar is decided again."""

    cid: str
    symbol: str
    side: str  # BUY or SELL
    kind: str  # MARKET, LIMIT or STOP
    quantity: Decimal  # units of the base asset
    open_ms: int  # open time of the bar at whose close it was decided
    reason: str = ""
    stop_price: Decimal | None = None
    limit_price: Decimal | None = None
    reduces: bool = False  # it only makes a position smaller: risk limits do not hold it back
    deadline_ms: int | None = None  # not sent after this moment

    @property
    def price(self) -> Decimal | None:
        """The price that it names, if any."""
        return self.limit_price if self.kind == LIMIT else self.stop_price


@dataclass(frozen=True)
class Order:
    """An intent and what became of it."""

    intent: Intent
    epoch: int
    state: State
    exchange_id: int | None = None
    executed: Decimal = Decimal(0)  # by the exchange's own count
    sent_ms: int | None = None  # the timestamp that was signed
    window_ms: int = 0  # the exchange does not accept it later than sent_ms + window_ms
    resolved_ms: int | None = None  # when it became final
    note: str = ""

    @property
    def cid(self) -> str:
        return self.intent.cid


@dataclass(frozen=True)
class Fill:
    """One trade of an order."""

    symbol: str
    trade_id: int
    cid: str
    side: str
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    time_ms: int
    maker: bool
    quoted: Decimal | None = None  # units of the quote asset by the exchange's own count, where it tells

    @property
    def worth(self) -> Decimal:
        """What was paid or received, in units of the quote asset."""
        return self.price * self.quantity if self.quoted is None else self.quoted


@dataclass(frozen=True)
class OrderEvent:
    """An order after something happened to it, with the fills that were not known before. Each fill comes once."""

    order: Order
    fills: tuple[Fill, ...] = ()

    @property
    def cid(self) -> str:
        return self.order.cid

    @property
    def state(self) -> State:
        return self.order.state


@dataclass(frozen=True)
class Balance:
    """What the account holds of one asset."""

    free: Decimal = Decimal(0)
    locked: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


@dataclass(frozen=True)
class SessionFacts:
    """What a journal belongs to; reopening it with others is refused."""

    strategy: str
    digest: str  # of the strategy's source
    pairs: tuple[str, ...]
    timeframe: str
    exchange: str  # name of the target
    parameters: str = "{}"  # JSON
    run_toml: str = ""


@dataclass(frozen=True)
class Health:
    """How the gateway is; ages in seconds, None where nothing has come yet."""

    stream_age: Mapping[str, float | None] = field(default_factory=dict)  # "candles", "orders", "rest"
    clock_offset_ms: float = 0.0  # the exchange's clock minus ours
    weight_used: int = 0  # of the exchange's limit a minute
    weight_limit: int = 6000
    breaker_seconds: float = 0.0  # the exchange asked to wait that long
    reconnects: int = 0
    halted: str = ""  # why no entries are sent; empty while all is well
    mode: str = "stream"  # or "poll"
