"""An exchange on 127.0.0.1 that answers Binance's public endpoints with given candles, and fails when told to."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

import pandas as pd

from freqlstm.candles import TIMEFRAMES

Kline = list[Any]  # Binance's 12 fields; the first is the open time in milliseconds


class Request(NamedTuple):
    """One request as it arrived."""

    path: str
    params: dict[str, str]
    host: str


class Fault(NamedTuple):
    """How to answer instead: a status with headers and body, or one of the ways a connection breaks."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    kind: str = "answer"  # or "drop", "reset", "truncate", "truncate_unannounced", "truncate_gzip", "hang"
    path: str = "/api/v3/klines"  # requests to other paths are answered as ever


def symbol_info(base: str, quote: str, step: str = "0.00001000", tick: str = "0.01000000") -> dict[str, Any]:
    """What exchangeInfo says of one symbol."""
    return {
        "symbol": base + quote, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "baseAssetPrecision": 8,
        "quotePrecision": 8, "orderTypes": ["LIMIT", "MARKET"], "isSpotTradingAllowed": True, "permissions": ["SPOT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000", "stepSize": step},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
        ],
    }  # fmt: skip


def klines_of(frame: pd.DataFrame, timeframe: str) -> list[Kline]:
    """The rows of ``Candles.frame`` as Binance writes them."""
    opens = pd.DatetimeIndex(frame.index).as_unit("ms").asi8.tolist()
    length = TIMEFRAMES[timeframe] * 1000
    rows = zip(opens, frame[["open", "high", "low", "close", "volume"]].to_numpy().tolist(), strict=True)
    return [[o, *map(repr, row), o + length - 1, "0", 1, "0", "0", "0"] for o, row in rows]


class ExchangeServer:
    """Use it as a context manager; ``url`` is its address.

    ``now`` is its clock in milliseconds; candles that have not opened by then do not exist for it, the one that has
    not closed is served like any other. ``faults`` are used up one by one, in order, by requests to their path.
    """

    def __init__(self, now: str | pd.Timestamp) -> None:
        self.now = int(pd.Timestamp(now, tz=None if "+" in str(now) else "UTC").value // 1_000_000)
        self.info: dict[str, Any] = {
            "timezone": "UTC", "serverTime": self.now, "rateLimits": [], "exchangeFilters": [],
            "symbols": [symbol_info(base, "USDT") for base in ("BTC", "ETH", "SOL", "ADA")],
        }  # fmt: skip
        self.routes: dict[str, Callable[[dict[str, str]], Any]] = {}  # other exchanges' paths and what they answer
        self.klines: dict[tuple[str, str], list[Kline]] = {}
        self.faults: deque[Fault] = deque()
        self.requests: list[Request] = []
        self.delay = 0.0  # seconds before klines are answered
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.exchange = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def add(self, symbol: str, timeframe: str, candles: pd.DataFrame | Sequence[Kline]) -> None:
        """Have these candles, for example of ``"BTC/USDT"``."""
        rows = klines_of(candles, timeframe) if isinstance(candles, pd.DataFrame) else list(candles)
        self.klines[symbol.replace("/", ""), timeframe] = rows

    def add_file(self, symbol: str, timeframe: str, path: Path) -> list[Kline]:
        """Have the candles of a recorded answer, which is returned."""
        rows: list[Kline] = json.loads(path.read_text())
        self.add(symbol, timeframe, rows)
        return rows

    def asked(self, path: str = "/api/v3/klines") -> list[dict[str, str]]:
        """The parameters of every request to ``path`` so far."""
        return [request.params for request in self.requests if request.path == path]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    # What Binance answers

    def answer(self, path: str, params: dict[str, str]) -> tuple[int, Any]:
        """Status and body of a request."""
        if path in self.routes:
            return 200, self.routes[path](params)
        answers: dict[str, Callable[[dict[str, str]], tuple[int, Any]]] = {
            "/api/v3/ping": lambda _: (200, {}),
            "/api/v3/time": lambda _: (200, {"serverTime": self.now}),
            "/api/v3/exchangeInfo": lambda _: (200, self.info),
            "/api/v3/klines": self._answer_klines,
        }
        if path not in answers:
            return 404, {"code": -1, "msg": f"no such path: {path}"}
        return answers[path](params)

    def _answer_klines(self, params: dict[str, str]) -> tuple[int, Any]:
        if params["symbol"] not in {symbol["symbol"] for symbol in self.info["symbols"]}:
            return 400, {"code": -1121, "msg": "Invalid symbol."}
        if params["interval"] not in TIMEFRAMES:
            return 400, {"code": -1120, "msg": "Invalid interval."}
        time.sleep(self.delay)
        limit = min(int(params.get("limit", 500)), 1000)
        first, last = int(params.get("startTime", 0)), min(int(params.get("endTime", self.now)), self.now)
        rows = self.klines.get((params["symbol"], params["interval"]), [])
        rows = [row for row in rows if first <= row[0] <= last]
        return 200, rows[:limit] if "startTime" in params else rows[-limit:]


class _Server(ThreadingHTTPServer):
    exchange: ExchangeServer
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would hold every answer back for 40 milliseconds

    def do_GET(self) -> None:
        exchange = self.server.exchange
        parts = urlsplit(self.path)
        params = dict(parse_qsl(parts.query))
        exchange.requests.append(Request(parts.path, params, self.headers["Host"]))
        if exchange.faults and exchange.faults[0].path == parts.path:
            fault = exchange.faults.popleft()
        else:
            fault = Fault()
        if fault.kind in ("drop", "reset"):
            if fault.kind == "reset":  # linger 0: the socket is torn down with RST instead of FIN
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()
            self.close_connection = True
            return
        if fault.kind == "hang":
            time.sleep(3.0)
            self.close_connection = True
            return
        if fault.kind == "answer" and (fault.body or fault.status != 200):
            self._send(fault.status, fault.body, dict(fault.headers))
            return
        status, answer = exchange.answer(parts.path, params)
        body = json.dumps(answer).encode()
        headers = {"Content-Type": "application/json;charset=UTF-8"}
        if fault.kind == "truncate_gzip":
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)[:-20]
            self._send(status, body, headers)
        elif fault.kind == "truncate":
            self._send(status, body[: len(body) // 2], headers, announced=len(body))
        elif fault.kind == "truncate_unannounced":
            self._send(status, body[: len(body) // 2], headers, announced=0)
        else:
            self._send(status, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str], announced: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/html", **headers}.items():
            self.send_header(name, value)
        if announced != 0:
            self.send_header("Content-Length", str(len(body) if announced is None else announced))
        if announced is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header tells the exchange's time too."""
        return super().date_time_string(int(self.server.exchange.now // 1000))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the tests look at ``requests``."""
