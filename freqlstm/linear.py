"""Signals that are linear in their features: the baselines that a network has to beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from freqlstm.candles import Candles
from freqlstm.progress import Progress
from freqlstm.supervised import SupervisedSignal, TrainingData


class LinearSignal(SupervisedSignal):
    """Least squares with a penalty on the weights of the scaled features (Hoerl and Kennard 1970); none with 0."""

    l2: ClassVar[float] = 0.0  # of the mean squared error; a plugin may declare it as a parameter

    weights_: list[float]  # one for each feature
    intercept_: float

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        from sklearn.linear_model import Ridge

        progress(0, 1, "fitting the weights")
        inputs = data.matrix[data.fit_rows].astype(np.float64)
        model = Ridge(alpha=max(self.l2, 1e-12) * len(inputs), solver="cholesky")
        model.fit(inputs, self.aim.label(data.fit_units))
        self.weights_, self.intercept_ = model.coef_.tolist(), float(model.intercept_)
        return self._said(data.matrix, data.check_rows)

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        return self._said(matrix, rows)[None]

    def _said(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        products = matrix[rows].astype(np.float64) * np.array(self.weights_)  # summed row by row: no other row counts
        said = np.asarray(products.sum(axis=1) + self.intercept_)
        return said - 0.5 if self.target == "direction" else self.stretch_ * said
