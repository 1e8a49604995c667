"""One backtest of a year of 1-minute candles: freqlstm's engine against Backtrader fed by PandasData.

All three run the rules of the shipped strategy rsi_bollinger from candles to fills and equity, on the same candles and
with the same costs, and are required to fill the same orders at the same prices.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from benchmarks.measure import Figures, interleaved, peak_mb
from freqlstm.bars import Bars
from freqlstm.candles import COLUMNS, Candles
from freqlstm.costs import Costs, market_rules
from freqlstm.engines.backtrader import simulate
from freqlstm.plugins import shipped
from freqlstm.progress import Progress
from freqlstm.strategy import check_parameters, decide

ROWS = 525_600  # a year of minutes
SYMBOL = "BTC/USDT"
RECORDED = Path("candles", "BINANCE_BTCUSDT_1m_20210101_20231231.parquet")
COSTS = Costs(commission=0.001, slippage=0.0001)
RULES = market_rules(SYMBOL)
CASH = 1_000_000.0
STRATEGY: Any = shipped("strategy", "rsi_bollinger").load()
SETTINGS = check_parameters(STRATEGY, {})

Fills = list[tuple[int, float, float]]  # (row, size, price)


def freqlstm_engine(candles: Candles) -> Fills:
    """Columns in bulk, conditions over whole columns."""
    decisions = decide(STRATEGY, {}, Bars(candles))
    simulation = simulate(
        STRATEGY, {}, {SYMBOL: candles}, predictions={SYMBOL: pd.DataFrame(index=candles.time)},
        decisions={SYMBOL: decisions}, rules={SYMBOL: RULES}, costs=COSTS, cash=CASH,
    )  # fmt: skip
    return [(fill.row, fill.size, fill.price) for fill in simulation.fills]


class Commonly(bt.Strategy):  # type: ignore[misc]
    """The orders of the rules, as one writes them for Backtrader."""

    def __init__(self) -> None:
        self.fills: Fills = []

    def notify_order(self, order: bt.Order) -> None:
        if order.status == order.Completed:
            self.fills.append((len(self.data) - 1, order.executed.size, order.executed.exbits[-1].price))

    def trade(self, enter: bool, leave: bool) -> None:
        if self.position:
            if leave:
                self.close()
        elif enter:
            close = self.data.close[0]
            price = close * (1 + COSTS.slippage)
            size = RULES.floor(self.broker.getvalue() * SETTINGS["exposure"] / (price + price * COSTS.commission))
            if not RULES.refusal(size, close):
                self.buy(size=size)


class FromColumns(Commonly):
    """Indicators from extra lines of the data."""

    def next(self) -> None:
        data, rsi, close = self.data, self.data.rsi[0], self.data.close[0]
        if data.ready[0]:
            self.trade(
                rsi < SETTINGS["oversold"] and close < data.lower[0],
                rsi > SETTINGS["overbought"] or close > data.upper[0],
            )


class FromIndicators(Commonly):
    """Indicators of Backtrader."""

    def __init__(self) -> None:
        super().__init__()
        self.rsi = bt.indicators.RSI_Safe(self.data.close, period=SETTINGS["rsi_period"])
        self.bands = bt.indicators.BollingerBands(
            self.data.close, period=SETTINGS["period"], devfactor=SETTINGS["deviations"]
        )
        bars = Bars(Candles(pd.DataFrame(columns=COLUMNS, index=pd.DatetimeIndex([], tz="UTC")), SYMBOL, "1m"))
        decide(STRATEGY, {}, bars)
        self.warmup = bars.warmup

    def next(self) -> None:
        rsi, close = self.rsi[0], self.data.close[0]
        if len(self.data) > self.warmup:
            self.trade(
                rsi < SETTINGS["oversold"] and close < self.bands.bot[0],
                rsi > SETTINGS["overbought"] or close > self.bands.top[0],
            )


class WideData(bt.feeds.PandasData):  # type: ignore[misc]
    """PandasData with the columns that the rules read."""

    lines = ("rsi", "lower", "upper", "ready")
    params = tuple((name, name) for name in lines)


def backtrader_columns(candles: Candles) -> Fills:
    """PandasData with the columns as extra lines, everything else as Backtrader has it."""
    bars = Bars(candles)
    rsi, bands = bars.rsi(SETTINGS["rsi_period"]), bars.bollinger(SETTINGS["period"], SETTINGS["deviations"])
    columns: dict[str, Any] = {
        "rsi": rsi,
        "lower": bands.lower,
        "upper": bands.upper,
        "ready": bars.ready().astype(float),
    }
    return _stock(FromColumns, WideData(dataname=_naive(candles.frame.assign(**columns))))


def backtrader_indicators(candles: Candles) -> Fills:
    """PandasData and bt.indicators, as commonly written."""
    return _stock(FromIndicators, bt.feeds.PandasData(dataname=_naive(candles.frame)))


def _naive(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis(pd.DatetimeIndex(frame.index).tz_localize(None))


def _stock(strategy: type[Commonly], data: Any) -> Fills:
    cerebro = bt.Cerebro()
    cerebro.adddata(data)
    cerebro.addstrategy(strategy)
    cerebro.broker.set_cash(CASH)
    cerebro.broker.setcommission(commission=COSTS.commission)
    cerebro.broker.set_slippage_perc(COSTS.slippage, slip_out=True)
    (ran,) = cerebro.run()
    fills: Fills = ran.fills
    return fills


VARIANTS: dict[str, tuple[str, Callable[[Candles], Fills]]] = {
    "freqlstm": ("freqlstm", freqlstm_engine),
    "columns": ("Backtrader, PandasData, columns as extra lines", backtrader_columns),
    "indicators": ("Backtrader, PandasData, bt.indicators", backtrader_indicators),
}


def market(rows: int) -> tuple[Candles, str]:
    """The candles and what to call them: BTC/USDT of 2023 where it is recorded, else a seeded random walk.

    The one gap of 2023 is closed, so that indicators that know of no gaps see the same candles as those that do.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("FREQLSTM_DATA_DIR", beside)) / RECORDED
    if path.is_file():
        table = pd.read_parquet(path).set_index("time")
        table, name = table.loc["2023-01-01":"2023-12-31"].iloc[:rows], "BTC/USDT 1m of 2023, its one gap closed"
    else:
        table, name = _random_walk(rows), "a seeded random walk"
    times = pd.date_range("2023-01-01", periods=len(table), freq="min", tz="UTC")
    return Candles.from_frame(table[list(COLUMNS)].set_axis(times), SYMBOL, "1m"), name


