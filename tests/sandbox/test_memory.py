"""A sandbox that is killed and comes back, its controls, and a sandbox in a thread."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from sandboxing import DEEP, market_of

from freqlstm.errors import ExchangeUnavailable, StoreError, UsageError
from freqlstm.sandbox import Sandbox, Terms, in_background
from freqlstm.sandbox.accounts import KEY
from freqlstm.sandbox.trading import place

QUIET = (100.0, 100.0, 100.0, 100.0, 10.0)
MARKET = market_of(QUIET, (100.0, 101.0, 99.0, 100.0, 5.0), (100.0, 100.0, 89.0, 90.0, 5.0), *[QUIET] * 3)


def order(sandbox: Sandbox, **given: Any) -> dict[str, Any]:
    account = sandbox.venue.accounts[KEY]
    made = place(
        sandbox.venue,
        account,
        {"symbol": "BTCUSDT", "side": "BUY", "quantity": "1", "newOrderRespType": "FULL", **given},
    )
    sandbox.keep()
    return made


def truth(sandbox: Sandbox) -> dict[str, Any]:
    """What must be the same after a kill."""
    told = sandbox.venue.truth()
    return {name: told[name] for name in ("accounts", "epoch", "open_time")}


async def test_orders_trades_balances_and_the_clock_survive_a_kill(tmp_path: Path) -> None:
    path, terms = tmp_path / "sandbox.db", Terms(liquidity=DEEP)
    killed = Sandbox(MARKET, terms, state=path)
    await killed.start()
    order(killed, type="MARKET", newClientOrderId="first")
    await killed.step()
    resting = order(killed, type="LIMIT", price="90", timeInForce="GTC", newClientOrderId="resting")
    order(killed, type="STOP_LOSS", side="SELL", quantity="0.5", stopPrice="95", newClientOrderId="stop")
    await killed.step(0, 2)
    before = truth(killed)
    with pytest.raises(
        StoreError, match=r"sandbox\.db belongs to a sandbox that is running\. Stop it, or name another file\."
    ):
        Sandbox(MARKET, terms, state=path)
    assert killed._memory is not None
    killed._memory.close()  # all that a kill leaves: what was on the disk at that moment
    async with Sandbox(MARKET, terms, state=path) as sandbox:
        assert truth(sandbox) == before
        assert sandbox.venue.now >= before["open_time"]
        await sandbox.step(2)
        orders = {each["clientOrderId"]: each for each in truth(sandbox)["accounts"][KEY]["orders"]}
        assert {name: each["status"] for name, each in orders.items()} == {
            "first": "FILLED", "resting": "FILLED", "stop": "FILLED",
        }  # fmt: skip
        assert order(sandbox, type="MARKET")["orderId"] == resting["orderId"] + 2
        ids = [trade["id"] for trade in truth(sandbox)["accounts"][KEY]["trades"]]
        assert sorted(ids) == [1, 2, 3, 4]
    await killed.stop()


async def test_a_wipe_is_remembered_too(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    async with Sandbox(MARKET, state=path) as sandbox:
        order(sandbox, type="MARKET")
        sandbox.wipe()
        before = truth(sandbox)
    async with Sandbox(MARKET, state=path) as sandbox:
        assert truth(sandbox) == before
        assert sandbox.venue.epoch == 1
        assert not sandbox.venue.accounts[KEY].orders


async def test_a_state_of_another_replay_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    async with Sandbox(MARKET, state=tmp_path / "sandbox.db"):
        pass
    with pytest.raises(
        StoreError, match=r"is the state of another replay \(BTC/USDT 1m [0-9a-f]{12}\)\. Start with the same"
    ):
        await Sandbox(market_of(QUIET), state=tmp_path / "sandbox.db").start()
    (tmp_path / "text").write_text("not a database, whatever else it may be" * 50)
    with pytest.raises(
        StoreError, match=r"cannot be the state of a sandbox \(.*\)\. Name another file, or delete this one\."
    ):
        Sandbox(MARKET, state=tmp_path / "text")


def test_a_sandbox_in_the_background_is_controlled_from_any_thread() -> None:
    with in_background(Sandbox(MARKET, Terms(liquidity=DEEP))) as controls:
        told = controls.get("connect")
        assert told["pairs"] == ["BTC/USDT"]
        assert told["hosts"] == [
            "testnet.binance.vision",
            "stream.testnet.binance.vision",
            "ws-api.testnet.binance.vision",
        ]
        assert controls.post("step")["closed"] == {"BTCUSDT": told["start"]}
        assert controls.post("step", ticks=1)["tick"] == 1
        assert controls.post("fault", kind="hang", count=2, path="/api/v3/order")["seconds"] == 60.0
        assert controls.get("faults")["armed"] == {"hang": 2}
        assert controls.post("calm")["waiting"] == []
        assert controls.post("strike", kind="abort") == {"struck": 0}
        assert controls.post("wipe") == {"epoch": 1}
        assert controls.post("maintain", candles=2)["absent"] == [told["start"] + 120_000, told["start"] + 180_000]
        assert controls.post("status", symbol="BTC/USDT", status="BREAK")["status"] == "BREAK"
        assert controls.post("revoke", revoked=False) == {"revoked": False}
        assert controls.post("rights", may_withdraw=True) == {"may_withdraw": True}
        assert controls.post("deposit", asset="BTC", amount="0.5")["free"] == "0.5"
        assert controls.post("skew", milliseconds=60_000)["now"] > told["start"] + 120_000
        assert controls.post("liquidity", levels=3, amount="100", spread=0) == {
            "levels": 3,
            "amount": "100",
            "spread": 0,
        }
        assert controls.post("run", speed=10) == {"speed": 10.0}
        assert controls.get("state")["accounts"][KEY]["balances"]["BTC"]["free"] == "0.50000000"
    with pytest.raises(
        ExchangeUnavailable, match=r"No sandbox answers at http://127\.0\.0\.1:\d+ .*`freqlstm sandbox` starts one\."
    ):
        controls.get("state")


def test_controls_say_what_is_wrong_in_one_line() -> None:
    with in_background(Sandbox(MARKET)) as controls:
        for verb, options, said in (
            ("stepp", {}, "No control POST stepp. GET knows connect, state, faults; POST knows calm, deposit, fault,"),
            ("fault", {"kind": "hangs"}, "No fault named 'hangs'. Did you mean 'hang'?"),
            ("step", {"candle": 1}, "step: Control._do_step() got an unexpected keyword argument 'candle'."),
            ("deposit", {"asset": "BTC", "amount": "much"}, "deposit: "),
            ("status", {"symbol": "XYZUSDT", "status": "BREAK"}, "Invalid symbol."),
            ("revoke", {"key": "nobody"}, "No account has the key 'nobody'. Name one of the 1 that there are."),
            ("run", {"speed": -1}, "The speed is -1. It must be 0 (stepped) or more."),
        ):
            with pytest.raises(UsageError) as caught:
                controls.post(verb, **options)
            assert str(caught.value).startswith(said)
        with pytest.raises(UsageError, match=r"The body is '\[1\]'\. It must be a JSON object\."):
            controls._ask(
                urllib.request.Request(f"{controls.url}/control/step", data=json.dumps([1]).encode(), method="POST")
            )


def test_a_sandbox_whose_port_is_taken_says_so() -> None:
    with in_background(Sandbox(MARKET)) as controls:
        port = int(controls.url.rsplit(":", 1)[1])
        with (
            pytest.raises(UsageError, match=rf"Port {port} of 127\.0\.0\.1 is not free \(.*\)\. Choose another one\."),
            in_background(Sandbox(MARKET, port=port)),
        ):
            pass
