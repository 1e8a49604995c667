"""Files of exchanges, of freqtrade and of others become the same candles, or are refused with a reason."""

from __future__ import annotations

import gzip
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freqlstm.candles import Candles
from freqlstm.errors import CandleError, FreqlstmError, StoreError, UsageError
from freqlstm.ingest import Guess, find_files, guess, read_file, read_rows
from freqlstm.quality import report
from freqlstm.store import CandleStore

BTC = "BINANCE_BTCUSDT_1m_20210101_20231231.parquet"
NAMED = {"symbol": "BTC/USDT", "exchange": "binance"}


@pytest.fixture
def minutes(candles: Candles) -> Candles:
    """The 300 seeded bars, said to be of binance."""
    return Candles(candles.frame, "BTC/USDT", "1m", "binance")


def rows_of(candles: Candles) -> pd.DataFrame:
    return candles.frame.reset_index()


def epochs(candles: Candles, unit: str) -> np.ndarray:
    return candles.time.as_unit(unit).asi8


# Every format holds the same candles


def test_freqtrades_feather_files(minutes: Candles, tmp_path: Path) -> None:
    path = tmp_path / "user_data/data/binance/BTC_USDT-1m.feather"
    path.parent.mkdir(parents=True)
    rows_of(minutes).rename(columns={"time": "date"}).to_feather(path)
    assert read_file(path).digest == minutes.digest


def test_freqtrades_json_files(minutes: Candles, tmp_path: Path) -> None:
    rows = [
        [int(stamp), *row] for stamp, row in zip(epochs(minutes, "ms"), minutes.frame.to_numpy().tolist(), strict=True)
    ]
    plain, packed = tmp_path / "BTC_USDT-1m.json", tmp_path / "BTC_USDT-1m.json.gz"
    plain.write_text(json.dumps(rows))
    packed.write_bytes(gzip.compress(json.dumps(rows).encode()))
    for path in (plain, packed):
        assert read_file(path, exchange="binance").digest == minutes.digest


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("header", [False, True])
def test_binances_dumps_with_and_without_header_in_both_units(
    minutes: Candles, tmp_path: Path, unit: str, header: bool
) -> None:
    columns = [
        "open_time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "close_time",
        "quote_volume",
        "count",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "ignore",
    ]
    opens = epochs(minutes, unit)
    table = minutes.frame.reset_index(drop=True)
    table.insert(0, "open_time", opens)
    for name in columns[6:]:
        table[name] = opens + 59_999 if name == "close_time" else 0
    path = tmp_path / "BTCUSDT-1m-2024-01.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BTCUSDT-1m-2024-01.csv", table[columns].to_csv(index=False, header=header))
    assert read_file(path).digest == minutes.digest


@pytest.mark.parametrize("name", ["time", "date", "timestamp", "Open Time", "open_time", "Datetime", "unix"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "float s", "iso", "iso Z"])
def test_csv_files_with_any_usual_name_and_unit_of_time(minutes: Candles, tmp_path: Path, name: str, unit: str) -> None:
    table = minutes.frame.reset_index(drop=True).rename(columns=str.title)
    if unit == "float s":
        table.insert(0, name, epochs(minutes, "ms") / 1e3)
    elif unit.startswith("iso"):
        table.insert(0, name, minutes.time.strftime("%Y-%m-%dT%H:%M:%S" + ("Z" if unit == "iso Z" else "+00:00")))
    else:
        table.insert(0, name, epochs(minutes, unit))
    path = tmp_path / "rows.csv"
    table.to_csv(path, index=False)
    assert read_file(path, **NAMED).digest == minutes.digest


