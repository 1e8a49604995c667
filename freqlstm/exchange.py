"""Candles from an exchange; maps every ccxt error."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import ccxt
import pandas as pd
import requests
from requests.adapters import HTTPAdapter

from freqlstm.candles import COLUMNS, TIMEFRAMES, canonical, check_symbol, step_of, validate
from freqlstm.errors import (
    AccessDenied,
    BadAnswer,
    CandleError,
    ExchangeError,
    ExchangeUnavailable,
    RateLimited,
    UnknownMarket,
    UnknownName,
    UnsupportedTimeframe,
    UsageError,
)

Answer = TypeVar("Answer")

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before the second, third, fourth and fifth try
PATIENCE = 300.0  # seconds: an exchange that asks to stay away for longer is not waited for
SETTLING = pd.Timedelta(seconds=1)  # a candle counts as closed this long after its end, when no late trade changes it
PAGE = 1000  # candles asked for at once where the exchange allows it
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GO_ON = "What was stored stays: the same command goes on from there."

# The first class that an error is an instance of decides; anything else is a plain ExchangeError.
ERRORS: tuple[tuple[type[Exception], type[ExchangeError]], ...] = (
    (ccxt.DDoSProtection, RateLimited),
    (ccxt.RateLimitExceeded, RateLimited),
    (ccxt.AuthenticationError, AccessDenied),
    (ccxt.RestrictedLocation, AccessDenied),
    (ccxt.ManualInteractionNeeded, AccessDenied),
    (ccxt.BadSymbol, UnknownMarket),
    (ccxt.ContractUnavailable, UnknownMarket),
    (ccxt.BadResponse, BadAnswer),
    (ccxt.ChecksumError, BadAnswer),
    (ccxt.MarketClosed, ExchangeUnavailable),
    (ccxt.OperationFailed, ExchangeUnavailable),
    (ccxt.BaseError, ExchangeError),
    (OSError, ExchangeUnavailable),
    (Exception, BadAnswer),  # what ccxt's parsers raise on a body that is not what they expect: KeyError, TypeError, …
)
STATUSES: Mapping[int, type[ExchangeError]] = {
    401: AccessDenied, 403: AccessDenied, 451: AccessDenied, 418: RateLimited, 429: RateLimited,
}  # fmt: skip
ADVICE: Mapping[type[ExchangeError], str] = {
    RateLimited: f"Wait, then run it again. {GO_ON}",
    AccessDenied: "It does not serve this network, country or key: another exchange may, with --exchange.",
    ExchangeUnavailable: f"Check the connection and the exchange's status page. {GO_ON}",
    BadAnswer: f"Try again later, or another server with --base-url. {GO_ON}",
}


class Wire(HTTPAdapter):
    """Carries every request; with ``base_url`` to that server alone, whatever host ccxt meant.

    Because ccxt never learns of it, it behaves as with the exchange's own address. Plain http is refused but for
    loopback. ``status`` and ``headers`` are those of the last answer, None and empty if there was none.
    """

    def __init__(self, base_url: str | None = None) -> None:
        super().__init__()
        if base_url is not None:
            parts = urlsplit(base_url)
            if not parts.hostname or parts.query or not (
                parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
            ):  # fmt: skip
                raise UsageError(
                    f"Base URL {base_url!r} cannot be used. It must begin with https:// and a host, "
                    f"as in 'https://data-api.binance.vision'."
                )
        self.base_url = None if base_url is None else base_url.rstrip("/")
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self.status, self.headers = None, {}
        assert request.url is not None
        if self.base_url is not None:
            request.url = self.base_url + request.path_url
        elif not request.url.startswith("https://"):
            raise requests.exceptions.InvalidSchema(f"refused to ask {request.url} without encryption")
        response = super().send(request, *args, **kwargs)
        self.status, self.headers = response.status_code, response.headers
        return response

    def retry_after(self) -> float | None:
        """Seconds that the last answer asked to wait (its header holds seconds or a date), None if it did not."""
        text = self.headers.get("Retry-After", "")
        try:
            return max(0.0, float(text))
        except ValueError:
            moment = http_date(text)
            return None if moment is None else max(0.0, (moment - pd.Timestamp.now("UTC")).total_seconds())


def http_date(text: str) -> pd.Timestamp | None:
    """The moment of an HTTP date such as ``Sun, 06 Nov 1994 08:49:37 GMT``, None if it is not one."""
    try:
        return pd.Timestamp(parsedate_to_datetime(text)).tz_convert("UTC")
    except (TypeError, ValueError):
        return None


def translated(name: str, error: Exception, status: int | None = None) -> ExchangeError:
    """Our error for one that asking exchange ``name`` ended in; ``status`` is that of its HTTP answer, if any."""
    ours = next(mine for theirs, mine in ERRORS if isinstance(error, theirs))
    if isinstance(error.__cause__, requests.exceptions.SSLError):
        ours = ExchangeUnavailable
    if status is not None:
        ours = STATUSES.get(status, ExchangeUnavailable if status >= 500 and ours is ExchangeError else ours)
    text = str(error)
    if status is not None and status >= 400:
        what = f"answered with HTTP {status}"
        text = re.sub(rf"^{re.escape(name)} (GET \S+ )?({status} )?", "", text)
    else:
        what = {ExchangeUnavailable: "did not answer", BadAnswer: "gave a bad answer"}.get(ours, "refused the question")
        if error.__cause__ is not None:  # ccxt names the address only; what went wrong with it lies deepest
            text = str(deepest(error))
    text = " ".join(text.split())
    text = text if len(text) <= 160 else text[:159] + "…"
    return ours(f"{name} {what} ({type(error).__name__}: {text.rstrip('.')}). {ADVICE.get(ours, '')}".rstrip())


def deepest(error: BaseException) -> BaseException:
    """The first error of the chain that ended in ``error``."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def may_pass(error: Exception, status: int | None) -> bool:
    """Whether the same question can succeed a little later."""
    if status is not None and status >= 400:
        return status >= 500 or status in (408, 418, 425, 429)
    return isinstance(error, ccxt.OperationFailed) or isinstance(
        error.__cause__, requests.exceptions.ContentDecodingError | requests.exceptions.ChunkedEncodingError
    )


