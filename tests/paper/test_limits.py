"""Risk limits, the kill switch, the exchange's own limits, the clock, and what is certain about a failed request."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import ccxt
import pytest

from freqlstm.errors import UsageError
from freqlstm.paper.breaker import Breaker
from freqlstm.paper.clock import Clock
from freqlstm.paper.limits import KillSwitch, Limits, Standing, Stop
from freqlstm.paper.outcome import Answer, CallFailed, Outcome, judge
from freqlstm.paper.records import BUY, LIMIT, MARKET, SELL, STOP, Intent

CALM = Standing(Decimal(20_000), 0.1, Decimal(0), Decimal(0), 0, 0)
ENTRY = Intent("a", "BTC/USDT", BUY, MARKET, Decimal("0.1"), 0)
EXIT = dataclasses.replace(ENTRY, side=SELL, reduces=True)


@pytest.mark.parametrize(
    ("entry", "standing", "says"),
    [
        ({}, {}, ""),
        ({"quantity": Decimal(1)}, {}, "worth 20000: max_order is 10000"),
        ({}, {"position": Decimal("0.45")}, "the position would be worth 11000: max_position is 10000"),
        ({}, {"loss_today": Decimal(500)}, "500 was lost since 00:00 UTC: max_daily_loss is 500"),
        ({}, {"orders_in_bar": 12}, "12 orders were sent for this bar: max_orders_per_bar is 12"),
        ({}, {"orders_in_hour": 240}, "240 orders were sent within an hour: max_orders_per_hour is 240"),
        ({"kind": LIMIT, "limit_price": Decimal(17_000)}, {}, "17000 is 15.0% away from the last price 20000: max_distance is 10.0%"),
        ({}, {"last": None}, "there is no last price yet"),
        ({}, {"last_age_bars": 2.5}, "the last price is 2.5 bars old"),
    ],
)  # fmt: skip
def test_each_limit_holds_an_entry_back(entry: dict[str, object], standing: dict[str, object], says: str) -> None:
    wanted = dataclasses.replace(ENTRY, **entry)  # type: ignore[arg-type]
    assert Limits().refusal(wanted, dataclasses.replace(CALM, **standing)) == says  # type: ignore[arg-type]


def test_an_exit_that_rests_is_held_back_by_the_counts_alone_and_one_at_the_market_by_nothing() -> None:
    grave = dataclasses.replace(CALM, loss_today=Decimal(10**6), position=Decimal(50), last_age_bars=99)
    resting = dataclasses.replace(EXIT, kind=STOP, stop_price=Decimal(9))
    assert Limits().refusal(resting, grave) == Limits().refusal(EXIT, grave) == ""
    for count, limit in (("orders_in_hour", "max_orders_per_hour"), ("orders_in_bar", "max_orders_per_bar")):
        many = dataclasses.replace(grave, **{count: 999})
        assert limit in Limits().refusal(resting, many)
        assert Limits().refusal(EXIT, many) == ""


def test_a_limit_must_be_above_zero() -> None:
    with pytest.raises(UsageError, match=r"The limit max_order is 0\. It must be a number above 0\."):
        Limits(max_order=Decimal(0))


# The kill switch


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("", (Stop.KEEP, "the file {} is there")), ("flatten\n", (Stop.FLATTEN, "the file {} is there")),
        ("Cancel\nI said so\n", (Stop.CANCEL, "I said so")), ("nonsense", (Stop.KEEP, "the file {} is there")),
    ],
)  # fmt: skip
def test_a_file_trips_the_switch_whoever_wrote_it(tmp_path: Path, text: str, state: tuple[Stop, str]) -> None:
    switch = KillSwitch(tmp_path / "stop")
    assert switch.state is None
    (tmp_path / "stop").write_text(text)
    assert switch.state == (state[0], state[1].format(tmp_path / "stop"))
    (tmp_path / "stop").unlink()
    assert switch.state is None


def test_the_switch_stays_on_after_a_restart_and_where_it_cannot_be_written(tmp_path: Path) -> None:
    KillSwitch(tmp_path / "stop").trip(Stop.CANCEL, "enough")
    assert KillSwitch(tmp_path / "stop").state == (Stop.CANCEL, "enough")
    (tmp_path / "file").write_text("")
    switch = KillSwitch(tmp_path / "file" / "stop")
    switch.trip(Stop.FLATTEN, "enough")
    assert switch.state is not None
    assert switch.state[0] == Stop.FLATTEN
    switch = KillSwitch(tmp_path / "stop")
    switch.reset()
    assert switch.state is None


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("signals")
def test_a_signal_trips_the_switch(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path / "stop")
    switch.obey_signals({signal.SIGUSR1: Stop.FLATTEN})
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.01)
    assert switch.state == (Stop.FLATTEN, "the process received SIGUSR1")


# The exchange's limits


class Ticks:
    """Seconds that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_exchange_that_asks_to_wait_is_obeyed_to_the_second() -> None:
    ticks = Ticks()
    breaker = Breaker(ticks=ticks)
    breaker.note(Answer(429, -1003, headers={"retry-after": "7"}))
    assert breaker.seconds == 7
    ticks.now += 3
    breaker.note(Answer(429, -1003, headers={"Retry-After": "1"}))  # a shorter wait does not end a longer one
    assert breaker.wait_for(1, urgent=True) == 4
    breaker.note(Answer(418))
    assert breaker.seconds == 120
    ticks.now += 121
    assert breaker.wait_for(1, urgent=True) == 0