def _random_walk(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(2023)
    close = 20_000 * np.exp(np.cumsum(random.normal(0, 5e-4, rows)))
    open_ = np.concatenate([[20_000.0], close[:-1]])
    wick = np.abs(random.normal(0, 2e-4, (2, rows)))
    prices = {
        "open": open_, "high": np.maximum(open_, close) * (1 + wick[0]), "low": np.minimum(open_, close) * (1 - wick[1]),
        "close": close, "volume": random.lognormal(0, 1, rows),
    }  # fmt: skip
    return pd.DataFrame(prices).round(2).clip(lower=0.01)


def measure(rows: int, rounds: int, progress: Progress) -> dict[str, Any]:
    """Figures of every variant, and what they were measured on; an error if the fills of two differ."""
    candles, name = market(rows)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "candles.npy"))
        np.save(file, candles.frame.to_numpy())
        figures = interleaved({key: ["-m", "benchmarks.bench_feed", key, file] for key in VARIANTS}, rounds, progress)
    if len({one.told["fills"] for one in figures.values()}) != 1:
        raise RuntimeError(f"The fills differ: { {key: one.told for key, one in figures.items()} }.")
    fastest = figures["freqlstm"].seconds

    def row(key: str, one: Figures) -> dict[str, Any]:
        return {
            "engine": VARIANTS[key][0], "seconds": round(one.seconds, 3), "bars_per_second": round(len(candles) / one.seconds),
            "peak_mb": round(one.peak_mb), "times_as_long": round(one.seconds / fastest, 1),
        }  # fmt: skip

    return {
        "what": f"rsi_bollinger on {name}: {len(candles):,} candles, {figures['freqlstm'].told['count']:,} identical fills",
        "rounds": rounds,
        "rows": [row(key, one) for key, one in figures.items()],
    }


def child(key: str, file: str) -> None:
    """Run one variant and print its seconds, peak memory, number of fills, and their digest."""
    table = np.load(file)
    times = pd.date_range("2023-01-01", periods=len(table), freq="min", tz="UTC")
    candles = Candles.from_frame(pd.DataFrame(table, columns=list(COLUMNS), index=times), SYMBOL, "1m")
    work = VARIANTS[key][1]
    start = time.perf_counter()
    fills = work(candles)
    seconds = time.perf_counter() - start
    digest = hashlib.sha256(repr([(row, float(size), float(price)) for row, size, price in fills]).encode()).hexdigest()
    sys.stdout.write(
        json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "count": len(fills), "fills": digest}) + "\n"
    )


if __name__ == "__main__":
    child(*sys.argv[1:])
