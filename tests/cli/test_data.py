from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.store import CandleStore

NOTHING = (
    "No candles are stored. `freqlstm download` and `freqlstm import` bring some; until then backtests use the demo market, "
    "which is SYNTHETIC.\n"
)


def candles(rows: int = 300, symbol: str = "BTC/USDT", gap: slice | None = None) -> Candles:
    made = make_candles(rows, symbol=symbol)
    frame = made.frame if gap is None else made.frame.drop(made.frame.index[gap])
    return Candles(frame, symbol, "1m", "binance")


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "data")


@pytest.mark.parametrize("arguments", [("list",), ("check",)])
def test_an_empty_store_is_no_error_but_is_said(freqlstm, arguments: tuple[str, ...]) -> None:
    shown = freqlstm("data", *arguments)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", NOTHING)
    assert freqlstm("data", *arguments, "--json").stdout == "[]\n"


def test_the_list_says_what_is_stored(freqlstm, store: CandleStore) -> None:
    store.write(candles())
    lines = freqlstm("data", "list").stdout.splitlines()
    assert lines[1].split() == ["binance", "BTC/USDT", "1m", "2024-01-01", "00:00", "2024-01-01", "04:59", "300"]


def test_a_check_names_the_gap(freqlstm, store: CandleStore) -> None:
    store.write(candles(gap=slice(100, 103)))
    shown = freqlstm("data", "check").stdout.splitlines()
    assert shown[0].startswith("BTC/USDT 1m: 297 candles, 2024-01-01 00:00 to 2024-01-01 04:59 UTC, score 9")
    assert shown[1] == "1 gaps, 3 candles missing, 0 without volume"
    assert "  3 candles of BTC/USDT 1m are missing between 2024-01-01 01:40 and 2024-01-01 01:43 UTC." in shown


def test_a_check_of_one_pair_leaves_the_others_out(freqlstm, store: CandleStore) -> None:
    store.write(candles())
    store.write(candles(symbol="ETH/USDT"))
    checked = json.loads(freqlstm("data", "check", "eth/usdt", "--json").stdout)
    assert [report["symbol"] for report in checked] == ["ETH/USDT"]
    assert len(json.loads(freqlstm("data", "check", "--json").stdout)) == 2


def test_a_file_is_checked_before_its_import_however_bad_it_is(freqlstm, tmp_path: Path) -> None:
    path = tmp_path / "BINANCE_BTCUSDT_1m.csv"
    table = make_candles(10).frame.reset_index()
    table.loc[4, "low"] = -1.0
    table.loc[6, "time"] = table.loc[5, "time"]
    table.to_csv(path, index=False)
    CandleStore(tmp_path / "data").write(candles(symbol="ETH/USDT"))  # not asked for
    (report,) = json.loads(freqlstm("data", "check", path, "--json").stdout)
    assert (report["rows"], report["non_positive"], report["duplicates"]) == (10, 1, 1)
    assert freqlstm("import", path).exit_code == 1


def test_a_pair_that_is_not_stored_gets_the_nearest_one(freqlstm, store: CandleStore) -> None:
    store.write(candles())
    shown = freqlstm("data", "check", "BCT/USDT")
    assert shown.exit_code == 2
    assert shown.stderr == (
        "Error: No stored pair named 'BCT/USDT'. Did you mean 'BTC/USDT'? `freqlstm data list` lists what there is.\n"
    )


def test_a_timeframe_that_is_not_stored_is_one_line(freqlstm, store: CandleStore) -> None:
    store.write(candles())
    shown = freqlstm("data", "check", "BTC/USDT", "-i", "4h")
    assert (shown.exit_code, shown.stderr) == (
        1,
        "Error: No candles of BTC/USDT 4h are stored. `freqlstm data list` lists what there is.\n",
    )


def test_a_damaged_file_is_named(freqlstm, store: CandleStore, tmp_path: Path) -> None:
    store.write(candles())
    path = tmp_path / "data" / "binance" / "BTC-USDT" / "1m" / "2024-01.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    shown = freqlstm("data", "check")
    assert shown.exit_code == 1
    assert str(path) in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_resampling_stores_the_longer_timeframe_without_incomplete_candles(freqlstm, store: CandleStore) -> None:
    store.write(candles(gap=slice(100, 103)))
    shown = freqlstm("data", "resample", "-p", "BTC/USDT", "--from", "1m", "--to", "5m")
    assert shown.stdout == "BTC/USDT 5m of binance: 59 candles, 59 new.\n"
    made = store.read("binance", "BTC/USDT", "5m")
    assert made.open.iloc[0] == candles().open.iloc[0]
    assert made.close.iloc[0] == candles().close.iloc[4]


def test_candles_off_the_grid_are_put_on_it_beside_the_originals(freqlstm, store: CandleStore) -> None:
    off = candles()
    store.write(Candles(off.frame.set_index(off.time + off.step / 3), "BTC/USDT", "1m", "binance"))
    shown = freqlstm("data", "resample", "-p", "BTC/USDT", "--from", "1m", "--to", "1m")
    assert shown.stdout == "BTC/USDT 1m of binance_on_grid: 300 candles, 300 new.\n"
    store.read("binance_on_grid", "BTC/USDT", "1m").require_grid()
    assert len(store.read("binance", "BTC/USDT", "1m")) == 300


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("90s", "Timeframe '90s' is not known."),
        ("1s", "1m candles cannot be resampled to 1s: it must be a multiple of 1m."),
    ],
)
def test_a_timeframe_that_cannot_be_made_is_refused(freqlstm, store: CandleStore, target: str, message: str) -> None:
    store.write(candles())
    shown = freqlstm("data", "resample", "-p", "BTC/USDT", "--from", "1m", "--to", target)
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"Error: {message}")


def test_resampling_what_is_not_stored_says_what_there_is(freqlstm, store: CandleStore) -> None:
    store.write(candles())
    shown = freqlstm("data", "resample", "-p", "BTC/USDT", "--from", "3m", "--to", "15m")
    assert shown.exit_code == 1
    assert shown.stderr == (
        "Error: No 3m candles of BTC/USDT from binance are stored. Stored: BTC/USDT 1m from binance. "
        "Bring them with `freqlstm download` or `freqlstm import`.\n"
    )


@pytest.mark.slow
def test_three_years_of_real_minutes_have_exactly_their_known_defects(freqlstm, real_data: Path) -> None:
    freqlstm("import", real_data / "candles" / "BINANCE_BTCUSDT_1m_20210101_20231231.parquet")
    (report,) = json.loads(freqlstm("data", "check", "BTC/USDT", "--json").stdout)
    assert (report["rows"], len(report["gaps"]), report["missing"], report["zero_volume"]) == (1_575_727, 7, 1073, 161)
