"""Candles and other files outlive crashes, full disks, forbidden folders and other processes."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freqlstm import files, place
from freqlstm.candles import Candles
from freqlstm.errors import NoCandles, StoreError, UsageError
from freqlstm.store import (
    CandleStore,
    Project,
    StoredSeries,
    atomic_folder,
    read_json,
    read_table,
    write_json,
    write_table,
    write_text,
)

BTC = "BINANCE_BTCUSDT_1m_20210101_20231231.parquet"
OFF_GRID = "BINANCE_BTCUSDT_1m_20171201_20180228_offgrid.parquet"
START = pd.Timestamp("2024-01-31 23:30", tz="UTC")  # so that an hour of minutes lies in two months
MINUTE = pd.Timedelta(minutes=1)
SERIES = ("binance", "BTC/USDT", "1m")
ROOT = Path(__file__).resolve().parents[1]


def minutes_of(numbers: list[int], price: float = 100.0) -> Candles:
    """Candles that open these minutes after START, each with values of its own."""
    number = np.array(numbers, dtype=float)
    values = {"open": price, "high": price + 1, "low": price - 1, "close": price + number / 1e6, "volume": 1 + number}
    index = pd.DatetimeIndex([START + MINUTE * each for each in numbers], tz="UTC")
    return Candles.from_frame(pd.DataFrame(values, index=index), "BTC/USDT", "1m", "binance")


def stored_minutes(store: CandleStore) -> list[int]:
    try:
        return ((store.read(*SERIES).time - START) // MINUTE).tolist()
    except NoCandles:
        return []


def at(number: float) -> pd.Timestamp:
    return START + MINUTE * number


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# Reading what was written


def test_candles_come_back_bit_for_bit_from_a_file_a_month(tmp_path: Path) -> None:
    candles = minutes_of(list(range(60)))
    assert CandleStore(tmp_path).write(candles) == 60
    assert CandleStore(tmp_path).read(*SERIES).digest == candles.digest
    assert sorted(file.name for file in (tmp_path / "binance/BTC-USDT/1m").glob("*.parquet")) == [
        "2024-01.parquet",
        "2024-02.parquet",
    ]


def test_three_real_years_come_back_bit_for_bit(real_data: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(real_data / "candles" / BTC).set_index("time")
    candles = Candles.from_frame(frame, "BTC/USDT", "1m", "binance")
    store = CandleStore(tmp_path)
    assert store.write(candles) == 1_575_727
    assert store.write(candles) == 0
    assert store.read(*SERIES).digest == candles.digest
    first, last = pd.Timestamp("2021-01-01", tz="UTC"), pd.Timestamp("2023-12-31 23:59", tz="UTC")
    assert store.series() == [StoredSeries(*SERIES, first, last, 1_575_727)]
    missing = store.spans_missing(*SERIES, first, last + MINUTE)
    assert len(missing) == 7
    assert sum((end - start) // MINUTE for start, end in missing) == 1_073


def test_real_off_grid_candles_leave_only_their_true_gaps_missing(real_data: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(real_data / "candles" / OFF_GRID).set_index("time")
    store = CandleStore(tmp_path)
    store.write(Candles.from_frame(frame, "BTC/USDT", "1m", "binance"))
    start, end = pd.Timestamp("2017-12-01", tz="UTC"), pd.Timestamp("2018-03-01", tz="UTC")
    missing = store.spans_missing(*SERIES, start, end)
    assert len(missing) == 6
    assert max(end - start for start, end in missing) == pd.Timedelta("1 days 09:30:14.789")


def test_a_part_of_the_time_is_read_with_its_start_and_without_its_end(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.write(minutes_of(list(range(60))))
    assert len(store.read(*SERIES, at(28), at(33))) == 5
    assert len(store.read(*SERIES, at(50))) == 10
    assert len(store.read(*SERIES, None, at(10))) == 10


def test_asking_for_what_is_not_stored_says_what_is(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    with pytest.raises(NoCandles) as caught:
        store.read(*SERIES)
    assert str(caught.value) == (
        "No 1m candles of BTC/USDT from binance are stored. Nothing is stored yet. "
        "Bring them with `freqlstm download` or `freqlstm import`."
    )
    store.write(minutes_of([0, 1, 2, 30, 31]))
    with pytest.raises(NoCandles, match=r"Stored: BTC/USDT 1m from binance. Bring them"):
        store.read("binance", "ETH/USDT", "1m")
    with pytest.raises(NoCandles) as caught:
        store.read(*SERIES, pd.Timestamp("2025-01-01", tz="UTC"))
    assert str(caught.value) == (
        "The time range 2025-01-01 00:00 to end is outside the stored 1m candles of BTC/USDT from binance, which open from "
        "2024-01-31 23:30 to 2024-02-01 00:01 UTC. Ask for a time within, or bring more with `freqlstm download`."
    )
    with pytest.raises(NoCandles, match="2024-01-31 23:40 to 2024-01-31 23:50 is in a gap of the stored 1m candles"):
        store.read(*SERIES, at(10), at(20))


def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    for exchange, symbol, timeframe in [
        ("../x", "BTC/USDT", "1m"),
        ("binance", "../..", "1m"),
        ("binance", "BTC/USDT", ".."),
    ]:
        with pytest.raises(UsageError):
            store.read(exchange, symbol, timeframe)
    assert everything_in(tmp_path) == {}


def test_series_are_listed_in_order_of_exchange_symbol_and_length(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    rows = minutes_of([0]).frame
    for exchange, symbol, timeframe in [
        ("kraken", "ADA/USD", "1m"),
        ("binance", "BTC/USDT:USDT", "1h"),
        ("binance", "BTC/USDT:USDT", "15m"),
    ]:
        store.write(Candles.from_frame(rows, symbol, timeframe, exchange))
    (tmp_path / "notes.txt").write_text("not candles")
    assert [(each.exchange, each.symbol, each.timeframe, each.rows) for each in store.series()] == [
        ("binance", "BTC/USDT:USDT", "15m", 1),
        ("binance", "BTC/USDT:USDT", "1h", 1),
        ("kraken", "ADA/USD", "1m", 1),
    ]


def test_any_fsspec_url_holds_candles() -> None:
    store = CandleStore("memory://bucket/candles")
    assert store.write(minutes_of(list(range(40)))) == 40
    assert store.write(minutes_of(list(range(20, 60)))) == 20
    assert stored_minutes(CandleStore("memory://bucket/candles")) == list(range(60))
    assert [series.rows for series in store.series()] == [60]
    assert not [name for name in store._place._system.find("/bucket") if name.endswith(".tmp")]


def test_a_url_that_cannot_be_opened_is_refused() -> None:
    with pytest.raises(StoreError, match="nowhere://x cannot be opened as a folder: Protocol not known: nowhere"):
        CandleStore("nowhere://x")


# Appending


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 60), min_size=1, max_size=12), min_size=1, max_size=4))
def test_appending_is_idempotent_in_any_order(tmp_path: Path, pieces: list[set[int]]) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        store = CandleStore(folder)
        seen: set[int] = set()
        for piece in pieces:
            assert store.write(minutes_of(sorted(piece))) == len(piece - seen)
            seen |= piece
            assert store.write(minutes_of(sorted(seen))) == 0
        assert store.read(*SERIES).digest == minutes_of(sorted(seen)).digest


def test_writing_the_same_rows_again_touches_no_file(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.write(minutes_of([0, 1]))
    file = next(tmp_path.rglob("*.parquet"))
    before = file.stat().st_mtime_ns, file.stat().st_ino
    store.write(minutes_of([1]))
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


def test_other_values_are_refused_and_nothing_at_all_is_written(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.write(minutes_of([40, 41]))
    before = everything_in(tmp_path)
    with pytest.raises(StoreError) as caught:
        store.write(minutes_of([0, 40, 41], price=200.0))
    assert str(caught.value) == (
        "2 candles of BTC/USDT 1m from binance are stored with other values, the first at 2024-02-01 00:10 UTC: open 100.0 "
        "is stored, 200.0 was received. Nothing was written: find out which is right, and pass --replace if it is the new one."
    )
    assert everything_in(tmp_path) == before
    assert store.write(minutes_of([0, 40, 41], price=200.0), replace=True) == 3
    assert store.read(*SERIES).digest == minutes_of([0, 40, 41], price=200.0).digest


# What is missing


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=st.sets(st.integers(0, 60), max_size=25),
    absent=st.lists(st.tuples(st.integers(-5, 65), st.integers(1, 12)), max_size=3),
    start=st.integers(-10, 60),
    length=st.integers(1, 40),
)
def test_missing_spans_are_what_is_neither_stored_nor_known_to_be_absent(
    tmp_path: Path, stored: set[int], absent: list[tuple[int, int]], start: int, length: int
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        store = CandleStore(folder)
        store.write(minutes_of(sorted(stored)))
        for first, count in absent:
            store.note_absent(*SERIES, at(first), at(first + count))
        known = stored | {first + number for first, count in absent for number in range(count)}
        missing = store.spans_missing(*SERIES, at(start), at(start + length))
        numbers = [number for a, b in missing for number in range((a - START) // MINUTE, (b - START) // MINUTE)]
        assert numbers == [number for number in range(start, start + length) if number not in known]
        assert all(b < a for (_, b), (a, _) in pairwise(missing)), "neighbours are one span"


def test_missing_spans_are_rounded_up_to_the_grid(tmp_path: Path) -> None:
    assert CandleStore(tmp_path).spans_missing(*SERIES, at(0.5), at(2.5)) == [(at(1), at(3))]
    assert CandleStore(tmp_path).spans_missing(*SERIES, at(0.2), at(0.4)) == []


def test_an_off_grid_candle_covers_its_own_time(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    frame = minutes_of([0, 4]).frame
    frame.index = frame.index + MINUTE / 2
    store.write(Candles.from_frame(frame, "BTC/USDT", "1m", "binance"))
    assert store.spans_missing(*SERIES, at(1), at(4)) == [(at(1.5), at(4))]
    assert store.spans_missing(*SERIES, at(1), at(2)) == []
    assert store.spans_missing(*SERIES, at(0), at(6)) == [(at(1.5), at(4.5))]


def test_absent_spans_are_joined_and_survive(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    for first, last in [(10, 20), (0, 5), (5, 8), (12, 30)]:
        store.note_absent(*SERIES, at(first), at(last))
    assert json.loads((tmp_path / "binance/BTC-USDT/1m/absent.json").read_text()) == [
        ["2024-01-31T23:30:00+00:00", "2024-01-31T23:38:00+00:00"],
        ["2024-01-31T23:40:00+00:00", "2024-02-01T00:00:00+00:00"],
    ]
    assert CandleStore(tmp_path).spans_missing(*SERIES, at(0), at(40)) == [(at(8), at(10)), (at(30), at(40))]


def test_market_rules_are_kept_per_symbol(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    assert store.market_rules("binance", "BTC/USDT") is None
    rules = {"lot_step": 1e-05, "min_notional": 5.0, "tick": 0.01}
    store.write_market_rules("binance", "BTC/USDT", rules)
    assert CandleStore(tmp_path).market_rules("binance", "BTC/USDT") == rules
    assert store.series() == []


# Damage


def test_a_damaged_month_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.write(minutes_of(list(range(30))))
    file = tmp_path / "binance/BTC-USDT/1m/2024-01.parquet"
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 4] ^= 1
    for damaged in (content[: len(content) // 2], b"", b"not parquet", bytes(flipped)):
        file.write_bytes(damaged)
        for use in (lambda: store.read(*SERIES), lambda: store.write(minutes_of([3]))):
            with pytest.raises(StoreError) as caught:
                use()
            assert str(caught.value).startswith(f"{file} is damaged (")
            assert str(caught.value).endswith("). Delete it and download or import that month again.")
            assert file.read_bytes() == damaged


def test_every_flipped_bit_of_the_values_is_noticed(tmp_path: Path) -> None:
    """Damage that Parquet itself would read as other prices."""
    store = CandleStore(tmp_path)
    candles = minutes_of(list(range(30)))
    store.write(candles)
    file = tmp_path / "binance/BTC-USDT/1m/2024-01.parquet"
    content = file.read_bytes()
    for position in range(0, len(content), 13):
        flipped = bytearray(content)
        flipped[position] ^= 4
        file.write_bytes(flipped)
        with suppress(StoreError):
            assert store.read(*SERIES).digest == candles.digest, f"byte {position}"


def test_a_damaged_list_of_absent_spans_is_named(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.note_absent(*SERIES, at(0), at(1))
    file = tmp_path / "binance/BTC-USDT/1m/absent.json"
    file.write_text("[[")
    with pytest.raises(StoreError, match=r"absent.json is not JSON \(.*\). Delete it: it will be written again."):
        store.spans_missing(*SERIES, at(0), at(1))


# Crashes, full disks, forbidden folders, other processes

KILLED_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from freqlstm import files
from test_store import minutes_of, stored_minutes
from freqlstm.store import CandleStore

store = CandleStore(Path({folder!r}))
store.write(minutes_of(list(range(20))))
names = ["open", "fsync", "replace", "close"]
survived = False
for step in range(200):
    child = os.fork()
    if not child:
        left = step
        def counted(function):
            def call(*arguments, **options):
                global left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)
            return call
        for name in names:
            setattr(os, name, counted(getattr(os, name)))
        store.write(minutes_of(list(range(60))))
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    found = stored_minutes(store)
    assert found in (list(range(20)), list(range(30)), list(range(60))), (step, found)
    if not killed:
        assert found == list(range(60)), (step, found)
        print(step)
        break
    for file in Path({folder!r}).rglob("2024-02.parquet"):
        file.unlink()
    Path({folder!r}).joinpath("binance/BTC-USDT/1m/2024-01.parquet").unlink()
    store.write(minutes_of(list(range(20))))
assert not [file for file in Path({folder!r}).rglob("*") if file.name.endswith(".tmp")]
"""


