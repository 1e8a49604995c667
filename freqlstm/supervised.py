"""Signals that learn the label of a target from features of closed bars, whatever the model.

Everything that is fitted comes from the candles given to `fit`: the scalers and the model from the first part of them,
the rest (when to stop, slope, interval) from the validation part after it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd

from freqlstm import calibration as probabilities
from freqlstm import conformal
from freqlstm.blocks import bar_numbers
from freqlstm.candles import Candles, off_grid
from freqlstm.errors import CandleError, PluginError, TooFewCandles, UsageError
from freqlstm.features import DEFAULT_FEATURES, HALFLIFE, Feature, compute
from freqlstm.features import warmup as features_warmup
from freqlstm.folds import validation_split
from freqlstm.progress import Progress
from freqlstm.reliability import calibration_error, reliability
from freqlstm.signal import Signal
from freqlstm.targets import Target
from freqlstm.windows import rows_with_window

ACROSS = (  # features of every symbol in ``cross``
    "return_lag_0", "return_lag_1", "return_lag_2", "momentum_5", "momentum_15", "volatility_ratio_15", "signed_volume",
)  # fmt: skip
CLIP = 5.0  # standard deviations: what lies further out is an accident of the tape, not something to learn


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a model is fitted to and validated on; rows are those of ``matrix``, where the symbols lie one after another."""

    matrix: np.ndarray  # (bars of all symbols, features), float32: scaled for each symbol
    fit_rows: np.ndarray  # (n,), int: rows to learn from
    fit_units: np.ndarray  # (n,), the outcomes in units of the target
    check_rows: np.ndarray  # (m,), int: rows to validate on, every one later than the labels of the others
    check_units: np.ndarray  # (m,)
    bars: np.ndarray  # (bars of all symbols,), int: open times in units of the timeframe since 1970
    spans: Mapping[str, slice]  # symbol -> its rows


