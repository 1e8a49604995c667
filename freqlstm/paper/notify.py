"""Webhooks: what a session does, told to Telegram, Discord or any address that takes JSON."""

from __future__ import annotations

import os
import queue
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import requests

from freqlstm.errors import UsageError
from freqlstm.paper.keys import hide, keep_secret

VARIABLE = "FREQLSTM_WEBHOOKS"
TOLD = frozenset({"fill", "refusal", "halt", "resumed", "stop", "not flat", "orphan", "unsent", "model", "restart"})
TRIES, WAIT = 3, 1.0  # attempts, and seconds after the first, twice as many after each further one
LONGEST = 1900  # letters of a message: Discord takes 2,000


@dataclass(frozen=True, repr=False)
class Webhook:
    """One address. Its URL is a secret: whoever knows it can write there."""

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("A webhook is not a URL that begins with https://. Copy it again, whole.")
        if self.telegram and "chat_id" not in parse_qs(parts.query):
            raise UsageError(
                "The Telegram webhook names no chat. Write https://api.telegram.org/botTOKEN/sendMessage?chat_id=NUMBER."
            )
        for part in (self.url, parts.path, parts.query):  # libraries log them apart
            if len(part) > 8:
                keep_secret(part)

    def __repr__(self) -> str:
        return f"Webhook({self.host})"

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def telegram(self) -> bool:
        return "sendMessage" in urlsplit(self.url).path

    @property
    def discord(self) -> bool:
        return "/api/webhooks/" in urlsplit(self.url).path

    def request(self, session: str, kind: str, text: str) -> tuple[str, dict[str, Any]]:
        """(URL, JSON) of one message, in the form that the address takes."""
        said = f"[{session}] {text}"[:LONGEST]
        parts = urlsplit(self.url)
        if self.telegram:
            (chat, *_) = parse_qs(parts.query)["chat_id"]
            return urlunsplit(parts._replace(query="")), {"chat_id": chat, "text": said}
        if self.discord:
            return self.url, {"content": said, "allowed_mentions": {"parse": []}}
        return self.url, {"session": session, "kind": kind, "text": text[:LONGEST], "time": int(time.time() * 1000)}


def read_webhooks(path: Path | None, environment: Mapping[str, str] = os.environ) -> list[Webhook]:
    """One URL a line in a private file, or several in an environment variable, with blanks between."""
    if path is None:
        return [Webhook(url) for url in environment.get(VARIABLE, "").split()]
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise UsageError(f"{path} can be read by others (mode {mode:o}). Run: chmod 600 {path}")
        return [Webhook(line.strip()) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"The webhooks in {path} could not be read: {error.strerror}. Give a file of URLs.") from None


class Notifier:
    """Sends from a thread of its own, so that no decision waits for a chat; what cannot be told after some tries is dropped."""

    def __init__(self, webhooks: list[Webhook], session: str, wait: float = WAIT, timeout: float = 10.0) -> None:
        self.webhooks = webhooks
        self.session = session
        self.failed = ""  # why the newest message that was dropped was
        self._wait, self._timeout = wait, timeout
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue(maxsize=1000)
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        self._thread.start()

    def __call__(self, kind: str, text: str) -> None:
        """Tell, if it is of a kind that a person wants to be told."""
        if kind in TOLD and self.webhooks:
            try:
                self._queue.put_nowait((kind, hide(text)))
            except queue.Full:
                self.failed = "there were too many messages"

    def close(self, timeout: float = 5.0) -> None:
        """Send what is left, for so many seconds."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _work(self) -> None:
        with requests.Session() as client:
            while (message := self._queue.get()) is not None:
                for webhook in self.webhooks:
                    self._send(client, webhook, *message)

    def _send(self, client: requests.Session, webhook: Webhook, kind: str, text: str) -> None:
        url, body = webhook.request(self.session, kind, text)
        for attempt in range(TRIES):
            pause = self._wait * 2**attempt
            try:
                answer = client.post(url, json=body, timeout=self._timeout, allow_redirects=False)
                if answer.status_code < 300:
                    return
                self.failed = f"{webhook.host} answered {answer.status_code}"
                if answer.status_code == 429:
                    pause = min(60.0, float(answer.headers.get("Retry-After", pause)))
                elif answer.status_code < 500:
                    return  # it will not like it better the next time
            except (requests.RequestException, ValueError) as error:
                self.failed = f"{webhook.host} could not be reached ({type(error).__name__})"
            if attempt < TRIES - 1:
                time.sleep(pause)
