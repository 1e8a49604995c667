"""What networks say of windows: as they say it themselves, and the same bits whatever else is asked."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import make_candles
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm import inference
from freqlstm.compiled_network import CompiledNetwork
from freqlstm.errors import UsageError
from freqlstm.inference import BLOCK, TOLERANCE, Forward, forward, outputs, told
from freqlstm.keras_signal import KerasSignal
from freqlstm.plugins import find
from freqlstm.windows import gather

ROOT = Path(__file__).resolve().parents[1]
layers = keras.layers

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def lively(network: keras.Model, seed: int = 0) -> keras.Model:
    """The network with weights as far from zero as after a long training."""
    draw = np.random.default_rng(seed)
    drawn = [draw.normal(0, 0.4, variable.shape) for variable in network.weights]
    variances = ["variance" in variable.path for variable in network.weights]
    network.set_weights(
        [np.abs(each) if never_below_zero else each for each, never_below_zero in zip(drawn, variances, strict=True)]
    )
    return network


def chain(lookback: int, features: int, *inside: keras.layers.Layer) -> keras.Model:
    return lively(keras.Sequential([keras.Input((lookback, features)), *inside, layers.Dense(1)]))


def numbers(rows: int, features: int) -> np.ndarray:
    """Scaled features as a network meets them: some of them clipped."""
    return np.clip(np.random.default_rng(5).normal(0, 2, (rows, features)), -5, 5).astype(np.float32)


def assert_agrees(network: keras.Model, matrix: np.ndarray, rows: np.ndarray, lookback: int, path: str) -> None:
    said = outputs(network, matrix, rows, lookback)
    assert told(network, lookback, matrix.shape[1])["path"] == path
    own = network.predict(gather(matrix, rows, lookback), verbose=0)[:, 0]
    np.testing.assert_allclose(said, own, rtol=TOLERANCE, atol=TOLERANCE)
    assert len(rows) < 3 or np.ptp(said) > 1e-3


# As the network itself


@settings(max_examples=15, deadline=None)
@given(
    units=st.lists(st.integers(1, 37), min_size=1, max_size=3), lookback=st.integers(1, 25), features=st.integers(1, 18),
    heads=st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["relu", "tanh", "sigmoid", None])), max_size=2),
    bias=st.booleans(), normal=st.booleans(), rows=st.integers(1, 150), holes=st.booleans(),
)  # fmt: skip
def test_lstms_of_any_size_are_compiled_and_say_what_keras_says(
    units: list[int], lookback: int, features: int, heads: list[tuple[int, str]], bias: bool, normal: bool, rows: int,
    holes: bool,
) -> None:  # fmt: skip
    stack = [layers.LSTM(each, return_sequences=n + 1 < len(units), use_bias=bias) for n, each in enumerate(units)]
    dense = [layers.Dense(width, how) for width, how in heads]
    network = chain(lookback, features, *stack, layers.Dropout(0.4), *[layers.BatchNormalization()] * normal, *dense)
    asked = np.arange(lookback - 1, lookback - 1 + rows)
    matrix = numbers(asked[-1] + 1, features)
    if holes:
        asked = asked[np.random.default_rng(rows).random(rows) < 0.8]
    said = CompiledNetwork.of(network)
    assert said is not None
    if len(asked):
        own = network.predict_on_batch(gather(matrix, asked, lookback))[:, 0]
        found = said.outputs(matrix, asked, lookback)
        np.testing.assert_allclose(found, own, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["lstm", "lstm_volatility", "attention_lstm", "boosted_lstm", "updating_lstm"])
def test_every_shipped_network_is_compiled(name: str) -> None:
    kind: Any = find("signal", name, ROOT).load()
    network = lively(kind(lookback=12, units=9).built(5))
    assert_agrees(network, numbers(700, 5), np.arange(11, 700), 12, "compiled")


def test_an_lstm_after_another_layer_and_a_window_read_flat_are_compiled() -> None:
    for inside in ([layers.Dense(6, "tanh"), layers.LSTM(5)], [layers.Dense(3), layers.Flatten()], [layers.LSTM(4, return_sequences=True), layers.Flatten()]):  # fmt: skip
        assert_agrees(chain(7, 4, *inside), numbers(100, 4), np.arange(6, 100), 7, "compiled")


class Doubling(keras.layers.Layer):
    """A layer of somebody's own."""

    def call(self, values: Any) -> Any:
        return values * 2.0