def client(name: str, wire: Wire) -> Any:
    """ccxt's own client of exchange ``name``, rate limit on, every request through ``wire``; public data only."""
    if name not in ccxt.exchanges:
        raise UnknownName("exchange", name, ccxt.exchanges, "Any exchange that ccxt knows will do, as in 'binance'.")
    known: Any = getattr(ccxt, name)

    class Client(known):  # type: ignore[misc]
        def fetch(self, *args: Any, **kwargs: Any) -> Any:
            answer = super().fetch(*args, **kwargs)
            if isinstance(answer, str) or answer == {}:  # ccxt would read "no candles" from half a body
                raise ccxt.BadResponse(f"no complete JSON in {str(answer)[:80]!r}")
            return answer

        def parse_ohlcv(self, *args: Any, **kwargs: Any) -> Any:
            row = super().parse_ohlcv(*args, **kwargs)
            if row[0] is None:  # ccxt would drop it in silence, and the rest of the page with it
                raise BadAnswer(f"{name} answered with {str(args[0])[:80]!r} instead of a candle. {ADVICE[BadAnswer]}")
            return row

    made = Client({"enableRateLimit": True, "timeout": 15_000})
    if name == "binance":  # its futures live on other hosts, its currencies need a key: neither is wanted here
        made.options["fetchMarkets"] = {"types": ["spot"]}
        made.has["fetchCurrencies"] = False
    made.session.mount("https://", wire)
    made.session.mount("http://", wire)
    return made


