"""A step of learning by compiled code, against Keras's own gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.compiled_step import CompiledStep
from freqlstm.training import seeded
from freqlstm.update_step import MOMENTS, fixed_of, weights_of

layers = keras.layers
LOSSES: dict[str, Callable[[], keras.losses.Loss]] = {
    "squared": keras.losses.MeanSquaredError,
    "log odds": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
}
OPTIMIZERS: dict[str, Callable[..., Any]] = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def lstm(units: list[int], heads: list[tuple[int, str]], lookback: int, features: int) -> keras.Model:
    """LSTMs one upon another, or none of them, and dense layers."""
    recurrent = [layers.LSTM(each, return_sequences=number + 1 < len(units)) for number, each in enumerate(units)]
    dense = [layers.Dense(width, how) for width, how in heads]
    with seeded([1]):
        network = keras.Sequential(
            [
                keras.Input((lookback, features)),
                *(recurrent or [layers.Flatten()]),
                *dense,
                layers.Dropout(0.5),
                layers.Dense(1),
            ]
        )
    draw = np.random.default_rng(2)
    network.set_weights([each + draw.normal(0, 0.2, each.shape) for each in network.get_weights()])
    return network


def step_of(network: keras.Model, loss: str = "squared", optimizer: str = "sgd", size: float = 0.1) -> CompiledStep:
    step = CompiledStep.of(network, LOSSES[loss](), optimizer, size)
    assert step is not None
    return step


def lessons(count: int, lookback: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    windows = draw.normal(size=(count, lookback, features)).astype(np.float32)
    return windows, (draw.random(count) > 0.5).astype(np.float32), (draw.random(count) > 0.2).astype(np.float32)


@settings(max_examples=12, deadline=None)
@given(
    units=st.lists(st.integers(1, 19), max_size=2), loss=st.sampled_from(list(LOSSES)), lookback=st.integers(1, 9),
    features=st.integers(1, 6), count=st.integers(1, 90),
    heads=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["relu", "tanh", "sigmoid", None])), max_size=2),
)  # fmt: skip
def test_the_gradient_is_that_of_keras(
    units: list[int], loss: str, lookback: int, features: int, count: int, heads: list[tuple[int, str]]
) -> None:
    network = lstm(units, heads, lookback, features)
    windows, labels, shares = lessons(count, lookback, features)
    with tf.GradientTape() as tape:
        error = LOSSES[loss]()(labels[:, None], network(windows, training=False), sample_weight=shares)
    theirs = tape.gradient(error, [variable.value for variable in network.trainable_variables])
    wanted = np.concatenate([np.ravel(each) for each in theirs])
    outputs, ours = step_of(network, loss).gradient(weights_of(network), windows, labels, shares / np.float32(count))
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(outputs, network(windows, training=False)[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("scale", [1.0, 30.0])  # without and with clipping
def test_steps_are_those_of_keras_with_its_gradient_clipped_to_a_norm_of_one(optimizer: str, scale: float) -> None:
    theirs = lstm([5], [], 4, 3)
    windows, labels, _ = lessons(20, 4, 3)
    labels *= np.float32(scale)
    rule = OPTIMIZERS[optimizer](0.1, global_clipnorm=1.0)
    rule.build(theirs.trainable_variables)
    step, weights = step_of(theirs, optimizer=optimizer), weights_of(theirs)
    begun, moments = weights.copy(), np.zeros((MOMENTS[optimizer], len(weights)), np.float32)
    for number in range(1, 4):
        with tf.GradientTape() as tape:
            error = keras.losses.MeanSquaredError()(labels[:, None], theirs(windows, training=False))
        variables = theirs.trainable_variables
        rule.apply(tape.gradient(error, [variable.value for variable in variables]), variables)
        weights, moments = step.learn(
            weights, moments, np.float32(number), [], windows, labels, np.ones(20, np.float32)
        )
    np.testing.assert_allclose(
        weights, weights_of(theirs), rtol=1e-3, atol=1e-4
    )  # Adam enlarges the last bits of a slope
    assert np.abs(weights - begun).max() > 0.01


def test_what_has_no_share_is_not_learned_from_and_nothing_given_is_changed() -> None:
    network = lstm([5], [], 4, 3)
    step, (windows, labels, shares) = step_of(network), lessons(40, 4, 3)
    wild = np.where(shares > 0, labels, np.float32(np.nan))
    given_weights = weights_of(network)
    given_moments = np.zeros((0, len(given_weights)), np.float32)
    one, two = (step.learn(given_weights, given_moments, 1, [], windows, each, shares)[0] for each in (labels, wild))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(given_weights, weights_of(network))
    assert not np.array_equal(one, given_weights)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e30])
def test_what_has_no_gradient_leaves_the_weights_as_they_are(bad: float) -> None:
    network = lstm([5], [], 4, 3)
    windows, labels, _ = lessons(20, 4, 3)
    labels[3] = bad
    weights = weights_of(network)
    moved, _ = step_of(network).learn(
        weights, np.zeros((0, len(weights)), np.float32), 1, [], windows, labels, np.ones(20, np.float32)
    )
    np.testing.assert_array_equal(moved, weights)


def test_an_output_is_the_networks_own_and_its_bits_depend_on_nothing_else_that_is_asked() -> None:
    network = lstm([5, 3], [], 4, 3)
    step, matrix, rows = (
        step_of(network),
        np.random.default_rng(0).normal(size=(1200, 3)).astype(np.float32),
        np.arange(3, 1200),
    )
    whole = step.outputs(weights_of(network), fixed_of(network), matrix, rows, rows, 4)
    own = [float(network(matrix[None, row - 3 : row + 1])[0, 0]) for row in rows[:5]]
    np.testing.assert_allclose(whole[:5], own, rtol=1e-5, atol=1e-6)
    for part in ([0], [5, 6, 7], [1100], [3, 290]):
        np.testing.assert_array_equal(
            step.outputs(weights_of(network), [], matrix, rows[part], rows[part], 4), whole[part]
        )


def test_networks_and_losses_that_are_not_known_are_left_to_others() -> None:
    plain, mean = lstm([5], [], 4, 3), keras.losses.MeanSquaredError()
    window = keras.Input((4, 3))
    bare = keras.Sequential([window, layers.LSTM(3, use_bias=False), layers.Dense(1)])
    states = layers.LSTM(3, return_sequences=True)(window)
    flattened = keras.Model(window, layers.Dense(1)(layers.Flatten()(states)))
    normal = keras.Sequential([window, layers.LSTM(3), layers.BatchNormalization(), layers.Dense(1)])
    for other in (bare, flattened, normal, keras.Sequential([window, layers.GRU(3), layers.Dense(1)])):
        assert CompiledStep.of(other, mean, "sgd", 0.1) is None
    for loss in (
        keras.losses.Huber(0.3),
        keras.losses.BinaryCrossentropy(),
        keras.losses.MeanSquaredError("sum"),
    ):
        assert CompiledStep.of(plain, loss, "sgd", 0.1) is None
    assert CompiledStep.of(plain, mean, "sgd", 0.1) is not None
