"""What all rows are measured on: recorded candles where they are at hand, else a seeded random walk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from freqlstm.candles import COLUMNS, Candles

SYMBOL = "BTC/USDT"
FIRST = "2023-01-01"
MINUTES_OF_2023 = 525_519  # that are recorded
RECORDED = Path("candles", "BINANCE_BTCUSDT_1m_20210101_20231231.parquet")

T = TypeVar("T")


@dataclass(frozen=True)
class Ground:
    """Where the files of a run of the benchmarks lie, and whether it is a small one."""

    folder: Path
    quick: bool = False

    def pick(self, usual: T, quick: T) -> T:
        """A size, by whether this is a quick run."""
        return quick if self.quick else usual

    def candles(self, rows: int) -> str:
        """The file of so many minutes of 2023, or of a random walk where there are not so many; see :func:`make`."""
        known = recorded() is not None and rows <= MINUTES_OF_2023
        return str(self.folder / f"{'recorded' if known else 'walk'}-{rows}.npy")


def recorded() -> Path | None:
    """BTC/USDT 1m of 2021 to 2023, in the folder FREQLSTM_DATA_DIR or beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("FREQLSTM_DATA_DIR", beside)) / RECORDED
    return path if path.is_file() else None


def market_name() -> str:
    """What to call the candles of :meth:`Ground.candles`."""
    return "BTC/USDT 1m of 2023" if recorded() else "a seeded random walk"


def make(file: str) -> None:
    """Write a file of :meth:`Ground.candles`, if it is not there.

    Recorded candles stand as if no minute were missing, so that libraries that know of no gaps see what freqlstm sees.
    """
    kind, rows = Path(file).stem.split("-")
    path = recorded()
    if Path(file).exists():
        return
    if kind == "recorded" and path is not None:
        year = pd.read_parquet(path).set_index("time").loc[FIRST:"2023-12-31", list(COLUMNS)]
        np.save(file, year.iloc[: int(rows)].to_numpy(np.float64))
    else:
        np.save(file, random_walk(int(rows)).to_numpy(np.float64))


def random_walk(rows: int) -> pd.DataFrame:
    """Seeded candles that open where the one before closed, prices rounded to cents."""
    random = np.random.default_rng(2023)
    close = 20_000 * np.exp(np.cumsum(random.normal(0, 5e-4, rows)))
    open_ = np.concatenate([[20_000.0], close[:-1]])
    wick = np.abs(random.normal(0, 2e-4, (2, rows)))
    prices = {
        "open": open_, "high": np.maximum(open_, close) * (1 + wick[0]), "low": np.minimum(open_, close) * (1 - wick[1]),
        "close": close, "volume": random.lognormal(0, 1, rows),
    }  # fmt: skip
    return pd.DataFrame(prices).round(2).clip(lower=0.01)


def minutes(rows: int, zone: str | None = None) -> pd.DatetimeIndex:
    """Open times of so many candles."""
    return pd.date_range(FIRST, periods=rows, freq="min", tz=zone)


def read_frame(file: str, zone: str | None = None, rows: int | None = None) -> pd.DataFrame:
    """Open, high, low, close, volume by open time; without a zone, as other libraries are fastest with."""
    table = np.array(np.load(file, mmap_mode="r")[:rows])
    return pd.DataFrame(table, columns=list(COLUMNS), index=minutes(len(table), zone))


def read_candles(file: str, rows: int | None = None) -> Candles:
    """The same for freqlstm."""
    return Candles.from_frame(read_frame(file, "UTC", rows), SYMBOL, "1m")


def forecasts(rows: int) -> np.ndarray:
    """Shape (rows,): what a signal could have said, an expected log return a bar; noise, as far as speed is concerned."""
    return np.random.default_rng(64).normal(0.0, 3e-4, rows)