def test_fractions_of_a_second_are_kept_to_the_millisecond(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("time,open,high,low,close,volume\n1512367220.799,2,3,1,2,5\n1512367280.799,2,3,1,2,5\n")
    assert read_file(path, **NAMED).time.as_unit("ms").asi8.tolist() == [1_512_367_220_799, 1_512_367_280_799]


def test_parquet_files_with_times_as_column_or_index(minutes: Candles, tmp_path: Path) -> None:
    rows_of(minutes).to_parquet(tmp_path / "BINANCE_BTCUSDT_1m_column.parquet")
    minutes.frame.to_parquet(tmp_path / "BINANCE_BTCUSDT_1m_index.parquet")
    for path in find_files(tmp_path):
        assert read_file(path).digest == minutes.digest


def test_a_store_can_be_imported_into_another(minutes: Candles, tmp_path: Path) -> None:
    CandleStore(tmp_path / "old").write(minutes)
    (file,) = find_files(tmp_path / "old")
    assert read_file(file).digest == minutes.digest


def test_a_file_from_the_newest_to_the_oldest_with_a_title_and_two_volumes(minutes: Candles, tmp_path: Path) -> None:
    table = rows_of(minutes).rename(columns={"volume": "Volume BTC"}).iloc[::-1]
    table.insert(0, "unix", epochs(minutes, "ms")[::-1])
    table["Volume USDT"] = 7.0
    path = tmp_path / "Binance_BTCUSDT_1m.csv"
    path.write_text("https://www.example.com\n" + table.drop(columns="time").to_csv(index=False))
    assert read_file(path).digest == minutes.digest


def test_semicolons_and_a_byte_order_mark(minutes: Candles, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows_of(minutes).to_csv(path, index=False, sep=";", encoding="utf-8-sig")
    assert read_file(path, **NAMED).digest == minutes.digest


def test_recorded_answers_of_binance(real_data: Path) -> None:
    path = real_data / "exchange/binance_klines_rest/BTCUSDT_1d_2024-01-01.json"
    candles = read_file(path, exchange="binance")
    assert (candles.symbol, candles.timeframe) == ("BTC/USDT", "1d")
    assert candles.frame.iloc[0].tolist() == [42283.58, 44184.1, 42180.77, 44179.55, 27174.29903]


def test_a_published_daily_series_is_read_once_its_times_are_said_to_be_utc(real_data: Path) -> None:
    path = real_data / "seed/daily_btc_ohclv_2021.csv"
    with pytest.raises(CandleError) as caught:
        read_file(path, **NAMED)
    assert str(caught.value) == (
        f"{path}: the times have no time zone, the first is 2021-01-01 00:00:00. "
        f"If you know that they are UTC, say so with --assume-utc."
    )
    candles = read_file(path, **NAMED, assume_utc=True)
    assert (len(candles), candles.timeframe, str(candles.time[0])) == (289, "1d", "2021-01-01 00:00:00+00:00")
    assert candles.frame.iloc[0].tolist() == [28923.63, 29600.0, 28624.57, 29331.69, 54182.925011]


def test_times_with_offsets_become_utc(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    row = ",1,1,1,1,1\n"
    path.write_text(f"time,open,high,low,close,volume\n2024-03-31T01:59:00+01:00{row}2024-03-31T03:00:00+02:00{row}")
    assert [str(stamp) for stamp in read_file(path, **NAMED).time] == [
        "2024-03-31 00:59:00+00:00",
        "2024-03-31 01:00:00+00:00",
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(1e-8, 1e9, allow_subnormal=False), min_size=1, max_size=20),
    st.lists(st.floats(0, 1e12), min_size=20, max_size=20),
)
def test_a_csv_file_gives_back_every_bit_of_every_number(
    tmp_path: Path, prices: list[float], volumes: list[float]
) -> None:
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), prices))
    table["volume"] = volumes[: len(prices)]
    table.insert(0, "time", 1_700_000_000 + 60 * np.arange(len(prices)))
    path = tmp_path / "rows.csv"
    table.to_csv(path, index=False)
    assert read_file(path, **NAMED, timeframe="1m").frame.to_numpy().tolist() == table.iloc[:, 1:].to_numpy().tolist()


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("user_data/data/binance/BTC_USDT-1m.feather", Guess("binance", "BTC/USDT", "1m")),
        ("user_data/data/okx/futures/BTC_USDT_USDT-1h-futures.feather", Guess("okx", "BTC/USDT:USDT", "1h")),
        ("BTC_USDT-1m.feather", Guess(None, "BTC/USDT", "1m")),
        ("BTCUSDT-1m-2021-01.csv", Guess("binance", "BTC/USDT", "1m")),
        ("BTCUSDT-1m-2021-01-31.zip", Guess("binance", "BTC/USDT", "1m")),
        ("ETHBTC-15m-2021-01.zip", Guess("binance", "ETH/BTC", "15m")),
        ("BINANCE_BTCUSDT_1m_20210101_20231231.parquet", Guess("binance", "BTC/USDT", "1m")),
        ("Bitstamp_BTCUSD_1h.csv", Guess("bitstamp", "BTC/USD", "1h")),
        ("data/kraken/BTC-USD/1d/2021-01.parquet", Guess("kraken", "BTC/USD", "1d")),
        ("minute_btcusdc_ohlcv_20211011_20211016.csv", Guess(None, "BTC/USDC", None)),
        ("rows.csv", Guess(None, None, None)),
    ],
)
def test_names_tell_exchange_symbol_and_timeframe(name: str, expected: Guess) -> None:
    assert guess(Path(name)) == expected


