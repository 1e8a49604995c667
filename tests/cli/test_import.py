from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

HEAD = "time,open,high,low,close,volume\n"
MINUTES = pd.date_range("2024-01-01", periods=4, freq="min", tz="UTC")


def rows(count: int = 4, zone: str = "Z", price: float = 100.0, seconds: int = 0) -> str:
    stamps = (MINUTES[:count] + pd.Timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return HEAD + "".join(f"{stamp}{zone},{price},{price + 1},{price - 1},{price},2\n" for stamp in stamps)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "BINANCE_BTCUSDT_1m.csv"
    path.write_text(rows())
    return path


def test_an_import_tells_what_it_stored(freqlstm, file: Path) -> None:
    shown = freqlstm("import", file, "--json")
    assert json.loads(shown.stdout) == [
        {
            "file": str(file),
            "exchange": "binance",
            "pair": "BTC/USDT",
            "timeframe": "1m",
            "candles": 4,
            "new": 4,
            "off_grid": 0,
        }
    ]
    assert [row["candles"] for row in json.loads(freqlstm("data", "list", "--json").stdout)] == [4]


def test_a_second_import_changes_nothing(freqlstm, file: Path) -> None:
    assert freqlstm("import", file).stdout.split()[-1] == "4"
    assert freqlstm("import", file).stdout.split()[-1] == "0"


def test_freqtrades_data_folder_is_imported_whole(freqlstm, tmp_path: Path) -> None:
    folder = tmp_path / "user_data" / "data" / "kraken"
    folder.mkdir(parents=True)
    table = pd.DataFrame({"date": MINUTES, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 3.0})
    table.to_feather(folder / "ETH_USDT-1m.feather")
    table.to_feather(folder / "ADA_USDT-1m.feather")
    done = json.loads(freqlstm("import", folder, "--json").stdout)
    assert [(row["exchange"], row["pair"], row["new"]) for row in done] == [
        ("kraken", "ADA/USDT", 4),
        ("kraken", "ETH/USDT", 4),
    ]


def test_what_the_name_does_not_tell_is_asked_for(freqlstm, tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    path.write_text(rows())
    shown = freqlstm("import", path)
    assert shown.exit_code == 2
    assert shown.stderr == (
        f"Error: The name of {path} does not tell its pair. Say it, for example with --pairs BTC/USDT.\n"
    )
    assert freqlstm("import", path, "-p", "BTC/USDT", "-i", "1m", "--exchange", "binance").exit_code == 0


def test_times_without_a_zone_are_refused_unless_they_are_said_to_be_utc(freqlstm, file: Path) -> None:
    file.write_text(rows(zone=""))
    shown = freqlstm("import", file)
    assert shown.exit_code == 1
    assert shown.stderr == (
        f"Error: {file}: the times have no time zone, the first is 2024-01-01 00:00:00. "
        f"If you know that they are UTC, say so with --assume-utc.\n"
    )
    assert freqlstm("import", file, "--assume-utc").exit_code == 0


def test_candles_that_differ_from_stored_ones_are_refused_unless_they_may_replace_them(freqlstm, file: Path) -> None:
    freqlstm("import", file)
    file.write_text(rows(price=200.0))
    shown = freqlstm("import", file)
    assert shown.exit_code == 1
    assert "--replace" in shown.stderr
    assert freqlstm("import", file, "--replace").stdout.split()[-1] == "4"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2024-01-01T00:01:00Z,nan,101,99,100,2", "a value that is not a number"),
        ("2024-01-01T00:01:00Z,inf,inf,99,100,2", "an infinite value"),
        ("2024-01-01T00:01:00Z,-100,101,-100,100,2", "a price that is not positive"),
        ("2024-01-01T00:01:00Z,100,101,0,100,2", "a price that is not positive"),
        ("2024-01-01T00:01:00Z,100,99,98,100,2", "a high or low that does not enclose open and close"),
        ("2024-01-01T00:00:00Z,100,101,99,100,2", "duplicated"),
        ("2023-12-31T23:59:00Z,100,101,99,100,2", "not in order of time"),
    ],
)
def test_rows_that_cannot_be_candles_are_refused_and_nothing_is_stored(
    freqlstm, file: Path, line: str, problem: str
) -> None:
    file.write_text(
        rows(1) + line + "\n" + "2024-01-01T00:02:00Z,100,101,99,100,2\n2024-01-01T00:03:00Z,100,101,99,100,2\n"
    )
    shown = freqlstm("import", file)
    assert shown.exit_code == 1
    assert shown.stderr.count("\n") == 1
    assert problem in shown.stderr
    assert json.loads(freqlstm("data", "list", "--json").stdout) == []


def test_candles_off_the_grid_are_stored_and_said_to_be(freqlstm, file: Path) -> None:
    file.write_text(rows(seconds=20))
    shown = freqlstm("import", file)
    assert shown.exit_code == 0
    assert shown.stderr == (
        "4 of 4 candles in BINANCE_BTCUSDT_1m.csv do not open on the 1m grid: backtests refuse them until they are "
        "resampled (`freqlstm data resample`) or --accept-off-grid is given.\n"
    )


def test_a_file_is_needed(freqlstm) -> None:
    assert freqlstm("import").exit_code == 2
    shown = freqlstm("import", "nowhere.csv")
    assert (shown.exit_code, shown.stderr) == (
        2,
        "Error: There is no file or folder nowhere.csv. Check the spelling.\n",
    )


def test_a_file_that_is_not_what_its_name_says_is_one_line(freqlstm, tmp_path: Path) -> None:
    path = tmp_path / "BINANCE_BTCUSDT_1m.parquet"
    path.write_bytes(b"not parquet")
    shown = freqlstm("import", path)
    assert shown.exit_code == 1
    assert shown.stderr.startswith(f"Error: {path} could not be read (")
    assert shown.stderr.count("\n") == 1
