"""``freqlstm sandbox`` as a process: what it prints is enough to trade on it, and a kill loses nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from sandboxing import client_of

from freqlstm.sandbox import Controls

CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """(the process, what it printed) of a sandbox on free ports."""
    command = [
        sys.executable,
        "-m",
        "freqlstm.cli.main",
        "--project",
        str(folder),
        "sandbox",
        "--port",
        "0",
        "--tls-port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, *arguments, "--json"], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if line == "}\n":
                break
        assert printed, process.communicate()
        yield process, json.loads(printed)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def trade(told: dict[str, Any], name: str, **keys: str) -> str:
    """Buy with the real client by what was printed; the number of the order."""
    async with client_of(SimpleNamespace(tls_port=told["tls_port"], authority=told["authority"]), **keys) as client:
        await client.load_markets()
        order = await client.create_order("BTC/USDT", "market", "buy", 0.01, None, {"newClientOrderId": name})
        assert order["status"] == "closed"
        return str(order["id"])


def test_a_process_trades_is_killed_and_goes_on_where_it_was(tmp_path: Path) -> None:
    options = ("-p", "BTC/USDT", "-p", "ETH/USDT", "--speed", "0", "--state", str(tmp_path / "state.db"))
    with running(tmp_path, *options) as (process, told):
        assert (told["synthetic"], told["timeframe"], told["pairs"]) == (True, "1m", ["BTC/USDT", "ETH/USDT"])
        assert set(told["keys"]) == {"sandbox" * 9 + "k"}
        controls = Controls(told["url"])
        controls.post("step", candles=2)
        assert asyncio.run(trade(told, "before")) == "1"
        before = controls.get("state")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(tmp_path, *options) as (process, told):
        after = Controls(told["url"]).get("state")
        assert after["accounts"] == before["accounts"]
        assert after["open_time"] == before["open_time"]
        assert asyncio.run(trade(told, "after")) == "2"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert errors.splitlines()[-1] == "The sandbox has ended."


def test_a_replay_that_has_ended_says_so_and_the_exchange_stays_open(tmp_path: Path) -> None:
    options = ("--exchange", "demo", "--timerange", "20240331T2350-", "--speed", "6000", "--balance", "BTC=2")
    with running(tmp_path, *options) as (process, told):
        assert process.stderr is not None
        assert (
            process.stderr.readline() == "Every candle has been replayed. The exchange stays open, at its last price.\n"
        )
        state = Controls(told["url"]).get("state")
        assert state["over"]
        assert state["open_time"] == told["end"]
        assert state["accounts"]["sandbox" * 9 + "k"]["balances"]["BTC"]["free"] == "2.00000000"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_keys_of_the_environment_are_never_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = "k" * 64, "a secret that nobody prints"
    monkeypatch.setenv("FREQLSTM_SANDBOX_KEY", key)
    monkeypatch.setenv("FREQLSTM_SANDBOX_SECRET", secret)
    with running(tmp_path, "--speed", "0") as (process, told):
        assert told["keys"] == {}
        assert asyncio.run(trade(told, "mine", apiKey=key, secret=secret)) == "1"
        assert secret not in json.dumps(
            [told, Controls(told["url"]).get("connect"), Controls(told["url"]).get("state")]
        )
        process.send_signal(signal.SIGINT)
        assert secret not in "".join(process.communicate(timeout=20))


def test_half_a_key_is_refused(freqlstm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREQLSTM_SANDBOX_SECRET", "hidden")
    result: Result = freqlstm("sandbox")
    assert result.exit_code == 2
    assert "FREQLSTM_SANDBOX_KEY has 0 characters and FREQLSTM_SANDBOX_SECRET 6. A key has 64" in result.stderr
    assert "hidden" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--balance", "USDT"), "The balance 'USDT' is not written ASSET=AMOUNT, as in USDT=10000."),
        (("--balance", "USDT=-1"), "The balance 'USDT=-1' is not written ASSET=AMOUNT, as in USDT=10000."),
        (("-p", "XRP/USDT"), "No 1m candles of XRP/USDT are stored in"),
        (("--timerange", "20300101-", "--exchange", "demo"), "The time range 20300101- lies outside the data"),
        (("--speed", "-1"), "Invalid value for '--speed': -1.0 is not in the range x>=0."),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(freqlstm: Any, arguments: tuple[str, ...], said: str) -> None:
    result: Result = freqlstm("sandbox", *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
