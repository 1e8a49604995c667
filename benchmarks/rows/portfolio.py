"""One backtest: the compiled engine against vectorbt, from boolean columns, and from candles with all indicators."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ground import SYMBOL, Ground, forecasts, make, market_name, read_candles, read_frame
from benchmarks.measure import Variant
from benchmarks.row import Measured, Row, at_least
from benchmarks.rules import Levels

DIFFERS = "vectorbt sizes orders by the open, freqlstm by the close before it"


def rows(ground: Ground) -> list[Row]:
    """Two rows."""
    bars = ground.pick(525_000, 5_000)
    file = ground.candles(bars)
    signals = str(ground.folder / f"signals-{bars}.npz")

    def row(key: str, what: str, function: str, times: float, near: float, **given: str) -> Row:
        def rival(engine: str, needs: str) -> Variant:
            settings = {"file": file, **given, "engine": engine}
            return Variant(f"vectorbt, {engine}", f"portfolio:vectorbt_{function}", settings, needs=needs)

        def note(row: Measured) -> str:
            told = row.ours.told
            theirs = f", vectorbt's {row.best.told['trades']:,} and {row.best.told['equity']:,.2f}" if row.best else ""
            return (
                f"{bars / row.ours.seconds:,.0f} bars/s; {told['trades']:,} trades, final equity {told['equity']:,.2f}{theirs}; "
                "vectorbt sizes an order by the open, freqlstm by the close before"
            )

        return Row(
            key, f"{what}, {bars:,} bars of {market_name()}, warm",
            Variant("freqlstm, compiled", f"portfolio:{function}", {"file": file, **given}),
            [rival("numba", "vectorbt"), rival("rust", "vectorbt_rust")], [at_least(times)],
            near={"trades": near, "equity": near}, note=note, prepare=lambda: write_signals(file, signals),
        )  # fmt: skip

    everything = "candles and forecasts to equity and trades, with RSI, Bollinger bands and MACD"
    return [
        row("compiled", "boolean columns to equity and trades", "from_columns", 5, 1e-4, signals=signals),
        row("compiled-all", everything, "from_candles", 2, 2e-3),
    ]  # fmt: skip


def write_signals(file: str, signals: str) -> None:
    """The boolean columns that all engines trade by."""
    from benchmarks.confluence import Confluence, predictions
    from freqlstm.bars import Bars
    from freqlstm.strategy import decide

    make(file)
    if not Path(signals).exists():
        candles = read_candles(file)
        decisions = decide(Confluence, {}, Bars(candles, predictions(candles)))
        np.savez(signals, enter=decisions.enter_long, leave=decisions.exit_long)


def timed(work: Callable[[], dict[str, Any]], times: int = 5) -> dict[str, Any]:
    """What ``work`` tells, and the median of its seconds after a first call, which compiles and fills caches."""
    told = work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        told = work()
        seconds.append(time.perf_counter() - start)
    return {**told, "seconds": statistics.median(seconds)}


def from_columns(file: str, signals: str) -> dict[str, Any]:
    """Boolean columns to the records of all fills and the equity curve."""
    from benchmarks.confluence import CASH, COSTS, RULES, Confluence
    from freqlstm.bars import Decisions
    from freqlstm.engines.compiled import Tape, records
    from freqlstm.strategy import check_parameters

    candles, columns = read_candles(file), np.load(signals)
    never = np.zeros(len(candles), bool)
    decisions = Decisions(columns["enter"], columns["leave"], never, never, {})
    parameters = check_parameters(Confluence, {})

    def work() -> dict[str, Any]:
        made = records(Tape.of({SYMBOL: candles}, RULES), {SYMBOL: decisions}, parameters, COSTS, CASH)
        return {"equity": float(made.curve[0, -1]), "trades": len(made.fills) // 2}

    return timed(work)


def from_candles(file: str) -> dict[str, Any]:
    """The same with the indicators and conditions of one run."""
    from benchmarks.confluence import CASH, COSTS, RULES, Confluence, predictions
    from freqlstm.decider import Decider
    from freqlstm.engines.compiled import Tape, records
    from freqlstm.strategy import check_parameters

    candles = read_candles(file)
    table, parameters = predictions(candles), check_parameters(Confluence, {})
    start, end = candles.time[0], candles.time[-1] + candles.step

    def work() -> dict[str, Any]:
        decisions = {SYMBOL: Decider(Confluence, candles, table, start, end).decide({})}
        made = records(Tape.of({SYMBOL: candles}, RULES), decisions, parameters, COSTS, CASH)
        return {"equity": float(made.curve[0, -1]), "trades": len(made.fills) // 2}

    return timed(work)


def vectorbt_from_columns(file: str, signals: str, engine: str) -> dict[str, Any]:
    """Portfolio.from_signals, its equity curve and trade records."""
    from benchmarks.vectorbt_rules import portfolio

    frame, columns = read_frame(file), np.load(signals)
    enter, leave = columns["enter"], columns["leave"]

    def work() -> dict[str, Any]:
        made = portfolio(frame, enter, leave, engine)
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