WRITTEN_BY_USERS: dict[str, tuple[str, Callable[[], list[keras.layers.Layer]]]] = {
    "GRU": ("xla", lambda: [layers.GRU(6)]),
    "bidirectional": ("xla", lambda: [layers.Bidirectional(layers.LSTM(4))]),
    "LSTM with another activation": ("xla", lambda: [layers.LSTM(4, activation="relu")]),
    "LSTM and a layer of one's own": ("xla", lambda: [layers.LSTM(4), Doubling()]),
    "convolution": ("keras", lambda: [layers.Conv1D(4, 3), layers.GlobalMaxPooling1D()]),
}


@pytest.mark.parametrize("name", list(WRITTEN_BY_USERS))
def test_whatever_else_a_user_builds_says_what_keras_says(name: str) -> None:
    path, inside = WRITTEN_BY_USERS[name]
    network, matrix, rows = chain(8, 3, *inside()), numbers(700, 3), np.arange(7, 700)
    assert_agrees(network, matrix, rows, 8, path)
    whole = outputs(network, matrix, rows, 8)
    np.testing.assert_array_equal(outputs(network, matrix[:600], rows[:580], 8), whole[:580])
    np.testing.assert_array_equal(outputs(network, matrix, rows[40:41], 8), whole[40:41])


def test_networks_that_are_built_alike_are_compiled_by_xla_once_and_keep_their_own_weights() -> None:
    one, two = chain(8, 3, layers.GRU(6)), lively(chain(8, 3, layers.GRU(6)), seed=9)
    matrix, rows = numbers(50, 3), np.arange(7, 50)
    for network in (one, two, one):
        assert_agrees(network, matrix, rows, 8, "xla")


def test_what_is_learned_later_is_seen() -> None:
    network, matrix, rows = chain(5, 3, layers.LSTM(6)), numbers(40, 3), np.arange(4, 40)
    before = outputs(network, matrix, rows, 5)
    lively(network, seed=3)
    assert_agrees(network, matrix, rows, 5, "compiled")
    assert not np.allclose(outputs(network, matrix, rows, 5), before)


# The same bits


@settings(max_examples=10, deadline=None)
@given(begin=st.integers(0, 900), count=st.integers(1, 700), every=st.integers(1, 5))
def test_a_windows_bits_depend_on_nothing_that_is_asked_beside_it(begin: int, count: int, every: int) -> None:
    lookback, matrix = 6, numbers(1700, 4)
    rows = np.arange(lookback - 1, len(matrix))
    network = _stacked()
    whole = outputs(network, matrix, rows, lookback)
    some = slice(begin, begin + count * every, every)
    last = int(rows[some][-1]) + 1
    np.testing.assert_array_equal(outputs(network, matrix[:last], rows[some], lookback), whole[some])
    late = begin // 2  # and not on what lies before the window
    np.testing.assert_array_equal(outputs(network, matrix[late:], rows[some] - late, lookback), whole[some])


def _stacked() -> keras.Model:
    return chain(6, 4, layers.LSTM(7, return_sequences=True), layers.LSTM(5), layers.Dense(3, "tanh"))


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    network, matrix = _stacked(), numbers(5 * BLOCK + 77, 4)
    rows = np.delete(np.arange(5, len(matrix)), [700, 701, 2000])
    monkeypatch.setattr(inference, "threads", lambda: 1)
    one = outputs(network, matrix, rows, 6)
    monkeypatch.setattr(inference, "threads", lambda: 3)
    np.testing.assert_array_equal(outputs(network, matrix, rows, 6), one)


