"""The exception tree.

FreqlstmError
├── UsageError             a flag, a name or a run-file key that cannot be right (exit code 2)
│   └── UnknownName        no strategy, signal, parameter or key of that name, with the nearest ones
├── CandleError            candles that cannot be used as they are
│   ├── NoCandles          nothing stored for that symbol, timeframe and time range
│   ├── TooFewCandles      something, but less than the work needs
│   └── OffGridCandles     open times that are not multiples of the timeframe
├── SeriesError            an external series that cannot be used as it is
│   └── NoSeries           nothing stored of that name
├── StoreError             a file that cannot be read, written or locked
├── PluginError            a strategy or signal file that cannot be used
│   └── LookAheadError     a plugin whose past changes when only its future does
├── ModelError             a saved signal that is corrupt, foreign or does not match
│   └── Diverged           a training whose loss became infinite or NaN
├── RunError               a run that cannot be reproduced or does not exist
├── ExchangeError          the exchange, or the source of a series, did not answer as it should
│   ├── ExchangeUnavailable   no connection, a server error or a time-out, after all retries
│   ├── RateLimited           still refused for too many requests after waiting
│   ├── AccessDenied          keys, permissions or the caller's country are refused
│   ├── UnknownMarket         the exchange does not list that symbol
│   ├── UnsupportedTimeframe  the exchange has no candles of that timeframe
│   └── BadAnswer             a body that is not what the exchange documents
└── PaperError             paper trading that cannot begin or go on
    ├── KeysError             API keys that are absent, readable by others, of the live exchange or may withdraw
    ├── JournalError          a journal of another session, in use, or that cannot be written
    └── LedgerError           the journal and the exchange disagree about what the account holds

A message says what is wrong with the value received, what would be right, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FreqlstmError(Exception):
    """Anything that the person at the keyboard can put right."""

    exit_code = 1


class UsageError(FreqlstmError):
    """A flag, name or key that cannot be right."""

    exit_code = 2


class UnknownName(UsageError):
    """No such name; the nearest known ones are offered."""

    def __init__(self, kind: str, received: str, known: Iterable[str], advice: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(received, known, n=1, cutoff=0.5)
        parts = [f"No {kind} named {received!r}."]
        if near:
            parts.append(f"Did you mean {near[0]!r}?")
        elif not advice:
            parts.append(f"Known: {', '.join(known) or 'none'}.")
        if advice:
            parts.append(advice)
        super().__init__(" ".join(parts))
        self.received = received
        self.known = known


class CandleError(FreqlstmError):
    """Candles that cannot be used as they are."""


class NoCandles(CandleError):
    """Nothing stored for that symbol, timeframe and time range."""


class TooFewCandles(CandleError):
    """Something is stored, but less than the work needs."""


class OffGridCandles(CandleError):
    """Open times that are not multiples of the timeframe."""


class SeriesError(FreqlstmError):
    """An external series that cannot be used as it is."""


class NoSeries(SeriesError):
    """Nothing is stored of that name."""


class StoreError(FreqlstmError):
    """A file that cannot be read, written or locked."""


class PluginError(FreqlstmError):
    """A strategy or signal file that cannot be used."""


class LookAheadError(PluginError):
    """A plugin whose past changes when only its future does."""


class ModelError(FreqlstmError):
    """A saved signal that is corrupt, foreign or does not match."""


class Diverged(ModelError):
    """A training whose loss became infinite or NaN."""


class RunError(FreqlstmError):
    """A run that cannot be reproduced or does not exist."""


class ExchangeError(FreqlstmError):
    """The exchange, or the source of a series, did not answer as it should."""


class ExchangeUnavailable(ExchangeError):
    """No connection, a server error or a time-out, after all retries."""


class RateLimited(ExchangeError):
    """Still refused for too many requests after waiting."""


class AccessDenied(ExchangeError):
    """Keys, permissions or the caller's country are refused."""


class UnknownMarket(ExchangeError):
    """The exchange does not list that symbol."""


class UnsupportedTimeframe(ExchangeError):
    """The exchange has no candles of that timeframe."""


class BadAnswer(ExchangeError):
    """A body that is not what the exchange documents."""


class PaperError(FreqlstmError):
    """Paper trading that cannot begin or go on."""


class KeysError(PaperError):
    """API keys that are absent, readable by others, of the live exchange or may withdraw."""


class JournalError(PaperError):
    """A journal of another session, in use, or that cannot be written."""


class LedgerError(PaperError):
    """The journal and the exchange disagree about what the account holds."""
