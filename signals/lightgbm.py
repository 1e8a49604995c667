"""Gradient-boosted trees (Ke et al. 2017) on the features of the newest bar: the strongest baseline of returns."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from freqlstm.candles import Candles
from freqlstm.progress import Progress
from freqlstm.supervised import SupervisedSignal, TrainingData


class LightGbm(SupervisedSignal):
    rounds: int = 300  # trees, at most
    learning_rate: float = 0.03  # of each tree
    leaves: int = 31  # of each tree
    min_rows: int = 500  # in each leaf
    patience: int = 30  # trees without a better validation error before it stops

    limits = {
        "rounds": (1, 100_000), "learning_rate": (1e-6, 1.0), "leaves": (2, 10_000), "min_rows": (1, 10**9), "patience": (1, 100_000),
    }  # fmt: skip
    search = {"learning_rate": (0.01, 0.1, "log"), "leaves": (7, 127, "log"), "min_rows": (100, 2000, "log")}
    in_files = ("trees_",)

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        settings = {
            "objective": "regression", "learning_rate": self.learning_rate, "num_leaves": self.leaves,
            "min_data_in_leaf": min(self.min_rows, max(1, len(data.fit_rows) // 20)), "feature_fraction": 0.7,
            "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 10.0, "seed": self.seed, "deterministic": True, "force_row_wise": True,
            "num_threads": 1, "verbosity": -1,
        }  # fmt: skip
        past = lightgbm.Dataset(data.matrix[data.fit_rows], self.aim.label(data.fit_units), free_raw_data=True)
        later = past.create_valid(data.matrix[data.check_rows], self.aim.label(data.check_units))
        errors: dict[str, Any] = {}

        def tell(state: Any) -> None:
            progress(state.iteration, self.rounds, f"tree {state.iteration + 1}")

        self.trees_ = lightgbm.train(
            settings, past, self.rounds, valid_sets=[later], valid_names=["validation"],
            callbacks=[lightgbm.early_stopping(self.patience, verbose=False), lightgbm.record_evaluation(errors), tell],
        )  # fmt: skip
        self.report_ |= {"best_rounds": self.trees_.best_iteration, "validation_errors": [errors["validation"]["l2"]]}
        self.trees_ = lightgbm.Booster(model_str=self.trees_.model_to_string(num_iteration=self.trees_.best_iteration))
        return self._said(data.matrix, data.check_rows)

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        return self._said(matrix, rows)[None]

    def _said(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if not len(rows):
            return np.zeros(0)
        said = np.asarray(self.trees_.predict(matrix[rows], num_threads=1))
        return said - 0.5 if self.target == "direction" else self.stretch_ * said

    def write_files(self, folder: Path) -> None:
        (folder / "trees.txt").write_text(self.trees_.model_to_string(), encoding="utf-8")

    def read_files(self, folder: Path) -> None:
        self.trees_ = lightgbm.Booster(model_str=(folder / "trees.txt").read_text(encoding="utf-8"))
