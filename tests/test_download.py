"""Downloads by the real ccxt client from a server on 127.0.0.1 into a store on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from conftest import make_candles, read_real
from exchange_server import ExchangeServer, Fault
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import freqlstm.cli.download as command
from freqlstm.candles import Candles
from freqlstm.download import DownloadInterrupted, Summary, download, plan
from freqlstm.errors import ExchangeUnavailable, UnknownMarket, UnsupportedTimeframe, UsageError
from freqlstm.exchange import Exchange
from freqlstm.store import CandleStore, Project

ROWS = 5000
MINUTE = pd.Timedelta(minutes=1)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


START = utc("2024-01-01")
FRAME = make_candles(ROWS).frame


@pytest.fixture
def server() -> Iterator[ExchangeServer]:
    """5,000 minutes of BTC/USDT from 2024-01-01 on, asked a week later."""
    with ExchangeServer("2024-01-12") as server:
        server.add("BTC/USDT", "1m", FRAME)
        yield server


@pytest.fixture
def binance(server: ExchangeServer) -> Iterator[Exchange]:
    with opened(server) as exchange:
        yield exchange


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "data")


def opened(server: ExchangeServer) -> Exchange:
    exchange = Exchange("binance", server.url, sleep=lambda seconds: None)
    exchange._client.rateLimit = 1  # milliseconds: this server does not mind
    return exchange


def fetch(
    exchange: Exchange, store: CandleStore, first: int = 0, last: int = ROWS, symbols: Sequence[str] = ("BTC/USDT",)
) -> Summary:
    """Download the minutes number ``first`` up to but not including ``last``."""
    return download(exchange, store, symbols, ["1m"], START + first * MINUTE, START + last * MINUTE)


def stored(store: CandleStore, symbol: str = "BTC/USDT", timeframe: str = "1m") -> pd.DataFrame:
    return store.read("binance", symbol, timeframe).frame


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, Candles(expected, "", "").frame, check_freq=False, check_index_type=False)


def minutes_asked(server: ExchangeServer) -> list[int]:
    """The start of every request for candles, in minutes since the first candle."""
    return [(int(asked["startTime"]) - START.value // 1_000_000) // 60_000 for asked in server.asked()]


# What comes


def test_a_download_stores_every_candle_of_the_time_range(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    summary = fetch(binance, store)
    assert summary.rows == ROWS
    assert summary.as_dict() == {
        "exchange": "binance",
        "series": [{"symbol": "BTC/USDT", "timeframe": "1m", "rows": ROWS, "absent": []}],
    }
    same(stored(store), FRAME)
    assert store.market_rules("binance", "BTC/USDT") == {"lot_step": 1e-5, "min_notional": 5.0, "tick": 0.01}


def test_the_candle_that_has_not_closed_is_not_stored_until_it_has(server: ExchangeServer, store: CandleStore) -> None:
    server.now = (START + 100 * MINUTE).value // 1_000_000 + 30_000
    for closed in (100, 101):
        with opened(server) as exchange:
            download(exchange, store, ["BTC/USDT"], ["1m"], START)
            summary = download(exchange, store, ["BTC/USDT"], ["1m"], START)  # up to date: nothing to ask for
            assert (summary.rows, summary.series[0].absent) == (0, [])
        same(stored(store), FRAME.iloc[:closed])
        server.now += 60_000
    assert minutes_asked(server) == [0, 100]


def test_each_page_is_stored_before_the_next_is_asked_for(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    rows = []
    answer = server.answer

    def watched(path: str, params: dict[str, str]) -> tuple[int, object]:
        if path.endswith("klines"):
            rows.append(sum(series.rows for series in store.series()))
        return answer(path, params)

    server.answer = watched  # type: ignore[method-assign]
    fetch(binance, store)
    assert rows == [0, 1000, 2000, 3000, 4000]


def test_several_symbols_and_timeframes_come_in_one_download(real_data: Path, store: CandleStore) -> None:
    folder = real_data / "exchange" / "binance_klines_rest"
    with ExchangeServer("2025-12-31") as server:
        for symbol in ("BTC/USDT", "SOL/USDT"):
            name = symbol.replace("/", "")
            server.add_file(symbol, "15m", folder / f"{name}_15m_2025-10-06.json")
            server.add_file(symbol, "1d", folder / f"{name}_1d_2024-01-01.json")
        with opened(server) as exchange:
            symbols, timeframes = ["BTC/USDT", "sol/usdt", "BTC/USDT"], ["15m", "1d"]
            summary = download(exchange, store, symbols, timeframes, utc("2025-10-06"), utc("2025-10-13"))
        assert [(s.symbol, s.timeframe, s.rows) for s in summary.series] == [
            ("BTC/USDT", "15m", 672), ("BTC/USDT", "1d", 7), ("SOL/USDT", "15m", 672), ("SOL/USDT", "1d", 7),
        ]  # fmt: skip
    assert [(s.symbol, s.timeframe, s.rows) for s in store.series()] == [
        (s.symbol, s.timeframe, s.rows) for s in summary.series
    ]


def test_progress_counts_candles_up_to_all_of_them(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    store.write(Candles(FRAME.iloc[1500:1600], "BTC/USDT", "1m", "binance"))
    seen = []
    download(
        binance, store, ["BTC/USDT"], ["1m"], START, START + 3000 * MINUTE,
        progress=lambda done, total, text: seen.append((done, total, text)),
    )  # fmt: skip
    assert [done for done, _, _ in seen] == [0, 1000, 1500, 1500, 2500, 2900, 2900]
    assert {total for _, total, _ in seen} == {2900}
    assert seen[1][2] == "BTC/USDT 1m 2024-01-01 16:40"


# Only what is missing


def test_only_what_is_missing_before_inside_and_after_is_asked_for(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    for first, last in ((500, 700), (900, 1200)):
        store.write(Candles(FRAME.iloc[first:last], "BTC/USDT", "1m", "binance"))
    assert plan(binance, store, ["BTC/USDT"], ["1m"], START, START + 1500 * MINUTE)[0].rows == 1000
    summary = fetch(binance, store, 0, 1500)
    assert [(asked["startTime"], asked["limit"]) for asked in server.asked()] == [
        (str((START + minute * MINUTE).value // 1_000_000), limit)
        for minute, limit in ((0, "500"), (700, "200"), (1200, "300"))
    ]
    assert summary.rows == 1000
    same(stored(store), FRAME.iloc[:1500])


def test_a_second_download_asks_for_nothing(server: ExchangeServer, binance: Exchange, store: CandleStore) -> None:
    fetch(binance, store)
    server.requests.clear()
    assert fetch(binance, store).rows == 0
    assert server.requests == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    outages=st.lists(st.tuples(st.integers(0, 1400), st.integers(1, 300)), max_size=4),
    had=st.lists(st.tuples(st.integers(0, 1400), st.integers(1, 300)), max_size=4),
    span=st.tuples(st.integers(-50, 700), st.integers(701, 1700)),
)
def test_whatever_is_stored_and_whatever_the_exchange_lacks_the_rest_comes_and_comes_once(
    server: ExchangeServer,
    tmp_path: Path,
    outages: list[tuple[int, int]],
    had: list[tuple[int, int]],
    span: tuple[int, int],
) -> None:
    there, here = np.arange(1500) >= 0, np.arange(1500) < 0
    for first, length in outages:
        there[first : first + length] = False
    for first, length in had:
        here[first : first + length] = True
    frame = FRAME.iloc[:1500]
    server.add("BTC/USDT", "1m", frame[there])
    store = CandleStore(tmp_path / str(time.monotonic_ns()))
    store.write(Candles(frame[there & here], "BTC/USDT", "1m", "binance"))
    inside = (np.arange(1500) >= span[0]) & (np.arange(1500) < span[1])
    with opened(server) as exchange:
        summary = fetch(exchange, store, *span)
        assert summary.rows == int((there & inside & ~here).sum())
        expected = frame[there & (inside | here)]
        assert sum(series.rows for series in store.series()) == len(expected)
        if len(expected):
            same(stored(store), expected)
        server.requests.clear()
        assert fetch(exchange, store, *span).rows == 0
        assert server.asked() == []


# What does not exist


def test_an_outage_is_noted_and_not_asked_for_again(real_data: Path, store: CandleStore) -> None:
    real = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    day = real.between(utc("2021-04-25"), utc("2021-04-26"))
    with ExchangeServer("2021-06-01") as server, opened(server) as exchange:
        server.add("BTC/USDT", "1m", real.between(utc("2021-04-24"), utc("2021-04-27")).frame)
        for asked in (2, 0):
            summary = download(exchange, store, ["BTC/USDT"], ["1m"], utc("2021-04-25"), utc("2021-04-26"))
            assert len(server.asked()) == asked
            if asked:
                assert [(f"{start:%H:%M}", f"{end:%H:%M}") for start, end in summary.series[0].absent] == [
                    ("04:01", "08:45")
                ]
                assert summary.series[0].absent_rows == 284
                assert summary.as_dict()["series"][0]["absent"] == [
                    ["2021-04-25T04:01:00+00:00", "2021-04-25T08:45:00+00:00"]
                ]
            server.requests.clear()
    same(stored(store), day.frame)


def test_a_single_candle_that_does_not_exist_is_noted(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    server.add("BTC/USDT", "1m", FRAME.drop(FRAME.index[300]))
    assert fetch(binance, store, 0, 900).series[0].absent == [(FRAME.index[300], FRAME.index[301])]
    fetch(binance, store, 0, 900)
    assert minutes_asked(server) == [0]


def test_an_outage_of_today_is_asked_for_again_tomorrow(server: ExchangeServer, store: CandleStore) -> None:
    server.add("BTC/USDT", "1m", FRAME.drop(FRAME.index[300:400]))
    server.now = (START + 1000 * MINUTE).value // 1_000_000
    with opened(server) as exchange:
        assert fetch(exchange, store, 0, 900).series[0].absent_rows == 100
    server.add("BTC/USDT", "1m", FRAME)  # the exchange published them late
    with opened(server) as exchange:
        assert fetch(exchange, store, 0, 900).rows == 100
    same(stored(store), FRAME.iloc[:900])
    assert minutes_asked(server) == [0, 300]


def test_what_was_before_the_first_candle_is_asked_for_once(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    assert fetch(binance, store, -10_000, 500).series[0].absent_rows == 10_000
    server.requests.clear()
    assert fetch(binance, store, -10_000, 500).rows == 0
    assert server.asked() == []


def test_what_comes_after_the_last_candle_of_all_is_asked_for_once_a_day(
    server: ExchangeServer, store: CandleStore
) -> None:
    for asked in ([0, 1000, 2000, 3000, 4000, 5000], [10 * 1440]):  # the second time only the last day
        with opened(server) as exchange:
            download(exchange, store, ["BTC/USDT"], ["1m"], START)
        assert minutes_asked(server) == asked
        server.requests.clear()


def test_candles_off_the_grid_are_stored_as_they_are_and_not_asked_for_again(
    real_data: Path, store: CandleStore
) -> None:
    real = read_real(real_data, "BINANCE_BTCUSDT_1m_20171201_20180228_offgrid.parquet", "BTC/USDT", "1m")
    start, end = utc("2018-02-07 12:00"), utc("2018-02-10")
    with ExchangeServer("2018-03-10") as server, opened(server) as exchange:
        server.add("BTC/USDT", "1m", real.frame)
        download(exchange, store, ["BTC/USDT"], ["1m"], start, end)
        same(stored(store), real.between(start, end).frame)
        server.requests.clear()
        assert download(exchange, store, ["BTC/USDT"], ["1m"], start, end).rows == 0
        assert len(server.asked()) == 0


# What goes wrong


@pytest.mark.parametrize("fault", [Fault(502), Fault(kind="drop"), Fault(kind="truncate"), Fault(429)])
def test_a_failure_in_the_middle_changes_nothing_in_the_end(
    server: ExchangeServer, binance: Exchange, store: CandleStore, fault: Fault
) -> None:
    server.faults.extend([fault, fault])
    fetch(binance, store)
    same(stored(store), FRAME)


def test_what_came_before_a_lasting_failure_stays_and_is_not_asked_for_again(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    def break_down(done: float, total: float, text: str) -> None:
        if done == 2000:
            server.faults.extend([Fault(503)] * 5)

    with pytest.raises(ExchangeUnavailable, match=r"What was stored stays: the same command goes on from there\.$"):
        download(binance, store, ["BTC/USDT"], ["1m"], START, START + ROWS * MINUTE, break_down)
    same(stored(store), FRAME.iloc[:2000])
    server.requests.clear()
    assert fetch(binance, store).rows == 3000
    assert minutes_asked(server) == [2000, 3000, 4000]
    same(stored(store), FRAME)


def test_an_interrupted_download_says_what_it_stored(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    def interrupt(done: float, total: float, text: str) -> None:
        if done == 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        download(binance, store, ["BTC/USDT"], ["1m"], START, START + ROWS * MINUTE, interrupt)
    assert isinstance(caught.value, DownloadInterrupted)
    assert caught.value.summary.rows == 3000
    same(stored(store), FRAME.iloc[:3000])


def test_an_unknown_name_is_refused_before_anything_is_fetched(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    with pytest.raises(UnknownMarket, match="binance does not list 'BTC/EUR'"):
        fetch(binance, store, symbols=("BTC/USDT", "BTC/EUR"))
    with pytest.raises(UnsupportedTimeframe, match="binance has no '45m' candles"):
        download(binance, store, ["BTC/USDT"], ["1m", "45m"], START)
    assert server.asked() == []
    assert store.series() == []


def test_a_time_range_that_is_empty_or_in_the_future_is_refused(
    server: ExchangeServer, binance: Exchange, store: CandleStore
) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(binance, store, 10, 10)
    assert str(caught.value) == "The time range 2024-01-01 00:10 to 2024-01-01 00:10 is empty: it must end later."
    with pytest.raises(UsageError) as caught:
        download(binance, store, ["BTC/USDT"], ["1m"], utc("2025-01-01"))
    assert str(caught.value) == (
        "The time range begins at 2025-01-01 00:00 UTC, but it is 2024-01-12 00:00 UTC at binance. "
        "Candles can only be downloaded once they have closed."
    )


# The command


def run(server: ExchangeServer, folder: Path, *arguments: str) -> Result:
    words = ["--base-url", server.url, *arguments]
    return CliRunner().invoke(command.download, words, obj=folder, catch_exceptions=False)


def test_the_command_prints_what_came(server: ExchangeServer, tmp_path: Path) -> None:
    result = run(server, tmp_path, "-p", "BTC/USDT", "--since", "2023-12-31", "--until", "2024-01-02")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["pair", "timeframe", "new", "candles", "do", "not", "exist"],
        ["BTC/USDT", "1m", "1,440", "1,440"],
    ]
    same(stored(CandleStore(Project(tmp_path).data)), FRAME.iloc[:1440])


def test_the_command_prints_json(server: ExchangeServer, tmp_path: Path) -> None:
    result = run(server, tmp_path, "-p", "BTC/USDT", "--timerange", "20240101-20240102", "--json")
    assert json.loads(result.stdout) == {
        "exchange": "binance",
        "series": [{"symbol": "BTC/USDT", "timeframe": "1m", "rows": 1440, "absent": []}],
    }


def test_pairs_and_timeframes_are_listed_in_any_of_the_usual_ways(server: ExchangeServer, tmp_path: Path) -> None:
    for timeframe in ("1m", "5m"):
        server.add("ETH/USDT", timeframe, [])
    for words in (
        ["-p", "BTC/USDT,ETH/USDT", "-i", "1m 5m"],
        ["-p", "BTC/USDT", "-p", "ETH/USDT", "-i", "1m", "--timeframe", "5m"],
        ["--pairs", "BTC/USDT", "ETH/USDT", "-t", "1m", "5m"],
    ):
        result = run(server, tmp_path, *words, "--timerange", "20240101-20240102", "--json")
        series = json.loads(result.stdout)["series"]
        assert sorted((s["symbol"], s["timeframe"]) for s in series) == [
            ("BTC/USDT", "1m"), ("BTC/USDT", "5m"), ("ETH/USDT", "1m"), ("ETH/USDT", "5m"),
        ]  # fmt: skip


def test_days_count_back_from_the_end(server: ExchangeServer, tmp_path: Path) -> None:
    run(server, tmp_path, "-p", "BTC/USDT", "--days", "2", "--until", "2024-01-03")
    same(stored(CandleStore(Project(tmp_path).data)), FRAME.iloc[:2880])
    run(server, tmp_path, "-p", "BTC/USDT")
    assert min(minutes_asked(server)) == -1440 * 19  # 30 days before 2024-01-12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No pair was given. Name at least one, as in `freqlstm download --pairs BTC/USDT`."),
        (
            ["-p", "BTC/USDT", "--timerange", "20240101-", "--days", "3"],
            "--timerange was given together with --since, --until or --days. Give one or the other.",
        ),
        (
            ["-p", "BTC/USDT", "--since", "20240101", "--days", "3"],
            "--since and --days were both given. Give one: the other follows from it.",
        ),
        (
            ["-p", "BTC/USDT", "--since", "yesterday"],
            "'yesterday' is not a time. Write 2024-01-31, 20240131 or '2024-01-31 12:00', in UTC.",
        ),
        (
            ["-p", "BTC/USDT", "--timerange", "2024"],
            "The time range is '2024'. It must be like 20230101-20230401 (UTC, end not included), or open: 20230101- or -20230401.",
        ),
        (["-p", "BTC/USDT", "--timerange", "-"], "The time range is '-'. It must be like 20230101-20230401"),
    ],
)
def test_a_command_that_cannot_be_right_is_refused(
    server: ExchangeServer, tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        run(server, tmp_path, *words)
    assert str(caught.value).startswith(message)
    assert server.requests == []


def test_ctrl_c_in_a_child_process_loses_one_page_at_most_and_the_same_command_goes_on(
    server: ExchangeServer, tmp_path: Path
) -> None:
    code = "from freqlstm.cli.main import main; main()"
    words = ["download", "-p", "BTC/USDT", "--since", "2024-01-01", "--until", "2024-01-04", "--base-url", server.url]
    child = [sys.executable, "-c", code, "--project", str(tmp_path), *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    server.delay = 0.3
    with subprocess.Popen(child, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while len(server.asked()) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            output, complaint = process.communicate(timeout=30)
        finally:
            process.kill()
    store = CandleStore(Project(tmp_path).data)
    rows = len(stored(store))
    assert rows in (2000, 3000)
    assert process.returncode == 130
    assert output == ""
    assert complaint == (
        f"Interrupted. Stored: {rows:,} of BTC/USDT 1m candles. The same command goes on from there.\n"
    )
    same(stored(store), FRAME.iloc[:rows])
    leftovers = [
        path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".parquet", ".json")
    ]
    assert [name for name in leftovers if not name.endswith(".lock")] == []

    server.delay = 0.0
    server.requests.clear()
    done = subprocess.run(child, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[1].split() == ["BTC/USDT", "1m", f"{4320 - rows:,}", "0"]
    assert minutes_asked(server) == list(range(rows, 4320, 1000))
    same(stored(store), FRAME.iloc[:4320])
