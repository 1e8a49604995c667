"""The journal: idempotent, durable, of one session, written by one trader."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from freqlstm.errors import JournalError
from freqlstm.paper.journal import Journal
from freqlstm.paper.records import BUY, MARKET, Balance, Candle, Fill, Intent, Order, SessionFacts, State

FACTS = SessionFacts("lstm_rsi", "d1gest", ("BTC/USDT", "ETH/USDT"), "1m", "sandbox")
CANDLE = Candle(60_000, *map(Decimal, ("1.10", "2.0", "1", "1.5", "0.00000001")))


def intent(cid: str = "a-1", quantity: str = "0.00100000") -> Intent:
    return Intent(cid, "BTC/USDT", BUY, MARKET, Decimal(quantity), 60_000, "enter_long")


def fill(trade_id: int = 1, cid: str = "a-1") -> Fill:
    amounts = (Decimal("20000.01"), Decimal("0.00100000"), Decimal("0.00000100"))
    return Fill("BTC/USDT", trade_id, cid, BUY, *amounts, "BTC", 61_000, False)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "paper" / "journal.sqlite", FACTS) as journal:
        journal.begin_epoch("start", {"USDT": Decimal("10000.00000000")}, 1)
        yield journal


def test_what_is_written_is_read_as_it_was(journal: Journal) -> None:
    order = Order(intent(), 1, State.SENT, sent_ms=60_100, window_ms=5_000)
    assert journal.add_order(order, 60_100)
    assert journal.order("a-1") == order
    assert journal.update_order("a-1", [fill()]) == (order, [fill()])
    assert journal.fills(cid="a-1") == [fill()]
    journal.add_bars({"BTC/USDT": CANDLE}, "stream", 120_001, False)
    assert journal.bars("BTC/USDT") == [CANDLE]
    assert journal.bar("BTC/USDT", 60_000) == CANDLE
    assert journal.last_bar_ms() == 60_000
    assert journal.start_balances() == {"USDT": Decimal(10_000)}


def test_the_same_fact_twice_is_one_fact(journal: Journal) -> None:
    assert journal.add_order(Order(intent(), 1, State.SENT), 1)
    assert not journal.add_order(Order(intent(quantity="9"), 1, State.INTENT), 2)
    assert [order.intent.quantity for order in journal.orders()] == [Decimal("0.001")]
    assert journal.update_order("a-1", [fill(), fill()])[1] == [fill()]
    assert journal.update_order("a-1", [fill(), fill(2)])[1] == [fill(2)]
    for _ in range(2):
        journal.add_bars({"BTC/USDT": CANDLE}, "stream", 1, False)
        journal.add_bars({"BTC/USDT": dataclasses.replace(CANDLE, close=Decimal(9))}, "rest", 2, True)
        journal.add_revision("BTC/USDT", CANDLE, "rest", 3)
        journal.add_adjustment("deposit-1", "USDT", Decimal(5), 1, "deposit")
        journal.add_predictions([("BTC/USDT", 60_000, "prediction", 0.1, "m1")])
        journal.add_decisions([("BTC/USDT", 60_000, "enter_long", "lstm", True)])
        journal.add_gap("BTC/USDT", 120_000, 1)
    assert journal.bars("BTC/USDT") == [CANDLE]
    assert journal.revisions() == [("BTC/USDT", CANDLE)]
    assert journal.adjustments() == {"USDT": Decimal(5)}
    assert journal.predictions("BTC/USDT", "prediction") == [(60_000, 0.1)]
    assert journal.decisions("BTC/USDT") == [(60_000, "enter_long", "lstm", True)]
    assert journal.last_bar_ms() == 120_000
    assert journal.day_profit("2024-01-01", Decimal(3)) == journal.day_profit("2024-01-01", Decimal(7)) == 3


def test_an_epoch_begins_anew(journal: Journal) -> None:
    journal.add_order(Order(intent(), 1, State.FILLED), 1)
    journal.update_order("a-1", [fill()])
    assert journal.begin_epoch("the exchange was reset", {"USDT": Decimal(7)}, 2) == 2
    assert journal.fills() == []
    assert journal.orders() == []
    assert journal.update_order("a-1", [fill()])[1] == [fill()]  # trade numbers begin anew too
    assert len(journal.fills(epoch=1)) == 1
    assert journal.start_balances() == {"USDT": Decimal(7)}


def test_unresolved_orders_are_those_that_something_can_still_happen_to(journal: Journal) -> None:
    for number, state in enumerate(State):
        journal.add_order(Order(intent(f"a-{number}"), 1, state), number)
    found = {order.state for order in journal.orders(unresolved=True)}
    assert found == {State.INTENT, State.SENT, State.UNKNOWN, State.OPEN, State.PARTIAL}
    changed, _ = journal.update_order("a-1", state=State.OPEN, executed=Decimal("0.10"), note="x")
    assert (changed.state, changed.executed, changed.note) == (State.OPEN, Decimal("0.1"), "x")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"strategy": "other"}, "its strategy is lstm_rsi, not other"),
        ({"pairs": ("BTC/USDT",)}, "its pairs is BTC/USDT, ETH/USDT, not BTC/USDT"),
        ({"timeframe": "5m"}, "its timeframe is 1m, not 5m"),
        ({"digest": "else"}, "its source of the strategy is d1gest, not else"),
        ({"exchange": "demo"}, "its exchange is sandbox, not demo"),
    ],
)
def test_a_journal_of_another_session_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    Journal(tmp_path / "j.sqlite", FACTS).close()
    with pytest.raises(JournalError) as caught:
        Journal(tmp_path / "j.sqlite", dataclasses.replace(FACTS, **change))  # type: ignore[arg-type]
    assert says in str(caught.value)
    Journal(tmp_path / "j.sqlite", FACTS).close()  # the refusal left it unlocked


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalError):
        Journal(path, FACTS)
    assert path.read_bytes() == b"no database at all" * 100
    sqlite3.connect(path.with_name("other.sqlite")).execute("CREATE TABLE session (only INTEGER)").connection.close()
    with pytest.raises(JournalError, match="is not a journal of this program"):
        Journal(path.with_name("other.sqlite"), FACTS)


def test_a_second_trader_on_a_journal_is_refused_and_a_reader_is_not(journal: Journal) -> None:
    program = textwrap.dedent(f"""
        from pathlib import Path
        from freqlstm.errors import JournalError
        from freqlstm.paper.journal import Journal
        from tests.paper.test_journal import FACTS
        assert Journal.read(Path({str(journal.path)!r})).epoch == 1
        try:
            Journal(Path({str(journal.path)!r}), FACTS)
        except JournalError as error:
            raise SystemExit(str(error))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stderr.startswith(f"Another trader is writing {journal.path}.")


