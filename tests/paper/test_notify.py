"""Webhooks: real requests to a server on this machine."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from freqlstm.errors import UsageError
from freqlstm.paper.keys import guard_logs
from freqlstm.paper.notify import Notifier, Webhook, read_webhooks

TOKEN = "bot123456:secret-token-of-a-bot"


class Server:
    """Notes what is posted, and answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, json.loads(body)))
                self.send_response(outer.answers.pop(0) if outer.answers else 204)
                self.send_header("Retry-After", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def told(server: Server, url: str, *messages: tuple[str, str], timeout: float = 10.0) -> Notifier:
    notifier = Notifier([Webhook(server.url + url)], "lstm_rsi-testnet", wait=0.01, timeout=timeout)
    for kind, text in messages:
        notifier(kind, text)
    notifier.close()
    return notifier


def test_telegram_discord_and_plain_json_each_get_their_form(server: Server) -> None:
    told(server, f"/{TOKEN}/sendMessage?chat_id=42", ("fill", "BTC/USDT: bought 1 at 2"))
    told(server, "/api/webhooks/1/abc", ("halt", "no bars"))
    told(server, "/hook", ("refusal", "too little balance"))
    (first, telegram), (second, discord), (third, plain) = server.got
    assert (first, telegram) == (
        f"/{TOKEN}/sendMessage", {"chat_id": "42", "text": "[lstm_rsi-testnet] BTC/USDT: bought 1 at 2"},
    )  # fmt: skip
    assert (second, discord["content"]) == ("/api/webhooks/1/abc", "[lstm_rsi-testnet] no bars")
    assert third == "/hook"
    assert {name: plain[name] for name in ("session", "kind", "text")} == {
        "session": "lstm_rsi-testnet", "kind": "refusal", "text": "too little balance",
    }  # fmt: skip


def test_a_server_in_trouble_is_asked_again_and_a_message_it_dislikes_is_dropped(server: Server) -> None:
    server.answers = [500, 429, 204, 400]
    notifier = told(server, "/hook", ("fill", "one"), ("fill", "two"))
    assert [body["text"] for _, body in server.got] == ["one", "one", "one", "two"]
    assert notifier.failed == "127.0.0.1 answered 400"


def test_an_address_that_nobody_answers_delays_nothing_and_shows_no_token() -> None:
    notifier = Notifier([Webhook(f"http://127.0.0.1:9/{TOKEN}/sendMessage?chat_id=1")], "s", wait=0.0)
    notifier("fill", "one")
    notifier.close()
    assert notifier.failed == "127.0.0.1 could not be reached (ConnectionError)"
    assert TOKEN not in repr(notifier.webhooks)


def test_the_token_of_a_webhook_is_in_no_log_of_a_library(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    guard_logs()
    caplog.set_level(logging.DEBUG)
    told(server, f"/{TOKEN}/sendMessage?chat_id=42", ("fill", "one"))
    told(server, "/hook?token=of-a-query", ("fill", "two"))
    assert len(server.got) == 2
    assert "http://127.0.0.1:" in caplog.text  # urllib3 did log its requests
    assert TOKEN not in caplog.text
    assert "of-a-query" not in caplog.text


def test_what_nobody_asked_for_is_not_told(server: Server) -> None:
    told(server, "/hook", ("dust", "0.1 BTC"), ("fill", "yes"))
    assert [body["text"] for _, body in server.got] == ["yes"]


def test_webhooks_come_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    assert [hook.host for hook in read_webhooks(None, {"FREQLSTM_WEBHOOKS": "https://a.b/x http://c/y"})] == [
        "a.b",
        "c",
    ]
    file = tmp_path / "hooks"
    file.write_text("https://discord.com/api/webhooks/1/abc\n\n")
    file.chmod(0o644)
    with pytest.raises(UsageError, match=r"hooks can be read by others \(mode 644\). Run: chmod 600"):
        read_webhooks(file)
    file.chmod(0o600)
    assert [hook.discord for hook in read_webhooks(file)] == [True]
    with pytest.raises(UsageError, match="names no chat"):
        Webhook("https://api.telegram.org/bot1:abc/sendMessage")
    with pytest.raises(UsageError, match="not a URL that begins with https"):
        Webhook("discord")