def test_what_the_name_does_not_tell_must_be_said(minutes: Candles, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows_of(minutes).to_csv(path, index=False)
    with pytest.raises(UsageError) as caught:
        read_file(path)
    assert str(caught.value) == f"The name of {path} does not tell its pair. Say it, for example with --pairs BTC/USDT."
    with pytest.raises(UsageError, match=r"does not tell its exchange\. Say it, for example with --exchange binance\."):
        read_file(path, symbol="BTC/USDT")
    assert read_file(path, **NAMED).timeframe == "1m"


def test_a_timeframe_that_the_rows_contradict_is_refused(minutes: Candles, tmp_path: Path) -> None:
    path = tmp_path / "BINANCE_BTCUSDT_1m.csv"
    rows_of(minutes).to_csv(path, index=False)
    with pytest.raises(CandleError) as caught:
        read_file(path, timeframe="5m")
    assert str(caught.value) == (
        f"{path} is said to hold 5m candles, but most of its rows are 60 seconds apart. Give the timeframe that it has: -i 1m."
    )
    rows_of(minutes).iloc[::5].to_csv(path, index=False)
    with pytest.raises(
        CandleError, match=r"said to hold 1m candles, but most of its rows are 300 seconds apart.*: -i 5m\."
    ):
        read_file(path)
    rows_of(minutes).iloc[[0, 5]].to_csv(path, index=False)  # one gap proves nothing
    assert len(read_file(path)) == 2
    rows_of(minutes).iloc[[0, 1]].to_csv(path, index=False)  # one that is too near does
    with pytest.raises(CandleError, match="is said to hold 5m candles"):
        read_file(path, timeframe="5m")
    rows_of(minutes).iloc[::7].to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(UsageError, match=r"nor its rows tell the timeframe\. Say it, for example with -i 1m\."):
        read_file(tmp_path / "rows.csv", **NAMED)


def test_a_folder_is_searched_for_candle_files_only(tmp_path: Path) -> None:
    for name in ("b/ETH_USDT-1m.feather", "a/BTC_USDT-1m.json.gz", "a/x.CSV", "a/BTC_USDT_USDT-8h-mark.feather",
                 "a/BTC_USDT-trades.feather", "a/.2024.parquet", "README.md"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.relative_to(tmp_path).as_posix() for file in find_files(tmp_path)] == [
        "a/BTC_USDT-1m.json.gz", "a/x.CSV", "b/ETH_USDT-1m.feather",
    ]  # fmt: skip
    assert find_files(tmp_path / "README.md") == [tmp_path / "README.md"]
    with pytest.raises(UsageError, match=r"There is no file or folder .*nowhere\. Check the spelling\."):
        find_files(tmp_path / "nowhere")
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match=r"c holds no file that ends in \.csv, "):
        find_files(tmp_path / "c")


# What is refused


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FreqlstmError) as caught:
        read_file(path, **NAMED)
    return str(caught.value)


HEAD = "time,open,high,low,close,volume\n"


def test_dirty_rows_are_refused_like_everywhere_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    first, second, third = "1700000040,2,3,1,2,5\n", "1700000100,2,3,1,2,5\n", "1700000160,2,3,1,2,5\n"
    assert refusal(path, HEAD + first + second + second + third).startswith(
        f"{path}: 1 rows are duplicated, the first at 2023"
    )
    assert "the rows are not in order of time" in refusal(path, HEAD + first + third + second)
    assert "1 rows have a high or low that does not enclose" in refusal(path, HEAD + first + "1700000100,2,3,1,4,5\n")
    assert "1 rows have a value that is not a number" in refusal(path, HEAD + first + "1700000100,2,3,1,,5\n")
    assert "could not convert string to float: 'x'" in refusal(path, HEAD + first + "1700000100,2,3,1,x,5\n")
    assert "row 1 has no time. Every candle needs its open time." in refusal(
        path, HEAD + first + ",2,3,1,2,5\n" + third
    )


