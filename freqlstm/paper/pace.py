"""How long things may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Waits and windows, in seconds of this computer unless said otherwise."""

    grace: float = 0.35  # after its close, until a candle is asked for by REST
    stale_after: float = 0.5  # bars after its close, from which on a bundle is too late for entries
    window: float = 5.0  # recvWindow of orders
    slack: float = 10.0  # beyond that, until an order that the exchange does not know cannot be accepted any more
    timeout: float = 15.0  # of a request: the exchange itself gives up after 10
    tick: float = 0.25  # between two looks at what is due
    look: float = 30.0  # between two looks at resting orders; 1 where there is no stream
    silence: float = 60.0  # of the candle stream, or two bars if that is longer, until it is connected anew
    deaf: float = (
        10.0  # after an answer that an order was accepted, until the stream that did not say so is connected anew
    )
    renewal: float = 23 * 3600.0  # age at which connections are replaced: the exchange cuts them at 24 hours
    clock: float = 60.0  # between two looks at the exchange's clock
    audit: float = 60.0  # between two comparisons of ledger and balances
    patience: float = 900.0  # without a bar, until the outage is told

    def window_ms(self, speed: float) -> int:
        """recvWindow by the clock of an exchange that runs at ``speed``; 60 seconds are the most that it allows."""
        return min(60_000, int(self.window * 1000 * speed))

    def slack_ms(self, speed: float) -> int:
        return int(self.slack * 1000 * speed)

    def grace_ms(self, speed: float) -> int:
        return int(self.grace * 1000 * speed)
