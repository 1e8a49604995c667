"""A step of learning, compiled, against Keras's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from freqlstm.errors import PluginError
from freqlstm.training import seeded
from freqlstm.update_step import BLOCK, MOMENTS, UpdateStep, fixed_of, weights_of
from freqlstm.xla import compiled_once

LOOKBACK, FEATURES = 4, 3
RANDOM = np.random.default_rng(0)
WINDOWS = RANDOM.normal(size=(20, LOOKBACK, FEATURES)).astype(np.float32)
LABELS = RANDOM.normal(size=20).astype(np.float32)
ALL = np.ones(20, np.float32)
OPTIMIZERS: dict[str, Callable[..., Any]] = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}


def network() -> keras.Model:
    with seeded([3]):
        layers = [
            keras.Input((LOOKBACK, FEATURES)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, "tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
        return keras.Sequential(layers)


@cache
def a_step(optimizer: str = "sgd", step_size: float = 0.1) -> UpdateStep:
    return UpdateStep(network(), keras.losses.MeanSquaredError(), optimizer, step_size)


def learned(step: UpdateStep, labels: np.ndarray, shares: np.ndarray, steps: int = 1, vectors: int = 0) -> np.ndarray:
    net = network()
    weights: Any = weights_of(net)
    moments: Any = np.zeros((vectors, len(weights)), np.float32)
    for number in range(1, steps + 1):
        number_now = np.full((), number, np.float32)
        weights, moments = step.learn(weights, moments, number_now, fixed_of(net), WINDOWS, labels, shares)
    return np.asarray(weights)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("scale", [0.1, 30.0])  # without and with clipping
def test_steps_are_those_of_keras_with_its_gradient_clipped_to_a_norm_of_one(optimizer: str, scale: float) -> None:
    labels = LABELS * np.float32(scale)
    theirs = network()
    rule = OPTIMIZERS[optimizer](0.1, global_clipnorm=1.0)
    rule.build(theirs.trainable_variables)
    for _ in range(3):
        with tf.GradientTape() as tape:
            error = keras.losses.MeanSquaredError()(labels[:, None], theirs(WINDOWS, training=False))
        variables = theirs.trainable_variables
        rule.apply(tape.gradient(error, [variable.value for variable in variables]), variables)
    ours = learned(a_step(optimizer), labels, ALL, steps=3, vectors=MOMENTS[optimizer])
    np.testing.assert_allclose(ours, weights_of(theirs), rtol=2e-4, atol=2e-6)
    assert not np.array_equal(ours, weights_of(network()))


def test_what_has_no_share_is_not_learned_from_and_a_step_on_few_is_small() -> None:
    step, half = a_step(), ALL.copy()
    half[10:] = 0
    wild = LABELS.copy()
    wild[10:] = 1e6
    one, two = learned(step, LABELS, half), learned(step, wild, half)
    np.testing.assert_array_equal(one, two)
    moved = [
        np.linalg.norm(learned(step, LABELS, shares) - weights_of(network()))
        for shares in (half, half * (np.arange(20) == 3))
    ]
    assert moved[1] < moved[0]


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e30])
def test_what_has_no_gradient_leaves_the_weights_as_they_are(bad: float) -> None:
    labels = LABELS.copy()
    labels[3] = bad
    np.testing.assert_array_equal(learned(a_step(), labels, ALL), weights_of(network()))


def test_an_output_is_the_networks_own_and_its_bits_depend_on_nothing_else_that_is_asked() -> None:
    net, step = network(), a_step()
    matrix = RANDOM.normal(size=(300, FEATURES)).astype(np.float32)
    rows, bars = np.arange(LOOKBACK - 1, 300), np.arange(LOOKBACK - 1, 300) + 7_000_021
    whole = step.outputs(weights_of(net), fixed_of(net), matrix, rows, bars, LOOKBACK)
    own = [float(net(matrix[None, row - LOOKBACK + 1 : row + 1])[0, 0]) for row in rows[:5]]
    np.testing.assert_allclose(whole[:5], own, rtol=1e-5, atol=1e-6)
    for part in ([0], [5, 6, 7], [200], list(range(60, 60 + BLOCK)), [3, 290]):
        alone = step.outputs(weights_of(net), fixed_of(net), matrix, rows[part], bars[part], LOOKBACK)
        np.testing.assert_array_equal(alone, whole[part])


def test_networks_that_are_built_alike_are_compiled_once() -> None:

    def another() -> UpdateStep:
        return UpdateStep(network(), keras.losses.MeanSquaredError(), "sgd", 0.1)

    made = [compiled_once(("test", number // 2), another) for number in range(4)]
    assert made[0] is made[1] is not made[2]
    assert made[2] is made[3]


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(PluginError) as caught:
        UpdateStep(network(), keras.losses.MeanSquaredError(), "sgd", 0.1)
    assert str(caught.value) == (
        "Signals that go on learning cannot run on the Keras backend torch. Set KERAS_BACKEND to tensorflow or jax."
    )


JAX = """
import sys
import numpy as np
sys.path[:0] = {path!r}
import test_update_step as here
weights, folder = np.load({folder!r} + "/weights.npy"), {folder!r}
here.weights_of = lambda network: weights
np.save(folder + "/jax.npy", here.learned(here.a_step("adam"), here.LABELS, here.ALL, steps=3, vectors=2))
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_steps_on_jax_are_those_on_tensorflow(tmp_path: Path) -> None:
    np.save(tmp_path / "weights.npy", weights_of(network()))
    here = Path(__file__).resolve().parent
    program = JAX.format(path=[str(here), str(here.parent)], folder=str(tmp_path))
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    ours = learned(a_step("adam"), LABELS, ALL, steps=3, vectors=2)
    np.testing.assert_allclose(np.load(tmp_path / "jax.npy"), ours, rtol=1e-5, atol=1e-5)
