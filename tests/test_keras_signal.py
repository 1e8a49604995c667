"""Signals made of a Keras model, with a network small enough to train in a second."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm import provenance
from freqlstm.candles import Candles
from freqlstm.conformal import LEVELS
from freqlstm.descent import _AdamW
from freqlstm.errors import ModelError, PluginError, TooFewCandles
from freqlstm.features import compute, feature
from freqlstm.inference import layers_of
from freqlstm.keras_signal import KerasSignal
from freqlstm.progress import silent
from freqlstm.supervised import slope
from freqlstm.targets import Target
from freqlstm.training import Training, seeded
from freqlstm.windows import gather

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

ROOT = Path(__file__).resolve().parents[1]
BTC, ETH = "BTC/USDT", "ETH/USDT"


class Small(KerasSignal):
    features = ("return_lag_0", "range_1", "time_of_day_sin")
    lookback: int = 4
    seeds: int = 1
    epochs: int = 1
    dropout: float = 0.0
    interval_memory: int = 200

    def build(self, n_features: int) -> keras.Model:
        layers = [keras.Input((self.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dense(4, "tanh")]
        return keras.Sequential([*layers, keras.layers.Dropout(self.dropout), keras.layers.Dense(1)])


@pytest.fixture(scope="module")
def market() -> dict[str, Candles]:
    return {BTC: make_candles(2500)}


@pytest.fixture(scope="module")
def fitted(market: dict[str, Candles]) -> Small:
    return Small().fit(market)


def reverting(rows: int = 4000) -> Candles:
    """A market in which every move is half undone by the next one."""
    shock = np.random.default_rng(3).normal(0, 1e-3, rows)
    close = 100 * np.exp(np.cumsum(shock - 0.5 * np.concatenate([[0.0], shock[:-1]])))
    open_ = np.concatenate([[100.0], close[:-1]])
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
            "volume": 1.0,
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC"),
    )
    return Candles.from_frame(frame, BTC, "1m")


def scrambled(candles: Candles, first: int) -> Candles:
    """The same candles with other ones from row ``first`` on."""
    frame = candles.frame.copy()
    frame.iloc[first:] *= np.random.default_rng(1).uniform(1.5, 3.0, (len(frame) - first, 1))
    return Candles(frame, candles.symbol, candles.timeframe)


# What it sees


def test_predictions_are_there_after_the_warmup_and_on_every_bar_then(
    fitted: Small, market: dict[str, Candles]
) -> None:
    said = fitted.predict(market[BTC])
    assert fitted.warmup == 303  # 300 bars for what is scaled by the volatility, then 3 more to fill a window
    assert said.iloc[:303].isna().all(axis=None)
    assert said["prediction"].iloc[303:].notna().all()
    assert fitted.memory == 303 + 399
    assert np.isfinite(said.iloc[702:, :3].to_numpy()).all()
    assert said.index.equals(market[BTC].time)


def test_no_prediction_changes_when_later_candles_change_or_are_missing(
    fitted: Small, market: dict[str, Candles]
) -> None:
    whole = fitted.predict(market[BTC])
    for rows in (304, 1000, 1777, 2499):
        pd.testing.assert_frame_equal(
            fitted.predict(market[BTC].rows(0, rows)), whole.iloc[:rows], check_exact=True, check_freq=False
        )
        pd.testing.assert_frame_equal(
            fitted.predict(scrambled(market[BTC], rows)).iloc[:rows],
            whole.iloc[:rows],
            check_exact=True,
            check_freq=False,
        )


def test_a_prediction_needs_no_more_history_than_the_warmup(fitted: Small, market: dict[str, Candles]) -> None:
    late = market[BTC].rows(1000, 2500)
    said, whole = fitted.predict(late), fitted.predict(market[BTC])
    np.testing.assert_allclose(said["prediction"].iloc[303:], whole["prediction"].iloc[1303:], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(said.iloc[fitted.memory :], whole.iloc[1000 + fitted.memory :], rtol=1e-5, atol=1e-9)


def test_no_prediction_spans_a_gap(fitted: Small, market: dict[str, Candles]) -> None:
    frame = market[BTC].frame.drop(market[BTC].time[1000])
    said = fitted.predict(Candles(frame, BTC, "1m"))["prediction"].to_numpy()
    assert np.isnan(said[1000:1302]).all()
    assert np.isfinite(said[1303:]).all()


def test_predicting_changes_neither_the_candles_nor_anybodys_random_numbers(market: dict[str, Candles]) -> None:
    before = market[BTC].frame.copy()
    random.seed(5)
    np.random.seed(5)
    wanted = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    Small().fit(market).predict(market[BTC])
    assert (random.random(), np.random.random()) == wanted
    pd.testing.assert_frame_equal(market[BTC].frame, before, check_exact=True)


# Training rows only


def test_scalers_and_weights_come_from_the_bars_before_validation(market: dict[str, Candles], fitted: Small) -> None:
    usable = np.arange(303, 2495)
    fit_bars, validation_bars = fitted.split(usable)
    first = int(validation_bars[0])
    assert fit_bars[-1] + fitted.horizon < first
    other = Small().fit({BTC: scrambled(market[BTC], first)})
    assert other.scaling_ == fitted.scaling_
    for mine, theirs in zip(fitted.networks_[0].get_weights(), other.networks_[0].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert other.slope_ != fitted.slope_ or other.errors_ != fitted.errors_


def test_the_scalers_are_mean_and_deviation_of_the_fitted_bars(market: dict[str, Candles], fitted: Small) -> None:
    raw = compute(fitted.features, market[BTC])
    usable = np.flatnonzero(np.isfinite(raw.to_numpy()).all(axis=1))[3:]
    usable = usable[usable + fitted.horizon < len(raw)]
    known = raw.to_numpy()[fitted.split(usable)[0]]
    assert fitted.scaling_[BTC]["mean"] == known.mean(axis=0).tolist()
    assert fitted.scaling_[BTC]["std"] == known.std(axis=0).tolist()


def test_inputs_are_the_features_scaled_and_clipped(market: dict[str, Candles], fitted: Small) -> None:
    frame = market[BTC].frame.copy()
    frame.iloc[2000:] *= 1.2  # a jump
    candles = Candles(frame, BTC, "1m")
    seen = fitted.inputs(candles)
    raw = compute(fitted.features, candles)
    scaling = fitted.scaling_[BTC]
    wanted = ((raw - scaling["mean"]) / scaling["std"]).clip(-5, 5)
    pd.testing.assert_frame_equal(seen, wanted, check_freq=False)
    assert seen.abs().max(axis=None) == 5.0


def test_a_feature_that_never_moves_is_harmless(market: dict[str, Candles]) -> None:
    frozen = feature(warmup=0)(lambda candles: candles.close * 0 + 7)
    signal = Small(features=["return_lag_0", frozen]).fit(market)
    assert signal.scaling_[BTC]["std"][1] == 1.0
    assert np.isfinite(signal.predict(market[BTC])["prediction"].to_numpy()[303:]).all()


# What it learns


def test_a_planted_pattern_is_learned() -> None:
    candles = reverting()
    signal = Small(horizon=1, epochs=4, learning_rate=0.02).fit({BTC: candles.rows(0, 3000)})
    said = signal.predict(candles)["prediction"].to_numpy()[3000:-1]
    came = np.diff(np.log(candles.close.to_numpy()))[3000:]
    assert np.corrcoef(said, came)[0, 1] > 0.25
    assert signal.slope_ > 0.4


def test_the_best_epoch_is_restored() -> None:
    candles = reverting(2500)
    signal = Small(horizon=1, epochs=4, learning_rate=0.1).fit({BTC: candles})
    errors = signal.report_["validation_errors"][0]
    assert 0 < int(np.argmin(errors)) < len(errors) - 1, "the test needs a best epoch that is neither first nor last"
    assert signal.report_["best_epochs"] == [int(np.argmin(errors)) + 1]
    assert len(errors) <= int(np.argmin(errors)) + 2  # one epoch without a better error is the last
    raw = signal.inputs(candles).to_numpy(np.float32)
    target = Target("return", 1)
    units = target.units(candles)
    usable = np.flatnonzero(np.isfinite(raw).all(axis=1))[3:]
    usable = usable[np.isfinite(units[usable])]
    check = signal.split(usable)[1]
    output = np.asarray(signal.networks_[0](gather(raw, check, 4)))[:, 0]
    np.testing.assert_allclose(np.mean((output - target.label(units[check])) ** 2), min(errors), rtol=1e-5)
    said = signal.stretch_ * output
    wanted = np.quantile(units[check] - signal.slope_ * said, LEVELS, method="weibull")
    np.testing.assert_allclose(signal.errors_, wanted, rtol=1e-4, atol=1e-5)  # the interval is of that epoch too
    assert signal.slope_ == pytest.approx(slope(said, units[check]), abs=1e-6)


def test_networks_of_other_seeds_differ(market: dict[str, Candles]) -> None:
    pair = Small(seeds=2).fit(market)
    weights = [network.get_weights()[0] for network in pair.networks_]
    assert not np.array_equal(weights[0], weights[1])


def test_a_network_is_trained_as_if_it_were_the_first() -> None:
    """The training step is traced once and used for all: nothing of the network before may be left in it."""
    draw = np.random.default_rng(1)
    matrix = draw.normal(size=(600, 3)).astype(np.float32)
    rows, check = np.arange(3, 500), np.arange(500, 600)
    labels = matrix[:, 0].astype(float)
    signal = Small(epochs=3, seeds=2, dropout=0.2)

    def second(others_before: bool) -> list[np.ndarray]:
        with seeded([0]):
            training = Training(signal, matrix, rows, labels[rows], check, labels[check])
        for member in (0, 1) if others_before else (1,):
            with seeded([0, member]):
                network = signal.built(3)
                training.run(network, member, silent)
        return list(network.get_weights())

    for mine, theirs in zip(second(True), second(False), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_training_by_xla_is_the_same_training_up_to_last_bits(market: dict[str, Candles], fitted: Small) -> None:
    one, two = Small(xla=True).fit(market), Small(xla=True).fit(market)
    for mine, again, plain in zip(*(each.networks_[0].get_weights() for each in (one, two, fitted)), strict=True):
        np.testing.assert_array_equal(mine, again)
        np.testing.assert_allclose(mine, plain, rtol=1e-3, atol=1e-4)


def test_the_slope_of_what_fits_exactly_is_least_squares_kept_between_zero_and_one() -> None:
    forecast = np.array([1.0, -1.0, 2.0])
    assert slope(forecast, 0.25 * forecast) == 0.25
    assert slope(forecast, 3 * forecast) == 1.0
    assert slope(forecast, -forecast) == 0.0
    assert slope(forecast * 0, forecast) == 0.0


def test_the_slope_leaves_out_its_own_standard_error() -> None:
    forecast = np.array([1.0, -1.0, 1.0, -1.0])
    outcome = 0.5 * forecast + np.array([0.2, 0.2, -0.2, -0.2])  # residuals of 0.2 that the forecast does not explain
    assert slope(forecast, outcome) == pytest.approx(0.5 - 0.2 / 2)
    assert slope(forecast, 0.05 * forecast + 3 * (outcome - 0.5 * forecast)) == 0.0


def test_the_interval_holds_the_share_of_validation_outcomes_that_was_asked_for(market: dict[str, Candles]) -> None:
    signal = Small(interval=0.5, interval_step=0.0).fit(market)
    said = signal.predict(market[BTC])
    came = Target("return", 5).outcome(market[BTC])
    first = 303 + int(0.8 * (2495 - 303))
    inside = ((came >= said["prediction_low"]) & (came <= said["prediction_high"])).iloc[first:2495]
    assert inside.mean() == pytest.approx(0.5, abs=0.02)
    assert (said["prediction_low"] <= said["prediction_high"]).iloc[signal.memory :].all()


def test_a_direction_is_a_probability_and_has_no_interval(market: dict[str, Candles]) -> None:
    said = Small(target="direction").fit(market).predict(market[BTC])
    assert "prediction_low" not in said
    assert said["prediction"].iloc[303:].between(0, 1).all()


def test_a_volatility_is_a_log_variance_over_the_horizon(market: dict[str, Candles]) -> None:
    said = Small(target="volatility").fit(market).predict(market[BTC])["prediction"].iloc[303:]
    assert np.exp(said).mean() == pytest.approx(5 * 1e-6, rel=0.5)  # the bars' returns have a deviation of 0.001


def test_symbols_are_pooled_each_with_its_own_scaling(market: dict[str, Candles]) -> None:
    both = {**market, ETH: make_candles(2500, seed=8, symbol=ETH)}
    signal = Small().fit(both)
    assert signal.report_["fitted_windows"] > 1.9 * Small().fit(market).report_["fitted_windows"]
    assert signal.scaling_[BTC] != signal.scaling_[ETH]
    turned = Small().fit({ETH: both[ETH], BTC: both[BTC]})
    pd.testing.assert_frame_equal(turned.predict(both[ETH]), signal.predict(both[ETH]), check_exact=True)
    with pytest.raises(ModelError, match=r"^Small was not fitted on SOL/USDT, only on BTC/USDT, ETH/USDT\."):
        signal.predict(make_candles(400, symbol="SOL/USDT"))


def test_validation_of_pooled_symbols_begins_at_one_moment(market: dict[str, Candles]) -> None:
    """Otherwise the labels of one symbol would tell what validation of another will see."""
    late = make_candles(1500, seed=8, symbol=ETH, start="2024-01-01 16:40")  # the last 1,500 of BTC's 2,500 minutes
    signal = Small().fit({**market, ETH: late})
    bars = np.unique(np.concatenate([np.arange(303, 2495), np.arange(1303, 2495)]))
    first = int(signal.split(bars)[1][0])
    changed = {BTC: scrambled(market[BTC], first), ETH: scrambled(late, first - 1000)}
    assert Small().fit(changed).scaling_ == signal.scaling_


def test_progress_counts_epochs(market: dict[str, Candles]) -> None:
    told: list[tuple[float, float, str]] = []
    Small(seeds=2).fit(market, lambda done, total, text: told.append((done, total, text)))
    assert [each for each in told if "compiling" not in each[2]] == [
        (0, 2, "network 1 of 2, epoch 1"), (1, 2, "network 1 of 2 fitted"),
        (1, 2, "network 2 of 2, epoch 1"), (2, 2, "network 2 of 2 fitted"),
    ]  # fmt: skip


def test_too_few_candles_are_named() -> None:
    with pytest.raises(
        TooFewCandles, match=r"^BTC/USDT has 200 candles to train on, which leave 0 windows with a label\."
    ):
        Small().fit({BTC: make_candles(200)})


def test_a_training_that_diverges_is_named(market: dict[str, Candles]) -> None:
    class Exploding(Small):
        def build(self, n_features: int) -> keras.Model:
            network = super().build(n_features)
            network.layers[-1].set_weights([np.full((4, 1), np.inf), np.zeros(1)])
            return network

    with pytest.raises(
        ModelError, match=r"^Training of Exploding diverged in epoch 1 of network 1 of 1: the loss is nan\. Lower"
    ):
        Exploding().fit(market)


# What build may return


def with_build(build: Any) -> Small:
    return type("Odd", (Small,), {"build": build, "__module__": __name__})()


def test_a_build_that_is_no_network_of_the_right_shape_is_refused(market: dict[str, Candles]) -> None:
    def wide(self: Small, n: int) -> keras.Model:
        return keras.Sequential([keras.Input((self.lookback, n)), keras.layers.Flatten(), keras.layers.Dense(2)])

    def deaf(self: Small, n: int) -> keras.Model:
        return keras.Sequential([keras.Input((self.lookback + 1, n)), keras.layers.Flatten(), keras.layers.Dense(1)])

    def lambdas(self: Small, n: int) -> keras.Model:
        layers = [keras.Input((self.lookback, n)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x * 2)]
        return keras.Sequential([*layers, keras.layers.Dense(1)])

    for build, message in [
        (lambda self, n: "network", r"^Odd\.build returned a str\. It must return a keras\.Model\.$"),
        (wide, r"^Odd\.build returned a model with outputs of shape \(1, 2\) for one window\. It must be \(1, 1\)\.$"),
        (deaf, r"^Odd\.build returned a model that cannot read windows of shape \(batch, 4, 3\): "),
        (lambdas, r"^Odd\.build uses a Lambda layer, whose code cannot be saved safely\. Write a subclass"),
    ]:
        with pytest.raises(PluginError, match=message):
            with_build(build).fit(market)


@pytest.mark.parametrize("inside", ["a model", "a wrapper", "a layer", "a list of a layer"])
def test_a_lambda_is_found_however_deep_it_lies(inside: str) -> None:
    class Holder(keras.layers.Layer):
        def __init__(self, held: object) -> None:
            super().__init__()
            self.held = held

        def build(self, shape: object) -> None:
            """There is nothing to build."""

        def call(self, values: Any) -> Any:
            return values

    code = keras.layers.Lambda(lambda x: x)
    layer = {
        "a model": lambda: keras.Sequential([code]),
        "a wrapper": lambda: keras.layers.TimeDistributed(code),
        "a layer": lambda: Holder(code),
        "a list of a layer": lambda: Holder([code]),
    }[inside]()
    assert code in layers_of(keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(2), layer]))


def test_the_private_method_of_keras_that_the_optimizer_replaces_is_still_called() -> None:
    variable = keras.Variable(1.0)
    called = []

    class Noting(_AdamW):
        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            called.append(grads_and_vars)
            return super()._all_reduce_sum_gradients(grads_and_vars)

    assert hasattr(keras.optimizers.AdamW, "_all_reduce_sum_gradients")
    Noting(0.1).apply_gradients([(keras.ops.convert_to_tensor(1.0), variable)])
    assert called, "Keras sums gradients otherwise now: see _AdamW, and whether training keeps every trace for ever"


def test_tensorflow_with_threads_of_its_own_is_refused() -> None:
    program = "import tensorflow as tf\ntf.constant(1.0) + 1\nimport freqlstm.training\n"
    one = "import tensorflow as tf\nt = tf.config.threading\nt.set_intra_op_parallelism_threads(1)\n"
    one += "t.set_inter_op_parallelism_threads(1)\n" + program
    done = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT)
        for text in (program, one)
    ]
    assert (
        "PluginError: TensorFlow was used in this process before freqlstm could set it to one thread" in done[0].stderr
    )
    assert "it has 0 threads in an operation" in done[0].stderr
    assert "Import freqlstm.keras_signal before TensorFlow is used." in done[0].stderr
    assert done[1].returncode == 0, done[1].stderr


# Files


def test_saving_and_loading_keeps_every_bit(fitted: Small, market: dict[str, Candles], tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == ["model_0.keras", "signal.json"]
    loaded = Small.load(tmp_path / "m")
    pd.testing.assert_frame_equal(loaded.predict(market[BTC]), fitted.predict(market[BTC]), check_exact=True)


def test_a_saved_network_is_plain_keras(fitted: Small, market: dict[str, Candles], tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    network = keras.saving.load_model(tmp_path / "m" / "model_0.keras", safe_mode=True)
    window = np.ones((1, 4, 3), np.float32)
    np.testing.assert_array_equal(network(window), fitted.networks_[0](window))


def resealed(folder: Path) -> None:
    """Make signal.json agree with files that were exchanged."""
    value = provenance.read_sealed(folder / "signal.json")
    value["files"] = {name: provenance.file_digest(folder / name) for name in value["files"]}
    provenance.write_sealed(folder / "signal.json", value)


def test_a_foreign_or_damaged_network_is_refused_even_if_signal_json_agrees(fitted: Small, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    fitted.save(folder)
    file = folder / "model_0.keras"
    whole = file.read_bytes()

    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model_0\.keras was damaged or changed since it was written\."):
        Small.load(folder)
    resealed(folder)
    with pytest.raises(
        ModelError, match=r"model_0\.keras does not hold the weights of Small\. Fit the signal again\.$"
    ):
        Small.load(folder)

    keras.Sequential([keras.Input((4, 7)), keras.layers.Flatten(), keras.layers.Dense(1)]).save(file)
    resealed(folder)
    with pytest.raises(ModelError, match=r"model_0\.keras does not hold the weights of Small\."):
        Small.load(folder)

    file.write_bytes(whole)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["class_name"] = "Lambda"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {**members, "config.json": json.dumps(config).encode()}.items():
            archive.writestr(name, content)
    resealed(folder)
    with pytest.raises(ModelError, match=r"model_0\.keras holds a Lambda layer, which is code\. It is refused"):
        Small.load(folder)


# The same everywhere

PROGRAM = """
import sys
sys.path[:0] = {path!r}
import pandas as pd
from conftest import make_candles
from test_keras_signal import Small
candles = make_candles(1500)
said = Small(seeds=2, epochs=2, dropout=0.2, lookback=3).fit({{"BTC/USDT": candles}}).predict(candles)
print(int(pd.util.hash_pandas_object(said).sum()))
"""


def test_another_process_gives_the_same_bits() -> None:
    here = Path(__file__).resolve().parent
    candles = make_candles(1500)
    said = Small(seeds=2, epochs=2, dropout=0.2, lookback=3).fit({BTC: candles}).predict(candles)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(path=[str(here), str(here.parent)])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(ended.stdout) == int(pd.util.hash_pandas_object(said).sum())