class SupervisedSignal(Signal):
    """A signal with a model of features; a plugin writes ``fit_to`` and ``respond``."""

    features: tuple[str | Feature, ...] = DEFAULT_FEATURES
    cross: tuple[str, ...] = ()  # other symbols of which some features are read at the same closed bar, as "BTC/USDT"
    validation: float = 0.2  # share of the training bars, the last ones
    stride: int = 1  # bars from one training window to the next
    volatility_halflife: int = HALFLIFE  # bars, of the volatility that returns are scaled by
    calibration: Literal["platt", "isotonic"] = "platt"  # how forecasts of a direction become probabilities
    interval: float = 0.9  # share of outcomes between prediction_low and prediction_high
    interval_step: float = 0.005  # by which that share follows an outcome of horizon 1; of h: over the root of h
    interval_memory: int = 1440  # bars, at least, and at most twice as many, that it remembers having followed

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        "validation": (0.01, 0.9), "stride": (1, math.inf), "volatility_halflife": (1, math.inf), "interval": (0.01, 0.999),
        "interval_step": (0.0, 1.0), "interval_memory": (1, 100_000),
    }  # fmt: skip
    shrinks: ClassVar[bool] = True  # whether validation finds a slope for forecasts, or calibrates probabilities

    validated_from_: int  # number of the first bar since 1970 that it was validated on: it has learned from none after
    scaling_: dict[str, dict[str, list[float]]]  # symbol -> mean and std of each feature, from the fitted bars
    stretch_: float  # from what the model says of labels to units of the target
    slope_: float  # in [0, 1], what is left of the model's forecast after validation; 1 for a direction
    calibration_: dict[str, Any]  # of a direction: see the module calibration
    errors_: list[float]  # quantiles of outcome - forecast in validation, in units of the target: see conformal.LEVELS

    _brief = False  # see without_interval

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        if type(self).features and not (self.features or self.cross):
            raise UsageError(
                f"Parameter 'features' of {type(self).__name__} is empty. It must name at least one: list some, or leave it out "
                f"for {len(type(self).features)} usual ones."
            )

    # What a plugin writes

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        """Learn, and return the forecast for ``data.check_rows`` in units of the target, shape (m,); NaN: it says nothing."""
        raise PluginError(f"{type(self).__name__} has no fit_to. It must write fit_to(self, data, market, progress).")

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        """Forecasts in units of the target, shape (models, len(rows)): one line for each of the models that are averaged.

        For a direction, a unit is a probability: 0.1 says that a rise has one of 0.6.
        ``matrix`` holds the scaled features of ``candles``, shape (bars, features); row t may be made of the rows
        t - lookback + 1 to t.
        """
        raise PluginError(f"{type(self).__name__} has no respond. It must write respond(self, matrix, rows, candles).")

    def in_units(self, output: np.ndarray) -> np.ndarray:
        """What a model that was trained on the labels of :attr:`aim` says, in units of the target."""
        return self.stretch_ * self.aim.from_network(output)

    def average(self, said: np.ndarray) -> np.ndarray:
        """One forecast a row, shape (rows,), from those of all models, shape (models, rows)."""
        return _mean(said)

    # What a model sees

    @property
    def lookback(self) -> int:
        """Bars in each window."""
        return 1

    @property
    def all_features(self) -> tuple[str | Feature, ...]:
        return (*self.features, *(f"{name}@{symbol}" for symbol in self.cross for name in ACROSS))

    @property
    def warmup(self) -> int:
        return max(features_warmup(self.all_features) + self.lookback - 1, self.aim.warmup)

    @property
    def memory(self) -> int:
        return self.warmup + (2 * self.interval_memory - 1 if self._gives_interval else 0)

    @property
    def _gives_interval(self) -> bool:
        return self.target != "direction" and not self._brief

    def without_interval(self) -> Self:
        """The same fitted signal, which gives no interval, and so looks back on no more than its warm-up."""
        other = copy.copy(self)
        other._brief = True
        return other

    def speaks_for(self, symbol: str) -> bool:
        return symbol in self.scaling_

    def inputs(self, candles: Candles) -> pd.DataFrame:
        """The features as the model sees them: scaled for their symbol and clipped; known at the close of each bar."""
        self.require_fit(candles)
        return self._scaled(compute(self.all_features, candles), candles.symbol)

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
        """Fit scalers, model, slope and interval; the symbols of the market are pooled."""
        data = self.training_data(market)
        self.report_ = {"fitted_windows": len(data.fit_rows), "validation_windows": len(data.check_rows)}
        self.stretch_ = self.aim.stretch(data.fit_units)
        forecast = self.fit_to(data, market, progress)
        spoken = np.isfinite(forecast)
        forecast, outcome = forecast[spoken], data.check_units[spoken]
        if not len(forecast):
            raise TooFewCandles(
                f"{type(self).__name__} says nothing on any of the {len(spoken):,} rows that it is validated on. Provide more "
                f"candles without gaps, or leave out what it is made of that is silent."
            )
        self.slope_, self.calibration_, self.errors_ = 1.0, {}, []
        if self.target == "direction":
            self._calibrate(forecast, outcome)
            return
        if self.shrinks:
            self.slope_ = slope(forecast, outcome)
        self.errors_ = conformal.calibrated(outcome - self.slope_ * forecast)
        self.report_["slope"] = self.slope_

    def _calibrate(self, forecast: np.ndarray, outcome: np.ndarray) -> None:
        if self.shrinks:
            self.calibration_ = probabilities.fitted(self.calibration, forecast + 0.5, outcome + 0.5)
        for name, said in (
            ("raw", np.clip(forecast + 0.5, 0, 1)),
            ("calibrated", self.after_validation(forecast) + 0.5),
        ):
            self.report_[f"calibration_error_{name}"] = calibration_error(reliability(said, outcome + 0.5))

    def after_validation(self, forecast: np.ndarray) -> np.ndarray:
        """What validation leaves of the forecasts of models, in units: the slope, or calibrated probabilities."""
        if self.target == "direction":
            return probabilities.applied(self.calibration_, forecast + 0.5) - 0.5
        return self.slope_ * forecast

    def training_data(self, market: dict[str, Candles]) -> TrainingData:
        """The rows of all symbols that have a window and a label; finds the scaling of each symbol on the way."""
        self.scaling_ = {}
        raw = {symbol: compute(self.all_features, candles) for symbol, candles in sorted(market.items())}
        units = {symbol: self.aim.units(market[symbol]) for symbol in raw}
        rows, bars = {}, {}
        for symbol, table in raw.items():
            candles = market[symbol]
            usable = rows_with_window(table.to_numpy(), candles.segment, self.lookback)
            rows[symbol] = usable[np.isfinite(units[symbol][usable])]
            bars[symbol] = bar_numbers(candles)[rows[symbol]]
        pooled = np.unique(np.concatenate([np.zeros(0, np.int64), *bars.values()]))
        fit_bars, validation_bars = self.split(pooled) if len(pooled) else (pooled, pooled)
        if not len(fit_bars) or not len(validation_bars):
            raise TooFewCandles(
                f"{', '.join(f'{symbol} has {len(market[symbol]):,} candles' for symbol in raw) or 'No candles'} to train on, "
                f"which leave {len(pooled)} windows with a label. {type(self).__name__} needs {self.warmup} bars of warm-up in one "
                f"unbroken stretch, then at least some hundreds more, and {self.horizon} after each for its label: provide earlier "
                f"candles, a shorter warm-up or a shorter horizon."
            )
        self.validated_from_ = int(validation_bars[0])
        matrices, parts, spans, offset = [], [], {}, 0
        for symbol, table in raw.items():
            fit = rows[symbol][np.isin(bars[symbol], fit_bars)]
            if not len(fit):
                continue  # no fitted bar, no scaling: the signal does not speak for this symbol
            known = table.to_numpy()[fit]
            with np.errstate(over="ignore", invalid="ignore"):
                mean, std = known.mean(axis=0), known.std(axis=0)
            endless = ~(np.isfinite(mean) & np.isfinite(std))
            if endless.any():
                raise CandleError(
                    f"Feature {table.columns[endless][0]!r} of {symbol} reaches {np.abs(known[:, endless]).max():.3g}, too large to be "
                    f"scaled. Correct what it is made of, or leave it out."
                )
            self.scaling_[symbol] = {"mean": mean.tolist(), "std": np.where(std > 0, std, 1.0).tolist()}
            matrices.append(self._scaled(table, symbol).to_numpy(np.float32))
            check = rows[symbol][np.isin(bars[symbol], validation_bars)]
            parts.append(
                (fit[:: self.stride] + offset, units[symbol][fit[:: self.stride]], check + offset, units[symbol][check])
            )
            spans[symbol] = slice(offset, offset + len(table))
            offset += len(table)
        fit_rows, fit_units, check_rows, check_units = (np.concatenate(part) for part in zip(*parts, strict=True))
        every = np.concatenate([bar_numbers(market[symbol]) for symbol in spans])
        return TrainingData(np.concatenate(matrices), fit_rows, fit_units, check_rows, check_units, every, spans)

    # Predicting

    def predict(self, candles: Candles) -> pd.DataFrame | pd.Series[float]:
        return self.predict_from(self.inputs(candles), candles)

    def predict_from(self, inputs: pd.DataFrame, candles: Candles) -> pd.DataFrame | pd.Series[float]:
        """The predictions that the model makes of ``inputs``, which are those of :meth:`inputs` or changed ones."""
        matrix = inputs.to_numpy(np.float32)
        base, scale = self.aim.base_and_scale(candles)
        rows = rows_with_window(matrix, candles.segment, self.lookback)
        rows = rows[np.isfinite(base[rows] + scale[rows])]
        said = self.respond(matrix, rows, candles)  # (models, rows)
        forecast = np.full(len(candles), np.nan)
        forecast[rows] = self.after_validation(self.average(said))
        made = {"prediction": base + scale * forecast}
        if self._gives_interval:
            below, above = self.around(forecast, candles)
            made["prediction_low"], made["prediction_high"] = (
                base + scale * (forecast + below),
                base + scale * (forecast + above),
            )
        made["prediction_spread"] = np.full(len(candles), np.nan)
        if len(said) > 1:
            kept = self.after_validation(said)
            made["prediction_spread"][rows] = scale[rows] * np.sqrt(_mean((kept - _mean(kept)) ** 2))
        return pd.DataFrame(made, index=candles.time)

    def around(self, forecast: np.ndarray, candles: Candles) -> tuple[np.ndarray, np.ndarray]:
        """How far below and above ``forecast``, all in units, its interval reaches; NaN where the memory is not complete.

        Row t looks at the outcomes of the rows up to t - horizon only. A candle off the grid is not learned from.
        """
        opened, step = candles.time.as_unit("ns").asi8, candles.step.value
        if not len(opened):
            return forecast, forecast
        rarities = conformal.rarity(self.aim.units(candles) - forecast, self.errors_)
        rates = conformal.miss_rates(
            np.where(off_grid(candles.time, candles.step), np.nan, rarities),
            opened // step,
            -(-opened[0] // step) + self.warmup,
            horizon=self.horizon,
            nominal=1 - self.interval,
            step=self.interval_step / math.sqrt(self.horizon),
            block=self.interval_memory,
        )
        return conformal.interval(rates, self.errors_)


def slope(forecast: np.ndarray, outcome: np.ndarray) -> float:
    """The least-squares slope of ``outcome`` on ``forecast`` through the origin less its standard error, kept in [0, 1].

    What cannot be told from chance on the validation rows is left out: a forecast that is too large costs more than one
    that is too small by as much.
    """
    power = float(np.sum(forecast**2))
    if not power > 0:
        return 0.0
    found = float(np.sum(forecast * outcome)) / power
    error = math.sqrt(float(np.mean((outcome - found * forecast) ** 2)) / power)
    return min(1.0, max(0.0, found - error))


def _mean(said: np.ndarray) -> np.ndarray:
    """The mean over models, summed in one order however many rows there are: numpy's depends on it."""
    return np.asarray(sum(said) / len(said))
