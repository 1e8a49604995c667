"""Probabilities that keep their word: forecasts of a rise mapped to how often rises followed such forecasts.

A calibration is JSON, fitted to rows that the model was not fitted on, and never lets a higher forecast become a lower
probability:

| method   | probability                                            | source                    |
|----------|--------------------------------------------------------|---------------------------|
| platt    | 1 / (1 + exp(-(slope log odds + intercept))), slope >= 0 | Platt 1999              |
| isotonic | steps joined by lines, any rising shape; needs thousands of rows | Zadrozny and Elkan 2002 |
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

Method = Literal["platt", "isotonic"]
LARGEST_ODDS = 1e4  # for or against: what is said to be certain has a logarithm too


def fitted(method: Method, said: np.ndarray, rose: np.ndarray) -> dict[str, Any]:
    """The calibration of forecasts ``said`` in [0, 1] by what followed: ``rose`` holds 1 for a rise and 0 for a fall."""
    share = (float(np.sum(rose)) + 1) / (len(rose) + 2)  # Laplace: no finite number of rows makes anything certain
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        certain = 1 / (len(rose) + 2)
        model = IsotonicRegression(y_min=certain, y_max=1 - certain, out_of_bounds="clip").fit(said, rose)
        return {"method": method, "said": model.X_thresholds_.tolist(), "share": model.y_thresholds_.tolist()}
    slope, intercept = _platt(log_odds(said), rose)
    if slope <= 0:  # it was wrong more often than right: the share of rises says more
        slope, intercept = 0.0, math.log(share / (1 - share))
    return {"method": method, "slope": slope, "intercept": intercept}


def _platt(odds: np.ndarray, rose: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a logistic regression on the log odds; (0, 0) where there is nothing to compare."""
    from sklearn.linear_model import LogisticRegression

    deviation = float(np.std(odds))
    if deviation < 1e-12 or len(np.unique(rose)) < 2:
        return 0.0, 0.0
    mean = float(np.mean(odds))
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)  # as good as no penalty, unless all can be told apart
    model.fit(((odds - mean) / deviation)[:, None], rose > 0.5)
    slope = float(model.coef_[0, 0]) / deviation
    return slope, float(model.intercept_[0]) - slope * mean


def applied(calibration: dict[str, Any], said: np.ndarray) -> np.ndarray:
    """The probabilities that forecasts become; without a calibration they are those forecasts, kept in [0, 1]."""
    if not calibration:
        return np.asarray(np.clip(said, 0.0, 1.0))
    if calibration["method"] == "isotonic":
        return np.asarray(np.interp(said, calibration["said"], calibration["share"]))
    return np.asarray(1 / (1 + np.exp(-(calibration["slope"] * log_odds(said) + calibration["intercept"]))))


def says_nothing(calibration: dict[str, Any]) -> bool:
    """Whether every forecast becomes the same probability."""
    return calibration.get("slope") == 0.0 or len(set(calibration.get("share", [0, 1]))) < 2


def log_odds(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), finite for 0 and 1 and for what a regression says beyond them."""
    limited = np.clip(probability, 1 / (1 + LARGEST_ODDS), 1 - 1 / (1 + LARGEST_ODDS))
    return np.asarray(np.log(limited) - np.log1p(-limited))