def test_a_writer_killed_at_any_step_loses_nothing_and_leaves_whole_files(tmp_path: Path) -> None:
    code = KILLED_AT_EVERY_STEP.format(root=str(ROOT), tests=str(ROOT / "tests"), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10  # so many moments were tried


APPENDS = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_store import minutes_of
from freqlstm.store import CandleStore

store = CandleStore({folder!r})
print("ready", flush=True)
sys.stdin.readline()
for number in range({first}, 60, 2):
    store.write(minutes_of([number]))
    print(number, flush=True)
"""


def appending(folder: Path, first: int) -> subprocess.Popen[str]:
    code = APPENDS.format(root=str(ROOT), tests=str(ROOT / "tests"), folder=str(folder), first=first)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_that_append_at_once_lose_no_row(tmp_path: Path) -> None:
    processes = [appending(tmp_path, first) for first in (0, 1)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert CandleStore(tmp_path).read(*SERIES).digest == minutes_of(list(range(60))).digest


def test_a_row_that_was_reported_written_survives_a_kill(tmp_path: Path) -> None:
    process = appending(tmp_path, 0)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    reported = [int(process.stdout.readline()) for _ in range(7)]
    process.send_signal(signal.SIGKILL)
    reported += [int(line) for line in process.stdout]
    process.wait()
    process.stdin.close()
    process.stdout.close()
    found = stored_minutes(CandleStore(tmp_path))
    assert found[: len(reported)] == reported
    assert len(found) <= len(reported) + 1


def test_waiting_for_another_process_ends_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "LOCK_SECONDS", 0.1)
    store = CandleStore(tmp_path)
    with store._place.locked("binance/BTC-USDT/1m"), pytest.raises(StoreError) as caught:
        store.write(minutes_of([0]))
    folder = tmp_path / "binance/BTC-USDT/1m"
    assert str(caught.value) == f"Another process has been writing in {folder} for 0.1 seconds. Wait for it, or end it."


def test_what_a_crash_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    folder = tmp_path / "binance/BTC-USDT/1m"
    folder.mkdir(parents=True)
    (folder / ".2024-01.parquet.abc.tmp").write_bytes(b"half")
    store = CandleStore(tmp_path)
    assert store.series() == []
    store.write(minutes_of([0]))
    assert sorted(file.name for file in folder.iterdir()) == [".lock", "2024-01.parquet"]


@contextmanager
def tiny_disk(size: str) -> Iterator[Path]:
    """A file system of that size; skips where one may not be mounted."""
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def test_a_really_full_disk_leaves_the_store_as_it_was() -> None:
    with tiny_disk("64k") as disk:
        store = CandleStore(disk)
        store.write(minutes_of(list(range(20))))
        before = everything_in(disk)
        (disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(disk).free - 8192))
        with pytest.raises(StoreError) as caught:
            store.write(minutes_of(list(range(20_000))))
        assert re.fullmatch(
            rf"The disk is full: {disk}/binance/BTC-USDT/1m/2024-0[12].parquet was not written and is as it was. "
            rf"Free some space and run the command again.",
            str(caught.value),
        )
        (disk / "ballast").unlink()
        assert everything_in(disk) == before


@pytest.mark.parametrize("broken", ["fsync", "replace", "open"])
def test_a_disk_that_fills_at_any_step_leaves_files_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    store = CandleStore(tmp_path)
    store.write(minutes_of(list(range(20))))
    write_text(tmp_path / "note.txt", "old")
    before = everything_in(tmp_path)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os if broken != "open" else files, broken, full, raising=False)
    with pytest.raises(
        StoreError, match=r"The disk is full: .*2024-01.parquet was not written and is as it was. Free some"
    ):
        store.write(minutes_of(list(range(60))))
    with pytest.raises(StoreError, match=f"The disk is full: {tmp_path}/note.txt was not written"):
        write_text(tmp_path / "note.txt", "new")
    monkeypatch.undo()
    assert everything_in(tmp_path) == before


@contextmanager
def nobody() -> Iterator[Path]:
    """A folder that this process, no longer being root, may read but not write."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        folder.chmod(0o555)
        if root:
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_one_clear_line() -> None:
    with nobody() as folder:
        for use, name in [
            (lambda: CandleStore(folder).write(minutes_of([0])), f"{folder}/binance/BTC-USDT/1m"),
            (lambda: write_text(folder / "note.txt", "new"), f"{folder}/note.txt"),
            (lambda: write_json(folder / "new" / "note.json", {}), f"{folder}/new/note.json"),
        ]:
            with pytest.raises(StoreError) as caught:
                use()
            assert str(caught.value) == (
                f"{name} may not be written: Permission denied. Choose another folder, or give yourself the right to write there."
            )
        with pytest.raises(StoreError, match="may not be written"), atomic_folder(folder / "model"):
            pass
        assert everything_in(folder) == {}


def test_a_stored_series_can_be_read_where_it_may_not_be_written() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        store = CandleStore(folder)
        store.write(minutes_of([0, 1]))
        folder.chmod(0o555)
        (folder / "binance/BTC-USDT/1m").chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            assert stored_minutes(store) == [0, 1]
            assert store.write(Candles(minutes_of([0]).frame.iloc[:0], "BTC/USDT", "1m", "binance")) == 0
            with pytest.raises(StoreError, match="may not be written: Permission denied"):
                store.write(minutes_of([2]))
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
        assert stored_minutes(store) == [0, 1]
    finally:
        (folder / "binance/BTC-USDT/1m").chmod(0o755)
        folder.chmod(0o755)
        shutil.rmtree(folder)


# Text, JSON, tables, folders


def test_json_keeps_every_bit_of_a_float_and_writes_nan_as_null(tmp_path: Path) -> None:
    value = {
        "third": 1 / 3,
        "nan": float("nan"),
        "numpy": [np.float64(0.1), np.int64(7), np.bool_(True), np.array([1.5, np.inf])],
        "time": pd.Timestamp("2024-01-01", tz="UTC"),
        "none": None,
        "names": {"b", "a"},
        "wait": pd.Timedelta(minutes=5),
    }
    write_json(tmp_path / "a" / "b.json", value)
    assert read_json(tmp_path / "a" / "b.json") == {
        "third": 1 / 3,
        "nan": None,
        "numpy": [0.1, 7, True, [1.5, None]],
        "time": "2024-01-01T00:00:00+00:00",
        "none": None,
        "names": ["a", "b"],
        "wait": "0 days 00:05:00",
    }
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        write_json(tmp_path / "c.json", object())
    assert not (tmp_path / "c.json").exists()


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"There is no file .*x\.json\."):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(
        StoreError, match=r"x\.json is not JSON \(.*\)\. Delete it, and what wrote it will write it again\."
    ):
        read_json(tmp_path / "x.json")


