"""A sandbox in a thread of its own, and its controls from any other thread or process."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError

from freqlstm.errors import ExchangeUnavailable, UsageError
from freqlstm.sandbox.server import Sandbox


class Controls:
    """The controls of the sandbox at ``url``: ``get("state")``, ``post("step", candles=1)``; see :mod:`.control`."""

    def __init__(self, url: str, patience: float = 60.0) -> None:
        self.url = url
        self.patience = patience  # seconds
        # loopback only, whatever proxy the environment names
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, verb: str) -> Any:
        """``connect``, ``state`` or ``faults``."""
        return self._ask(urllib.request.Request(f"{self.url}/control/{verb}"))

    def post(self, verb: str, **options: Any) -> Any:
        """``step``, ``run``, ``fault``, ``calm``, ``strike``, ``wipe`` and so on."""
        body = json.dumps(options).encode()
        return self._ask(urllib.request.Request(f"{self.url}/control/{verb}", data=body, method="POST"))

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with self._opener.open(request, timeout=self.patience) as answer:
                return json.loads(answer.read())
        except HTTPError as error:
            with error:
                raise UsageError(json.loads(error.read())["error"]) from None
        except OSError as error:
            raise ExchangeUnavailable(
                f"No sandbox answers at {self.url} ({error}). `freqlstm sandbox` starts one."
            ) from error


@contextmanager
def in_background(sandbox: Sandbox) -> Iterator[Controls]:
    """Run ``sandbox`` in a thread with an event loop of its own, for clients that are no coroutines."""
    settled = threading.Event()  # it runs, or it has failed
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        await sandbox.start()
        settled.set()
        await ended.wait()
        await sandbox.stop()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            loop.close()
            settled.set()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    settled.wait()
    if failed:
        raise failed[0]
    try:
        yield Controls(sandbox.url)
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)
        thread.join()
