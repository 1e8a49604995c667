"""Candles of three years from a file: read, checked, stored and loaded."""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground, random_walk, recorded
from benchmarks.measure import Variant
from benchmarks.row import Measured, Row, under_mb, within

THREE_YEARS = 1_576_800  # minutes


def rows(ground: Ground) -> list[Row]:
    """One row."""
    count = ground.pick(THREE_YEARS, 20_000)
    file = str(ground.folder / "BINANCE_BTCUSDT_1m.csv")

    def note(row: Measured) -> str:
        parts = ", ".join(f"{name} {row.ours.told[name]:.2f} s" for name in ("read", "check", "store", "load"))
        return f"a CSV file of {row.ours.told['megabytes']:.0f} MB; {parts}"

    return [
        Row(
            "import", "import, check and load of three years of 1m candles, libraries loaded",
            Variant("freqlstm", "importing:ours", {"file": file}),
            [Variant("pandas.read_csv alone", "importing:pandas_alone", {"file": file})],
            [within(3.0, "3 s"), under_mb(600)], same=("candles",), note=note,
            prepare=lambda: _write(Path(file), count),
        )
    ]  # fmt: skip


def _write(file: Path, rows: int) -> None:
    """Recorded candles of 2021 to 2023 where there are, else a random walk; times in milliseconds."""
    import pandas as pd

    from freqlstm.candles import COLUMNS

    path = recorded()
    if path is not None:
        table = pd.read_parquet(path).iloc[:rows]
        table["time"] = table["time"].astype("datetime64[ms, UTC]").astype("int64")
    else:
        table = random_walk(rows)
        table.insert(0, "time", 1_609_459_200_000 + 60_000 * table.index.to_numpy())
    table[["time", *COLUMNS]].to_csv(file, index=False)


def ours(file: str) -> dict[str, Any]:
    """From the file to the project's store, and from there to a table of candles."""
    from freqlstm.ingest import read_file
    from freqlstm.quality import report
    from freqlstm.store import CandleStore

    with tempfile.TemporaryDirectory() as folder:
        clock = [time.perf_counter()]
        candles = read_file(Path(file))
        clock.append(time.perf_counter())
        quality = report(candles.frame, candles.symbol, candles.timeframe)
        clock.append(time.perf_counter())
        store = CandleStore(folder)
        store.write(candles)
        clock.append(time.perf_counter())
        del candles
        loaded = store.read("binance", "BTC/USDT", "1m")
        clock.append(time.perf_counter())
    parts = dict(zip(("read", "check", "store", "load"), (b - a for a, b in pairwise(clock)), strict=True))
    return {
        "seconds": clock[-1] - clock[0], "candles": len(loaded), "score": quality.score,
        "megabytes": Path(file).stat().st_size / 1e6, **parts,
    }  # fmt: skip


def pandas_alone(file: str) -> dict[str, Any]:
    """No check, no store."""
    import pandas as pd

    start = time.perf_counter()
    table = pd.read_csv(file)
    return {"seconds": time.perf_counter() - start, "candles": len(table)}