def test_dirty_rows_can_be_read_as_they_are_for_a_report(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    starts = (
        "2024-01-01T00:00Z",
        "2024-01-01T00:01Z",
        "2024-01-01T00:01Z",
        "",
        "2024-01-01T00:05Z",
        "2024-01-01T00:04Z",
    )
    path.write_text(HEAD + "".join(f"{start},2,3,1,2,5\n" for start in starts))
    rows, timeframe = read_rows(path)
    found = report(rows, "BTC/USDT", timeframe)
    assert timeframe == "1m"
    assert (found.rows, found.duplicates, found.out_of_order, found.not_finite, found.missing) == (6, 1, 1, 1, 2)
    with pytest.raises(CandleError, match=r"row 3 has no time\."):
        read_file(path, **NAMED)


def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert refusal(path, "time,open,high,low,close\n1700000040,2,3,1,2\n") == (
        f"{path} lacks column 'volume': it has time, open, high, low, close. Candles need a time "
        f"(time, open_time, opentime, timestamp, date, datetime, unix, ts) and open, high, low, close, volume."
    )
    assert f"{path} lacks a column of open times: it has day, open" in refusal(
        path, HEAD.replace("time", "day") + "1,2,3,1,2,5\n"
    )
    assert refusal(path, "1700000040,2,3,1,2\n").startswith(
        f"{path} has 5 columns and no header. Without a header there must be 6 (time, open, high, low, close, volume) or"
    )


def test_times_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert refusal(path, HEAD + "20240101,2,3,1,2,5\n") == (
        f"{path}: the times go from 20240101 to 20240101, which is no epoch in seconds, milliseconds, microseconds or "
        f"nanoseconds between 1973 and 2286. One file must keep to one unit."
    )
    assert "which is no epoch" in refusal(path, HEAD + "1700000040,2,3,1,2,5\n1700000100000,2,3,1,2,5\n")
    assert "a time is neither ISO 8601 nor an epoch" in refusal(path, HEAD + "31.12.2024 10:00,2,3,1,2,5\n")


def test_files_that_cannot_be_read_are_named(tmp_path: Path, minutes: Candles) -> None:
    rows_of(minutes).to_parquet(tmp_path / "whole.parquet")
    half = (tmp_path / "whole.parquet").read_bytes()[:1000]
    for name, content in [
        ("a.parquet", half), ("b.feather", b"no"), ("c.zip", b"no"), ("d.json", b"[[1,"), ("e.csv.gz", b"no"), ("f.csv", b""),
    ]:  # fmt: skip
        message = refusal(tmp_path / name, content)
        assert message.startswith(f"{tmp_path / name} could not be read ("), message
        assert message.endswith("). Is it whole, and of the type that its name says?")
    assert refusal(tmp_path / "g.xlsx", b"").startswith(
        f"{tmp_path / 'g.xlsx'} is of no known type. Candles are read from .csv,"
    )
    assert refusal(tmp_path / "h.csv", HEAD) == f"{tmp_path / 'h.csv'} holds no candles."
    with pytest.raises(UsageError, match=r"There is no file .*i\.csv\. Check the spelling\."):
        read_file(tmp_path / "i.csv", **NAMED)


def test_importing_twice_adds_nothing_and_a_contradiction_is_refused(minutes: Candles, tmp_path: Path) -> None:
    path = tmp_path / "BINANCE_BTCUSDT_1m.csv"
    rows_of(minutes).to_csv(path, index=False)
    store = CandleStore(tmp_path / "data")
    assert store.write(read_file(path)) == 300
    assert store.write(read_file(path)) == 0
    other = rows_of(minutes)
    other.loc[7, "volume"] += 1
    other.to_csv(path, index=False)
    with pytest.raises(StoreError, match="1 candles of BTC/USDT 1m from binance are stored with other values"):
        store.write(read_file(path))


def test_three_real_years_are_imported_in_a_few_seconds(real_data: Path, tmp_path: Path) -> None:
    start = time.process_time()
    candles = read_file(real_data / "candles" / BTC)
    assert CandleStore(tmp_path).write(candles) == 1_575_727
    assert time.process_time() - start < 10
    assert (candles.exchange, candles.symbol, candles.timeframe) == ("binance", "BTC/USDT", "1m")
