"""Gradient boosting of networks: each learns what the sum of all before it has missed.

Friedman, J. H. (2001): Greedy function approximation: a gradient boosting machine. Annals of Statistics 29, 1189-1232.
For the squared error his gradient is the residual of the sum so far, which begins with the base; a stage adds

    F_k = F_(k-1) + shrinkage * weight_k * h_k,   h_k trained on  label - F_(k-1)  over the training rows.

The weight in [0, 1] is the least-squares one on the validation rows less its standard error, and a stage is kept only if
the validation error falls by more than a margin; otherwise boosting stops. So on validation the sum is never worse than
its base.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import PluginError
from freqlstm.inference import outputs
from freqlstm.keras_signal import KerasSignal
from freqlstm.models import fitted_member, loaded_member, said_by, save_member, unfitted_member, unseen_from
from freqlstm.progress import Progress
from freqlstm.signal import Signal
from freqlstm.supervised import TrainingData, slope
from freqlstm.training import Training, seeded

ZERO = "zero"  # a base that says nothing: the return 0, a probability of a half, the variance of the last four horizons


class BoostedSignal(KerasSignal):
    """A base signal and networks that correct it; a plugin writes ``build``, and ``at_stage`` to let stages differ."""

    base: str = ZERO  # name of the signal that the sum starts from; zero: the naive forecast
    stages: int = 3  # networks added one after another, at most
    shrinkage: float = 0.5  # share of each stage's forecast that is added
    rate_decay: float = 0.5  # learning rate of a stage over that of the stage before
    margin: float = 1e-4  # share of the validation error by which a stage must lower it to be kept

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        "stages": (1, 100), "shrinkage": (1e-3, 1.0), "rate_decay": (1e-3, 1.0), "margin": (0.0, 1.0),
    }  # fmt: skip
    search: ClassVar[Mapping[str, Any]] = {"stages": (1, 4), "shrinkage": (0.1, 1.0)}
    shrinks = False
    in_files = ("networks_", "base_")

    base_: Signal | None  # fitted on the same candles; None: zero
    weights_: list[float]  # of the stages that were kept, in [0, 1]

    # What a plugin may write

    def at_stage(self, stage: int) -> Self:
        """This signal with the parameters of stage 0, 1, 2 …: a lower learning rate for each."""
        own = copy.copy(self)
        own.learning_rate = self.learning_rate * self.rate_decay**stage
        return own

    def loss(self) -> keras.losses.Loss:
        """The squared error, whatever the target: a stage is trained on residuals."""
        return keras.losses.MeanSquaredError()

    # What it is made of

    @property
    def uses(self) -> tuple[str, ...]:
        return () if self.base == ZERO else (self.base,)

    @property
    def warmup(self) -> int:
        return max([super().warmup, *(unfitted_member(self, name)[1].warmup for name in self.uses)])

    def recent(self, candles: Candles, first: pd.Timestamp) -> Candles:
        base: Signal | None = getattr(self, "base_", None)
        needed = [] if base is None else [base.recent(candles, first)]
        return max([super().recent(candles, first), *needed], key=len)

    # Learning

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        """Fit the base, then stage after stage while the validation error falls."""
        self.base_ = fitted_member(self, self.base, market, progress) if self.uses else None
        start = np.full(len(data.matrix), np.nan)
        for symbol, span in data.spans.items():
            start[span] = self._base_units(market[symbol])
        self.validated_from_ = max(self.validated_from_, unseen_from([self.base_] if self.base_ else []))
        start[data.check_rows[data.bars[data.check_rows] < self.validated_from_]] = np.nan  # there the base has learned
        fit, check = _spoken(data.fit_rows, data.fit_units, start), _spoken(data.check_rows, data.check_units, start)
        if not len(fit[0]) or not len(check[0]):
            raise PluginError(f"The base {self.base!r} of {type(self).__name__} predicts none of the training rows.")
        middle = 0.5 if self.target == "direction" else 0.0
        fit_label, check_label = self.aim.label(fit[1]) - middle, self.aim.label(check[1]) - middle
        fit_sum, check_sum = start[fit[0]] / self.stretch_, start[check[0]] / self.stretch_  # on the scale of labels
        error = _mse(check_label, check_sum)
        self.networks_, self.weights_ = [], []
        told: list[dict[str, Any]] = []
        for stage in range(self.stages):
            networks, said, histories = self._stage(
                stage, data.matrix, fit[0], fit_label - fit_sum, check[0], check_label - check_sum, progress
            )
            weight = slope(said, check_label - check_sum)
            lower = _mse(check_label, check_sum + self.shrinkage * weight * said)
            kept = lower < error * (1 - self.margin)
            told.append(
                {"stage": stage + 1, "learning_rate": self.at_stage(stage).learning_rate, "validation_errors": histories, "weight": weight,
                 "error_before": error, "error_after": lower, "kept": kept}
            )  # fmt: skip
            if not kept:
                break
            self.networks_ += networks
            self.weights_.append(weight)
            error, check_sum = lower, check_sum + self.shrinkage * weight * said
            if stage + 1 < self.stages:
                learned = np.mean([outputs(each, data.matrix, fit[0], self.lookback) for each in networks], axis=0)
                fit_sum = fit_sum + self.shrinkage * weight * learned
        self.report_ |= {
            "base_error": told[0]["error_before"], "stages_kept": len(self.weights_), "stages": told,
            "validation_errors": [history for each in told for history in each["validation_errors"]],
            "forward_pass": self.forward_pass(),
        }  # fmt: skip
        forecast = np.full(len(data.check_rows), np.nan)
        forecast[np.isin(data.check_rows, check[0])] = self.stretch_ * check_sum
        return forecast

    def _stage(
        self, stage: int, matrix: np.ndarray, fit_rows: np.ndarray, fit_residual: np.ndarray,
        check_rows: np.ndarray, check_residual: np.ndarray, progress: Progress,
    ) -> tuple[list[keras.Model], np.ndarray, list[list[float]]]:  # fmt: skip
        """The networks of one stage, their mean on the validation rows, and each one's validation errors."""
        own = self.at_stage(stage)

        def tell(done: float, total: float, text: str) -> None:
            progress(stage * total + done, self.stages * total, f"stage {stage + 1} of {self.stages}, {text}")

        with seeded([self.seed, stage]):
            training = Training(own, matrix, fit_rows, fit_residual, check_rows, check_residual)
        networks, said, histories = [], [], []
        for number in range(stage * self.seeds, (stage + 1) * self.seeds):
            with seeded([self.seed, number]):
                network = own.built(matrix.shape[1])
                output, history = training.run(network, number % self.seeds, tell)
            networks.append(network)
            said.append(output)
            histories.append(history)
        return networks, np.mean(said, axis=0), histories

    # Predicting

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        said = np.repeat(self._base_units(candles)[rows][None], self.seeds, axis=0)  # (seeds, rows)
        for stage, weight in enumerate(self.weights_):
            for seed in range(self.seeds):
                network = self.networks_[stage * self.seeds + seed]
                said[seed] += self.stretch_ * self.shrinkage * weight * outputs(network, matrix, rows, self.lookback)
        return said

    def _base_units(self, candles: Candles) -> np.ndarray:
        """What the base predicts, in units of the target, shape (bars,); NaN where it says nothing."""
        if self.base_ is None:
            return np.zeros(len(candles))
        base, scale = self.aim.base_and_scale(candles)
        return np.asarray((said_by(self.base_, candles) - base) / scale)

    # Files

    def write_files(self, folder: Path) -> None:
        super().write_files(folder)
        if self.base_ is not None:
            save_member(self, self.base, self.base_, folder)

    def read_files(self, folder: Path) -> None:
        self.base_ = loaded_member(self, self.base, folder) if self.uses else None
        self.networks_ = [
            self.read_network(folder, number, self.at_stage(number // self.seeds))
            for number in range(len(self.weights_) * self.seeds)
        ]
        self._ask_as_before()


def _spoken(rows: np.ndarray, units: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, Any]:
    """The rows, and their outcomes, for which the base has a forecast."""
    there = np.isfinite(start[rows])
    return rows[there], units[there]


def _mse(label: np.ndarray, said: np.ndarray) -> float:
    error = float(np.mean((label - said) ** 2))
    return error if math.isfinite(error) else math.inf
