"""One backtest in Backtrader, freqlstm's way and as it is commonly written.

All run the rules of the shipped strategy rsi_bollinger from candles to fills and equity, on the same candles and with
the same costs, and are required to fill the same orders at the same prices.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import backtrader as bt
import pandas as pd

from benchmarks.ground import SYMBOL, Ground, make, market_name, read_candles
from benchmarks.measure import Variant
from benchmarks.row import Measured, Row, at_least
from freqlstm.bars import Bars
from freqlstm.candles import COLUMNS, Candles
from freqlstm.costs import Costs, market_rules
from freqlstm.engines.backtrader import simulate
from freqlstm.plugins import shipped
from freqlstm.strategy import check_parameters, decide

COSTS = Costs(commission=0.001, slippage=0.0001)
RULES = market_rules(SYMBOL)
CASH = 1_000_000.0
STRATEGY: Any = shipped("strategy", "rsi_bollinger").load()
SETTINGS = check_parameters(STRATEGY, {})

Fills = list[tuple[int, float, float]]  # (row, size, price)


def rows(ground: Ground) -> list[Row]:
    """One row."""
    bars = ground.pick(131_400, 2_500)
    file = ground.candles(bars)

    def variant(name: str, key: str) -> Variant:
        return Variant(name, "reference:backtest", {"key": key, "file": file})

    def note(row: Measured) -> str:
        return f"{row.ours.told['count']:,} identical fills, {bars / row.ours.seconds:,.0f} bars/s"

    return [
        Row(
            "backtrader", f"backtest in Backtrader, {bars:,} bars of {market_name()}", variant("freqlstm", "freqlstm"),
            [
                variant("Backtrader, PandasData, columns as extra lines", "columns"),
                variant("Backtrader, PandasData, bt.indicators", "indicators"),
            ],
            [at_least(20)], same=("fills",), note=note, prepare=lambda: make(file),
        )
    ]  # fmt: skip


def backtest(key: str, file: str) -> dict[str, Any]:
    """From candles to fills and equity."""
    candles = read_candles(file)
    work = VARIANTS[key]
    work(candles.rows(0, min(len(candles), 2_000)))  # whatever is imported or compiled at a first call
    start = time.perf_counter()
    fills = work(candles)
    seconds = time.perf_counter() - start
    exact = repr([(row, float(size), float(price)) for row, size, price in fills])
    return {"seconds": seconds, "count": len(fills), "fills": hashlib.sha256(exact.encode()).hexdigest()}


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


VARIANTS: dict[str, Callable[[Candles], Fills]] = {
    "freqlstm": freqlstm_engine,
    "columns": backtrader_columns,
    "indicators": backtrader_indicators,
}
