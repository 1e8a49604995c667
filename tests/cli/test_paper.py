"""``freqlstm paper``: a session from the command line, what others see of it, and what keeps it from beginning."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import Result
from conftest import make_candles
from paper.exchange import CHURN, Floor
from terminal import command, environment

from freqlstm.candles import Candles
from freqlstm.paper.journal import Journal
from freqlstm.paper.limits import KillSwitch, Stop
from freqlstm.paper.status import read_status
from freqlstm.paper.target import TARGETS, Target

Freqlstm = Callable[..., Result]
START = 300
BROKEN = '''"""Fails on its third bar."""

import backtrader as bt


class Broken(bt.Strategy):
    def next(self):
        if len(self) == 3:
            raise KeyError("oops")
'''


@pytest.fixture(scope="module")
def market() -> dict[str, Candles]:
    candles = make_candles(600, seed=9)
    return {"BTC/USDT": Candles.from_frame((candles.frame * [1, 1, 1, 1, 100]).round(2), "BTC/USDT", "1m")}


@pytest.fixture
def floor(market: dict[str, Candles]) -> Iterator[Floor]:
    with Floor(market, start=int(market["BTC/USDT"].time[START].timestamp() * 1000)) as made:
        yield made


@pytest.fixture
def strategies(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "churn.py").write_text(CHURN)
    (tmp_path / "strategies" / "broken.py").write_text(BROKEN)


@contextmanager
def passing(floor: Floor, folder: Path, bars: int, then: Callable[[], None]) -> Iterator[None]:
    """The market goes on by so many candles while the block runs, each when the session has said that it is done with one."""

    def said() -> int:
        try:
            status = read_status(folder)
        except Exception:
            return -1
        return int(status.get("bars", -1))

    def work() -> None:
        until = time.monotonic() + 60
        while said() < 0 and time.monotonic() < until:
            time.sleep(0.05)
        first = said()
        for bar in range(bars):
            floor.wait(floor.sandbox.step())
            while said() < first + bar + 1 and time.monotonic() < until:
                time.sleep(0.01)
        then()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


def churning(floor: Floor) -> tuple[str, ...]:
    """The command of a session of the strategy churn."""
    given = {"--exchange": "sandbox", "--sandbox": floor.sandbox.url, "--strategy": "churn", "--slippage": "0"}
    return "paper", *(word for option in given.items() for word in option)


@pytest.mark.usefixtures("strategies")
def test_a_session_trades_is_seen_by_others_goes_on_is_stopped_and_reconciled(
    freqlstm: Freqlstm, floor: Floor, tmp_path: Path
) -> None:
    folder = tmp_path / "paper" / "churn-sandbox"
    command = churning(floor)
    seen: dict[str, object] = {}

    def look() -> None:
        seen.update(read_status(folder))
        KillSwitch(folder / "stop").trip(Stop.FLATTEN, "freqlstm paper stop")

    with passing(floor, folder, 25, look):
        ended = freqlstm(*command)
    assert ended.exit_code == 0, ended.stderr
    assert "fill: BTC/USDT: bought" in ended.stderr
    assert "Session churn-sandbox has ended: the kill switch is on: freqlstm paper stop." in ended.stderr
    assert seen["running"] is True
    assert (seen["bars"], seen["exchange"], seen["strategy"]) == (25, "sandbox", "churn")
    status = json.loads(freqlstm("paper", "status", "--json").stdout)
    assert (status["running"], status["name"]) == (False, "churn-sandbox")
    table = freqlstm("paper", "status").stdout
    assert table.startswith("not running, as of 2024-01-01")
    assert "BTC/USDT" in table
    (account,) = floor.sandbox.venue.truth()["accounts"].values()
    assert float(account["balances"].get("BTC", {"free": "0"})["free"]) < 0.01, "it was sold"

    obeyed = freqlstm(*command)  # without --resume it looks whether anything is left to be sold, and trades nothing
    assert obeyed.exit_code == 0, obeyed.stderr
    assert "has ended: the kill switch is on: freqlstm paper stop.\n--resume lets it trade again." in obeyed.stderr
    KillSwitch(folder / "stop").trip(Stop.KEEP, "freqlstm paper stop")
    refused = freqlstm(*command)
    assert refused.exit_code == 1
    assert "The kill switch of session churn-sandbox is on (freqlstm paper stop). Delete" in refused.stderr

    with passing(floor, folder, 10, lambda: KillSwitch(folder / "stop").trip()):
        again = freqlstm(*command, "--resume")
    assert "restart: Went through 25 bars again" in again.stderr
    told = json.loads(freqlstm("paper", "reconcile", "--json").stdout)
    assert told["bars"] == 35
    assert told["decisions_equal"] == told["decisions_compared"] == 35
    assert Path(told["tearsheet"]).read_text().startswith("<!DOCTYPE html>")
    shown = freqlstm("paper", "reconcile").stdout
    assert "churn-sandbox: 35 bars; 35 of 35 decisions are those of the backtest" in shown
    assert "the session's own fills" in shown
    assert freqlstm("paper", "stop").stdout == "Session churn-sandbox is stopped. --resume lets it trade again.\n"
    for secret in floor.sandbox.venue.terms.keys.values():
        for file in folder.rglob("*"):
            assert file.is_dir() or secret.encode() not in file.read_bytes(), file


def bought(floor: Floor, process: subprocess.Popen[str], folder: Path) -> Decimal:
    """What the account holds as soon as the session of that process has bought something; the market goes on until then."""
    until = time.monotonic() + 60
    bars = -1
    while held(floor) < Decimal("0.01") and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        status = read_status(folder) if (folder / "status.json").is_file() else {}
        if status.get("pid") == process.pid and status.get("bars", -1) > bars:
            bars = status["bars"]
            floor.wait(floor.sandbox.step())
        time.sleep(0.01)
    return held(floor)


def held(floor: Floor) -> Decimal:
    (account,) = floor.sandbox.venue.truth()["accounts"].values()
    balance = account["balances"].get("BTC", {"free": "0", "locked": "0"})
    return Decimal(balance["free"]) + Decimal(balance["locked"])


@pytest.mark.usefixtures("strategies")
def test_a_signal_to_the_process_sells_what_the_session_holds_and_ends_it(floor: Floor, tmp_path: Path) -> None:
    arguments = churning(floor)
    with subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert bought(floor, process, tmp_path / "paper" / "churn-sandbox") >= Decimal("0.01")
        process.send_signal(signal.SIGUSR2)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert "has ended: the kill switch is on: the process received SIGUSR2." in told
    assert held(floor) < Decimal("0.01")


@pytest.mark.usefixtures("strategies")
def test_a_strategy_that_fails_inside_next_ends_the_session_in_one_line(
    freqlstm: Freqlstm, floor: Floor, tmp_path: Path
) -> None:
    with passing(floor, tmp_path / "paper" / "broken-sandbox", 2, lambda: floor.wait(floor.sandbox.step())):
        ended = freqlstm("paper", "--exchange", "sandbox", "--sandbox", floor.sandbox.url, "--strategy", "broken")
    assert ended.exit_code == 1
    assert "Error: Broken stopped at line 9 of its file with KeyError: 'oops'." in ended.stderr


def test_what_cannot_be_is_said_in_one_line(freqlstm: Freqlstm, monkeypatch: pytest.MonkeyPatch, floor: Floor) -> None:
    for name in ("FREQLSTM_API_KEY", "FREQLSTM_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    there = ("--exchange", "sandbox", "--sandbox", floor.sandbox.url)
    for arguments, message in (
        (("-s", "rsi_bollinger"), "There are no API keys."),
        (("-s", "rsi_bollinger", "--exchange", "binance"), "is not one of 'testnet', 'demo', 'sandbox'"),
        ((), "No strategy is named."),
        (("-s", "rsi_bollinger", "--limit", "max_orders=3", *there), "No limit named 'max_orders'. Did you mean 'max_order'?"),
        (("-s", "rsi_bollinger", "--limit", "max_order=much", *there), "The limit max_order is 'much'. It must be a number."),
        (("-s", "rsi_bollinger", "--cash", "50000", *there), "The account has 10,000.00 USDT, and the session is to trade with 50,000.00."),
        (("-s", "rsi_bollinger", "-p", "BTC/USDT", "-p", "XRP/USDT", *there), "does not list 'XRP/USDT'"),
        (("-s", "rsi_bollinger", "--exchange", "sandbox", "--sandbox", "http://127.0.0.1:9"), "No sandbox answers at http://127.0.0.1:9"),
    ):  # fmt: skip
        ended = freqlstm("paper", *arguments)
        assert ended.exit_code in (1, 2), arguments
        assert message in ended.stderr, ended.stderr
        assert len(ended.stderr.strip().splitlines()[-1:]) == 1
    assert "No session named 'x'. Known: rsi_bollinger-sandbox." in freqlstm("paper", "status", "--name", "x").stderr


def test_the_keys_of_a_sandbox_that_shows_none_come_from_the_environment(
    freqlstm: Freqlstm, market: dict[str, Candles], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FREQLSTM_API_KEY", "FREQLSTM_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with Floor(market, keys={"k" * 64: "s" * 64}) as floor:
        asked = (
            "paper",
            "-s",
            "rsi_bollinger",
            "-p",
            "XRP/USDT",
            "--exchange",
            "sandbox",
            "--sandbox",
            floor.sandbox.url,
        )
        assert "Error: There are no API keys." in freqlstm(*asked).stderr
        monkeypatch.setenv("FREQLSTM_API_KEY", "k" * 64)
        monkeypatch.setenv("FREQLSTM_API_SECRET", "s" * 64)
        assert "does not list 'XRP/USDT'" in freqlstm(*asked).stderr


@pytest.fixture
def testnet(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The sandbox answers where the testnet would."""
    made = replace(floor.connect()[0], name="testnet")
    monkeypatch.setitem(TARGETS, "testnet", made)
    (key, secret), *_ = floor.sandbox.venue.terms.keys.items()
    monkeypatch.setenv("FREQLSTM_API_KEY", key)
    monkeypatch.setenv("FREQLSTM_API_SECRET", secret)
    return made


