"""Training: a network on a month of windows, and one step of updating with one window."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.ground import Ground
from benchmarks.measure import Variant, peak_mb
from benchmarks.networks import LOOKBACK, UNITS, labels, materialised, matrix, network
from benchmarks.row import Measured, Row, at_least, share_of_memory

BATCH = 256  # what signals of freqlstm have by default
EPOCHS = 2
LONG = 288  # bars in the window of one step
LEARNING_RATE = 1e-3


def rows(ground: Ground) -> list[Row]:
    """Two rows."""
    windows = ground.pick(65_000, 600)
    steps = ground.pick(200, 5)

    def variant(name: str, function: str, **settings: Any) -> Variant:
        return Variant(name, f"learning:{function}", settings)

    def note(row: Measured) -> str:
        best = f", {row.best.told['work_mb']:,.0f} MB of keras" if row.best else ""
        return (
            f"{windows * EPOCHS / row.ours.seconds:,.0f} windows/s, Keras's tracing included; memory beyond that of "
            f"the libraries {row.ours.told['work_mb']:,.0f} MB{best}"
        )

    def note_step(row: Measured) -> str:
        return f"the mean of {steps} steps of Adam on one window"

    return [
        Row(
            "training", f"LSTM({UNITS}), {LOOKBACK} bars, batch {BATCH}, {windows:,} windows, {EPOCHS} epochs",
            variant("freqlstm", "ours", windows=windows), [variant("keras fit, windows written out", "keras_fit", windows=windows)],
            [at_least(1.3), share_of_memory(0.2)],
            further=[variant("with xla = true", "ours", windows=windows, by_xla=True)], near={"loss": 0.1}, note=note,
        ),
        Row(
            "update", f"one updating step, {LONG} bars, LSTM({UNITS})", variant("freqlstm", "ours_step", steps=steps),
            [variant("keras train_on_batch", "keras_step", steps=steps)], [at_least(4)], near={"output": 0.01}, note=note_step,
        ),
    ]  # fmt: skip


def keras_fit(windows: int) -> dict[str, Any]:
    """Every window written out and handed to fit."""
    import keras

    def fitted(count: int) -> float:
        asked = network()
        asked.compile(keras.optimizers.AdamW(LEARNING_RATE, clipnorm=1.0), "mse")
        inputs = materialised(matrix(count + LOOKBACK - 1))
        asked.fit(inputs, labels(count), batch_size=BATCH, epochs=EPOCHS, verbose=0)
        return float(np.mean((asked.predict_on_batch(inputs[:BATCH])[:, 0] - labels(count)[:BATCH]) ** 2))

    return trained(fitted, windows)


def ours(windows: int, by_xla: bool = False) -> dict[str, Any]:
    """The training of every signal of networks, straight from the features."""
    from freqlstm.keras_signal import KerasSignal
    from freqlstm.progress import silent
    from freqlstm.training import Training

    class Wide(KerasSignal):
        lookback, batch, epochs, seeds, learning_rate = LOOKBACK, BATCH, EPOCHS, 1, LEARNING_RATE

        xla = by_xla

        def build(self, n_features: int) -> Any:
            return network()

    def fitted(count: int) -> float:
        rows = np.arange(LOOKBACK - 1, LOOKBACK - 1 + count)
        aims = labels(count)
        training = Training(Wide(), matrix(count + LOOKBACK - 1), rows, aims, rows[:BATCH], aims[:BATCH])
        _, errors = training.run(network(), 0, silent)
        return errors[-1]

    return trained(fitted, windows)


def trained(fitted: Callable[[int], float], windows: int) -> dict[str, Any]:
    """Seconds of a training, with what each does anew for every network, and its memory beyond what a tiny one takes."""
    fitted(2 * BATCH)
    idle = peak_mb()
    start = time.perf_counter()
    loss = fitted(windows)
    return {"seconds": time.perf_counter() - start, "loss": loss, "work_mb": peak_mb() - idle}


def keras_step(steps: int) -> dict[str, Any]:
    """train_on_batch with one window."""
    import keras

    asked = network(LONG)
    asked.compile(keras.optimizers.Adam(LEARNING_RATE, global_clipnorm=1.0), "mse")
    features, aims = matrix(steps + LONG), labels(steps + 1)
    windows = materialised(features, LONG)
    asked.train_on_batch(windows[:1], aims[:1])  # compiles
    start = time.perf_counter()
    for number in range(1, steps + 1):
        asked.train_on_batch(windows[number : number + 1], aims[number : number + 1])
    seconds = (time.perf_counter() - start) / steps
    return {"seconds": seconds, "output": float(asked.predict_on_batch(windows[steps : steps + 1])[0, 0])}


def ours_step(steps: int) -> dict[str, Any]:
    """The step of signals that go on learning."""
    import keras

    from freqlstm.compiled_step import CompiledStep
    from freqlstm.update_step import MOMENTS, UpdateStep, fixed_of, weights_of

    asked = network(LONG)
    features, aims = matrix(steps + LONG), labels(steps + 1)
    given = asked, keras.losses.MeanSquaredError(), "adam", LEARNING_RATE
    step = CompiledStep.of(*given) or UpdateStep(*given)
    fixed, weights = fixed_of(asked), weights_of(asked)
    moments, share = np.zeros((MOMENTS["adam"], len(weights)), np.float32), np.ones(1, np.float32)

    def learn(number: int) -> None:
        nonlocal weights, moments
        windows = features[None, number : number + LONG]
        lesson = np.ascontiguousarray(windows), aims[number : number + 1], share
        weights, moments = step.learn(weights, moments, np.full((), number + 1, np.float32), fixed, *lesson)

    learn(0)  # compiles
    start = time.perf_counter()
    for number in range(1, steps + 1):
        learn(number)
    seconds = (time.perf_counter() - start) / steps
    output = step.outputs(weights, fixed, features, np.array([steps + LONG - 1]), np.array([0]), LONG)
    return {"seconds": seconds, "output": float(output[0])}
