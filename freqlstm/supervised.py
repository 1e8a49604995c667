"""Signals that learn the label of a target from features of closed bars, whatever the model.

Everything that is fitted comes from the candles given to `fit`: the scalers and the model from the first part of them,
the rest (when to stop, slope, interval) from the validation part after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import PluginError, TooFewCandles
from freqlstm.features import DEFAULT_FEATURES, HALFLIFE, Feature, compute
from freqlstm.features import warmup as features_warmup
from freqlstm.folds import validation_split
from freqlstm.progress import Progress
from freqlstm.signal import PREDICTION_COLUMNS, Signal
from freqlstm.targets import Target
from freqlstm.windows import rows_with_window

CLIP = 5.0  # standard deviations: what lies further out is an accident of the tape, not something to learn


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a model is fitted to and validated on; rows are those of ``matrix``, where the symbols lie one after another."""

    matrix: np.ndarray  # (bars of all symbols, features), float32: scaled for each symbol
    fit_rows: np.ndarray  # (n,), int: rows to learn from
    fit_units: np.ndarray  # (n,), the outcomes in units of the target
    check_rows: np.ndarray  # (m,), int: rows to validate on, every one later than the labels of the others
    check_units: np.ndarray  # (m,)
    spans: Mapping[str, slice]  # symbol -> its rows


class SupervisedSignal(Signal):
    """A signal with a model of features; a plugin writes ``fit_to`` and ``respond``."""

    features: tuple[str | Feature, ...] = DEFAULT_FEATURES
    validation: float = 0.2  # share of the training bars, the last ones
    stride: int = 1  # bars from one training window to the next
    volatility_halflife: int = HALFLIFE  # bars, of the volatility that returns are scaled by
    interval: float = 0.9  # share of validation outcomes between prediction_low and prediction_high

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        "validation": (0.01, 0.9), "stride": (1, math.inf), "volatility_halflife": (1, math.inf), "interval": (0.01, 0.999),
    }  # fmt: skip
    shrinks: ClassVar[bool] = True  # whether forecasts are multiplied by a slope in [0, 1] found in validation

    scaling_: dict[str, dict[str, list[float]]]  # symbol -> mean and std of each feature, from the fitted bars
    slope_: float  # in [0, 1], what is left of the model's forecast after validation
    spread_: list[float]  # in units of the target: what lies between prediction and prediction_low, prediction_high

    # What a plugin writes

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        """Learn, and return the forecast for ``data.check_rows`` in units of the target, shape (m,)."""
        raise PluginError(f"{type(self).__name__} has no fit_to. It must write fit_to(self, data, market, progress).")

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        """Forecasts in units of the target, shape (models, len(rows)): one line for each of the models that are averaged.

        ``matrix`` holds the scaled features of ``candles``, shape (bars, features); row t may be made of the rows
        t - lookback + 1 to t.
        """
        raise PluginError(f"{type(self).__name__} has no respond. It must write respond(self, matrix, rows, candles).")

    # What a model sees

    @property
    def lookback(self) -> int:
        """Bars in each window."""
        return 1

    @property
    def warmup(self) -> int:
        return max(features_warmup(self.features) + self.lookback - 1, self.aim.warmup)

    def speaks_for(self, symbol: str) -> bool:
        return symbol in self.scaling_

    def inputs(self, candles: Candles) -> pd.DataFrame:
        """The features as the model sees them: scaled for their symbol and clipped; known at the close of each bar."""
        self.require_fit(candles)
        return self._scaled(compute(self.features, candles), candles.symbol)

    def split(self, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(bars to fit on, bars to validate on) of those that have a window and a label, with the purge between."""
        return validation_split(bars, self.horizon, self.validation)

    @property
    def aim(self) -> Target:
        """The target at its horizon: what a label is, and what a forecast in units becomes."""
        return Target(self.target, self.horizon, self.volatility_halflife)

    def _scaled(self, raw: pd.DataFrame, symbol: str) -> pd.DataFrame:
        scaling = self.scaling_[symbol]
        standard = (raw.to_numpy() - np.array(scaling["mean"])) / np.array(scaling["std"])
        return pd.DataFrame(np.clip(standard, -CLIP, CLIP), index=raw.index, columns=raw.columns)

    # Learning

    def learn(self, market: dict[str, Candles], progress: Progress) -> None:
        """Fit scalers, model, slope and spread; the symbols of the market are pooled."""
        data = self.training_data(market)
        self.report_ = {"fitted_windows": len(data.fit_rows), "validation_windows": len(data.check_rows)}
        forecast = self.fit_to(data, market, progress)
        self.slope_ = slope(forecast, data.check_units) if self.shrinks else 1.0
        tails = [(1 - self.interval) / 2, (1 + self.interval) / 2]
        self.spread_ = np.quantile(data.check_units - self.slope_ * forecast, tails).tolist()
        self.report_["slope"] = self.slope_

    def training_data(self, market: dict[str, Candles]) -> TrainingData:
        """The rows of all symbols that have a window and a label; finds the scaling of each symbol on the way."""
        self.scaling_ = {}
        raw = {symbol: compute(self.features, candles) for symbol, candles in sorted(market.items())}
        units = {symbol: self.aim.units(market[symbol]) for symbol in raw}
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
        matrices, parts, spans, offset = [], [], {}, 0
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
            spans[symbol] = slice(offset, offset + len(table))
            offset += len(table)
        fit_rows, fit_units, check_rows, check_units = (np.concatenate(part) for part in zip(*parts, strict=True))
        return TrainingData(np.concatenate(matrices), fit_rows, fit_units, check_rows, check_units, spans)

    # Predicting

    def predict(self, candles: Candles) -> pd.DataFrame | pd.Series[float]:
        return self.predict_from(self.inputs(candles), candles)

    def predict_from(self, inputs: pd.DataFrame, candles: Candles) -> pd.DataFrame | pd.Series[float]:
        """The predictions that the model makes of ``inputs``, which are those of :meth:`inputs` or changed ones."""
        matrix = inputs.to_numpy(np.float32)
        base, scale = self.aim.base_and_scale(candles)
        rows = rows_with_window(matrix, candles.segment, self.lookback)
        rows = rows[np.isfinite(base[rows] + scale[rows])]
        said = self.slope_ * self.respond(matrix, rows, candles)  # (models, rows)
        forecast = _mean(said)
        values = np.full((len(candles), 4), np.nan)  # prediction, low, high, spread
        values[rows, :3] = base[rows, None] + scale[rows, None] * (forecast[:, None] + [0.0, *self.spread_])
        if len(said) > 1:
            values[rows, 3] = scale[rows] * np.sqrt(_mean((said - forecast) ** 2))
        table = pd.DataFrame(values, index=candles.time, columns=list(PREDICTION_COLUMNS))
        return table[["prediction", "prediction_spread"]] if self.target == "direction" else table


def slope(forecast: np.ndarray, outcome: np.ndarray) -> float:
    """The least-squares slope of ``outcome`` on ``forecast`` through the origin, kept in [0, 1]."""
    power = float(np.sum(forecast**2))
    return min(1.0, max(0.0, float(np.sum(forecast * outcome)) / power)) if power > 0 else 0.0


def _mean(said: np.ndarray) -> np.ndarray:
    """The mean over models, summed in one order however many rows there are: numpy's depends on it."""
    return np.asarray(sum(said) / len(said))
