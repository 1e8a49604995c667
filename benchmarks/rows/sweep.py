"""Sweeps: many combinations of parameters on the same candles, each with its trades, drawdown and Sharpe ratio."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.ground import SYMBOL, Ground, forecasts, make, market_name, read_candles, read_frame
from benchmarks.measure import Variant
from benchmarks.row import Measured, Row, Target, at_least, under_mb
from benchmarks.rules import Levels, grid

if TYPE_CHECKING:
    from freqlstm.candles import Candles

BLOCK = 16  # combinations that a thread of freqlstm works out at a time
CHUNK = 50  # combinations that vectorbt simulates at a time: more would need more memory than most machines have
CHUNKS = 2  # of vectorbt that are measured; the rest takes as long each


def levels_grid(thresholds: int, levels: int) -> list[Levels]:
    """Thresholds of the forecast by levels of the RSI."""
    return grid(
        threshold=np.linspace(0.0, 4e-4, thresholds).tolist(), oversold=np.linspace(20.0, 45.0, levels).tolist()
    )


def periods_grid(each: int) -> list[Levels]:
    """Periods of the RSI by periods of the bands by thresholds."""
    return grid(
        rsi_period=list(range(5, 5 + 2 * each, 2)), period=list(range(10, 10 + 3 * each, 3)),
        threshold=np.linspace(0.0, 4e-4, each).tolist(),
    )  # fmt: skip


GRIDS: dict[str, Callable[..., list[Levels]]] = {"levels": levels_grid, "periods": periods_grid}


def rows(ground: Ground) -> list[Row]:
    """Two rows."""
    bars = ground.pick(525_000, 5_000)
    file = ground.candles(bars)
    levels, periods = ground.pick((40, 25), (10, 10)), ground.pick((10,), (5,))
    many = ground.pick((400, 250), (20, 10))

    def freqlstm(name: str, kind: str, sizes: tuple[int, ...], rounds: int | None = None) -> Variant:
        return Variant(name, "sweep:ours", {"file": file, "kind": kind, "sizes": sizes}, rounds=rounds)

    def theirs(kind: str, sizes: tuple[int, ...]) -> Variant:
        return Variant(
            "vectorbt", "sweep:vectorbt_chunks", {"file": file, "kind": kind, "sizes": sizes}, needs="vectorbt"
        )

    def note(row: Measured) -> str:
        if row.best is None:
            return ""
        measured = row.best.told["combinations"] * row.best.told["units"]
        return (
            f"vectorbt, {row.best.told['engine']}, was measured on {measured:,.0f} of the {row.best.told['combinations']:,} combinations and "
            f"takes as long for each further {CHUNK}; {bars * row.ours.told['combinations'] / row.ours.seconds:,.0f} bars x combinations/s"
        )

    count, further = int(np.prod(levels)), int(np.prod(many))
    linear = Target(
        f"linear to {further:,}",
        lambda row: next(iter(row.further.values())).seconds <= 1.1 * further / count * row.ours.seconds,
    )
    hundred = freqlstm(f"{further:,} combinations", "levels", many, rounds=1)
    return [
        Row(
            "sweep", f"{count:,} combinations of threshold and RSI level, {bars:,} bars of {market_name()}",
            freqlstm("freqlstm", "levels", levels), [theirs("levels", levels)], [at_least(60), under_mb(2000), linear],
            further=[hundred], near={"trades": 2e-3}, note=note, prepare=lambda: make(file),
        ),
        Row(
            "sweep-periods", f"{periods[0] ** 3:,} combinations of RSI period, Bollinger period and threshold, {bars:,} bars of {market_name()}",
            freqlstm("freqlstm", "periods", periods), [theirs("periods", periods)], [at_least(30), under_mb(2000)],
            near={"trades": 2e-3}, note=note, prepare=lambda: make(file),
        ),
    ]  # fmt: skip


def measured_part(combinations: list[Levels]) -> list[Levels]:
    """Those that vectorbt is measured on, of all kinds."""
    return combinations[:: max(1, len(combinations) // (CHUNK * CHUNKS))][: CHUNK * CHUNKS]


def ours(file: str, kind: str, sizes: list[int]) -> dict[str, Any]:
    """All combinations on all cores."""
    candles, combinations = read_candles(file), GRIDS[kind](*sizes)
    sweep_all(candles.rows(0, min(len(candles), 10_000)), combinations[:4])
    start = time.perf_counter()
    found = sweep_all(candles, combinations)
    seconds = time.perf_counter() - start
    place = {levels: number for number, levels in enumerate(combinations)}
    part = [place[levels] for levels in measured_part(combinations)]
    return {"seconds": seconds, "combinations": len(combinations), "trades": float(found[part, 0].sum())}


def sweep_all(candles: Candles, combinations: Sequence[Levels]) -> np.ndarray:
    """Shape (combinations, 4): trades, drawdown, Sharpe ratio and equity, as `freqlstm sweep` finds them, on all cores."""
    from benchmarks.confluence import CASH, COSTS, RULES, Confluence, predictions
    from freqlstm.decider import Decider
    from freqlstm.engines.compiled import Tape, summarize
    from freqlstm.strategy import check_parameters

    decider = Decider(Confluence, candles, predictions(candles), candles.time[0], candles.time[-1] + candles.step)
    tape, defaults = Tape.of({SYMBOL: candles}, RULES), check_parameters(Confluence, {})

    def figures(block: Sequence[Levels]) -> list[tuple[float, ...]]:
        found = []
        for levels in block:
            parameters = {**defaults, **levels._asdict()}
            found.append(summarize(tape, {SYMBOL: decider.decide(parameters)}, parameters, COSTS, CASH))
        return [(each.trades, each.max_drawdown, each.sharpe, each.final_equity) for each in found]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = [combinations[first : first + BLOCK] for first in range(0, len(combinations), BLOCK)]
        return np.concatenate(list(pool.map(figures, blocks)))


def vectorbt_chunks(file: str, kind: str, sizes: list[int]) -> dict[str, Any]:
    """Indicators once for each distinct parameter, then a chunk of columns at a time."""
    from benchmarks.vectorbt_rules import ENGINE, Indicators, portfolio, signals

    frame = read_frame(file)
    forecast, combinations = forecasts(len(frame)), GRIDS[kind](*sizes)
    count = len(combinations)

    def chunk(have: Indicators, some: list[Levels], rows: int) -> int:
        enter, leave = signals(have, forecast, some)
        made = portfolio(frame[:rows], enter[:rows], leave[:rows], ENGINE)
        made.total_return(), made.sharpe_ratio(), made.max_drawdown()
        return int(made.trades.count().sum())

    chunk(Indicators(frame["close"], combinations[:CHUNK], ENGINE), combinations[:CHUNK], min(len(frame), 10_000))
    spread = measured_part(combinations)
    start = time.perf_counter()
    have = Indicators(frame["close"], combinations, ENGINE)
    indicators = time.perf_counter() - start
    trades = [chunk(have, spread[first : first + CHUNK], len(frame)) for first in range(0, len(spread), CHUNK)]
    simulated = time.perf_counter() - start - indicators
    share = len(spread) / count
    return {
        "seconds": simulated + indicators * share, "units": share, "combinations": count, "engine": ENGINE,
        "trades": sum(trades),
    }  # fmt: skip
