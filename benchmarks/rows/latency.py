"""From the closing candle to the order on the wire: the paper trader as a person runs it, beside a sandbox in another process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground
from benchmarks.measure import Variant
from benchmarks.row import Measured, Row, told_under

PROJECT = "latency"  # folder
SPEED = 60  # a bar of one minute is a second
UNITS, LOOKBACK = 64, 288
STRATEGY = '''"""Trades on every bar that has a prediction."""

from freqlstm import Strategy


class EveryBar(Strategy):
    signals = dict(prediction="lstm")
    warmup = 2

    def enter_long(self, bars):
        return (bars.close > 0) & (bars.prediction > -1)

    def exit_long(self, bars):
        return (bars.close > 0) & (bars.prediction < 1)
'''


def rows(ground: Ground) -> list[Row]:
    """One row."""
    folder = ground.folder / PROJECT
    units, lookback = ground.pick((UNITS, LOOKBACK), (4, 16))

    def variant(name: str, orders: int, keras: bool) -> Variant:
        settings = {"folder": str(folder), "orders": orders, "units": units, "lookback": lookback, "keras": keras}
        return Variant(name, "latency:session", {**settings, "first": ground.pick(10, 1)}, rounds=1)

    def note(row: Measured) -> str:
        ours = row.ours.told
        beside = (
            f"; with keras {row.best.seconds * 1e3:.1f} ms and {row.best.told['p99_ms']:.1f} ms" if row.best else ""
        )
        return (
            f"the median of {ours['orders']} orders, of which the 99th percentile is {ours['p99_ms']:.1f} ms{beside}. The exchange's "
            f"answer was back after {ours['answered_ms']:.1f} ms"
        )

    return [
        Row(
            "latency", f"closing candle to order on the wire, LSTM({units}) of {lookback} bars, sandbox exchange in another process",
            variant("freqlstm paper", ground.pick(200, 3), keras=False),
            [variant("the same with keras predict", ground.pick(60, 2), keras=True)],
            [told_under("p50_ms", 10, "p50 under 10 ms"), told_under("p99_ms", 50, "p99 under 50 ms")],
            same=("decided",), note=note,
        )
    ]  # fmt: skip


def session(folder: str, orders: int, first: int, units: int, lookback: int, keras: bool) -> dict[str, Any]:
    """``freqlstm paper`` until it has sent so many orders after the ``first``, by which whatever is done once is done.

    The model is fitted by whichever variant comes first.
    """
    import numpy as np

    from freqlstm.cli.main import main

    file = Path(folder, "strategies", "every_bar.py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(STRATEGY)
    name = "keras" if keras else "freqlstm"
    with sandbox(Path(folder)) as url:
        watch = Watch(orders + first)
        if keras:
            ask_keras()
        signal = {"units": units, "lookback": lookback, "seeds": 1, "epochs": 1, "stride": 16, "batch": 64}
        with suppress(SystemExit):
            main([
                "--project", folder, "paper", "--exchange", "sandbox", "--sandbox", url, "--strategy", "every_bar", "--name", name,
                "--train", "2d", "--min-train", "1d", "--limit", "max_orders_per_hour=1000000", "--limit", "max_daily_loss=1000000",
                *(word for key, value in signal.items() for word in ("--set", f"prediction.{key}={value}")),
            ])  # fmt: skip
    sent, answered = (np.array(each[first:]) for each in (watch.sent, watch.answered))
    if len(sent) < orders:
        raise RuntimeError(f"only {len(sent)} of {orders} orders were sent")
    p50, p99 = np.quantile(sent, [0.5, 0.99])
    return {
        "seconds": float(p50), "p50_ms": float(p50) * 1e3, "p99_ms": float(p99) * 1e3, "orders": len(sent),
        "answered_ms": float(np.median(answered)) * 1e3, "decided": sorted(watch.sides),
    }  # fmt: skip


@contextmanager
def sandbox(folder: Path) -> Iterator[str]:
    """``freqlstm sandbox`` on the demo market, at any free port; its address."""
    from benchmarks.command import FREQLSTM

    command = [
        *FREQLSTM,
        "--project",
        str(folder),
        "sandbox",
        "--speed",
        str(SPEED),
        "--port",
        "0",
        "--tls-port",
        "0",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        text = ""
        while True:  # the JSON is written over several lines, and the process goes on
            text += process.stdout.readline()
            with suppress(ValueError):
                told = json.loads(text)
                break
        try:
            yield told["url"]
        finally:
            process.terminate()


class Watch:
    """Sees bytes come and go: a closing candle on its websocket, an order on its connection. Ends the process's session."""

    def __init__(self, enough: int) -> None:
        from asyncio.sslproto import _SSLProtocolTransport
        from time import perf_counter

        from aiohttp.client_proto import ResponseHandler

        from freqlstm.paper.client import Client

        self.sent: list[float] = []  # seconds from the closing candle to the order
        self.answered: list[float] = []  # and to the exchange's answer
        self.sides: set[str] = set()
        self._enough = enough
        self._came = self._closed = 0.0

        def received(handler: Any, data: bytes) -> None:
            self._came = perf_counter()
            receive(handler, data)

        def heard(client: Any, connection: Any, message: dict[str, Any]) -> None:
            if message["k"]["x"]:
                self._closed = self._came
            hear(client, connection, message)

        def written(transport: Any, data: bytes) -> None:
            write(transport, data)
            if b"newClientOrderId=" in data:
                self._note(perf_counter() - self._closed, bytes(data))

        async def asked(client: Any, method: str, *given: Any, **options: Any) -> Any:
            body = await ask(client, method, *given, **options)
            if method == "privatePostOrder":
                self.answered.append(perf_counter() - self._closed)
            return body

        receive: Callable[..., Any] = ResponseHandler.data_received
        hear, write, ask = Client.handle_ohlcv, _SSLProtocolTransport.write, Client.ask
        for owner, name, wrapped in (
            (ResponseHandler, "data_received", received), (Client, "handle_ohlcv", heard), (Client, "ask", asked),
            (_SSLProtocolTransport, "write", written),
        ):  # fmt: skip
            setattr(owner, name, wrapped)

    def _note(self, seconds: float, order: bytes) -> None:
        import os
        import signal

        self.sent.append(seconds)
        self.sides.add("sell" if b"side=SELL" in order else "buy")
        if len(self.sent) == self._enough:
            os.kill(os.getpid(), signal.SIGTERM)


def ask_keras() -> None:
    """Let predict answer for the newest window, as programs do that know nothing else; the session is the same otherwise."""
    import numpy as np

    from freqlstm.inference import Memory

    def outputs(self: Memory, network: Any, matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
        said = np.zeros(len(rows))
        said[-1] = network.predict(matrix[None, rows[-1] - lookback + 1 : rows[-1] + 1], verbose=0)[0, 0]
        return said

    Memory.outputs = outputs  # type: ignore[method-assign]