def test_a_reader_cannot_write_and_needs_a_journal(journal: Journal, tmp_path: Path) -> None:
    with Journal.read(journal.path) as reader, pytest.raises(JournalError, match="It was opened for reading"):
        reader.update_order("a-1", [fill()])
    with pytest.raises(JournalError, match="There is no journal"):
        Journal.read(tmp_path / "none.sqlite")


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from freqlstm.paper.journal import Journal
        from freqlstm.paper.records import Order, State
        from tests.paper.test_journal import FACTS, fill, intent
        journal = Journal(Path({str(tmp_path / "j.sqlite")!r}), FACTS)
        journal.begin_epoch("start", {{}}, 1)
        journal.add_order(Order(intent(), 1, State.SENT), 1)
        journal.update_order("a-1", [fill()])
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], env={**os.environ})
    assert done.returncode == -signal.SIGKILL
    with Journal(tmp_path / "j.sqlite", FACTS) as journal:
        assert journal.orders() == [Order(intent(), 1, State.SENT)]
        assert journal.fills() == [fill()]


def test_a_full_disk_fails_the_write_and_every_one_after_it(journal: Journal) -> None:
    journal._connection.execute("PRAGMA max_page_count = 1")  # SQLite's own "disk is full"
    with pytest.raises(JournalError, match=r"database or disk is full\. Free some space or mend the disk"):
        journal.event("noise", 1, text="x" * 100_000)
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(JournalError, match="cannot be written"):
        journal.add_order(Order(intent(), 1, State.SENT), 1)
    assert journal.order("a-1") is None


def test_balances_and_events_are_kept(journal: Journal) -> None:
    journal.add_balances(5, {"BTC": Balance(Decimal("1.0"), Decimal("0.5"))}, "start")
    journal.event("halt", 5, reason="none")
    assert journal.events("halt") == [(5, "halt", {"reason": "none"})]
    assert len(journal.events()) == 1


def test_what_an_order_waits_for_does_not_grow_with_the_orders_of_before(journal: Journal) -> None:
    def steps(work: Callable[[], object]) -> int:
        """How much SQLite does, in instructions of its machine."""
        count = itertools.count()
        journal._connection.set_progress_handler(lambda: next(count) < 0, 1)
        work()
        journal._connection.set_progress_handler(None, 0)
        return next(count)

    def all_steps() -> list[int]:
        return [
            steps(lambda: journal.orders(unresolved=True)),
            steps(lambda: journal.count_orders(open_ms=60_000)),
            steps(lambda: journal.count_orders(since_ms=10**9)),
            steps(lambda: journal.fills(cid="a-1")),
        ]

    with journal.together():
        journal.add_order(Order(intent(), 1, State.OPEN, sent_ms=60_100), 60_100)
        few = all_steps()
        for number in range(500):
            old = dataclasses.replace(intent(f"b-{number}"), open_ms=120_000 + number)
            journal.add_order(Order(old, 1, State.FILLED, sent_ms=120_100), 120_100)
            journal.update_order(old.cid, [fill(number + 10, old.cid)])
    assert [order.cid for order in journal.orders(unresolved=True)] == ["a-1"]
    assert all(now <= before + 5 for now, before in zip(all_steps(), few, strict=True))
