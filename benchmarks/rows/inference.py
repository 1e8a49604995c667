"""What a network says: of all windows of a year, and of the newest candle alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ground import Ground
from benchmarks.measure import Variant
from benchmarks.networks import LOOKBACK, UNITS, materialised, matrix, network
from benchmarks.row import Measured, Row, at_least, under_mb, within

YEAR = 525_600
PART = 65_000  # windows that are written out at a time, where memory is spared
ENOUGH_GB = 12  # of free memory, for a year of windows written out and what Keras makes of them
LIVE = 288  # bars in the window of one prediction


def rows(ground: Ground) -> list[Row]:
    """Two rows."""
    whole = available_gb() >= ENOUGH_GB
    count = ground.pick(YEAR if whole else YEAR // 4, 1_000)

    def variant(name: str, function: str, rounds: int | None = None, **settings: Any) -> Variant:
        return Variant(name, f"inference:{function}", settings, rounds=rounds)

    def note(row: Measured) -> str:
        part = (
            "" if whole else f"; a quarter of a year, because a whole one needs {ENOUGH_GB} GB of free memory for Keras"
        )
        return f"{count / row.ours.seconds:,.0f} windows/s{part}"

    def note_live(row: Measured) -> str:
        best = f", of keras {row.best.told['p50'] * 1e3:.1f} ms" if row.best else ""
        return f"the 99th percentile of {row.ours.told['calls']:,} calls; the median is {row.ours.told['p50'] * 1e6:.1f} us{best}"

    return [
        Row(
            "predictions", f"LSTM({UNITS}), {LOOKBACK} bars of 16 features, {count:,} windows",
            variant("freqlstm", "ours_all", rows=count),
            [variant("keras predict, windows written out", "keras_all", rounds=3, rows=count, batch=None)],
            [at_least(8), under_mb(1000)],
            beside=[
                variant(f"keras predict, {PART:,} windows at a time, batch 1024", "keras_all", rounds=3, rows=count, batch=1024)
            ],
            further=[] if whole else [variant("a whole year", "ours_all", rows=ground.pick(YEAR, 2_000))],
            near={"sum": 1e-3}, note=note,
        ),
        Row(
            "live", f"one prediction from {LIVE} bars, LSTM({UNITS}), when the candle has closed",
            variant("freqlstm", "ours_live", calls=ground.pick(1_000, 20)),
            [variant("keras predict", "keras_live", calls=ground.pick(200, 5))],
            [within(1e-3, "p99 under 1 ms")], near={"output": 1e-3}, note=note_live,
        ),
    ]  # fmt: skip


def available_gb() -> float:
    """Memory that programs can have now; none where the system does not tell."""
    file = Path("/proc/meminfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    return sum(int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable"))


def keras_all(rows: int, batch: int | None) -> dict[str, Any]:
    """Every window written out and handed to predict: all at once with its default batch, or part by part."""
    asked = network()
    features = matrix(rows + LOOKBACK - 1)
    asked.predict(materialised(features[: LOOKBACK + (batch or 32)]), batch_size=batch, verbose=0)  # compiles
    start = time.perf_counter()
    if batch is None:
        output = asked.predict(materialised(features), verbose=0)[:, 0]
    else:
        said = [
            asked.predict(materialised(features[first : first + PART + LOOKBACK - 1]), batch_size=batch, verbose=0)[
                :, 0
            ]
            for first in range(0, rows, PART)
        ]
        output = np.concatenate(said)
    return {"seconds": time.perf_counter() - start, "windows": len(output), "sum": float(np.abs(output).sum())}


def ours_all(rows: int) -> dict[str, Any]:
    """Straight from the features, on as many threads as cores."""
    from freqlstm.inference import outputs

    asked = network()
    features = matrix(rows + LOOKBACK - 1)
    at = np.arange(LOOKBACK - 1, len(features))
    outputs(asked, features, at[:1024], LOOKBACK)  # compiles, and is compared with Keras
    start = time.perf_counter()
    output = outputs(asked, features, at, LOOKBACK)
    return {"seconds": time.perf_counter() - start, "windows": len(output), "sum": float(np.abs(output).sum())}


def percentiles(seconds: list[float]) -> dict[str, Any]:
    """The 99th counts."""
    return {"seconds": float(np.quantile(seconds, 0.99)), "p50": float(np.median(seconds)), "calls": len(seconds)}


def keras_live(calls: int) -> dict[str, Any]:
    """predict on the one window that ends with the newest candle."""
    asked = network(LIVE)
    features = matrix(LIVE + calls)
    seconds, first = [], 0.0
    for last in range(LIVE - 1, LIVE + calls):
        start = time.perf_counter()
        output = float(asked.predict(features[None, last - LIVE + 1 : last + 1], verbose=0)[0, 0])
        seconds.append(time.perf_counter() - start)
        if last == LIVE + 4:
            first = output
    return {**percentiles(seconds[1:]), "output": first}  # without the first, which compiles


def ours_live(calls: int) -> dict[str, Any]:
    """The way of a live prediction: between two candles the network goes through all steps but the last."""
    from freqlstm.inference import Memory, outputs

    asked = network(LIVE)
    features = matrix(LIVE + calls)
    memory = Memory()
    seconds, first = [], 0.0
    for last in range(LIVE - 1, LIVE + calls):
        start = time.perf_counter()
        with memory.active():
            output = float(outputs(asked, features[: last + 1], np.array([last]), LIVE)[0])
        seconds.append(time.perf_counter() - start)
        memory.ahead()
        if last == LIVE + 4:
            first = output
    return {**percentiles(seconds[2:]), "output": first}  # without those that compile
