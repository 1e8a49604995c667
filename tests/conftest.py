"""Fixtures that the whole suite shares: a few nouns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from freqlstm.candles import Candles

pytest_plugins = ["secrecy"]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def make_candles(
    rows: int, seed: int = 7, symbol: str = "BTC/USDT", timeframe: str = "1m", start: str = "2024-01-01"
) -> Candles:
    """A seeded random walk that opens where the candle before closed."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, rows)))
    open_ = np.concatenate([[100.0], close[:-1]])
    wick = np.abs(random.normal(0, 5e-4, (2, rows)))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": random.lognormal(0, 1, rows),
        },
        index=pd.date_range(start, periods=rows, freq={"1m": "min", "1h": "h", "1d": "D"}[timeframe], tz="UTC"),
    )
    return Candles.from_frame(frame, symbol, timeframe)


@pytest.fixture
def candles() -> Candles:
    """300 seeded bars of one minute."""
    return make_candles(300)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recorded candles; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"recorded market data is not on this machine ({SHARED})")
    return SHARED


def read_real(folder: Path, name: str, symbol: str, timeframe: str) -> Candles:
    """One recorded Parquet file as candles."""
    frame = pd.read_parquet(folder / "candles" / name).set_index("time")
    return Candles.from_frame(frame, symbol, timeframe, "binance")
