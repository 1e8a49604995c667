"""Every question here is put by the real ccxt client, over a real socket, to a server on 127.0.0.1."""

from __future__ import annotations

import functools
import gzip
import json
import socket
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import ccxt
import pandas as pd
import pytest
from ccxt.base.errors import error_hierarchy
from conftest import make_candles
from exchange_server import ExchangeServer, Fault, Kline, klines_of

from freqlstm import errors, exchange
from freqlstm.candles import TIMEFRAMES, Candles
from freqlstm.exchange import PATIENCE, WAITS, Exchange, translated

JSON = {"Content-Type": "application/json"}


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@functools.cache
def walk() -> list[Kline]:
    return klines_of(make_candles(2500).frame, "1m")


@pytest.fixture
def server() -> Iterator[ExchangeServer]:
    """2,500 minutes of BTC/USDT from 2024-01-01 on; it is 30 seconds into the last of them."""
    with ExchangeServer(utc("2024-01-01") + pd.Timedelta(minutes=2499, seconds=30)) as server:
        server.klines["BTCUSDT", "1m"] = walk()
        yield server


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the client would have slept before asking again."""
    return []


@pytest.fixture
def binance(server: ExchangeServer, waits: list[float]) -> Iterator[Exchange]:
    with Exchange("binance", server.url, sleep=waits.append) as exchange:
        exchange._client.rateLimit = 1  # milliseconds: this server does not mind
        yield exchange


def all_candles(exchange: Exchange, since: str = "2024-01-01", until: str | None = None) -> pd.DataFrame:
    pages = list(exchange.candles("BTC/USDT", "1m", utc(since), None if until is None else utc(until)))
    return pd.concat(pages) if pages else pd.DataFrame()


# Pages


def test_candles_come_in_pages_of_a_thousand(server: ExchangeServer, binance: Exchange) -> None:
    pages = list(binance.candles("BTC/USDT", "1m", utc("2024-01-01")))
    assert [len(page) for page in pages] == [1000, 1000, 499]
    pd.testing.assert_frame_equal(pd.concat(pages), make_candles(2500).frame.iloc[:2499], check_freq=False)


def test_the_candle_that_has_not_closed_is_never_yielded(server: ExchangeServer, binance: Exchange) -> None:
    assert server.answer("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m"})[1][-1][0] <= server.now
    candles = all_candles(binance)
    assert candles.index[-1] + pd.Timedelta(minutes=1) <= pd.Timestamp(server.now, unit="ms", tz="UTC")
    assert len(candles) == 2499


def test_an_end_in_the_future_brings_no_candle_that_has_not_closed(binance: Exchange) -> None:
    assert len(all_candles(binance, until="2024-02-01")) == 2499


def test_a_candle_is_closed_one_second_after_its_end(
    server: ExchangeServer, binance: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    for late, rows in ((0, 2498), (999, 2498), (1000, 2499)):
        moment = utc("2024-01-01") + pd.Timedelta(minutes=2499, milliseconds=late)
        monkeypatch.setattr(binance, "now", lambda moment=moment: moment)
        assert len(all_candles(binance)) == rows


def test_candles_open_within_the_time_range_only(server: ExchangeServer, binance: Exchange) -> None:
    candles = all_candles(binance, "2024-01-01 00:59:30", "2024-01-01 01:02")
    assert candles.index.strftime("%H:%M").tolist() == ["01:00", "01:01"]
    assert server.asked()[-1]["limit"] == "3"


def test_a_time_range_without_candles_has_no_pages(server: ExchangeServer, binance: Exchange) -> None:
    assert all_candles(binance, "2024-01-01", "2024-01-01").empty
    assert all_candles(binance, "2030-01-01").empty
    assert server.asked() == []


def test_candles_after_an_outage_come_in_the_same_page(server: ExchangeServer, binance: Exchange) -> None:
    frame = make_candles(2500).frame
    server.add("BTC/USDT", "1m", frame.drop(frame.index[500:1700]))
    pages = list(binance.candles("BTC/USDT", "1m", utc("2024-01-01")))
    assert [len(page) for page in pages] == [1000, 299]
    assert len(server.asked()) == 2


def test_candles_stamped_off_the_grid_come_as_they_are(server: ExchangeServer, binance: Exchange) -> None:
    frame = make_candles(2500).frame
    frame.index = frame.index + pd.Timedelta(seconds=20.8)
    server.now -= 20_000  # 10 seconds into a minute: the candle that opened in the minute before has not closed
    server.add("BTC/USDT", "1m", frame)
    candles = all_candles(binance)
    assert candles.index.equals(frame.index[:2498].as_unit("ms"))


def test_recorded_answers_arrive_number_for_number(real_data: Path) -> None:
    with ExchangeServer("2025-10-20") as server:
        for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT"):
            name = f"{symbol.replace('/', '')}_15m_2025-10-06.json"
            rows = server.add_file(symbol, "15m", real_data / "exchange" / "binance_klines_rest" / name)
            with Exchange("binance", server.url) as exchange:
                (page,) = exchange.candles(symbol, "15m", utc("2025-10-06"), utc("2025-10-13"))
            assert page.index.as_unit("ms").asi8.tolist() == [row[0] for row in rows]
            assert page.to_numpy().tolist() == [[float(value) for value in row[1:6]] for row in rows]
            Candles.from_frame(page, symbol, "15m", "binance")


# Market rules


def test_market_rules_are_those_of_every_recorded_exchange_info(real_data: Path) -> None:
    bodies = (real_data / "exchange" / "binance_exchangeInfo").glob("*.jsonl")
    recorded = [json.loads(line) for path in bodies for line in path.read_text().splitlines()]
    assert len(recorded) == 51
    with ExchangeServer("2023-09-08") as server:
        for info in (recorded[0], recorded[-1]):
            server.info = info
            with Exchange("binance", server.url) as exchange:
                for listed in info["symbols"]:
                    filters = {one["filterType"]: one for one in listed["filters"]}
                    least = (filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL"))["minNotional"]
                    assert exchange.market_rules(f"{listed['baseAsset']}/{listed['quoteAsset']}") == {
                        "lot_step": float(filters["LOT_SIZE"]["stepSize"]),
                        "min_notional": float(least),
                        "tick": float(filters["PRICE_FILTER"]["tickSize"]),
                    }


def test_a_whole_recorded_exchange_info_is_understood(real_data: Path) -> None:
    body = (real_data / "exchange" / "binance_exchangeInfo" / "spot_exchangeInfo_full_2023-09-08.json.gz").read_bytes()
    with ExchangeServer("2023-09-08") as server:
        server.info = json.loads(gzip.decompress(body))
        with Exchange("binance", server.url) as exchange:
            assert exchange.market_rules("ADA/USDT") == {"lot_step": 0.1, "min_notional": 5.0, "tick": 0.0001}
            with pytest.raises(errors.UnknownMarket, match=r"Did you mean 'DOGE/USDT'\?"):
                exchange.check("DOGEE/USDT", "1m")


# Names


def test_the_rate_limit_of_ccxt_is_on() -> None:
    with Exchange("binance") as opened:
        assert opened._client.enableRateLimit is True
        assert opened._client.rateLimit == ccxt.binance().rateLimit


def test_an_unknown_exchange_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(errors.UnknownName) as caught:
        Exchange("binanse")
    assert str(caught.value) == (
        "No exchange named 'binanse'. Did you mean 'binance'? Any exchange that ccxt knows will do, as in 'binance'."
    )


def test_an_unknown_symbol_is_refused_with_the_nearest_name(binance: Exchange) -> None:
    with pytest.raises(errors.UnknownMarket) as caught:
        binance.candles("BTC/USTD", "1m", utc("2024-01-01"))
    assert str(caught.value) == "binance does not list 'BTC/USTD'. Did you mean 'BTC/USDT'?"
    with pytest.raises(errors.UsageError, match="is not written BASE/QUOTE"):
        binance.check("BTCUSDT", "1m")


def test_a_timeframe_that_the_exchange_lacks_is_refused_before_any_question(
    server: ExchangeServer, binance: Exchange
) -> None:
    with pytest.raises(errors.UnsupportedTimeframe) as caught:
        binance.candles("BTC/USDT", "10m", utc("2024-01-01"))
    assert str(caught.value) == (
        "binance has no '10m' candles. It has 1s, 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d."
    )
    assert server.requests == []


def test_every_exchange_that_ccxt_knows_can_be_opened() -> None:
    offering = 0
    for name in ccxt.exchanges:
        with Exchange(name) as opened:
            assert set(opened.timeframes) <= set(TIMEFRAMES)
            offering += bool(opened.timeframes)
    assert offering > 80


# Failures that pass

PASSING = {
    "server error": Fault(500, b"oops"),
    "bad gateway in html": Fault(502, b"<html>Bad Gateway</html>"),
    "server error with a code": Fault(503, b'{"code": -1008, "msg": "Server is currently overloaded."}', JSON),
    "unknown code with a server error": Fault(500, b'{"code": -4711, "msg": "?"}', JSON),
    "internal error": Fault(504, b'{"code": -1007, "msg": "Timeout waiting for response."}', JSON),
    "cloudflare": Fault(524, b"error code: 524"),
    "dropped connection": Fault(kind="drop"),
    "reset connection": Fault(kind="reset"),
    "truncated body": Fault(kind="truncate"),
    "truncated body of unknown length": Fault(kind="truncate_unannounced"),
    "truncated compressed body": Fault(kind="truncate_gzip"),
    "no answer in time": Fault(kind="hang"),
    "empty body": Fault(200, b" ", JSON),
    "empty object": Fault(200, b"{}", JSON),
    "html instead of json": Fault(200, b"<html>We'll be back soon</html>"),
    "too many requests": Fault(429, b'{"code": -1003, "msg": "Too many requests."}', {**JSON, "Retry-After": "1"}),
}


@pytest.mark.parametrize("name", PASSING)
@pytest.mark.parametrize("path", ["/api/v3/klines", "/api/v3/exchangeInfo", "/api/v3/time"])
def test_a_failure_that_passes_costs_a_second_and_no_candle(
    server: ExchangeServer, binance: Exchange, waits: list[float], name: str, path: str
) -> None:
    if PASSING[name].kind == "hang":
        binance._client.timeout = 1000  # milliseconds
    server.faults.append(PASSING[name]._replace(path=path))
    assert len(all_candles(binance)) == 2499
    assert waits == [1.0]
    assert not server.faults


def test_the_waits_grow_and_the_fifth_failure_is_final(
    server: ExchangeServer, binance: Exchange, waits: list[float]
) -> None:
    server.faults.extend([Fault(503, b"maintenance")] * 5)
    with pytest.raises(errors.ExchangeUnavailable) as caught:
        all_candles(binance)
    assert waits == list(WAITS)
    assert str(caught.value) == (
        "binance answered with HTTP 503 (ExchangeNotAvailable: Service Unavailable maintenance). Check the connection "
        "and the exchange's status page. What was stored stays: the same command goes on from there."
    )


def test_no_connection_at_all_is_said_in_one_line(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        Exchange("binance", f"http://127.0.0.1:{port}", sleep=waits.append) as exchange,
        pytest.raises(errors.ExchangeUnavailable) as caught,
    ):
        exchange.check("BTC/USDT", "1m")
    assert str(caught.value).startswith("binance did not answer (NetworkError: [Errno 111] Connection refused). Check")
    assert waits == list(WAITS)


@pytest.mark.parametrize("status", [429, 418])
def test_the_wait_that_the_exchange_asks_for_is_obeyed(
    server: ExchangeServer, binance: Exchange, waits: list[float], status: int
) -> None:
    server.faults.extend([Fault(status, b"{}", {"Retry-After": "7"})] * 3)
    assert len(all_candles(binance)) == 2499
    assert waits == [7.0, 7.0, 7.0]


def test_a_wait_until_a_date_is_obeyed(server: ExchangeServer, binance: Exchange, waits: list[float]) -> None:
    later = format_datetime((pd.Timestamp.now("UTC") + pd.Timedelta(seconds=60)).to_pydatetime(), usegmt=True)
    server.faults.append(Fault(429, b"{}", {"Retry-After": later}))
    all_candles(binance)
    assert len(waits) == 1
    assert 55 < waits[0] <= 60


def test_a_real_wait_is_really_slept(server: ExchangeServer) -> None:
    server.faults.append(Fault(429, b"{}", {"Retry-After": "1"}))
    start = pd.Timestamp.now("UTC")
    with Exchange("binance", server.url) as exchange:
        assert len(all_candles(exchange)) == 2499
    assert pd.Timestamp.now("UTC") - start >= pd.Timedelta(seconds=1)


def test_a_long_ban_is_told_and_not_waited_for(server: ExchangeServer, binance: Exchange, waits: list[float]) -> None:
    server.faults.append(Fault(418, b"{}", {"Retry-After": str(PATIENCE + 1)}))
    with pytest.raises(
        errors.RateLimited, match=r"^binance refuses requests for the next 301 seconds, until 20.* UTC\."
    ):
        all_candles(binance)
    assert waits == []
    assert len(server.asked()) == 1


def test_a_ban_without_a_time_is_not_made_longer_by_asking(
    server: ExchangeServer, binance: Exchange, waits: list[float]
) -> None:
    server.faults.append(Fault(418, b'{"code": -1003, "msg": "IP banned until 1704067200000."}', JSON))
    with pytest.raises(
        errors.RateLimited, match=r"^binance answered with HTTP 418 \(DDoSProtection: .*IP banned until"
    ):
        all_candles(binance)
    assert waits == []


def test_asked_too_often_for_good_is_rate_limited(
    server: ExchangeServer, binance: Exchange, waits: list[float]
) -> None:
    server.faults.extend([Fault(429, b"{}", {"Retry-After": "3"})] * 5)
    with pytest.raises(errors.RateLimited, match=r"^binance answered with HTTP 429 .* Wait, then run it again\."):
        all_candles(binance)
    assert waits == [3.0, 3.0, 4.0, 8.0]


# Failures that stay


def test_a_restricted_country_is_access_denied_at_once(
    server: ExchangeServer, binance: Exchange, waits: list[float], real_data: Path
) -> None:
    body = (real_data / "exchange" / "binance_exchangeInfo" / "error_restricted_location.json").read_bytes()
    server.faults.append(Fault(451, body, JSON, path="/api/v3/exchangeInfo"))
    with pytest.raises(errors.AccessDenied) as caught:
        binance.check("BTC/USDT", "1m")
    assert "restricted location" in str(caught.value)
    assert "another exchange may, with --exchange" in str(caught.value)
    assert waits == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(400, b'{"code": -1121, "msg": "Invalid symbol."}', JSON), errors.UnknownMarket),
        (Fault(400, b'{"code": -1120, "msg": "Invalid interval."}', JSON), errors.ExchangeError),
        (Fault(401, b'{"code": -2014, "msg": "API-key format invalid."}', JSON), errors.AccessDenied),
        (Fault(403, b"<html>blocked</html>"), errors.AccessDenied),
        (Fault(404, b"<html>not here</html>"), errors.ExchangeUnavailable),
        (Fault(200, b"[1, 2, 3]", JSON), errors.BadAnswer),
        (Fault(200, b'{"a": "b"}', JSON), errors.BadAnswer),
        (Fault(200, b"[[1704067200000, null, null, null, null, null]]", JSON), errors.BadAnswer),
        (Fault(200, b'[[1704067200000, "1", "1", "1", "x", "1"]]', JSON), errors.BadAnswer),
        (Fault(200, b'[[1704067200000, "2", "1", "1", "1", "1"]]', JSON), errors.BadAnswer),
        (Fault(200, b'[[1704067200000, "0", "0", "0", "0", "1"]]', JSON), errors.BadAnswer),
        (Fault(200, b'[[1704067200000, "1", "NaN", "1", "1", "1"]]', JSON), errors.BadAnswer),
        (Fault(200, b'[[4102444800000, "1", "1", "1", "1", "1"]]', JSON), errors.BadAnswer),
        (Fault(200, b'[[1704067200000000, "1", "1", "1", "1", "1"]]', JSON), errors.BadAnswer),
        (Fault(200, b'[[1704067200000,"1","1","1","1","1"],[1704067200000,"1","1","1","1","1"]]', JSON), errors.BadAnswer),
    ],
)  # fmt: skip
def test_a_failure_that_stays_is_told_at_once(
    server: ExchangeServer, binance: Exchange, waits: list[float], fault: Fault, kind: type[errors.ExchangeError]
) -> None:
    server.faults.append(fault)
    with pytest.raises(errors.ExchangeError, match=r"^binance ") as caught:
        all_candles(binance)
    assert type(caught.value) is kind
    assert waits == []


def test_candles_that_cannot_be_right_are_named(server: ExchangeServer, binance: Exchange) -> None:
    server.faults.append(Fault(200, b'[[1704067200000, "2", "1", "1", "1", "1"]]', JSON))
    with pytest.raises(errors.BadAnswer) as caught:
        all_candles(binance)
    assert str(caught.value).startswith(
        "binance answered with candles that cannot be right. BTC/USDT 1m: 1 rows have a high or low that does not "
        "enclose open and close, the first at 2024-01-01 00:00:00+00:00: open 2.0, high 1.0"
    )


@pytest.mark.parametrize("body", [b'{"serverTime": null}', b'{"serverTime": "soon"}', b'{"serverTime": 1e300}'])
def test_a_nonsensical_clock_is_a_bad_answer(server: ExchangeServer, binance: Exchange, body: bytes) -> None:
    server.faults.append(Fault(200, body, JSON, path="/api/v3/time"))
    with pytest.raises(errors.BadAnswer):
        binance.now()


def test_an_exchange_without_markets_is_a_bad_answer(server: ExchangeServer, binance: Exchange) -> None:
    server.info["symbols"] = []
    with pytest.raises(errors.BadAnswer, match=r"^binance lists no market at all"):
        binance.check("BTC/USDT", "1m")


# Every ccxt error

OURS: dict[str, type[errors.ExchangeError]] = {
    "BaseError": errors.ExchangeError,
    "ExchangeError": errors.ExchangeError,
    "AuthenticationError": errors.AccessDenied,
    "PermissionDenied": errors.AccessDenied,
    "AccountNotEnabled": errors.AccessDenied,
    "AccountSuspended": errors.AccessDenied,
    "ArgumentsRequired": errors.ExchangeError,
    "BadRequest": errors.ExchangeError,
    "BadSymbol": errors.UnknownMarket,
    "OperationRejected": errors.ExchangeError,
    "NoChange": errors.ExchangeError,
    "MarginModeAlreadySet": errors.ExchangeError,
    "MarketClosed": errors.ExchangeUnavailable,
    "ManualInteractionNeeded": errors.AccessDenied,
    "RestrictedLocation": errors.AccessDenied,
    "InsufficientFunds": errors.ExchangeError,
    "InvalidAddress": errors.ExchangeError,
    "AddressPending": errors.ExchangeError,
    "InvalidOrder": errors.ExchangeError,
    "OrderNotFound": errors.ExchangeError,
    "OrderNotCached": errors.ExchangeError,
    "OrderImmediatelyFillable": errors.ExchangeError,
    "OrderNotFillable": errors.ExchangeError,
    "DuplicateOrderId": errors.ExchangeError,
    "ContractUnavailable": errors.UnknownMarket,
    "NotSupported": errors.ExchangeError,
    "InvalidProxySettings": errors.ExchangeError,
    "ExchangeClosedByUser": errors.ExchangeError,
    "OperationFailed": errors.ExchangeUnavailable,
    "NetworkError": errors.ExchangeUnavailable,
    "DDoSProtection": errors.RateLimited,
    "RateLimitExceeded": errors.RateLimited,
    "ExchangeNotAvailable": errors.ExchangeUnavailable,
    "OnMaintenance": errors.ExchangeUnavailable,
    "InvalidNonce": errors.ExchangeUnavailable,
    "ChecksumError": errors.BadAnswer,
    "RequestTimeout": errors.ExchangeUnavailable,
    "BadResponse": errors.BadAnswer,
    "NullResponse": errors.BadAnswer,
    "CancelPending": errors.ExchangeUnavailable,
    "UnsubscribeError": errors.ExchangeError,
}


def names_in(tree: dict[str, Any]) -> Iterator[str]:
    for name, below in tree.items():
        yield name
        yield from names_in(below)


def classes_below(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == kind.__module__:
            yield from classes_below(below)


def test_the_list_of_ccxt_errors_is_complete() -> None:
    assert set(names_in(error_hierarchy)) == set(OURS)
    assert {kind.__name__ for kind in classes_below(ccxt.BaseError)} == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_every_ccxt_error_becomes_one_of_ours(server: ExchangeServer, binance: Exchange, name: str) -> None:
    binance.check("BTC/USDT", "1m")

    def fail(*_: object) -> None:
        raise getattr(ccxt, name)("binance says no")

    questions: list[Callable[[], object]] = [binance.now, lambda: list(binance._pages("BTC/USDT", "1m", *span))]
    span = (utc("2024-01-01"), utc("2024-01-02"))
    binance._client.fetch = fail
    for question in questions:
        with pytest.raises(errors.ExchangeError) as caught:
            question()
        assert type(caught.value) is OURS[name]
        assert f"({name}: binance says no)." in str(caught.value)


def test_an_error_without_an_answer_is_not_judged_by_the_answer_before(
    server: ExchangeServer, binance: Exchange
) -> None:
    server.faults.extend([Fault(429)] * 5)
    with pytest.raises(errors.RateLimited):
        all_candles(binance)

    def fail(*_: object) -> None:
        raise ccxt.NotSupported("binance has none")

    binance._client.fetch = fail
    with pytest.raises(errors.ExchangeError) as caught:
        all_candles(binance)
    assert str(caught.value) == "binance refused the question (NotSupported: binance has none)."


@pytest.mark.parametrize("error", [KeyError("spot"), TypeError("None"), ZeroDivisionError("0"), AttributeError("x")])
def test_what_a_parser_trips_over_is_a_bad_answer(error: Exception) -> None:
    ours = translated("kraken", error)
    assert type(ours) is errors.BadAnswer
    assert str(ours).startswith(f"kraken gave a bad answer ({type(error).__name__}: {error}).")


def test_a_long_answer_is_cut_short() -> None:
    text = str(translated("kraken", ccxt.ExchangeError("kraken " + "x" * 10_000)))
    assert len(text) < 250
    assert text.endswith("…).")


# The wire


def test_only_the_host_of_the_base_url_is_contacted(
    server: ExchangeServer, binance: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved: list[str] = []
    really = socket.getaddrinfo

    def watched(host: str, *arguments: Any, **options: Any) -> Any:
        resolved.append(host)
        if host != "127.0.0.1":
            raise OSError(f"{host} must not be contacted")
        return really(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    all_candles(binance)
    binance.market_rules("BTC/USDT")
    assert binance._client.has["fetchCurrencies"] is False
    assert {request.path for request in server.requests} == {"/api/v3/exchangeInfo", "/api/v3/time", "/api/v3/klines"}
    for name in ("kraken", "okx", "bybit", "coinbase", "gate"):  # they do not understand the answer, but stay here
        with Exchange(name, server.url, sleep=lambda _: None) as other, pytest.raises(errors.ExchangeError):
            other.check("BTC/USDT", "1m")
    assert set(resolved) == {"127.0.0.1"}


def test_a_redirect_to_another_host_stays_on_the_base_url(server: ExchangeServer, binance: Exchange) -> None:
    moved = Fault(
        302, b"moved", {"Location": "https://example.org/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=0"}
    )
    server.faults.append(moved)
    assert len(all_candles(binance)) >= 500
    assert {request.host for request in server.requests} == {server.url.removeprefix("http://")}


@pytest.mark.parametrize(
    "url", ["http://example.org", "ftp://127.0.0.1", "api.binance.com", "https://", "https://a/?b=c"]
)
def test_a_base_url_must_be_encrypted_or_local(url: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        Exchange("binance", url)
    assert str(caught.value) == (
        f"Base URL {url!r} cannot be used. It must begin with https:// and a host, as in 'https://data-api.binance.vision'."
    )


def test_nothing_is_asked_without_encryption_by_default(waits: list[float]) -> None:
    with Exchange("binance", sleep=waits.append) as opened:
        opened._client.urls["api"]["public"] = "http://127.0.0.1:9/api/v3"
        with pytest.raises(errors.ExchangeError, match="without encryption"):
            opened.now()
    assert waits == []


# An exchange of another kind


@pytest.fixture
def bitstamp(server: ExchangeServer) -> Iterator[Exchange]:
    """Bitstamp answers no further than one page from the time asked for, and has no clock but the Date header."""

    def ohlc(params: dict[str, str]) -> Any:
        first, last = int(params["start"]) * 1000, int(params["end"]) * 1000
        rows = [row for row in server.klines["BTCUSDT", "1m"] if first <= row[0] <= last]
        names = ("open", "high", "low", "close", "volume")
        found = [{"timestamp": row[0] // 1000, **dict(zip(names, row[1:6], strict=True))} for row in rows]
        return {"data": {"pair": "BTC/USDT", "ohlc": found}}

    market = {
        "name": "BTC/USDT", "market_symbol": "btcusdt", "base_currency": "BTC", "base_decimals": 8,
        "counter_currency": "USDT", "counter_decimals": 0, "minimum_order_value": "10", "trading": "Enabled",
        "instant_order_counter_decimals": 2, "instant_and_market_orders": "Enabled", "market_type": "SPOT", "description": "Bitcoin / Tether",
    }  # fmt: skip
    server.routes["/api/v2/markets/"] = lambda _: [market]
    server.routes["/api/v2/ohlc/btcusdt/"] = ohlc
    with Exchange("bitstamp", server.url) as opened:
        opened._client.enableRateLimit = False
        yield opened


def test_an_exchange_that_looks_one_page_ahead_is_asked_page_by_page(
    server: ExchangeServer, bitstamp: Exchange
) -> None:
    frame = make_candles(2500).frame
    server.add("BTC/USDT", "1m", frame.drop(frame.index[100:2300]))
    candles = all_candles(bitstamp, "2023-12-31")
    assert candles.index.equals(frame.index[:100].append(frame.index[2300:2499]).as_unit("ms"))


def test_the_clock_of_an_exchange_without_one_is_its_date_header(server: ExchangeServer, bitstamp: Exchange) -> None:
    late = bitstamp.now() - pd.Timestamp(server.now, unit="ms", tz="UTC")
    assert pd.Timedelta(0) <= late < pd.Timedelta(seconds=5)


def test_market_rules_of_an_exchange_without_any_are_the_loosest(server: ExchangeServer, bitstamp: Exchange) -> None:
    assert bitstamp.market_rules("BTC/USDT") == {"lot_step": 1e-8, "min_notional": 10.0, "tick": 1.0}
    market = bitstamp._client.market("BTC/USDT")
    market["precision"], market["limits"] = {"amount": None, "price": None}, {}
    assert bitstamp.market_rules("BTC/USDT") == {"lot_step": 1e-8, "min_notional": 0.0, "tick": 1e-8}
    market["precision"] = {"amount": 3, "price": 2}
    bitstamp._client.precisionMode = ccxt.DECIMAL_PLACES
    assert bitstamp.market_rules("BTC/USDT") == {"lot_step": 0.001, "min_notional": 0.0, "tick": 0.01}
    assert exchange.PAGE == 1000