def one_line(ended: Result) -> str:
    """The only line that it wrote, of an error that the user can put right."""
    assert ended.exit_code == 1, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("Warning:")]
    return line


def test_keys_that_are_refused_or_may_do_too_much_are_said_in_one_line(
    freqlstm: Freqlstm, floor: Floor, testnet: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("paper", "-s", "rsi_bollinger")
    (account,) = floor.sandbox.venue.accounts.values()
    account.may_withdraw = True
    assert one_line(freqlstm(*command)) == (
        "Error: These API keys belong to an account that may withdraw at the testnet exchange. Use keys without that right: trading on "
        "paper never needs it."
    )
    monkeypatch.setenv("FREQLSTM_API_SECRET", "w" * 64)
    assert "refuses these API keys (-1022 Signature for this request is not valid)." in one_line(freqlstm(*command))
    monkeypatch.setenv("FREQLSTM_API_KEY", "L" * 64)
    assert one_line(freqlstm(*command)) == (
        "Error: The testnet exchange refuses these API keys (-2015 Invalid API-key, IP, or permissions for action). Keys of the live "
        "exchange do not work there, and must not: make some at https://testnet.binance.vision."
    )


def test_a_halted_pair_and_a_network_that_is_down_are_said_in_one_line(
    freqlstm: Freqlstm, floor: Floor, testnet: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("paper", "-s", "rsi_bollinger")
    floor.do(lambda: floor.sandbox.venue.set_status("BTCUSDT", "HALT"))
    assert one_line(freqlstm(*command)) == (
        "Error: BTC/USDT is halted at the testnet exchange (status HALT). Wait, or choose another pair."
    )
    monkeypatch.setitem(TARGETS, "testnet", replace(testnet, address=("127.0.0.1", 9)))
    unreached = one_line(freqlstm(*command))
    assert unreached.startswith("Error: The testnet exchange cannot be reached (publicGetTime: ")
    assert unreached.endswith("). Check the network and, for a sandbox, that it runs.")


@pytest.mark.usefixtures("strategies", "testnet")
def test_a_clock_an_order_and_a_journal_that_do_not_fit_are_said_in_one_line(
    freqlstm: Freqlstm, floor: Floor, tmp_path: Path
) -> None:
    folder = tmp_path / "paper" / "small"
    command = ("paper", "--name", "small", "--cash", "4", "-s")
    with passing(floor, folder, 12, lambda: KillSwitch(folder / "stop").trip()):
        ended = freqlstm(*command, "churn")
    assert ended.exit_code == 0, ended.stderr
    lines = ended.stderr.splitlines()
    assert any(
        re.fullmatch(r"refusal: BTC/USDT enter_long: worth 3\.\d+, below the minimum notional of 5", line)
        for line in lines
    ), ended.stderr
    (clock,) = [line for line in lines if line.startswith("This computer's clock is ")]
    assert clock.endswith(" s ahead of the exchange's. The exchange's is used; set this one right all the same.")

    other = one_line(freqlstm(*command, "rsi_bollinger", "--resume"))
    assert other == (
        f"Error: {folder / 'journal.sqlite'} belongs to another session: its strategy is churn, not rsi_bollinger. Choose another session "
        f"name, or go on with what it was begun with."
    )
    with Journal(folder / "journal.sqlite", Journal.read(folder / "journal.sqlite").facts):
        assert one_line(freqlstm(*command, "churn", "--resume")) == (
            f"Error: Another trader is writing {folder / 'journal.sqlite'}. Stop it with `freqlstm paper stop`, or start this one with "
            f"another session name."
        )