def test_questions_leave_room_for_orders_within_the_weight_of_a_minute() -> None:
    ticks = Ticks()
    breaker = Breaker(limit=1000, ticks=ticks)
    breaker.note(Answer(200, headers={"x-mbx-used-weight-1m": "590"}))
    assert breaker.wait_for(10, urgent=False) == 0
    assert breaker.wait_for(11, urgent=False) == 60
    assert breaker.wait_for(11, urgent=True) == 0
    ticks.now += 60
    assert breaker.wait_for(11, urgent=False) == 0
    assert breaker.used == 0


def test_requests_that_wait_together_do_not_all_pass_at_once() -> None:
    breaker = Breaker(limit=100)
    breaker._until = breaker._ticks() + 0.05

    async def passed() -> int:
        questions = [asyncio.ensure_future(breaker.wait(20)) for _ in range(10)]
        done, waiting = await asyncio.wait(questions, timeout=0.3)
        for one in waiting:
            one.cancel()
        return len(done)

    assert asyncio.run(passed()) == 3


def test_a_minute_without_answers_is_counted_from_its_first_request() -> None:
    ticks = Ticks()
    breaker = Breaker(limit=100, ticks=ticks)
    ticks.now += 600
    for _ in range(3):
        asyncio.run(breaker.wait(20))
    assert breaker.wait_for(20, urgent=False) == 60
    ticks.now += 60
    assert breaker.wait_for(20, urgent=False) == 0


# The clock


def test_the_clock_is_the_exchanges_and_goes_at_its_speed() -> None:
    ticks = Ticks()
    clock = Clock(speed=60, ticks=ticks)
    clock.correct(1_000_000, ticks.now, ticks.now)
    ticks.now += 1
    assert clock.now_ms() == 1_060_000
    clock.at_least(1_050_000)
    assert clock.now_ms() == 1_060_000
    clock.at_least(1_070_000)
    assert clock.now_ms() == 1_070_000


def test_a_jump_is_what_the_way_there_and_back_does_not_explain() -> None:
    ticks = Ticks()
    clock = Clock(ticks=ticks)
    clock.correct(5_000, 100, 100)
    assert clock.jump_ms == 0  # the first time it is only set
    ticks.now = 104
    clock.correct(8_000, 102, 104)  # within the second on the way
    assert clock.now_ms() == 9_000
    assert clock.jump_ms == 0
    clock.correct(3_609_000, 104, 104)
    assert clock.jump_ms == 3_600_000
    assert clock.now_ms() == 3_609_000
    clock.correct(3_609_000, 104, 104)
    assert clock.jump_ms == 0
    clock.at_least(7_209_000)  # a message of the exchange tells of a jump before anybody looks
    clock.correct(7_209_000, 104, 104)
    assert clock.jump_ms == 3_600_000
    clock.correct(7_209_000, 104, 104)
    assert clock.jump_ms == 0


# What is certain


def unconnected() -> Exception:
    error = ccxt.ExchangeNotAvailable("binance POST ...")
    key = SimpleNamespace(ssl=True, host="testnet.binance.vision", port=443)
    error.__cause__ = aiohttp.ClientConnectorError(key, OSError("refused"))  # type: ignore[arg-type]
    return error


@pytest.mark.parametrize(
    ("answer", "error", "outcome"),
    [
        (Answer(400, -2010, "insufficient balance"), ccxt.InsufficientFunds(), Outcome.REJECTED),
        (Answer(400, -1013, "Filter failure: NOTIONAL"), ccxt.BadRequest(), Outcome.REJECTED),
        (Answer(401, -2015, "Invalid API-key"), ccxt.DDoSProtection(), Outcome.REJECTED),
        (Answer(429), ccxt.DDoSProtection(), Outcome.REJECTED),
        (Answer(400, -1007, "Timeout"), ccxt.RequestTimeout(), Outcome.UNKNOWN),
        (Answer(400, -1001, "disconnected"), ccxt.OperationFailed(), Outcome.UNKNOWN),
        (Answer(503, -1008, "overloaded"), ccxt.OperationFailed(), Outcome.UNKNOWN),
        (Answer(502), ccxt.ExchangeNotAvailable(), Outcome.UNKNOWN),
        (Answer(403), ccxt.RateLimitExceeded(), Outcome.UNKNOWN),
        (Answer(524), None, Outcome.UNKNOWN),
        (Answer(200), None, Outcome.UNKNOWN),
        (Answer(), ccxt.RequestTimeout(), Outcome.UNKNOWN),
        (Answer(), ccxt.ExchangeNotAvailable(), Outcome.UNKNOWN),
        (Answer(), unconnected(), Outcome.NOT_SENT),
    ],
)
def test_only_what_is_certain_is_called_so(answer: Answer, error: Exception | None, outcome: Outcome) -> None:
    assert judge(answer, error) == outcome
    assert CallFailed("order", answer, error).outcome == outcome