def test_a_table_comes_back_with_index_types_and_attributes(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"prediction": [0.1, np.nan], "side": ["long", "short"], "votes": [["a"], []]},
        index=pd.date_range("2024-01-01", periods=2, freq="min", tz="UTC", unit="ms", name="time"),
    )
    table.attrs = {"fingerprint": "abc"}
    write_table(tmp_path / "t.parquet", table)
    back = read_table(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(back.drop(columns="votes"), table.drop(columns="votes"), check_freq=False)
    assert [list(votes) for votes in back["votes"]] == [["a"], []]
    assert back.attrs == {"fingerprint": "abc"}


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(StoreError, match=r"There is no file .*t\.parquet\."):
        read_table(path)
    write_table(path, pd.DataFrame({"a": np.arange(1000.0)}))
    flipped = bytearray(path.read_bytes())
    flipped[200] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(
        StoreError, match=r"t\.parquet is damaged \(.*\)\. Delete it, and what wrote it will write it again\."
    ):
        read_table(path)


def test_the_same_table_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / name, minutes_of(list(range(60))).frame)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "models" / "id"
    with suppress(KeyboardInterrupt), atomic_folder(target) as folder:
        (folder / "weights").write_text("half")
        raise KeyboardInterrupt
    assert list((tmp_path / "models").iterdir()) == []
    with atomic_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text("first")
        assert not target.exists()
    assert (target / "inner" / "weights").read_text() == "first"


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    hour = 3600
    for name, age in {".a.0123.tmp": 25, ".b.4567.tmp": 23, "kept.tmp": 25, ".hidden": 25}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("half")
        then = time.time() - age * hour
        os.utime(tmp_path / name, (then, then))
    with atomic_folder(tmp_path / "id"):
        pass
    assert sorted(each.name for each in tmp_path.iterdir()) == [".b.4567.tmp", ".hidden", "id", "kept.tmp"]


