"""The way to the exchange: closed candles in, orders out, everything journaled."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from freqlstm.paper.journal import Journal
from freqlstm.paper.keys import Keys
from freqlstm.paper.limits import KillSwitch, Limits, Stop
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.records import Balance, Bundle, Candle, Halt, Health, Intent, Order, OrderEvent
from freqlstm.paper.target import Target


@dataclass(frozen=True)
class Pace:
    """How long things may take, in seconds of the exchange's clock unless said otherwise."""

    grace: float = 0.35  # after its close, until a candle is asked for by REST
    stale: float = 0.5  # bars after its close, from which on a bundle is stale
    window_ms: int = 5_000  # recvWindow of orders
    slack_ms: int = (
        10_000  # beyond the window, until an order that the exchange does not know cannot be accepted any more
    )
    timeout: float = 15.0  # of a request
    poll: float = 1.0  # between two looks at what is outstanding
    silence: float = 0.0  # of the candle stream until it is connected anew; 0: two bars and 10 seconds
    renewal: float = 23 * 3600.0  # age at which a connection is replaced; the exchange cuts it at 24 hours
    clock: float = 60.0  # between two looks at the exchange's clock


class Gateway:
    """Runs in a thread of its own; every method may be called from any other.

    ``bundles`` has every bar once, in order, as :class:`Bundle`, or a :class:`Halt` that says why none comes.
    ``order_events`` has an :class:`OrderEvent` for every change of an order since :meth:`start` returned.
    """

    def __init__(
        self,
        target: Target,
        keys: Keys,
        journal: Journal,
        pairs: Sequence[str],
        timeframe: str,
        *,
        limits: Limits | None = None,
        switch: KillSwitch | None = None,
        pace: Pace | None = None,
        poll: bool = False,
    ) -> None:
        self.bundles: queue.Queue[Bundle | Halt] = queue.Queue()
        self.order_events: queue.Queue[OrderEvent] = queue.Queue()

    def start(self, since_ms: int | None = None) -> None:
        """Connect, recover, and begin to deliver bundles.

        Recovery is the same after a crash and the first time: every order that is not final is looked up, fills that
        were missed are fetched, and the ledger is compared with the balances. On return the journal is up to date, so that it can
        be replayed. Bundles go on after the journal's newest bar; in a new journal, with the candle that opens at
        ``since_ms`` or, without it, with the one that is open now. Raises a FreqlstmError with one clear line if the session cannot begin.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Close the connections and the thread. Orders that rest at the exchange stay there."""
        raise NotImplementedError

    def history(self, symbol: str, since_ms: int, until_ms: int) -> list[Candle]:
        """Closed candles that open in [since_ms, until_ms), by REST, in order; the exchange may lack some."""
        raise NotImplementedError

    def client_order_id(self, symbol: str, open_ms: int, seq: int) -> str:
        """The id of the ``seq``-th order decided at the close of the bar ``open_ms``: the same at every restart."""
        raise NotImplementedError

    def submit(self, intent: Intent) -> Order:
        """Journal an order and send it. Returns at once, when it is on the disk and before the exchange has answered.

        An intent whose ``cid`` is known is not sent again: what became of it is returned. What breaks a rule of the
        exchange, a risk limit or the kill switch is journaled as REJECTED with the reason in its note, and never sent.
        """
        raise NotImplementedError

    def cancel(self, cid: str) -> None:
        """Cancel an order; what became of it comes as an event, perhaps that it had filled."""
        raise NotImplementedError

    def replace(self, cid: str, intent: Intent) -> Order:
        """Cancel ``cid`` and, only if that succeeded, send ``intent``, in one request (cancelReplace).

        The new order is REJECTED where the old one could not be cancelled because it had filled, and in that case only
        the old one's event says so.
        """
        raise NotImplementedError

    def balances(self) -> dict[str, Balance]:
        """What the account holds now, by REST."""
        raise NotImplementedError

    def ledger(self) -> dict[str, Decimal]:
        """What the account must hold of each asset by the journal: what it began with, and every fill since."""
        raise NotImplementedError

    def position(self, symbol: str) -> Decimal:
        """What this session has bought and not sold, commission in the base asset taken off; never below 0 by dust."""
        raise NotImplementedError

    def rules(self, symbol: str) -> SymbolRules:
        """The exchange's filters of the symbol."""
        raise NotImplementedError

    def last_price(self, symbol: str) -> Decimal | None:
        """The newest price that was seen, on a closed candle or not."""
        raise NotImplementedError

    def health(self) -> Health:
        """How the streams, the clock and the request limits are."""
        raise NotImplementedError

    def now_ms(self) -> int:
        """The exchange's clock, as far as it is known here."""
        raise NotImplementedError

    def kill(self, how: Stop, reason: str) -> None:
        """Trip the kill switch; :meth:`settle` waits for what it does."""
        raise NotImplementedError

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until no order is on its way or unknown; whether that was so in time (seconds)."""
        raise NotImplementedError
