"""Signals made of a Keras model.

A network reads windows of scaled features and is trained on the labels of `targets`; several, that differ only in their
seed, are averaged. Everything that is fitted (scalers, weights, when to stop, slope, interval) comes from the candles
given to `fit`: the scalers and weights from the first part, the rest from the validation part after it.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, PluginError, TooFewCandles
from freqlstm.features import DEFAULT_FEATURES, HALFLIFE, Feature, compute
from freqlstm.features import warmup as features_warmup
from freqlstm.folds import validation_split
from freqlstm.progress import Progress
from freqlstm.signal import PREDICTION_COLUMNS, Signal
from freqlstm.targets import Target
from freqlstm.training import Training, outputs, seeded
from freqlstm.windows import rows_with_window

CLIP = 5.0  # standard deviations: what lies further out is an accident of the tape, not something to learn


class KerasSignal(Signal):
    """A signal whose forecast comes from networks; a plugin writes ``build``, and ``loss`` if it wants another."""

    lookback: int = 10  # bars in each window
    features: tuple[str | Feature, ...] = DEFAULT_FEATURES
    seeds: int = 3  # networks that are averaged
    epochs: int = 4  # at most
    batch: int = 256  # windows in each step
    learning_rate: float = 2e-3  # the highest of the one cycle
    weight_decay: float = 1e-3  # of AdamW, a step and unit of learning rate
    validation: float = 0.2  # share of the training bars, the last ones
    stride: int = 1  # bars from one training window to the next
    volatility_halflife: int = HALFLIFE  # bars, of the volatility that returns are scaled by
    interval: float = 0.9  # share of validation outcomes between prediction_low and prediction_high

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        "lookback": (1, math.inf), "seeds": (1, 1000), "epochs": (1, math.inf), "batch": (1, math.inf),
        "learning_rate": (1e-9, 10.0), "weight_decay": (0.0, 10.0), "validation": (0.01, 0.9), "stride": (1, math.inf),
        "volatility_halflife": (1, math.inf), "interval": (0.01, 0.999),
    }  # fmt: skip
    in_files: ClassVar[tuple[str, ...]] = ("networks_",)

    networks_: list[keras.Model]
    scaling_: dict[str, dict[str, list[float]]]  # symbol -> mean and std of each feature, from the fitted bars
    slope_: float  # in [0, 1], what is left of the networks' forecast after validation
    spread_: list[float]  # in units of the target: what lies between prediction and prediction_low, prediction_high

    # What a plugin writes

    def build(self, n_features: int) -> keras.Model:
        """An untrained network from (batch, lookback, n_features) to (batch, 1); for a direction, to its log odds."""
        raise PluginError(f"{type(self).__name__} has no build. It must write build(self, n_features) -> keras.Model.")

    def loss(self) -> keras.losses.Loss:
        """What training minimises."""
        if self.target == "direction":
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.MeanSquaredError()

    # What a network sees

    @property
    def warmup(self) -> int:
        return max(features_warmup(self.features) + self.lookback - 1, self._target.warmup)

    def speaks_for(self, symbol: str) -> bool:
        return symbol in self.scaling_

    def inputs(self, candles: Candles) -> pd.DataFrame:
        """The features as the networks see them: scaled for their symbol and clipped; known at the close of each bar."""
        self.require_fit(candles)
        return self._scaled(compute(self.features, candles), candles.symbol)

    def split(self, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(bars to fit on, bars to validate on) of those that have a window and a label, with the purge between."""
        return validation_split(bars, self.horizon, self.validation)

    @property
    def _target(self) -> Target:
        return Target(self.target, self.horizon, self.volatility_halflife)

    def _scaled(self, raw: pd.DataFrame, symbol: str) -> pd.DataFrame:
        scaling = self.scaling_[symbol]
        standard = (raw.to_numpy() - np.array(scaling["mean"])) / np.array(scaling["std"])
        return pd.DataFrame(np.clip(standard, -CLIP, CLIP), index=raw.index, columns=raw.columns)

    # Learning

    def learn(self, market: dict[str, Candles], progress: Progress) -> None:
        """Fit scalers, networks, slope and spread; the symbols of the market are pooled."""
        self.scaling_ = {}
        target = self._target
        raw = {symbol: compute(self.features, candles) for symbol, candles in sorted(market.items())}
        units = {symbol: target.units(market[symbol]) for symbol in raw}
        rows, bars = {}, {}
        for symbol, table in raw.items():
            candles = market[symbol]
            usable = rows_with_window(table.to_numpy(), candles.segment, self.lookback)
            rows[symbol] = usable[np.isfinite(units[symbol][usable])]
            bars[symbol] = (candles.time.as_unit("ns").asi8 // candles.step.value)[rows[symbol]]
        pooled = np.unique(np.concatenate([np.zeros(0, np.int64), *bars.values()]))
        fit_bars, validation_bars = self.split(pooled) if len(pooled) else (pooled, pooled)
        if not len(fit_bars) or not len(validation_bars):
            raise TooFewCandles(
                f"{', '.join(f'{symbol} has {len(market[symbol]):,} candles' for symbol in raw) or 'No candles'} to train on, "
                f"which leave {len(pooled)} windows with a label. {type(self).__name__} needs {self.warmup} bars of warm-up in one "
                f"unbroken stretch and then at least some hundreds more: provide earlier candles or a shorter warm-up."
            )
        matrices, parts, offset = [], [], 0
        for symbol, table in raw.items():
            fit = rows[symbol][np.isin(bars[symbol], fit_bars)]
            if not len(fit):
                continue  # no fitted bar, no scaling: the signal does not speak for this symbol
            known = table.to_numpy()[fit]
            std = known.std(axis=0)
            self.scaling_[symbol] = {"mean": known.mean(axis=0).tolist(), "std": np.where(std > 0, std, 1.0).tolist()}
            matrices.append(self._scaled(table, symbol).to_numpy(np.float32))
            check = rows[symbol][np.isin(bars[symbol], validation_bars)]
            parts.append(
                (fit[:: self.stride] + offset, units[symbol][fit[:: self.stride]], check + offset, units[symbol][check])
            )
            offset += len(table)
        fit_rows, fit_units, check_rows, check_units = (np.concatenate(part) for part in zip(*parts, strict=True))
        matrix = np.concatenate(matrices)  # (bars of all symbols, features)
        self.networks_, said, epochs, errors = [], [], [], []
        labels = target.label(fit_units), target.label(check_units)
        with seeded([self.seed]):
            training = Training(self, matrix, fit_rows, labels[0], check_rows, labels[1])
        for member in range(self.seeds):
            with seeded([self.seed, member]):
                network = self.built(matrix.shape[1])
                output, history = training.run(network, member, progress)
            self.networks_.append(network)
            said.append(output)
            epochs.append(int(np.argmin(history)) + 1)
            errors.append(history)
        forecast = target.from_network(np.mean(said, axis=0))
        self.slope_ = _slope(forecast, check_units)
        tails = [(1 - self.interval) / 2, (1 + self.interval) / 2]
        self.spread_ = np.quantile(check_units - self.slope_ * forecast, tails).tolist()
        self.report_ = {
            "fitted_windows": len(fit_rows), "validation_windows": len(check_rows), "best_epochs": epochs,
            "validation_errors": errors, "slope": self.slope_,
        }  # fmt: skip

    def built(self, n_features: int) -> keras.Model:
        """What ``build`` returns, if it is a network of the right shape that can be saved safely."""
        network = self.build(n_features)
        who = f"{type(self).__name__}.build"
        if not isinstance(network, keras.Model):
            raise PluginError(f"{who} returned a {type(network).__name__}. It must return a keras.Model.")
        try:
            shape = network(np.zeros((1, self.lookback, n_features), np.float32)).shape  # (1, 1)
            network(keras.KerasTensor((None, self.lookback, n_features)))  # as in training, which is stricter
        except Exception as error:
            told = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()]
            told = [line for line in told if line and not line.startswith("Exception encountered")] or [
                type(error).__name__
            ]
            raise PluginError(
                f"{who} returned a model that cannot read windows of shape (batch, {self.lookback}, {n_features}): "
                f"{told[0].rstrip('.')}. Give its keras.Input the shape (self.lookback, n_features)."
            ) from error
        if tuple(shape) != (1, 1):
            raise PluginError(
                f"{who} returned a model with outputs of shape {tuple(shape)} for one window. It must be (1, 1)."
            )
        if any(isinstance(layer, keras.layers.Lambda) for layer in _layers_of(network)):
            raise PluginError(
                f"{who} uses a Lambda layer, whose code cannot be saved safely. Write a subclass of keras.layers.Layer."
            )
        return network

    # Predicting

    def predict(self, candles: Candles) -> pd.DataFrame | pd.Series[float]:
        matrix = self.inputs(candles).to_numpy(np.float32)
        target = self._target
        base, scale = target.base_and_scale(candles)
        rows = rows_with_window(matrix, candles.segment, self.lookback)
        rows = rows[np.isfinite(base[rows] + scale[rows])]
        said = [outputs(network, matrix, rows, self.lookback) for network in self.networks_]
        forecast = self.slope_ * target.from_network(np.mean(said, axis=0))
        values = np.full((len(candles), 3), np.nan)  # prediction, low, high
        values[rows] = base[rows, None] + scale[rows, None] * (forecast[:, None] + [0.0, *self.spread_])
        table = pd.DataFrame(values, index=candles.time, columns=list(PREDICTION_COLUMNS))
        return table["prediction"] if self.target == "direction" else table

    # Files

    def write_files(self, folder: Path) -> None:
        for number, network in enumerate(self.networks_):
            network.save(folder / f"model_{number}.keras")

    def read_files(self, folder: Path) -> None:
        """Read weights only, into networks of our own building: no code or architecture from a file is ever run."""
        self.networks_ = []
        for number in range(self.seeds):
            path = folder / f"model_{number}.keras"
            with seeded([self.seed, number]):
                network = self.built(len(self.features))
            try:
                with zipfile.ZipFile(path) as archive:
                    if b"Lambda" in archive.read("config.json") or b"__lambda__" in archive.read("config.json"):
                        raise ModelError(
                            f"{path} holds a Lambda layer, which is code. It is refused: fit the signal again."
                        )
                network.load_weights(path)
            except ModelError:
                raise
            except Exception as error:
                raise ModelError(
                    f"{path} does not hold the weights of {type(self).__name__}. Fit the signal again."
                ) from error
            self.networks_.append(network)


def _layers_of(network: keras.Model) -> list[keras.layers.Layer]:
    """The network, its layers, theirs, and those that a layer keeps in an attribute, as wrappers do."""
    found: list[keras.layers.Layer] = [network]
    seen = {id(network)}
    for layer in found:  # grows while it is walked
        inside = list(getattr(layer, "layers", ()))
        for value in vars(layer).values():
            inside += (
                value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else [value]
            )
        for each in inside:
            if isinstance(each, keras.layers.Layer) and id(each) not in seen:
                seen.add(id(each))
                found.append(each)
    return found


def _slope(forecast: np.ndarray, outcome: np.ndarray) -> float:
    """The least-squares slope of ``outcome`` on ``forecast`` through the origin, kept in [0, 1]."""
    power = float(np.sum(forecast**2))
    return min(1.0, max(0.0, float(np.sum(forecast * outcome)) / power)) if power > 0 else 0.0
