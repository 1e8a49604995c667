"""A whole session survives what happens to its exchange, its disk and its clock: it says so, halts, and goes on."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from paper.exchange import CHURN
from paper_world import BTC, MINUTE, QUICK, START, World, agrees, until

from freqlstm.candles import Candles
from freqlstm.cli.main import main
from freqlstm.cli.paper_view import summary
from freqlstm.costs import Costs
from freqlstm.errors import PaperError
from freqlstm.paper.decision import Forecaster
from freqlstm.paper.models import Speaker
from freqlstm.paper.notify import TOLD
from freqlstm.paper.records import BUY, STOP, Order, State
from freqlstm.paper.session import Session
from freqlstm.paper.status import status_of, write_status
from freqlstm.paper_run import PaperRun, opened
from freqlstm.project import Project
from freqlstm.signal import Signal
from freqlstm.store import read_json

QUICKER = CHURN.replace("shift(9)", "shift(5)")
RUN = PaperRun(
    strategy="churn",
    parameters={"exposure": 0.2},
    costs=Costs(slippage=0.0),
    limits={"max_order": 1e6, "max_position": 1e6, "max_daily_loss": 1e6},
)
PACE = dataclasses.replace(QUICK, audit=0.3, window=0.5)


class Trading:
    """A session in a thread of its own, on the exchange of a world that the test moves on."""

    def __init__(self, world: World, session: Session, told: list[tuple[str, str]]) -> None:
        self.world, self.session, self.gateway, self.told = world, session, session.gateway, told
        self.why = ""
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, name="session")
        self.thread.start()

    def _run(self) -> None:
        try:
            self.why = self.session.run()
        except Exception as error:
            self.error = error

    def pass_bars(self, bars: int, seconds: float = 15.0) -> None:
        """The market goes on by so many candles, each when the session has done with the one before."""
        for _ in range(bars):
            self.world.step()
            self.settled(self.world.sandbox.venue.replay.open_time - MINUTE, seconds)

    def settled(self, open_ms: int, seconds: float = 15.0) -> None:
        until(lambda: self.session.settled_ms >= open_ms or not self.thread.is_alive(), seconds)
        assert self.session.settled_ms >= open_ms, (self.why, self.error, self.told)

    def ended(self, seconds: float = 15.0) -> str:
        """Why it stopped of itself."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), self.told
        return str(self.error or self.why)

    def says(self, kind: str) -> list[str]:
        return [text for one, text in self.told if one == kind]

    @property
    def orders(self) -> list[Order]:
        """What was sent in this epoch."""
        return [order for order in self.gateway.journal.orders() if order.sent_ms is not None]

    @property
    def bars(self) -> list[int]:
        """Minutes since the start of the replay, of every bar that it went through."""
        return [(entry - START) // MINUTE for entry in self.gateway.journal.decided_bars()]


@contextmanager
def session_on(world: World, root: Path, name: str = "test", run: PaperRun = RUN) -> Iterator[Trading]:
    told: list[tuple[str, str]] = []
    (root / "strategies").mkdir(exist_ok=True)
    (root / "strategies" / "churn.py").write_text(QUICKER)
    with opened(
        run, Project(root), world.target, world.keys, name, pace=PACE,
        tell=lambda kind, text: told.append((kind, text)),
    ) as session:  # fmt: skip
        trading = Trading(world, session, told)
        try:
            yield trading
        finally:
            session.stop("the test is over")
            trading.thread.join()


def test_an_exchange_that_is_killed_in_mid_session_and_started_again_is_traded_on_without_a_missing_bar(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, state=tmp_path / "exchange.sqlite")
    try:
        with session_on(world, tmp_path) as trading:
            trading.pass_bars(8)
            before = len(trading.orders)
            world.shut()
            time.sleep(0.3)
            world.open()
            until(world._listening, 15)
            trading.pass_bars(8)
            assert trading.bars == list(range(16))
            assert len(trading.orders) > before > 0
            agrees(world, trading.gateway)
    finally:
        world.close()


def test_a_stop_of_which_only_the_process_before_has_heard_is_followed_by_the_next_one(
    world: World, tmp_path: Path
) -> None:
    run = dataclasses.replace(RUN, parameters={"exposure": 0.2, "trailing_stop": 0.05})

    def resting(trading: Trading) -> list[Order]:
        return [order for order in trading.orders if order.intent.kind == STOP and order.state == State.OPEN]

    with session_on(world, tmp_path, run=run) as trading:
        for _ in range(30):
            trading.pass_bars(1)
            if resting(trading):
                break
        assert not trading.session.broker.dispatch.in_flight
    with session_on(world, tmp_path, run=run) as trading:
        until(lambda: trading.says("restart"))
        assert len(resting(trading)) == 1
        assert not trading.session.broker.dispatch.in_flight


def test_an_exchange_that_began_anew_in_the_past_halts_the_session_which_says_how_to_go_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        with session_on(world, tmp_path) as trading:
            trading.pass_bars(8)
            world.shut()
            world.open()  # and has forgotten everything
            until(lambda: trading.says("halt"), 20)
            assert re.fullmatch(
                r"The exchange's clock says 2024-01-01 01:00:\d\d UTC, before candles that it has closed; no entries until it is right\.",
                trading.says("halt")[0],
            )
            assert world.truth["orders"] == []
        with pytest.raises(PaperError) as caught, session_on(world, tmp_path):
            pass
        assert str(caught.value).startswith("The sandbox exchange's clock says 2024-01-01 01:00:0")
        assert str(caught.value).endswith(
            "and this session has seen the candle of 2024-01-01 01:07 close. If the exchange began anew in the past, begin a new "
            "session with --name; else wait until its clock is right."
        )
        with session_on(world, tmp_path, "another") as trading:
            trading.pass_bars(8)
            agrees(world, trading.gateway)
    finally:
        world.close()


def test_a_wiped_exchange_ends_the_session_and_the_next_one_trades_in_a_new_epoch(world: World, tmp_path: Path) -> None:
    with session_on(world, tmp_path) as trading:
        trading.pass_bars(8)
        assert trading.orders
        world.do(world.sandbox.wipe)
        assert trading.ended() == (
            "The exchange no longer knows orders that it had accepted: it was reset. Start again: a new epoch begins."
        )
        assert trading.session.failed
    assert world.truth["orders"] == []
    world.step(3)
    with session_on(world, tmp_path) as trading:
        trading.settled(START + 10 * MINUTE)
        assert trading.gateway.journal.epoch == 2
        trading.pass_bars(8)
        assert trading.orders
        agrees(world, trading.gateway)


def test_a_full_disk_ends_the_session_with_every_order_written_down_and_it_goes_on_when_there_is_space(
    world: World, tmp_path: Path
) -> None:
    with session_on(world, tmp_path) as trading:
        trading.pass_bars(8)
        trading.gateway.journal._connection.execute("PRAGMA max_page_count = 1")  # not one page more
        while trading.thread.is_alive():
            world.step()
            time.sleep(0.02)
        assert str(trading.error) == (
            f"{tmp_path}/paper/test/journal.sqlite cannot be written. Writing it failed: database or disk is full. Free some space "
            f"or mend the disk, then start again."
        )
        intents = {order.cid for order in trading.gateway.journal.orders()}
        sent = {row["clientOrderId"] for row in world.truth["orders"]}
        assert sent
        assert sent <= intents
    world.step(3)
    with session_on(world, tmp_path) as trading:
        newest = world.sandbox.venue.replay.open_time - MINUTE
        trading.settled(newest)
        trading.pass_bars(8)
        assert trading.bars == list(range((newest - START) // MINUTE + 9))
        agrees(world, trading.gateway)


def test_this_computers_clock_may_jump_by_an_hour_and_back_and_nothing_halts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    with session_on(world, tmp_path) as trading:
        for hours in (0, 1, -1):
            monkeypatch.setattr(time, "time", lambda hours=hours: right() + 3600 * hours)
            before = len(trading.orders)
            trading.pass_bars(8)
            time.sleep(2 * PACE.clock)  # it looks at the exchange's clock in between
            assert len(trading.orders) > before
        assert trading.says("halt") == trading.says("refusal") == []
        agrees(world, trading.gateway)


def test_while_the_exchanges_clock_is_off_by_an_hour_nothing_is_entered_and_then_it_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, speed=60.0)
    try:
        with session_on(world, tmp_path) as trading:
            trading.settled(START + 4 * MINUTE)
            for hours, says in ((1, "jumped by "), (-1, "before candles that it has closed")):
                world.sandbox.venue.replay.skew = 3_600_000 * hours
                until(lambda says=says: says in trading.gateway.health().halted)
                wrong = trading.session.settled_ms
                trading.settled(wrong + 3 * MINUTE)  # decisions are made all the same
                assert "clock" in trading.gateway.health().halted
                world.sandbox.venue.replay.skew = 0
                assert not any(order.intent.side == BUY and order.intent.open_ms > wrong for order in trading.orders)
                until(lambda: not trading.gateway.health().halted)
            assert [text[:27] for text in trading.says("halt")] == ["The exchange's clock jumped"] * len(
                trading.says("halt")
            )
            before = len(trading.orders)
            until(lambda: len(trading.orders) > before)
            trading.session.stop("that was all")
            trading.ended()
            assert trading.bars == list(range(len(trading.bars)))
            agrees(world, trading.gateway)
    finally:
        world.close()


def test_a_flatten_that_does_not_sell_everything_is_told_and_the_next_start_goes_on_with_it(
    world: World, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as pool, session_on(world, tmp_path) as trading:
        while not trading.gateway.position(BTC):
            trading.pass_bars(1)
        world.arm("thin_book", levels=1, amount=20, count=20)
        stopping = pool.submit(CliRunner().invoke, main, ["--project", str(tmp_path), "paper", "stop", "--flatten"])
        why = trading.ended()
        left = trading.gateway.position(BTC)
        assert left > Decimal("0.01")
        assert why == f"the kill switch is on: freqlstm paper stop, and there is still {left.normalize():f} BTC"
        assert trading.session.failed
        assert "not flat" in TOLD
        assert trading.says("not flat") == [
            f"It was to flatten and is not done with it: there is still {left.normalize():f} BTC."
        ]
    stopped = stopping.result()
    assert stopped.exit_code == 1
    assert stopped.stderr == (
        f"Error: Session test is stopped. It was to flatten and is not done with it: there is still {left.normalize():f} BTC. Start it "
        f"again, without --resume, to try once more.\n"
    )
    world.do(world.sandbox.venue.faults.clear)
    before = len(world.truth["orders"])
    with session_on(world, tmp_path) as trading:
        assert trading.ended() == "the kill switch is on: freqlstm paper stop"
        assert trading.gateway.position(BTC) < Decimal("0.001")
        assert not trading.session.failed
        assert [row["side"] for row in world.truth["orders"][before:]] == ["SELL"]
        agrees(world, trading.gateway)


class Mute(Signal):
    """Has nothing to say of any symbol."""

    def predict(self, candles: Candles) -> pd.Series:
        raise AssertionError("it is not asked")

    def speaks_for(self, symbol: str) -> bool:
        return False


def test_every_model_that_speaks_is_written_down_once_with_its_digest_also_the_one_that_a_session_begins_with(
    world: World, tmp_path: Path
) -> None:
    with session_on(world, tmp_path) as trading:
        session, since = trading.session, pd.Timestamp(START, unit="ms", tz="UTC")
        for model in ("first", "first", "second"):
            forecaster = Forecaster(Mute(), "prediction")
            session.models.speakers["prediction"] = Speaker(forecaster, model, since, f"digest of {model}")
            trading.pass_bars(1)
        assert trading.gateway.journal.models() == [
            ("first", "BTC/USDT", START, "digest of first"),
            ("second", "BTC/USDT", START + 2 * MINUTE, "digest of second"),
        ]
        assert len(trading.says("model")) == 2
        session.models.problems["prediction"] = "The disk is full."
        trading.pass_bars(2)
        assert trading.says("model")[2:] == ["prediction goes on with the model that it has: The disk is full."]


def test_the_status_says_how_much_of_each_limit_is_used(world: World, tmp_path: Path) -> None:
    with session_on(world, tmp_path) as trading:
        while not trading.gateway.position(BTC):
            trading.pass_bars(1)
        write_status(tmp_path, {**status_of(trading.session, "test"), "running": True})
        limits = read_json(tmp_path / "status.json")["limits"]
        price = trading.gateway.last_price(BTC)
        assert price is not None
        worth = trading.gateway.position(BTC) * price
        assert Decimal(limits["position"]) == worth > 1900
        assert 0 < Decimal(limits["loss_today"]) < 20  # it has paid commission
        assert limits["orders_in_bar"] == limits["orders_in_hour"] == "1"
        (line,) = [line for line in summary(status_of(trading.session, "test")) if line.startswith("limits: ")]
        assert line == (
            f"limits: 1 of 12 orders of this bar, 1 of 240 of this hour; position {worth:,.2f} of 1,000,000.00; lost today "
            f"{Decimal(limits['loss_today']):,.2f} of 1,000,000.00"
        )
