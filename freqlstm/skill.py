"""Skill statistics of forecasts, each beside the forecasts that cost nothing.

A prediction made at the close of bar t is compared with the label of row t; rows without either do not count.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pandas as pd

from freqlstm import labels
from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.reliability import calibration_error, reliability
from freqlstm.stats import Figures
from freqlstm.uncertainty import hac_error

FEWEST_ROWS = 30  # below that, no skill is worth a number


def forecast_skill(
    prediction: pd.Series[float] | pd.DataFrame,
    candles: Candles,
    horizon: int,
    target: str,
    interval: float | None = None,
) -> Figures:
    """Errors and rank of ``prediction`` against what happened, beside *zero* and *persistence* on the same rows.

    | target     | zero                                                  | persistence                            |
    |------------|-------------------------------------------------------|----------------------------------------|
    | return     | 0                                                     | the return of the last ``horizon`` bars |
    | direction  | 0.5                                                   | the last direction                     |
    | volatility | log variance of the last 4 horizons, per one horizon  | that of the last horizon               |

    ``r2`` is 1 - SSE / SSE of zero; ``theil_u`` the root mean square error over that of zero (Theil, 1966);
    ``ic`` and ``rank_ic`` the correlations of prediction and outcome (Pearson, Spearman); ``directional_accuracy``
    leaves out what did not move and what took no side, and is None for volatility. ``dm_p_vs_...`` is the one-sided
    p-value of "no better than that", so near 1 for what is worse. ``calibration_error`` is that of
    :mod:`freqlstm.reliability`, for a direction. ``coverage`` is the share of outcomes between prediction_low and
    prediction_high, where ``prediction`` is a table that has these, beside ``interval``, the share that there should be.
    With fewer than 30 rows everything but ``rows`` is None.
    """
    outcome, zero, persistence = references(candles, horizon, target)
    given = prediction.to_frame("prediction") if isinstance(prediction, pd.Series) else prediction
    given = given.reindex(index=candles.time, columns=["prediction", "prediction_low", "prediction_high"])
    table = given[["prediction"]].assign(outcome=outcome, zero=zero, persistence=persistence)
    table = table[np.isfinite(table.to_numpy(np.float64)).all(axis=1)]
    rows = len(table)
    if rows < FEWEST_ROWS:
        return {"rows": rows, **dict.fromkeys(_FIGURES)}
    said, came = table["prediction"].to_numpy(), table["outcome"].to_numpy()
    error = came - said
    naive = {name: came - table[name].to_numpy() for name in ("zero", "persistence")}
    sse, sse_zero = float(np.sum(error**2)), float(np.sum(naive["zero"] ** 2))
    return {
        "rows": rows,
        "r2": 1 - sse / sse_zero if sse_zero > 0 else None,
        "theil_u": math.sqrt(sse / sse_zero) if sse_zero > 0 else None,
        "rmse": _rmse(error),
        "mae": _mae(error),
        "ic": correlation(said, came),
        "rank_ic": correlation(ranks(said), ranks(came)),
        "directional_accuracy": directional_accuracy(said, came, target),
        "persistence_directional_accuracy": directional_accuracy(table["persistence"].to_numpy(), came, target),
        "zero_rmse": _rmse(naive["zero"]),
        "zero_mae": _mae(naive["zero"]),
        "persistence_rmse": _rmse(naive["persistence"]),
        "persistence_mae": _mae(naive["persistence"]),
        "dm_p_vs_zero": diebold_mariano(error, naive["zero"], horizon),
        "dm_p_vs_persistence": diebold_mariano(error, naive["persistence"], horizon),
        "calibration_error": calibration_error(reliability(said, came)) if target == "direction" else None,
        **_coverage(given.loc[table.index], came, interval),
    }


_FIGURES = (
    "r2", "theil_u", "rmse", "mae", "ic", "rank_ic", "directional_accuracy", "persistence_directional_accuracy",
    "zero_rmse", "zero_mae", "persistence_rmse", "persistence_mae", "dm_p_vs_zero", "dm_p_vs_persistence",
    "calibration_error", "coverage", "interval",
)  # fmt: skip


def _coverage(given: pd.DataFrame, came: np.ndarray, interval: float | None) -> Figures:
    low, high = given["prediction_low"].to_numpy(), given["prediction_high"].to_numpy()
    there = np.isfinite(low + high)
    if not there.any():
        return {"coverage": None, "interval": None}
    return {"coverage": float(np.mean(((came >= low) & (came <= high))[there])), "interval": interval}


def references(
    candles: Candles, horizon: int, target: str
) -> tuple[pd.Series[float], pd.Series[float], pd.Series[float]]:
    """What came, and the two forecasts that cost nothing: *zero* and *persistence*, both known at the close of bar t.

    The label of row t - horizon ends at bar t, so shifting it by the horizon looks at no later candle.
    """
    nothing = pd.Series(0.0, index=candles.time)
    if target == "return":
        came = labels.forward_return(candles, horizon)
        return came, nothing, came.shift(horizon)
    if target == "direction":
        came = labels.direction(candles, horizon)
        known = labels.forward_return(candles, horizon).shift(horizon).notna()
        return came, nothing + 0.5, came.shift(horizon).fillna(0.5).where(known)
    if target == "volatility":
        calm = labels.log_past_variance(candles, labels.PAST * horizon) - math.log(labels.PAST)
        return labels.log_realised_variance(candles, horizon), calm, labels.log_past_variance(candles, horizon)
    raise UsageError(f"The target is {target!r}. It must be one of return, direction, volatility.")


def directional_accuracy(said: np.ndarray, came: np.ndarray, target: str) -> float | None:
    """The share of rows on the right side, of those that moved and for which a side was taken; None if there are none."""
    if target == "volatility":
        return None
    middle = 0.5 if target == "direction" else 0.0
    sides = np.sign(said - middle) * np.sign(came - middle)
    taken = int(np.count_nonzero(sides))
    return float(np.count_nonzero(sides > 0) / taken) if taken else None


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's; None where one side is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def diebold_mariano(error: np.ndarray, rival: np.ndarray, horizon: int, bars: np.ndarray | None = None) -> float | None:
    """One-sided p-value of "squared ``error`` is no smaller on average than the ``rival``'s" (Diebold and Mariano, 1995).

    The variance is that of :func:`hac_error`, since errors of overlapping horizons move together, and so do those of
    several symbols at one of the ``bars``. Without these, the rows follow one another. None where both err alike throughout.
    """
    gain = rival**2 - error**2
    wrong = hac_error(gain, np.arange(len(gain)) if bars is None else bars, horizon)
    return None if wrong is None else NormalDist().cdf(-float(gain.mean()) / wrong)


def qlike(said: np.ndarray, came: np.ndarray) -> np.ndarray:
    """Loss of each row of log variances: ratio - log(ratio) - 1, ratio = what came over what was said (Patton, 2011)."""
    return np.asarray(np.exp(came - said) - (came - said) - 1)


def percentage_error(said: np.ndarray, came: np.ndarray, horizon: int) -> float | None:
    """Mean absolute error of the realised volatility (the root of the variance), as a fraction of it.

    Both are log variances over the horizon. Rows in which nothing moved are left out: there is no fraction of nothing.
    """
    moved = came > math.log(labels.SMALLEST_VARIANCE * horizon) + 1e-6
    return float(np.mean(np.abs(np.exp((said - came)[moved] / 2) - 1))) if moved.any() else None


def _rmse(error: np.ndarray) -> float:
    return math.sqrt(float(np.mean(error**2)))


def _mae(error: np.ndarray) -> float:
    return float(np.mean(np.abs(error)))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing their mean rank."""
    return pd.Series(values).rank().to_numpy()
