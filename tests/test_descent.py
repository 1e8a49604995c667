"""The way down the slope by compiled code, against Keras's own training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from freqlstm import descent as ways
from freqlstm.descent import CompiledDescent, Descent, KerasDescent, descent, one_cycle
from freqlstm.training import seeded

layers = keras.layers
LOOKBACK, FEATURES, ROWS = 5, 3, 700

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


class Rule:
    lookback, epochs, batch = LOOKBACK, 3, 150  # the last batch of an epoch is smaller
    learning_rate, weight_decay = 0.02, 0.1
    xla = False

    def loss(self) -> keras.losses.Loss:
        return keras.losses.MeanSquaredError()


def network(*more: Any, sequences: bool = False) -> keras.Model:
    with seeded([1]):
        return keras.Sequential(
            [
                keras.Input((LOOKBACK, FEATURES)),
                *([layers.LSTM(6, return_sequences=True)] if sequences else []),
                layers.LSTM(7),
                *more,
                layers.Dense(1),
            ]
        )


def lessons() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    matrix = draw.normal(size=(ROWS + LOOKBACK, FEATURES)).astype(np.float32)
    rows = draw.permutation(np.arange(LOOKBACK - 1, LOOKBACK - 1 + ROWS)).astype(np.int32)
    return matrix, rows, matrix[rows, :1]


def gone_down(way: Descent, epochs: int = 3) -> tuple[list[float], list[np.ndarray], float]:
    _, rows, labels = lessons()
    losses = [way.epoch(rows, labels) for _ in range(epochs)]
    return losses, list(way.network.get_weights()), way.learning_rate()


@pytest.mark.parametrize("sequences", [False, True])
def test_compiled_code_trains_as_keras_does_up_to_rounding(sequences: bool) -> None:
    matrix, _, _ = lessons()
    ours = descent(Rule(), network(sequences=sequences), matrix, ROWS)
    assert isinstance(ours, CompiledDescent)
    theirs = KerasDescent(Rule(), network(sequences=sequences), matrix, 3 * 5)
    (our_losses, our_weights, our_rate), (losses, weights, rate) = gone_down(ours), gone_down(theirs)
    np.testing.assert_allclose(our_losses, losses, rtol=1e-4)
    assert losses[-1] < 0.9 * losses[0]
    assert our_rate == pytest.approx(rate)
    for mine, their in zip(our_weights, weights, strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-2, atol=1e-3)  # Adam enlarges the last bits of a slope


@pytest.mark.parametrize("threads", [2, 3])
def test_the_bits_are_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    matrix, _, _ = lessons()
    monkeypatch.setattr(ways, "threads", lambda: 1)
    one = gone_down(descent(Rule(), network(sequences=True), matrix, ROWS))
    monkeypatch.setattr(ways, "threads", lambda: threads)
    more = gone_down(descent(Rule(), network(sequences=True), matrix, ROWS))
    assert one[0] == more[0]
    for mine, theirs in zip(one[1], more[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_descent_goes_on_from_what_it_remembers_and_begins_anew_when_told() -> None:
    matrix, rows, labels = lessons()
    whole = gone_down(descent(Rule(), network(), matrix, ROWS))
    first = descent(Rule(), network(), matrix, ROWS)
    first.epoch(rows, labels)
    second = descent(Rule(), network(), matrix, ROWS)
    second.epoch(rows, labels)  # something else to forget
    second.network.set_weights(first.network.get_weights())
    second.remember(first.memory())
    rest = gone_down(second, 2)
    assert rest[0] == whole[0][1:]
    for mine, theirs in zip(rest[1], whole[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    second.network.set_weights(network().get_weights())
    second.begin()
    assert gone_down(second)[0] == whole[0]


def _through(sums: Callable[[Any], Any]) -> keras.Model:
    """A network with something between its layers that no layer tells of."""
    with seeded([1]):
        window = keras.Input((LOOKBACK, FEATURES))
        return keras.Model(window, sums(layers.LSTM(7)(window)))


def _twice(states: Any) -> Any:
    dense = layers.Dense(7)
    return layers.Dense(1)(dense(dense(states)))


class OwnRate(layers.Dense):  # type: ignore[misc]
    """A layer of somebody's own."""


@pytest.mark.parametrize(
    "made",
    [
        lambda: network(layers.Dropout(0.2)),
        lambda: network(layers.GaussianNoise(0.1)),
        lambda: network(layers.Dense(2, kernel_regularizer="l2")),
        lambda: network(layers.Dense(2, activity_regularizer="l2")),
        lambda: network(layers.Dense(2, kernel_constraint="non_neg")),
        lambda: network(layers.Dense(2, trainable=False)),
        lambda: network(layers.BatchNormalization()),
        lambda: network(OwnRate(2)),
        lambda: _through(lambda states: layers.Dense(1)(states) * 0.1),
        lambda: _through(lambda states: layers.Dense(1)(states + layers.Dense(7)(states))),
        lambda: _through(_twice),
        lambda: keras.Sequential(
            [keras.Input((LOOKBACK, FEATURES)), layers.LSTM(7, recurrent_dropout=0.1), layers.Dense(1)]
        ),
    ],
)
def test_what_is_trained_otherwise_than_it_predicts_is_left_to_keras(made: Callable[[], keras.Model]) -> None:
    assert isinstance(descent(Rule(), made(), lessons()[0], ROWS), KerasDescent)


def test_dropout_of_nothing_does_not_matter_and_xla_is_what_was_asked_for() -> None:
    class ByXla(Rule):
        xla = True

    assert isinstance(descent(Rule(), network(layers.Dropout(0.0)), lessons()[0], ROWS), CompiledDescent)
    assert isinstance(descent(ByXla(), network(), lessons()[0], ROWS), KerasDescent)


@pytest.mark.parametrize("steps", [1, 2, 3, 40, 1001])
def test_the_learning_rate_rises_in_a_line_and_falls_as_a_cosine(steps: int) -> None:
    rise = max(1, round(0.3 * steps))
    rates = one_cycle(0.02, steps)
    keras_own = keras.optimizers.schedules.CosineDecay(
        0.02 / 25, max(1, steps - rise), 1e-3, warmup_target=0.02, warmup_steps=rise
    )
    np.testing.assert_allclose(rates, [float(keras_own(step)) for step in range(steps + 1)], rtol=1e-4)
