"""One backtest: the compiled engine against vectorbt, from boolean columns, and from candles with all indicators."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.ground import Ground, forecasts, market_name, read_candles, read_frame
from benchmarks.measure import Variant
from benchmarks.row import Measured, Row, at_least
from benchmarks.rules import CASH, Levels

DIFFERS = "vectorbt sizes orders by the open, freqlstm by the close before it"


def rows(ground: Ground) -> list[Row]:
    """Two rows."""
    bars = ground.pick(525_000, 5_000)
    file = ground.candles(bars)

    def row(key: str, what: str, function: str, times: float) -> Row:
        def ours(name: str) -> Variant:
            return Variant(name, f"portfolio:{function}", {"file": file})

        def rival(engine: str, needs: str) -> Variant:
            settings = {"file": file, "engine": engine}
            return Variant(f"vectorbt, {engine}", f"portfolio:vectorbt_{function}", settings, needs=needs)

        def note(row: Measured) -> str:
            told = row.ours.told
            theirs = f", vectorbt's {row.best.told['equity']:,.2f}" if row.best else ""
            return f"{told['trades']:,} trades, {bars / row.ours.seconds:,.0f} bars/s, final equity {told['equity']:,.2f}{theirs}: {DIFFERS}"

        return Row(
            key, f"{what}, {bars:,} bars of {market_name()}, warm", ours("freqlstm, compiled"),
            [rival("numba", "vectorbt"), rival("rust", "vectorbt_rust")], [at_least(times)],
            near={"trades": 0.002, "equity": 0.002}, note=note,
        )  # fmt: skip

    return [
        row("compiled", "boolean columns to equity and trades", "from_columns", 5),
        row("compiled-all", "candles and forecasts to equity and trades, with RSI, Bollinger bands and MACD", "from_candles", 2),
    ]  # fmt: skip


def timed(work: Callable[[], dict[str, Any]], times: int = 3) -> dict[str, Any]:
    """What ``work`` tells, with the fastest of its seconds after a first call, which compiles and fills caches."""
    work()
    best = float("inf")
    told: dict[str, Any] = {}
    for _ in range(times):
        start = time.perf_counter()
        told = work()
        best = min(best, time.perf_counter() - start)
    return {**told, "seconds": best}


def vectorbt_from_columns(file: str, engine: str) -> dict[str, Any]:
    """Portfolio.from_signals, its equity curve and trade records."""
    from benchmarks.vectorbt_rules import Indicators, portfolio, signals

    frame = read_frame(file)
    enter, leave = signals(Indicators(frame["close"], [Levels()], engine), forecasts(len(frame)), [Levels()])

    def work() -> dict[str, Any]:
        made = portfolio(frame, enter[:, 0], leave[:, 0], engine)
        return {"equity": float(made.value().iloc[-1]), "trades": len(made.trades.records)}

    return timed(work)


def vectorbt_from_candles(file: str, engine: str) -> dict[str, Any]:
    """The same with vectorbt's own indicators."""
    from benchmarks.vectorbt_rules import Indicators, portfolio, signals

    frame = read_frame(file)
    forecast = forecasts(len(frame))

    def work() -> dict[str, Any]:
        enter, leave = signals(Indicators(frame["close"], [Levels()], engine), forecast, [Levels()])
        made = portfolio(frame, enter[:, 0], leave[:, 0], engine)
        return {"equity": float(made.value().iloc[-1]), "trades": len(made.trades.records)}

    return timed(work)