class Exchange:
    """Public candles and market rules of one exchange that ccxt knows, in closed candles only; close it after use.

    ``base_url`` names another server with the same API (a mirror). ``sleep`` is called with the seconds to wait
    before a question is asked again, at most four times: 1, 2, 4, 8, or what the exchange asks for if that is longer.
    """

    def __init__(self, name: str, base_url: str | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.name = name.lower()
        self.sleep = sleep
        self._wire = Wire(base_url)
        self._client = client(self.name, self._wire)
        self._symbols: dict[str, str] = {}  # in upper case -> as ccxt writes it
        self._clock: tuple[pd.Timestamp, float] | None = None  # the exchange's time at a reading of time.monotonic

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection."""
        self._client.session.close()

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The timeframes that both the exchange and freqlstm know, shortest first; empty if it has no candles."""
        offered = (self._client.timeframes or {}) if self._client.has.get("fetchOHLCV") is True else {}
        return tuple(timeframe for timeframe in TIMEFRAMES if timeframe in offered)

    def now(self) -> pd.Timestamp:
        """The exchange's time, never later than it truly is; the clock of this machine plays no part if it can."""
        if self._clock is None:
            if self._client.has.get("fetchTime") is True:
                moment = self._ask(lambda: pd.Timestamp(int(self._client.fetch_time()), unit="ms", tz="UTC"))
            else:
                self._load_markets()
                moment = http_date(self._wire.headers.get("Date", "")) or pd.Timestamp.now("UTC")
            self._clock = (moment, time.monotonic())
        moment, read = self._clock
        return moment + pd.Timedelta(seconds=time.monotonic() - read)

    def closed_before(self, timeframe: str) -> pd.Timestamp:
        """The first moment at which no candle has opened that is closed by now."""
        return (self.now() - SETTLING - step_of(timeframe)).floor("ms") + pd.Timedelta(milliseconds=1)

    def check(self, symbol: str, timeframe: str) -> None:
        """Refuse a symbol or timeframe that the exchange does not have."""
        if timeframe not in self.timeframes:
            known = f"It has {', '.join(self.timeframes)}." if self.timeframes else "It has no candles at all."
            raise UnsupportedTimeframe(f"{self.name} has no {timeframe!r} candles. {known}")
        self._listed(symbol)

    def candles(
        self, symbol: str, timeframe: str, since: pd.Timestamp, until: pd.Timestamp | None = None
    ) -> Iterator[pd.DataFrame]:
        """Closed candles that opened in [since, until), in pages of up to 1000 rows as Candles.frame; no empty page.

        A candle that is missing between two rows, or before the first, was asked for and does not exist there.
        """
        self.check(symbol, timeframe)
        closed = self.closed_before(timeframe)
        return self._pages(self._listed(symbol), timeframe, since, closed if until is None else min(until, closed))

    def market_rules(self, symbol: str) -> dict[str, float]:
        """``lot_step`` (base), ``min_notional`` (quote) and ``tick`` (price); 1e-8, 0 and 1e-8 where it sets none."""
        market = self._client.market(self._listed(symbol))

        def step(of: str) -> float:
            value = (market.get("precision") or {}).get(of)
            if value is None or self._client.precisionMode == ccxt.SIGNIFICANT_DIGITS:
                return 1e-8
            return float(value) if self._client.precisionMode == ccxt.TICK_SIZE else float(f"1e-{int(value)}")

        cost = ((market.get("limits") or {}).get("cost") or {}).get("min")
        return {"lot_step": step("amount"), "min_notional": float(cost or 0.0), "tick": step("price")}

    def _load_markets(self) -> None:
        if not self._symbols:
            self._symbols = {known.upper(): known for known in self._ask(self._client.load_markets)}
            if not self._symbols:
                raise BadAnswer(f"{self.name} lists no market at all. {ADVICE[BadAnswer]}")

    def _listed(self, symbol: str) -> str:
        symbol = check_symbol(symbol)
        self._load_markets()
        if symbol not in self._symbols:
            near = difflib.get_close_matches(symbol, self._symbols, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It lists {len(self._symbols):,} others."
            raise UnknownMarket(f"{self.name} does not list {symbol!r}. {hint}")
        return self._symbols[symbol]

    def _pages(self, symbol: str, timeframe: str, since: pd.Timestamp, end: pd.Timestamp) -> Iterator[pd.DataFrame]:
        step = step_of(timeframe)
        size = min(PAGE, self._client.feature_value(symbol, "fetchOHLCV", "limit") or 100)
        cursor = since
        while cursor < end:
            limit = min(size, -(-(end - cursor) // step))
            stamp = -(-cursor.value // 1_000_000)  # milliseconds, rounded up
            page = self._ask(self._page, symbol, timeframe, stamp, limit)
            wanted = page[(page.index >= cursor) & (page.index < end)]
            if len(wanted):
                yield wanted
                cursor = wanted.index[-1] + step
            elif len(page) or self.name.startswith("binance"):  # Binance goes on to the next candle, however late
                return
            else:  # most others look no further than one page from the time asked for
                cursor += size * step

    def _page(self, symbol: str, timeframe: str, stamp: int, limit: int) -> pd.DataFrame:
        rows = self._client.fetch_ohlcv(symbol, timeframe, stamp, limit)
        frame = pd.DataFrame([row[:6] for row in rows], columns=["time", *COLUMNS])
        frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("time"), unit="ms", utc=True), name="time")
        frame = frame.astype("float64")
        try:
            validate(frame, f"{symbol} {timeframe}")
        except CandleError as error:
            raise BadAnswer(f"{self.name} answered with candles that cannot be right. {error}") from error
        if len(frame) and frame.index[-1] > self.now() + step_of(timeframe):
            raise BadAnswer(
                f"{self.name} answered with a candle of {symbol} that opens in the future, {frame.index[-1]}."
            )
        return canonical(frame)

    def _ask(self, question: Callable[..., Answer], *arguments: Any) -> Answer:
        """The answer, after as many tries as are worth it; every failure is an ExchangeError."""
        for wait in (*WAITS, None):
            self._wire.status, self._wire.headers = None, {}
            try:
                return question(*arguments)
            except ExchangeError:
                raise
            except Exception as error:
                status, asked = self._wire.status, self._wire.retry_after()
                failure = translated(self.name, error, status)
                if wait is None or not may_pass(error, status):
                    raise failure from error
                if asked is None and status == 418:  # banned: every further question makes it longer
                    raise failure from error
                if asked is not None and asked > PATIENCE:
                    until = datetime.fromtimestamp(time.time() + asked, UTC)
                    raise RateLimited(
                        f"{self.name} refuses requests for the next {asked:,.0f} seconds, until {until:%Y-%m-%d %H:%M} UTC. "
                        f"Run it again then. {GO_ON}"
                    ) from error
                self.sleep(max(wait, asked or 0.0))
        raise AssertionError("the last try either answers or raises")
