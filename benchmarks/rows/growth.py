"""What backtests, sweeps and predictions cost as the candles grow in number."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ground import SYMBOL, Ground, make, read_candles
from benchmarks.measure import BrokenVariant, Tell, Variant, interleaved
from benchmarks.rules import grid

MOST = 1.1  # power of the bars that still counts as linear
COMBINATIONS = 20
SHORT = 10  # bars in the windows of the shipped signal lstm
NARROW = 32  # its units


@dataclass(frozen=True)
class Growth:
    """One kind of work over more and more bars."""

    key: str
    what: str
    variants: dict[int, Variant]  # by the number of bars
    files: Sequence[str] = ()  # of candles, that they read

    @property
    def turns(self) -> list[Variant]:
        return list(self.variants.values())

    def measure(self, rounds: int, tell: Tell, judge: bool = True) -> dict[str, Any]:
        """The figures for each number of bars, and the power of the bars that fits them."""
        shown: dict[str, Any] = {
            "key": self.key, "what": self.what, "growth": [], "time_power": None, "memory_power": None, "note": "",
            "targets": [{"text": "linear", "met": None}],
        }  # fmt: skip
        try:
            for file in self.files:
                make(file)
            found = interleaved(self.turns, rounds, tell)
        except BrokenVariant as error:
            return {**shown, "verdict": "failed", "note": str(error)}
        growth = [
            {"bars": bars, "seconds": one.seconds, "peak_mb": one.peak_mb, "work_mb": one.peak_mb - one.told["idle_mb"]}
            for bars, one in zip(self.variants, found, strict=True)
        ]
        powers = power(growth, "seconds"), power(growth, "work_mb")
        met = all(each <= MOST for each in powers) if judge else None
        return {
            **shown, "growth": growth, "time_power": powers[0], "memory_power": powers[1],
            "targets": [{"text": "linear", "met": met}],
            "verdict": "not compared" if met is None else "met" if met else "missed",
        }  # fmt: skip


def power(growth: Sequence[dict[str, float]], what: str) -> float:
    """The b of a x bars^b that fits best, by least squares of the logarithms."""
    bars = np.log([point["bars"] for point in growth])
    values = np.log([max(point[what], 1e-9) for point in growth])
    return float(np.polyfit(bars, values, 1)[0])


def rows(ground: Ground) -> list[Growth]:
    """Four rows."""
    counts = ground.pick([100_000, 316_000, 1_000_000, 3_160_000, 10_000_000], [2_000, 4_000])

    def growth(key: str, what: str, function: str) -> Growth:
        files = {bars: str(ground.folder / f"walk-{bars}.npy") for bars in counts}
        variants = {}
        for bars in counts:
            given = {"bars": bars} if function == "predictions" else {"file": files[bars]}
            variants[bars] = Variant(f"{bars:,} bars", f"growth:{function}", given, rounds=1)
        return Growth(f"growth-{key}", what, variants, [] if function == "predictions" else list(files.values()))

    return [
        growth("backtrader", "backtest in Backtrader", "backtrader"),
        growth("compiled", "backtest, compiled", "compiled"),
        growth("sweep", f"sweep of {COMBINATIONS} combinations", "sweep"),
        growth("predictions", f"predictions, LSTM({NARROW}), {SHORT} bars", "predictions"),
    ]


def backtrader(file: str) -> dict[str, Any]:
    """The reference engine, from boolean columns."""
    from freqlstm.engines import backtrader

    return _backtest(file, backtrader.simulate)


def compiled(file: str) -> dict[str, Any]:
    """The compiled engine, from boolean columns."""
    from freqlstm.engines import compiled

    return _backtest(file, compiled.simulate)


def _backtest(file: str, simulate: Any) -> dict[str, Any]:
    from benchmarks.confluence import CASH, COSTS, RULES, Confluence, predictions
    from freqlstm.bars import Decisions

    def prepared(rows: int | None) -> Callable[[], int]:
        candles = read_candles(file, rows)
        random = np.random.default_rng(3).random(len(candles), dtype=np.float32)
        never = np.zeros(len(candles), bool)
        decisions = Decisions(random < 0.005, random > 0.99, never, never, {})  # a trade in 300 bars
        table = predictions(candles)

        def work() -> int:
            made = simulate(
                Confluence, {}, {SYMBOL: candles}, predictions={SYMBOL: table}, decisions={SYMBOL: decisions}, rules=RULES,
                costs=COSTS, cash=CASH,
            )  # fmt: skip
            return len(made.fills)

        return work

    return grown(prepared)


def grown(prepared: Callable[[int | None], Callable[[], int]]) -> dict[str, Any]:
    """Seconds of the work on all bars, and the memory that the process needed before, on a thousand of them."""
    from benchmarks.measure import peak_mb

    prepared(1_000)()
    idle = peak_mb()
    work = prepared(None)
    start = time.perf_counter()
    done = work()
    return {"seconds": time.perf_counter() - start, "done": done, "idle_mb": idle}


def sweep(file: str) -> dict[str, Any]:
    """From candles and forecasts to the figures of all combinations, indicators included."""
    from benchmarks.rows.sweep import sweep_all

    combinations = grid(
        threshold=np.linspace(0.0, 4e-4, 4).tolist(), oversold=np.linspace(20.0, 45.0, COMBINATIONS // 4).tolist()
    )

    def prepared(rows: int | None) -> Callable[[], int]:
        candles = read_candles(file, rows)
        return lambda: len(sweep_all(candles, combinations))

    return grown(prepared)


def predictions(bars: int) -> dict[str, Any]:
    """The network of the shipped signal lstm, from features to what it says of every window."""
    from benchmarks.networks import matrix, network
    from freqlstm.inference import outputs

    asked = network(SHORT, NARROW)

    def prepared(rows: int | None) -> Callable[[], int]:
        features = matrix(rows or bars)
        at = np.arange(SHORT - 1, len(features))
        return lambda: len(outputs(asked, features, at, SHORT))

    return grown(prepared)