def test_one_window_step_by_step_has_the_bits_of_many_side_by_side() -> None:
    network, matrix = _stacked(), numbers(60, 4)
    side_by_side = outputs(network, matrix, np.arange(5, 60), 6)
    read = CompiledNetwork.of(network)
    assert read is not None
    for row in range(5, 60):
        rolled = read.rolled(matrix[row - 5 : row])
        assert rolled is not None
        assert rolled.output(matrix[row]) == rolled.output(matrix[row]) == side_by_side[row - 5]


def digest() -> str:
    """Of what two networks say, a compiled one and one by XLA."""
    matrix = numbers(900, 4)
    said = [outputs(each, matrix, np.arange(5, 900), 6) for each in (_stacked(), chain(6, 4, layers.GRU(5)))]
    return hashlib.sha256(np.concatenate(said).tobytes()).hexdigest()


def test_another_process_gives_the_same_bits() -> None:
    here = Path(__file__).resolve().parent
    program = f"import sys\nsys.path[:0] = {[str(here), str(here.parent)]!r}\nimport test_inference\nprint(test_inference.digest())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == digest()


# What does not agree is not used


class Odd(KerasSignal):
    features = ("return_lag_0", "range_1")
    lookback: int = 4
    seeds: int = 1
    epochs: int = 1
    interval_memory: int = 100

    def build(self, n_features: int) -> keras.Model:
        return keras.Sequential([keras.Input((self.lookback, n_features)), keras.layers.LSTM(3), keras.layers.Dense(1)])


def wrong(self: CompiledNetwork, matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
    """One window in a thousand is wrong: those whose newest first feature is beyond what the probes hold."""
    windows = gather(matrix, rows, lookback)
    said = np.asarray(self.stages[0].run(np.ascontiguousarray(windows.transpose(1, 2, 0))))
    for stage in self.stages[1:]:
        said = stage.run(said)
    return said[0] + np.where(windows[:, -1, 0] == windows[:, -1, 0].max(), 1e-4, 0)  # type: ignore[no-any-return]


def test_a_network_that_disagrees_is_asked_by_keras_and_the_report_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    candles = make_candles(1500)
    market = {candles.symbol: candles}
    plain = Odd().fit(market)
    assert plain.report_["forward_pass"][0]["path"] == "compiled"
    assert 0 < plain.report_["forward_pass"][0]["difference"] < 1e-6
    with monkeypatch.context() as patch:
        patch.setattr(CompiledNetwork, "outputs", wrong)
        odd = Odd().fit(market)
    (report,) = odd.report_["forward_pass"]
    assert report["path"] == "keras"
    assert report["refused"].startswith("compiled code differs from the network by ")
    assert report["refused"].endswith("more than 1e-05")
    said = odd.predict(candles)
    np.testing.assert_allclose(said, plain.predict(candles), rtol=1e-3, atol=1e-7)
    odd.save(tmp_path / "odd")
    loaded = Odd.load(tmp_path / "odd")  # where nothing is wrong with compiled code: the way is still that of the fit
    assert json.loads(json.dumps(loaded.report_["forward_pass"]))[0]["path"] == "keras"
    pd.testing.assert_frame_equal(loaded.predict(candles), said, check_exact=True)


def test_a_network_that_says_nan_is_left_to_keras() -> None:
    network = chain(4, 2, layers.LSTM(3))
    network.set_weights([each * np.nan for each in network.get_weights()])
    way = Forward(network, 4, 2)
    assert way.path == "keras"
    assert np.isnan(way.outputs(numbers(9, 2), np.arange(3, 9))).all()


def test_rows_without_a_window_are_refused() -> None:
    network = chain(4, 2, layers.LSTM(3))
    with pytest.raises(UsageError, match=r"^Row 2 has no window of 4 bars in a table of 9 rows\."):
        outputs(network, numbers(9, 2), np.arange(2, 9), 4)
    assert outputs(network, numbers(9, 2), np.zeros(0, int), 4).shape == (0,)
    assert forward(network, 4, 2) is forward(network, 4, 2)
