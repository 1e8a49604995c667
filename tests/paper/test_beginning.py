"""What keeps a session from beginning: one clear line each."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import re
import time
from pathlib import Path

import pytest
from paper_world import World

from freqlstm.errors import ExchangeUnavailable, FreqlstmError, KeysError, PaperError, UnknownMarket, UnknownName
from freqlstm.paper import target as targets
from freqlstm.paper.keys import Keys, guard_logs, hide, read_keys
from freqlstm.paper.target import DEMO_HOSTS, TESTNET_HOSTS, Target, target

KEY, SECRET = "k" * 60 + "KEYS", "s" * 58 + "SECRET"


def said(work: object, *arguments: object, **options: object) -> str:
    with pytest.raises(FreqlstmError) as caught:
        work(*arguments, **options)  # type: ignore[operator]
    text = str(caught.value)
    assert "\n" not in text
    assert KEY not in text
    assert SECRET not in text
    return text


# Keys


def test_keys_come_from_the_environment(tmp_path: Path) -> None:
    keys = read_keys(environment={"FREQLSTM_API_KEY": KEY, "FREQLSTM_API_SECRET": SECRET})
    assert (keys.key, keys.secret) == (KEY, SECRET)
    assert said(read_keys, environment={}).startswith("There are no API keys. Put them into FREQLSTM_API_KEY and")
    assert said(read_keys, environment={"FREQLSTM_API_KEY": KEY}).startswith("There is no API secret.")
    assert "is incomplete" in said(read_keys, environment={"FREQLSTM_API_KEY": "abc", "FREQLSTM_API_SECRET": SECRET})


def test_keys_come_from_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    assert said(read_keys, path).startswith(f"There is no file {path}.")
    path.write_text(f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n')
    path.chmod(0o644)
    assert said(read_keys, path) == f"{path} can be read by others (mode 644). Run: chmod 600 {path}"
    path.chmod(0o600)
    assert read_keys(path) == Keys(KEY, SECRET)
    path.write_text(f"api_key = {KEY}")
    assert said(read_keys, path).startswith(f"{path} is not a TOML file with the lines")
    path.write_text("api_key = 12345678\napi_secret = 5")
    assert "are not text" in said(read_keys, path)


def test_keys_are_seen_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys(KEY, SECRET)
    assert repr(keys) == str(keys) == "Keys([hidden])"
    signed = f"https://testnet.binance.vision/api/v3/order?symbol=BTCUSDT&signature={'0' * 64}"
    assert hide(f"{signed} {KEY}") == (
        "https://testnet.binance.vision/api/v3/order?symbol=BTCUSDT&signature=[hidden] [hidden]"
    )
    guard_logs()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("any library").debug("%s with %s", signed, {"X-MBX-APIKEY": KEY})
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("any library").exception("failed")
    assert KEY not in caplog.text
    assert SECRET not in caplog.text
    assert "0" * 64 not in caplog.text


def test_keys_are_neither_in_the_journal_nor_in_the_log_of_a_whole_session(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world.arm("subscribe", code=-2015, message="Invalid API-key, IP, or permissions for action.")
    world.arm("drop", path="/api/v3/account")
    gateway = world.gateway()
    world.release(gateway)
    files = [path.read_bytes() for path in world.folder.rglob("*") if path.is_file()]
    assert len(files) >= 2
    for secret in (world.keys.key, world.keys.secret):
        assert secret not in caplog.text
        assert not any(secret.encode() in content for content in files)
    assert "X-MBX-APIKEY" in caplog.text  # ccxt did log its headers


def test_wrong_keys_are_refused(world: World) -> None:
    assert said(world.gateway, keys=Keys("w" * 64, SECRET)).startswith(
        "The sandbox exchange refuses these API keys (-2015 Invalid API-key, IP, or permissions for action). "
        "Use the keys that `freqlstm sandbox` printed"
    )
    assert "(-1022 " in said(world.gateway, "other", keys=Keys(world.keys.key, SECRET))


def test_keys_of_the_live_exchange_are_told_where_to_go() -> None:
    from freqlstm.paper.recovery import _where

    assert _where(target("testnet")) == (
        "Keys of the live exchange do not work there, and must not: make some at https://testnet.binance.vision."
    )


def test_keys_that_may_withdraw_are_refused(world: World) -> None:
    (account,) = world.sandbox.venue.accounts.values()
    account.may_withdraw = True
    assert said(world.gateway).startswith(
        "These API keys belong to an account that may withdraw at the sandbox exchange."
    )
    world.gateway("other", may_withdraw=True)


# Where orders may go


def test_only_the_testnet_the_demo_exchange_and_this_machine_are_targets() -> None:
    assert target("testnet").hosts == TESTNET_HOSTS
    assert target("demo").hosts == DEMO_HOSTS
    for name in ("binance", "live", "mainnet"):
        with pytest.raises(PaperError, match="is live: orders there cost real money"):
            target(name)
    with pytest.raises(UnknownName, match="Did you mean 'testnet'"):
        target("tesnet")
    with pytest.raises(PaperError, match=r"^api\.binance\.com is not an exchange for paper trading\."):
        Target("testnet", frozenset({"api.binance.com"}))
    with pytest.raises(PaperError, match="is not on this machine"):
        Target("sandbox", TESTNET_HOSTS, ("93.184.216.34", 443))
    with pytest.raises(PaperError, match="is not on this machine"):
        targets.sandbox("http://example.org:8080")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.binance.com/api/v3/time", "https://93.184.216.34/api/v3/time", "https://127.0.0.1:9/", "https://[::1]:9/",
        "http://testnet.binance.vision/api/v3/time", "https://stream.binance.com/", "https://localhost/",
    ],
)  # fmt: skip
def test_no_other_host_can_be_reached_by_name_or_by_number(world: World, url: str) -> None:
    import asyncio

    import aiohttp

    async def ask() -> None:
        async with aiohttp.ClientSession(connector=world.target.connector()) as session:
            await session.get(url)

    with pytest.raises(OSError, match=r"must not be contacted|is not a host"):
        asyncio.run(ask())


def test_ccxt_itself_cannot_reach_the_live_exchange(world: World) -> None:
    import ccxt

    gateway = world.gateway()
    client = gateway._room.client
    client.urls["api"] = {**client.urls["api"], "public": "https://api.binance.com/api/v3"}
    with pytest.raises(ccxt.BaseError):
        gateway._ask(client.fetch_time())
    with pytest.raises(ccxt.NotSupported):
        gateway._ask(client.sapi_get_account_apirestrictions())


# The exchange


def test_a_pair_that_is_not_listed_is_refused_with_the_nearest(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        world.pairs = ("BTC/USTD",)
        with pytest.raises(UnknownMarket) as caught:
            world.gateway()
        assert str(caught.value) == "The sandbox exchange does not list 'BTC/USTD'. Did you mean 'BTC/USDT'?"
    finally:
        world.close()


def test_a_pair_that_is_halted_is_refused(world: World) -> None:
    world.do(lambda: world.sandbox.venue.set_status("BTCUSDT", "HALT"))
    assert said(world.gateway).startswith("BTC/USDT is halted at the sandbox exchange (status HALT).")


def test_no_network_is_one_line(world: World) -> None:
    world.shut()
    with pytest.raises(ExchangeUnavailable) as caught:
        world.gateway()
    assert str(caught.value).startswith("The sandbox exchange cannot be reached (")
    assert "Check the network" in str(caught.value)
    with pytest.raises(ExchangeUnavailable, match="No sandbox answers at http://127"):
        targets.sandbox(f"http://127.0.0.1:{world._ports['port']}")
    world.open()


def test_a_wall_clock_that_is_off_changes_nothing_and_is_written_down(world: World) -> None:
    gateway = world.gateway()  # whose exchange lives in January 2024
    (start,) = gateway.journal.events("start")
    assert abs(start[2]["wall_clock_off_ms"]) > 60_000
    assert abs(gateway.now_ms() - world.now) < 1000
    assert gateway.clock_warning() == ""
    gateway._room.target = dataclasses.replace(world.target, name="testnet")
    assert re.fullmatch(
        r"This computer's clock is [\d,.]+ s ahead of the exchange's\. The exchange's is used; set this one right all the same\.",
        gateway.clock_warning(),
    )


def test_two_traders_on_one_journal_are_refused(world: World) -> None:
    world.gateway()
    assert said(world.gateway).startswith("Another trader is writing ")


def test_keys_error_is_a_paper_error() -> None:
    assert issubclass(KeysError, PaperError)


def test_the_client_hides_nothing_of_ccxt_but_what_it_means_to() -> None:
    import ccxt.pro

    from freqlstm.paper.client import Client

    made = [value for value in vars(Client).values() if getattr(value, "__module__", "") == Client.__module__]
    ours = {value.__name__ for value in made}  # ccxt adds the same methods under other spellings
    assert {name for name in ours if hasattr(ccxt.pro.binance, name)} == {
        "__init__", "nonce", "handle_errors", "get_exceptions_by_url", "is_spot_url", "handle_message", "handle_ohlcv",
        "handle_order_update", "handle_balance", "handle_user_data_stream_subscribe", "handle_event_stream_terminated",
        "on_connected",
    }  # fmt: skip


def test_a_start_that_is_interrupted_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.arm("slow_answer", path="/api/v3/account", seconds=0.5)
    gateway = world.gateway(started=False)

    def interrupted(self: object, timeout: float | None = None) -> None:
        time.sleep(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures.Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gateway.start()
    monkeypatch.undo()
    assert gateway._thread is None
