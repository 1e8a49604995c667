"""Training: a network on a month of windows, and one step of updating with one window."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.ground import Ground
from benchmarks.measure import Variant
from benchmarks.networks import LOOKBACK, UNITS, labels, materialised, matrix, network
from benchmarks.row import Measured, Row, at_least, share_of_memory

BATCH = 256  # what signals of freqlstm have by default
EPOCHS = 2
LONG = 288  # bars in the window of one step
LEARNING_RATE = 1e-3


def rows(ground: Ground) -> list[Row]:
    """Two rows."""
    windows = ground.pick(130_000, 2_000)
    steps = ground.pick(200, 5)

    def variant(name: str, function: str, **settings: Any) -> Variant:
        return Variant(name, f"learning:{function}", settings)

    def note(row: Measured) -> str:
        best = f", keras's {row.best.told['loss']:.5f}" if row.best else ""
        return f"{windows * EPOCHS / row.ours.seconds:,.0f} windows/s; loss {row.ours.told['loss']:.5f}{best}"

    def note_step(row: Measured) -> str:
        return f"the mean of {steps} steps of Adam on one window"

    return [
        Row(
            "training", f"LSTM({UNITS}), {LOOKBACK} bars, batch {BATCH}, {windows:,} windows, {EPOCHS} epochs",
            variant("freqlstm", "ours", windows=windows), [variant("keras fit, windows written out", "keras_fit", windows=windows)],
            [at_least(1.3), share_of_memory(0.2)], near={"loss": 0.05}, note=note,
        ),
        Row(
            "update", f"one updating step, {LONG} bars, LSTM({UNITS})", variant("freqlstm", "ours_step", steps=steps),
            [variant("keras train_on_batch", "keras_step", steps=steps)], [at_least(4)], note=note_step,
        ),
    ]  # fmt: skip


def keras_fit(windows: int) -> dict[str, Any]:
    """Every window written out and handed to fit."""
    import keras

    asked = network()
    asked.compile(keras.optimizers.AdamW(LEARNING_RATE, clipnorm=1.0), "mse")
    features, aims = matrix(windows + LOOKBACK - 1), labels(windows)
    few = materialised(features[: LOOKBACK - 1 + BATCH])
    asked.train_on_batch(few, aims[:BATCH])  # compiles
    asked.set_weights(network().get_weights())
    start = time.perf_counter()
    told = asked.fit(materialised(features), aims, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return {"seconds": time.perf_counter() - start, "loss": float(told.history["loss"][-1])}


def keras_step(steps: int) -> dict[str, Any]:
    """train_on_batch with one window."""
    import keras

    asked = network(LONG)
    asked.compile(keras.optimizers.Adam(LEARNING_RATE, clipnorm=1.0), "mse")
    features, aims = matrix(steps + LONG), labels(steps + 1)
    windows = materialised(features, LONG)
    asked.train_on_batch(windows[:1], aims[:1])  # compiles
    start = time.perf_counter()
    for number in range(1, steps + 1):
        loss = asked.train_on_batch(windows[number : number + 1], aims[number : number + 1])
    return {"seconds": (time.perf_counter() - start) / steps, "loss": float(np.asarray(loss).item())}
