"""A web service on 127.0.0.1 that answers with given JSON, and fails when told to."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit


class Request(NamedTuple):
    """One question as it arrived."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


class Service:
    """Answers given paths with JSON; ``faults`` (status, body, headers; None: hang up) are used up first."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[dict[str, str]], Any]] = {}
        self.faults: deque[tuple[int, bytes, dict[str, str]] | None] = deque()
        self.requests: list[Request] = []
        self.waits: list[float] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                service.requests.append(Request(parts.path, dict(parse_qsl(parts.query)), dict(self.headers)))
                status, body, headers = 200, b"", {}
                if service.faults:
                    fault = service.faults.popleft()
                    if fault is None:
                        self.connection.shutdown(socket.SHUT_RDWR)
                        return
                    status, body, headers = fault
                elif parts.path in service.answers:
                    body = json.dumps(service.answers[parts.path](dict(parse_qsl(parts.query)))).encode()
                else:
                    status, body = 404, b'{"error": "no such thing"}'
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
