"""Small projects for tests of sweeps: strategies as files, markets, and the sweep of both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.cli.sweep import build_run
from freqlstm.report.sweep import sweep_page
from freqlstm.store import CandleStore, Project, read_table
from freqlstm.sweep_result import SweepResult, saved
from freqlstm.sweep_run import run_sweep

BTC, ETH = "BTC/USDT", "ETH/USDT"

DIPS = '''"""Buy what momentum and RSI call cheap."""

from freqlstm import Strategy


class Dips(Strategy):
    signals = dict(prediction="momentum")
    params = dict(threshold=0.0, rsi_period=14, oversold=40, overbought=60, eager=False, side="both")

    def enter_long(self, bars):
        low = bars.rsi(self.p.rsi_period) < self.p.oversold
        return low if self.p.eager else low & (bars.prediction < -self.p.threshold)

    def exit_long(self, bars):
        return bars.rsi(self.p.rsi_period) > self.p.overbought
'''

OWN_NEXT = '''"""Decides bar by bar."""

from freqlstm import Strategy


class OwnNext(Strategy):
    params = dict(period=14)

    def next(self):
        pass
'''


def project_of(root: Path, *market: Candles) -> Project:
    """A project with these candles and strategies."""
    (root / "strategies").mkdir(parents=True, exist_ok=True)
    (root / "strategies" / "dips.py").write_text(DIPS)
    (root / "strategies" / "own_next.py").write_text(OWN_NEXT)
    project = Project(root)
    for candles in market:
        CandleStore(project.data).write(Candles(candles.frame, candles.symbol, candles.timeframe, "binance"))
    return project


def walk_of(rows: int, seed: int = 7, symbol: str = BTC) -> Candles:
    """A random walk."""
    return make_candles(rows, seed=seed, symbol=symbol)


def swinging(rows: int, seed: int = 3) -> Candles:
    """A price that always comes back to 100: whoever buys what fell, earns."""
    random = np.random.default_rng(seed)
    away = np.zeros(rows)
    noise = random.normal(0, 1e-3, rows)
    for row in range(1, rows):
        away[row] = 0.9 * away[row - 1] + noise[row]
    close = 100 * np.exp(away)
    open_ = np.concatenate([[100.0], close[:-1]])
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
            "volume": 1.0,
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC"),
    )
    return Candles.from_frame(frame, BTC, "1m", "binance")


def swept(project: Project, *changes: str, jobs: int = 0, **flags: Any) -> tuple[SweepResult, Path]:
    """The sweep of ``dips`` that the flags ask for, saved, and its folder."""
    run = build_run(None, {"strategy": "dips", **flags}, changes)
    result, parts = run_sweep(run, project, jobs=jobs)
    result, folder = saved(result, project.results, sweep_page)
    parts.remove()
    return result, folder


def rows_of(folder: Path) -> pd.DataFrame:
    """The results in a folder."""
    return read_table(folder / "sweep.parquet")


def parameters_of(results: pd.DataFrame) -> pd.DataFrame:
    """The swept parameters of each combination, under their own names."""
    own = results.filter(regex=r"^params\.")
    return own.rename(columns=lambda name: name.removeprefix("params."))


def unfinished(project: Project) -> Iterable[Path]:
    """The folders of sweeps that are not finished."""
    return project.results.glob(".sweep-*")
