"""The whole program from candles to a result, as a person uses it: on recorded candles with real holes, in processes of
its own, without a network."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import read_real
from terminal import CHECKOUT, DEMO, SMALL, environment, typed

from freqlstm import indicators
from freqlstm.candles import Candles
from freqlstm.cli.main import main
from freqlstm.features import DEFAULT_FEATURES, compute
from freqlstm.labels import forward_return
from freqlstm.plugins import discover, find
from freqlstm.reproduce import load_result
from freqlstm.results import Result
from freqlstm.store import Project
from freqlstm.strategy import signals_of
from freqlstm.windows import rows_with_window

BTC = "BINANCE_BTCUSDT_1m_20210101_20231231.parquet"
OTHERS = (
    "BINANCE_ETHUSDT_1m_20210101_20231231.parquet",
    "BINANCE_SOLUSDT_1m_20210402_20210615.parquet",
    "BINANCE_ADAUSDT_1m_20210402_20210615.parquet",
)
OFF_GRID = "BINANCE_BTCUSDT_1m_20171201_20180228_offgrid.parquet"
PAIRS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT")
SHIPPED = [plugin.name for plugin in discover("strategy", CHECKOUT / "nowhere") if plugin.origin == "shipped"]

# The last candle before and the first after the hole of May 2021.
HOLES = {
    "SOL/USDT": ("2021-05-14 20:31", "2021-05-15 21:19"),
    "ADA/USDT": ("2021-05-14 20:27", "2021-05-15 15:25"),
}


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def run(root: Path, *arguments: object) -> Any:
    """What the command did in the project ``root``, in this process; a warning would be an error."""
    return CliRunner(catch_exceptions=False).invoke(main, ["--project", str(root), *map(str, arguments)])


def backtest(root: Path, *arguments: object) -> Result:
    """The result of a backtest in the project ``root``, as it was saved."""
    done = run(root, "backtest", *arguments, "--export", "none")
    assert done.exit_code == 0, done.stderr
    return load_result(Project(root), Path(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def imported(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A project with three years of BTC/USDT 1m, and the seconds of computing that its import took."""
    root = tmp_path_factory.mktemp("real")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(typed("import", real_data / "candles" / BTC, "--json", cwd=root).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert [(row["exchange"], row["pair"], row["timeframe"], row["new"]) for row in told] == [
        ("binance", "BTC/USDT", "1m", 1_575_727)
    ]
    return root, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def root(imported: tuple[Path, float], real_data: Path) -> Path:
    """The same project with ETH/USDT over the same years, and SOL/USDT and ADA/USDT over ten weeks of 2021."""
    run(imported[0], "import", *(real_data / "candles" / name for name in OTHERS))
    return imported[0]


# Candles


def test_three_years_of_minutes_are_imported_in_less_than_ten_seconds(imported: tuple[Path, float]) -> None:
    assert imported[1] < 10  # of computing: the clock on the wall also measures the neighbours


def test_the_check_finds_the_known_defects_of_three_years_of_minutes_and_no_others(
    imported: tuple[Path, float],
) -> None:
    (told,) = json.loads(run(imported[0], "data", "check", "BTC/USDT", "--json").stdout)
    assert told["rows"] == 1_575_727
    assert len(told["gaps"]) == 7
    assert told["missing"] == sum(gap["missing"] for gap in told["gaps"]) == 1_073
    assert told["zero_volume"] == 161
    defects = ("duplicates", "out_of_order", "off_grid", "ohlc_violations", "non_positive", "not_finite")
    assert {name: told[name] for name in defects} == dict.fromkeys(defects, 0)
    shown = run(imported[0], "data", "check", "BTC/USDT").stdout
    assert "7 gaps, 1,073 candles missing, 161 without volume" in shown


def test_off_grid_candles_are_named_refused_and_taken_when_accepted_or_resampled(
    real_data: Path, tmp_path: Path
) -> None:
    file = real_data / "candles" / OFF_GRID
    times = pd.read_parquet(file)["time"]
    off = int((times.dt.second != 0).sum())
    done = run(tmp_path, "import", file)
    assert done.stderr.splitlines() == [
        f"{off:,} of {len(times):,} candles in {OFF_GRID} do not open on the 1m grid: backtests refuse them until they are "
        f"resampled (`freqlstm data resample`) or --accept-off-grid is given."
    ]
    (told,) = json.loads(run(tmp_path, "data", "check", "--json").stdout)
    assert (told["rows"], told["off_grid"]) == (len(times), off)
    assert f"{off:,} rows" in run(tmp_path, "data", "check").stdout

    week = ("backtest", "-s", "rsi_bollinger", "--timerange", "20171210-20171217", "--export", "none")
    refused = run(tmp_path, *week)
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr.splitlines() == [
        f"Error: {off:,} of {len(times):,} candles of BTC/USDT 1m do not open on the 1m grid, the first at "
        f"{times[times.dt.second != 0].iloc[0]:%Y-%m-%d %H:%M:%S.%f} UTC. Resample them with `freqlstm data resample`, or take "
        f"them as they are with --accept-off-grid."
    ]
    assert not (tmp_path / "backtests").exists()

    accepted = run(tmp_path, *week, "--accept-off-grid")
    assert accepted.exit_code == 0, accepted.stderr
    taken = load_result(Project(tmp_path), Path(accepted.stdout.splitlines()[-1]))
    assert (taken.equity.index.second != 0).all()
    resampled = run(tmp_path, "data", "resample", "-p", "BTC/USDT", "--from", "1m", "--to", "1m")
    assert resampled.stdout.startswith("BTC/USDT 1m of binance_on_grid: ")
    again = backtest(tmp_path, *week[1:-2], "--exchange", "binance_on_grid")
    assert (again.equity.index.second == 0).all()
    assert len(again.trades) > 10


# A portfolio across the hole of May 2021


PORTFOLIO = ("-s", "lstm_rsi", "-p", ",".join(PAIRS), "--timerange", "20210401-20210616",
             "--train", "14d", "--min-train", "5d", "--test", "14d", *SMALL, "--fee", "0", "--slippage", "0",
             "--set", "threshold=-1.0", "--set", "oversold=25")  # fmt: skip


@pytest.fixture(scope="module")
def portfolio(root: Path) -> Result:
    """Four symbols over eleven weeks with three holes; it trades wherever there is a prediction and an RSI below 25."""
    return backtest(root, *PORTFOLIO)


@pytest.fixture(scope="module")
def signal(root: Path) -> Any:
    """The signal of the portfolio, not fitted."""
    return find("signal", "lstm", root).load()(seeds=1, epochs=1, features=["return_lag_0", "rsi_14"])


def stretches(candles: Candles) -> list[Candles]:
    """What lies between two holes, found without asking the candles."""
    after_a_hole = np.flatnonzero(np.diff(candles.time) != candles.step) + 1
    return [candles.rows(a, b) for a, b in pairwise([0, *after_a_hole, len(candles)])]


@pytest.mark.slow
def test_a_portfolio_shares_its_cash_among_symbols_that_begin_at_different_times(portfolio: Result) -> None:
    first = {symbol: candles.time[0] for symbol, candles in portfolio.market.items()}
    assert first["BTC/USDT"] == first["ETH/USDT"] == utc("2021-04-01 00:00") == portfolio.equity.index[0]
    assert first["SOL/USDT"] == first["ADA/USDT"] == utc("2021-04-02 00:00")
    trades = portfolio.trades[portfolio.trades["status"] != "refused"]
    assert set(trades["symbol"]) == set(PAIRS)
    assert portfolio.equity["cash"].min() >= 0
    assert portfolio.equity["equity"].iloc[-1] == pytest.approx(10_000 + trades["net_pnl"].sum(), abs=1e-6)
    for trade in trades.itertuples():
        bar = trade.decided_at - pd.Timedelta(minutes=1)
        share = 0.95 / 4 * portfolio.equity["equity"][bar] / portfolio.market[trade.symbol].close[bar]
        assert 0.99 * share < trade.size <= share * (1 + 1e-12)  # of what all four have made together; in whole lots
    ends = trades["exit_time"].fillna(portfolio.equity.index[-1])
    held = pd.concat([pd.Series(1, trades["entry_time"]), pd.Series(-1, ends)]).groupby(level=0).sum().cumsum()
    assert held.max() >= 3  # of the four at once, from one account


@pytest.mark.slow
def test_the_portfolio_prints_one_result_and_says_what_it_lacks(portfolio: Result, root: Path) -> None:
    done = run(root, "backtest", *PORTFOLIO)
    assert done.exit_code == 0
    assert [line for line in done.stderr.splitlines() if line.startswith("Warning")] == [
        f"Warning: lstm says nothing of {pair} before 2021-04-15 00:00 UTC, which is 18% of the bars: it had too few candles to "
        f"be fitted on or to warm up. The figures include those idle bars."
        for pair in ("SOL/USDT", "ADA/USDT")
    ]
    lines = done.stdout.splitlines()
    assert lines[0].endswith(": BTC/USDT, ETH/USDT, SOL/USDT, ADA/USDT 2021-04-01 to 2021-06-15")
    sheet = Path(lines[-1])
    assert sheet.stat().st_size < 6_000_000
    assert "SYNTHETIC" not in sheet.read_text()
    assert [len(told["gaps"]) for told in portfolio.manifest["quality"].values()] == [2, 2, 3, 3]


@pytest.mark.slow
def test_no_prediction_is_made_within_the_warm_up_after_a_hole_and_each_one_after_it(
    portfolio: Result, signal: Any, root: Path
) -> None:
    begin = {pair: utc("2021-04-01") for pair in ("BTC/USDT", "ETH/USDT")}  # with candles of March to warm up on
    begin |= {pair: utc("2021-04-15") for pair in ("SOL/USDT", "ADA/USDT")}  # the first fold that has 5 days of them
    for symbol, candles in portfolio.market.items():
        speaks = portfolio.predictions[symbol]["prediction"].notna()
        assert not speaks[candles.time < begin[symbol]].any()
        for number, stretch in enumerate(stretches(candles)):
            spoken = speaks[stretch.time]
            if number:
                assert not spoken.iloc[: signal.warmup].any()
            due = spoken.iloc[signal.warmup if number else 0 :]
            assert due[due.index >= begin[symbol]].all()


@pytest.mark.slow
def test_what_is_predicted_after_the_hole_needs_nothing_that_lies_before_it(
    portfolio: Result, signal: Any, root: Path
) -> None:
    (fold,) = (
        fold
        for fold in portfolio.manifest["signals"]["prediction"]["folds"]
        if fold["test_start"] <= "2021-05-14" < fold["test_end"]
    )
    fitted = type(signal).load(root / "models" / "lstm" / fold["model_id"])
    for symbol, (_, first) in HOLES.items():
        after = portfolio.market[symbol].between(utc(first), utc(fold["test_end"][:19]))
        alone = fitted.predict(after)["prediction"]
        np.testing.assert_array_equal(alone, portfolio.predictions[symbol].loc[after.time, "prediction"])


@pytest.mark.slow
def test_no_window_or_label_that_is_learned_from_spans_a_hole(portfolio: Result, signal: Any) -> None:
    """Each stretch of n bars has n - warm-up - horizon windows with a label; as if unbroken there would be more."""
    folds = portfolio.manifest["signals"]["prediction"]["folds"]
    (fold,) = (fold for fold in folds if fold["test_start"].startswith("2021-05-27"))
    start, end = utc(fold["train_start"][:19]), utc(fold["train_end"][:19])
    assert (start, end) == (utc("2021-05-13"), utc("2021-05-27"))  # the hole lies inside
    minutes = {
        "BTC/USDT": [14 * 1440],
        "ETH/USDT": [14 * 1440],
        "SOL/USDT": [1440 + 20 * 60 + 32, 11 * 1440 + 161],
        "ADA/USDT": [1440 + 20 * 60 + 28, 11 * 1440 + 515],
    }
    for symbol, expected in minutes.items():
        assert [len(stretch) for stretch in stretches(portfolio.market[symbol].between(start, end))] == expected
    # The first stretch has its warm-up before the train span, the second within itself.
    learned = sum(
        max(0, length - signal.horizon - (signal.warmup if number else 0))
        for lengths in minutes.values()
        for number, length in enumerate(lengths)
    )
    purged = signal.horizon * len(minutes)  # the bars before the first of validation, whose labels reach into it
    assert fold["fitted_windows"] + fold["validation_windows"] == learned - purged


@pytest.mark.parametrize("symbol", HOLES)
def test_no_feature_indicator_label_or_window_uses_the_hole_as_if_it_were_a_minute(
    real_data: Path, symbol: str
) -> None:
    name = f"BINANCE_{symbol.replace('/', '')}_1m_20210402_20210615.parquet"
    last, first = map(utc, HOLES[symbol])
    candles = read_real(real_data, name, symbol, "1m").between(utc("2021-05-12"), utc("2021-05-18"))
    after = candles.between(first, None)
    assert candles.time[len(candles) - len(after) - 1] == last
    whole, alone = compute(DEFAULT_FEATURES, candles), compute(DEFAULT_FEATURES, after)
    pd.testing.assert_frame_equal(whole.loc[after.time], alone, check_exact=True)
    assert np.isfinite(alone).all(axis=1).sum() == len(after) - 1440  # a day of warm-up, all over again
    for made in (indicators.rsi, indicators.macd, indicators.bollinger):
        of_whole, of_alone = pd.DataFrame(made(candles)), pd.DataFrame(made(after))
        pd.testing.assert_frame_equal(of_whole.loc[after.time], of_alone, check_exact=True)
    label = forward_return(candles, 5)
    assert label.loc[:last].iloc[-5:].isna().all()
    assert label.loc[:last].iloc[:-5].notna().all()
    assert label.loc[first] == pytest.approx(np.log(after.close.iloc[5] / after.close.iloc[0]))
    rows = rows_with_window(np.zeros((len(candles), 1)), candles.segment, 10)
    begins = candles.time.get_loc(first)
    assert set(range(begins, begins + 9)) == set(range(begins - 10, begins + 20)) - set(rows)


@pytest.mark.slow
def test_no_entry_is_decided_in_the_warm_up_after_a_hole_or_filled_across_it(portfolio: Result, signal: Any) -> None:
    warmup = max(indicators.rsi_warmup(14), signal.warmup)
    trades = portfolio.trades[portfolio.trades["status"] != "refused"]
    assert (trades["entry_time"] == trades["decided_at"]).all()  # the next minute or never
    for symbol, candles in portfolio.market.items():
        decided = trades.loc[trades["symbol"] == symbol, "decided_at"]
        for stretch in stretches(candles)[1:]:
            begin = stretch.time[0]
            within = decided[(decided > begin) & (decided <= stretch.time[-1])]
            assert within.min() > begin + warmup * stretch.step
            assert len(within) > 10


EDGE = '''"""Trades by the clock around the hole, wherever it knows an RSI."""

import pandas as pd

from freqlstm import Strategy


def minutes(*texts):
    return [pd.Timestamp(text, tz="UTC") for text in texts]


class Edge(Strategy):
    def enter_long(self, bars):
        here = bars.time.isin(minutes("2021-05-14 20:20", "2021-05-14 20:31")) | (bars.time >= minutes("2021-05-15 12:00")[0])
        return (bars.rsi(14) > 0) & here

    def exit_long(self, bars):
        return (bars.rsi(14) > 0) & bars.time.isin(minutes("2021-05-14 20:27", "2021-05-15 12:30"))
'''


def test_an_order_to_enter_lapses_at_a_hole_and_one_to_leave_fills_after_it(root: Path) -> None:
    (root / "strategies").mkdir(exist_ok=True)
    (root / "strategies" / "edge.py").write_text(EDGE)
    trades = backtest(root, "-s", "edge", "-p", "BTC/USDT,SOL/USDT,ADA/USDT", "--timerange", "20210514-20210516").trades
    told = [
        (trade.symbol[:3], trade.status, f"{trade.decided_at:%d %H:%M}", f"{trade.entry_time:%d %H:%M}", f"{trade.exit_time:%d %H:%M}")
        for trade in trades.astype({"entry_time": object, "exit_time": object}).where(trades.notna(), utc("1970-01-01")).itertuples()
    ]  # fmt: skip
    never = "01 00:00"
    assert told == [
        ("ADA", "closed", "14 20:21", "14 20:21", "15 15:25"),  # sold on the last candle, filled 19 hours later
        ("BTC", "closed", "14 20:21", "14 20:21", "14 20:28"),
        ("SOL", "closed", "14 20:21", "14 20:21", "14 20:28"),
        ("BTC", "closed", "14 20:32", "14 20:32", "15 12:31"),
        ("SOL", "refused", "14 20:32", never, never),  # bought on the last candle
        ("BTC", "open", "15 12:32", "15 12:32", never),  # without a hole it does not wait
        ("ADA", "open", "15 20:20", "15 20:20", never),  # 294 minutes of warm-up after 15:25
    ]
    (refused,) = trades[trades["status"] == "refused"].itertuples()
    assert refused.refused_because == "the candle in which it would have filled is missing"
    assert indicators.rsi_warmup(14) == 294


# Every shipped strategy


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SHIPPED)
def test_every_shipped_strategy_runs_on_real_minutes(root: Path, strategy: str) -> None:
    columns = list(signals_of(find("strategy", strategy, CHECKOUT).load()))
    small = [each.replace("prediction.", f"{column}.") for column in columns for each in SMALL]
    learns = ("--train", "7d", "--min-train", "7d", *small) if columns else ()
    done = run(root, "backtest", "-s", strategy, "--timerange", "20230321-20230326", *learns, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["warnings"] == []
    assert told["synthetic"] is False
    result = load_result(Project(root), Path(told["folder"]))
    assert len(result.equity) == 5 * 1440 - 80  # the outage of 24 March
    assert np.isfinite(result.equity.to_numpy()).all()
    assert told["performance"]["days"] == 5
    assert Path(told["tearsheet"]).stat().st_size > 1_000_000
    for column in columns:
        assert told["skill"]["BTC/USDT"][column]["rows"] > 5000


# The same again


@pytest.mark.slow
def test_two_runs_in_two_processes_are_the_same_to_the_last_bit_and_a_third_confirms_it(tmp_path: Path) -> None:
    runs = []
    for name, jobs, hashes in (("one", 1, "1"), ("two", 2, "2")):
        folder = tmp_path / name
        folder.mkdir()
        done = typed(
            "backtest", "-s", "lstm_rsi", *DEMO, "--timerange", "20240103-20240106", "--set", "threshold=-1.0",
            "--jobs", jobs, "--export", "none", cwd=folder, env=environment(PYTHONHASHSEED=hashes),
        )  # fmt: skip
        runs.append(Path(done.stdout.splitlines()[-1]))
    one, two = runs
    for part in ("predictions.parquet", "trades.parquet", "equity.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(one / part), pd.read_parquet(two / part), check_exact=True)
    for part in ("stats.json", "trades.csv", "run.toml"):
        assert (one / part).read_bytes() == (two / part).read_bytes()
    assert pd.read_parquet(one / "predictions.parquet")["prediction"].notna().sum() == 3 * 1440
    assert len(pd.read_parquet(one / "trades.parquet")) > 50
    again = typed("reproduce", "latest", "--jobs", 1, cwd=tmp_path / "one", env=environment(PYTHONHASHSEED="3"))
    told = again.stdout.splitlines()
    assert told[-1] == f"{one.name} is reproduced."
    assert not any("DIFFERENT" in line for line in told)


# Nothing leaves the machine


# Runs at the start of every process, those that fit signals included.
GUARD = """
import os, sys

HERE = ("127.0.0.1", "::1", "localhost", "", None)

def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None  # if not, it is a socket in the file system
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    if host not in HERE:
        with open(os.environ["REACHED"], "a") as file:
            file.write(f"{event} {host}\\n")
        raise PermissionError(f"{host} is out of bounds")

sys.addaudithook(guard)
with open(os.environ["GUARDED"], "a") as file:
    file.write(f"{os.getpid()}\\n")
"""


def isolation() -> tuple[str, ...]:
    """What makes a command run without any network, if this machine lets us."""
    unshare = ("unshare", "--map-root-user", "--net")
    possible = shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
    return unshare if possible else ()


@pytest.mark.slow
def test_a_backtest_reaches_nothing_beyond_this_machine(tmp_path: Path) -> None:
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    reached, guarded = tmp_path / "reached", tmp_path / "guarded"
    env = environment(PYTHONPATH=str(guard), REACHED=str(reached), GUARDED=str(guarded))
    done = typed(
        "backtest",
        "-s",
        "lstm_rsi",
        *DEMO,
        "--timerange",
        "20240103-20240105",
        cwd=tmp_path,
        env=env,
        before=isolation(),
    )
    assert Path(done.stdout.splitlines()[-1]).name == "tearsheet.html"
    assert len(set(guarded.read_text().split())) >= 3  # the command and the processes that fit
    assert not reached.exists(), reached.read_text()
