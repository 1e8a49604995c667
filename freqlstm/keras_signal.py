"""Signals made of a Keras model.

A network reads windows of scaled features and is trained on the labels of `targets`; several, that differ only in their
seed, are averaged.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, PluginError
from freqlstm.inference import layers_of, outputs, refuse, told
from freqlstm.progress import Progress
from freqlstm.supervised import SupervisedSignal, TrainingData
from freqlstm.training import Training, seeded


class KerasSignal(SupervisedSignal):
    """A signal whose forecast comes from networks; a plugin writes ``build``, and ``loss`` if it wants another."""

    lookback: int = 10  # bars in each window
    seeds: int = 3  # networks that are averaged
    epochs: int = 4  # at most
    batch: int = 256  # windows in each step
    learning_rate: float = 2e-3  # the highest of the one cycle
    weight_decay: float = 1e-3  # of AdamW, a step and unit of learning rate
    xla: bool = False  # train by XLA: quicker only for networks that compiled code does not know; other last bits

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        "lookback": (1, math.inf), "seeds": (1, 1000), "epochs": (1, math.inf), "batch": (1, math.inf),
        "learning_rate": (1e-9, 10.0), "weight_decay": (0.0, 10.0),
    }  # fmt: skip
    search: ClassVar[Mapping[str, Any]] = {
        "units": (8, 64, "log"), "lookback": (5, 40), "learning_rate": (3e-4, 1e-2, "log"), "weight_decay": (1e-5, 1e-1, "log"),
        "dropout": (0.0, 0.5), "batch": [128, 256, 512],
    }  # fmt: skip
    in_files: ClassVar[tuple[str, ...]] = ("networks_",)

    networks_: list[keras.Model]

    # What a plugin writes

    def build(self, n_features: int) -> keras.Model:
        """An untrained network from (batch, lookback, n_features) to (batch, 1); for a direction, to its log odds."""
        raise PluginError(f"{type(self).__name__} has no build. It must write build(self, n_features) -> keras.Model.")

    def loss(self) -> keras.losses.Loss:
        """What training minimises."""
        if self.target == "direction":
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.MeanSquaredError()

    # Learning and forecasting

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        self.networks_, said, epochs, errors = [], [], [], []
        labels = self.aim.label(data.fit_units), self.aim.label(data.check_units)
        with seeded([self.seed]):
            training = Training(self, data.matrix, data.fit_rows, labels[0], data.check_rows, labels[1])
        for member in range(self.seeds):
            with seeded([self.seed, member]):
                network = self.built(data.matrix.shape[1])
                output, history = training.run(network, member, progress)
            self.networks_.append(network)
            said.append(output)
            epochs.append(int(np.argmin(history)) + 1)
            errors.append(history)
        self.report_ |= {"best_epochs": epochs, "validation_errors": errors, "forward_pass": self.forward_pass()}
        return self.average(self.in_units(np.array(said)))

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        said = [outputs(network, matrix, rows, self.lookback) for network in self.networks_]
        return self.in_units(np.array(said))

    def forward_pass(self) -> list[dict[str, Any]]:
        """How each network is asked, and by how much that has differed from its own forward pass: see the module inference."""
        return [told(network, self.lookback, len(self.all_features)) for network in self.networks_]

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
        if any(isinstance(layer, keras.layers.Lambda) for layer in layers_of(network)):
            raise PluginError(
                f"{who} uses a Lambda layer, whose code cannot be saved safely. Write a subclass of keras.layers.Layer."
            )
        return network

    # Files

    def write_files(self, folder: Path) -> None:
        for number, network in enumerate(self.networks_):
            network.save(folder / f"model_{number}.keras")

    def read_files(self, folder: Path) -> None:
        """Read weights only, into networks of our own building: no code or architecture from a file is ever run."""
        self.networks_ = [self.read_network(folder, number, self) for number in range(self.seeds)]
        self._ask_as_before()

    def _ask_as_before(self) -> None:
        """Compare the networks' forward passes again, and keep to what the fit found unless it does not hold here."""
        before = self.report_.get("forward_pass", [])
        for network, found in zip(self.networks_, before, strict=False):
            refuse(network, self.lookback, len(self.all_features), found)
        now = self.forward_pass()
        if [each["path"] for each in now] != [each["path"] for each in before]:
            self.report_["forward_pass"] = now

    def read_network(self, folder: Path, number: int, builder: KerasSignal) -> keras.Model:
        """What ``builder`` builds, with the weights of network ``number`` in the folder."""
        path = folder / f"model_{number}.keras"
        with seeded([self.seed, number]):
            network = builder.built(len(self.all_features))
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
        return network
