"""Combinations proposed by a tree-structured Parzen estimator (Bergstra et al. 2011) instead of all of a grid.

What is proposed depends on the seed and on what came before only, so a search that was interrupted is asked again and
told what is stored, and goes on as if nothing had happened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from freqlstm.sweep import Sweep, train_columns
from freqlstm.sweep_space import Axis, Grid, Steps, size

AT_ONCE = 8  # combinations proposed before any of them is judged; the number of cores makes no difference


class Searches:
    """A search of the whole range, and for each span of a walk-forward one that is told of its train span only."""

    def __init__(self, sweep: Sweep, trials: int, seed: int) -> None:
        self.sweep = sweep
        self._each = [Search(sweep.grid, trials, seed) for _ in range(1 + len(sweep.spans))]
        self._per = self._each[0].chunks
        self._newest = self._each[0]
        self.count = trials * len(self._each)
        self.chunks = self._per * len(self._each)

    def chunk(self, number: int) -> list[dict[str, Any]]:
        self._newest = self._each[number // self._per]
        return self._newest.chunk(number % self._per)

    def tell(self, rows: pd.DataFrame) -> None:
        place = self._each.index(self._newest)
        told = (
            rows[train_columns(self.sweep.spans)[place - 1]].to_numpy() if place else self.sweep.objective.column(rows)
        )
        self._newest.tell(told)

    def serves(self, number: int, span: int) -> bool:
        return number // self._per == 1 + span


class Search:
    """So many combinations of a grid, each after those before were judged but for the few that are proposed at once."""

    def __init__(self, grid: Grid, trials: int, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.grid = grid
        self.trials = trials
        self.seed = seed
        self.chunks = math.ceil(trials / AT_ONCE)
        self._study = optuna.create_study(direction="maximize")
        self._domains = {name: _domain(axis) for name, axis in grid.axes.items()}
        self._asked: list[optuna.Trial] = []

    def chunk(self, number: int) -> list[dict[str, Any]]:
        """The next combinations; the same one can be proposed again."""
        entropy = np.random.SeedSequence([self.seed, number])
        self._study.sampler = optuna.samplers.TPESampler(seed=int(entropy.generate_state(1)[0]))
        left = min(AT_ONCE, self.trials - number * AT_ONCE)
        self._asked = [self._study.ask(self._domains) for _ in range(left)]
        return [self.grid.at([trial.params[name] for name in self.grid.axes]) for trial in self._asked]

    def tell(self, objective: np.ndarray | Sequence[float]) -> None:
        """What the newest combinations came to; one without a figure has failed and teaches nothing."""
        for trial, value in zip(self._asked, objective, strict=True):
            if math.isnan(value):
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, float(value))


def _domain(axis: Axis) -> BaseDistribution:
    """The places of an axis: as numbers where neighbours resemble each other, else as so many choices."""
    if isinstance(axis, Steps) or _in_order(axis.values):
        return IntDistribution(0, size(axis) - 1)
    return CategoricalDistribution(tuple(range(size(axis))))


def _in_order(values: Sequence[Any]) -> bool:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values)
    return numbers and (all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values)))
