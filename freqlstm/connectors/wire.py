"""One question to a web service: retried while that helps, and every failure an error of one line without keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from freqlstm.errors import AccessDenied, BadAnswer, ExchangeError, ExchangeUnavailable, RateLimited, UsageError

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before the second, third, fourth and fifth try
PATIENCE = 120.0  # seconds: a source that asks to stay away for longer is not waited for
TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces of the answer
LOOPBACK = ("127.0.0.1", "localhost", "::1")
DENIED = (401, 402, 403, 451)
GO_ON = "What was stored stays."


class Wire:
    """Asks one web service. ``secret`` is a key that must appear in no message; ``sleep`` waits that many seconds."""

    def __init__(
        self, name: str, base_url: str, secret: str | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise UsageError(f"Base URL {base_url!r} cannot be used. It must begin with https:// and a host.")
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._sleep = sleep

    def ask(self, path: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON answer to a GET request, after as many tries as are worth it."""
        for wait in (*WAITS, None):
            failure, asked = self._try(path, params or {}, headers or {})
            if not isinstance(failure, ExchangeError):
                return failure
            if wait is None or asked is None or asked > PATIENCE:
                raise failure
            self._sleep(max(wait, asked))
        raise AssertionError("the last try either answers or raises")

    def _try(self, path: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[Any, float | None]:
        """The answer; or an error, and the seconds after which asking again may help, None if it cannot."""
        try:
            response = requests.get(
                f"{self._base_url}{path}", params=dict(params), headers={"Accept": "application/json", **headers},
                timeout=TIMEOUT, allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException as error:  # its text holds the whole address, keys included
            text = f"{self.name} did not answer ({type(error).__name__}). Check the connection. {GO_ON}"
            return ExchangeUnavailable(text), 0.0
        status = response.status_code
        try:
            body = response.json()
        except ValueError:
            body = None
        if status == 200 and body is not None:
            return body, None
        told = self._told(body)
        if status == 429:
            asked = _seconds(response.headers.get("Retry-After"))
            return RateLimited(f"{self.name} refuses so many requests{told}. Wait, then run it again. {GO_ON}"), asked
        if status >= 500:
            return ExchangeUnavailable(f"{self.name} answered with HTTP {status}{told}. Try again later. {GO_ON}"), 0.0
        if status in DENIED or (status == 400 and "api_key" in told):
            return AccessDenied(
                f"{self.name} refuses the key or the plan, with HTTP {status}{told}. Check its key."
            ), None
        if status in (400, 404, 422):
            raise UsageError(
                f"{self.name} does not know what was asked for, with HTTP {status}{told}. Check the names."
            )
        what = f"with HTTP {status}{told}" if status != 200 else "with what is not JSON"
        return BadAnswer(f"{self.name} answered {what}. Try again later. {GO_ON}"), None

    def _told(self, body: Any) -> str:
        """What an answer says went wrong, in brackets; nothing if it says nothing."""
        for _ in range(3):  # {"status": {"error_message": …}}, {"error": {"status": …}}, {"error": …}, {"message": …}
            if isinstance(body, dict):
                keys = [key for key in ("error_message", "error", "status", "message") if body.get(key)]
                body = body[keys[0]] if keys else None
        if not isinstance(body, str):
            return ""
        text = " ".join(body.split()).rstrip(".")
        if self._secret:
            text = text.replace(self._secret, "…")
        return f" ({text[:160]})"

    def bad(self, what: str) -> BadAnswer:
        """An error for a body that is not what the source documents."""
        return BadAnswer(f"{self.name} answered with {what}. It may have changed: nothing was stored.")


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0.0))
    except ValueError:  # a date
        return 0.0
