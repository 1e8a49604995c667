"""The page of a result: freqlstm's tearsheet, and what QuantStats makes of the same minutes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground, recorded
from benchmarks.measure import Variant
from benchmarks.row import Measured, Row, told_under, within


def rows(ground: Ground) -> list[Row]:
    """One row."""
    folder = ground.folder / "page"
    settings = {"folder": str(folder)}

    def prepare() -> None:
        if not (folder / "strategies").exists():
            _result(folder, ground.quick)

    def note(row: Measured) -> str:
        theirs = f", QuantStats's {row.best.told['megabytes']:.1f} MB" if row.best else ""
        return f"from start to end; a page of {row.ours.told['megabytes']:.1f} MB{theirs}"

    return [
        Row(
            "tearsheet", "the page of a backtest of 90 days of 1m", Variant("freqlstm report", "page:tearsheet", settings),
            [Variant("quantstats.reports.html on 1m returns", "page:quantstats_html", settings, rounds=1, needs="quantstats")],
            [within(6.0, "6 s"), told_under("megabytes", 5.0, "5 MB")], note=note, prepare=prepare,
        )
    ]  # fmt: skip


def _result(folder: Path, quick: bool) -> None:
    """A backtest with all that a page shows; one short fit a month is enough for that."""
    from benchmarks.command import FREQLSTM, run

    run([*FREQLSTM, "init", str(folder)])
    flags = [
        "--strategy",
        "lstm_rsi",
        "--set",
        "prediction.seeds=1",
        "--set",
        "prediction.epochs=1",
        "--train",
        "30d",
        "--test",
        "30d",
    ]
    if quick:
        flags = [
            "--strategy",
            "rsi_bollinger",
            "--timeframe",
            "1h",
            "--exchange",
            "demo",
            "--timerange",
            "20240201-20240210",
        ]
    elif recorded():
        run([*FREQLSTM, "import", str(recorded())], folder)
        flags += ["--pairs", "BTC/USDT", "--timerange", "20230101-20230401"]
    run([*FREQLSTM, "backtest", *flags, "--export", "none"], folder)


def tearsheet(folder: str) -> dict[str, Any]:
    """The command, libraries and reading of the result included."""
    from benchmarks.command import FREQLSTM, run

    told = run([*FREQLSTM, "report", "--json"], folder)
    page = json.loads(told.pop("printed"))["tearsheet"]
    return {**told, "megabytes": Path(page).stat().st_size / 1e6}


def quantstats_html(folder: str) -> dict[str, Any]:
    """Its page of returns bar by bar, the library included."""
    start = time.perf_counter()
    import matplotlib

    matplotlib.use("Agg")
    import pandas as pd
    import quantstats

    (equity,) = Path(folder, "backtests", "results").glob("*/equity.parquet")
    table = pd.read_parquet(equity)
    table.index = pd.DatetimeIndex(table.index).tz_localize(None)
    returns, benchmark = table["equity"].pct_change().fillna(0.0), table["buy_and_hold"].pct_change().fillna(0.0)
    page = Path(folder, "quantstats.html")
    quantstats.reports.html(returns, benchmark, output=str(page), periods_per_year=365 * 1440)
    return {"seconds": time.perf_counter() - start, "megabytes": page.stat().st_size / 1e6}