def test_a_folder_replaces_the_one_of_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "id"
    for text in ("first", "second"):
        with atomic_folder(target) as folder:
            (folder / text).write_text(text)
            assert text == "first" or (target / "first").exists()
    assert everything_in(tmp_path) == {"id/second": b"second"}
    with pytest.raises(StoreError, match="The disk is full"), atomic_folder(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), atomic_folder(target):
        (tmp_path / "absent").read_text()
    assert everything_in(tmp_path) == {"id/second": b"second"}
    assert [each.name for each in tmp_path.iterdir()] == ["id"]


def test_a_folder_that_cannot_be_replaced_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "id"
    with atomic_folder(target) as folder:
        (folder / "first").touch()
    rename, calls = os.rename, []

    def failing(source: Path, to: Path) -> None:
        calls.append(to)
        if len(calls) == 3:  # after the old one was moved aside
            raise OSError(errno.EIO, "Input/output error")
        rename(source, to)

    monkeypatch.setattr(os, "rename", failing)
    with (
        pytest.raises(StoreError, match=rf"{target} could not be written: Input/output error\."),
        atomic_folder(target),
    ):
        pass
    assert everything_in(tmp_path) == {"id/first": b""}
    assert [each.name for each in tmp_path.iterdir()] == ["id"]


def test_the_folders_of_a_project(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert {name: getattr(project, name).relative_to(tmp_path).as_posix() for name in (
        "data", "models", "strategies", "signals", "backtests", "results", "ledger"
    )} == {
        "data": "data",
        "models": "models",
        "strategies": "strategies",
        "signals": "signals",
        "backtests": "backtests",
        "results": "backtests/results",
        "ledger": "backtests/ledger.jsonl",
    }  # fmt: skip
