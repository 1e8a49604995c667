"""What the results of a sweep look like from afar: the best, which parameters matter, and how the objective spreads.

The results are read piece by piece, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.search import Choices
from freqlstm.sweep import Sweep, parameter_column
from freqlstm.sweep_space import Axis, size, value

MOST_BINS = 40  # of an axis in a heat map; neighbouring values share one
MOST_AXES = 5  # whose pairs have heat maps: those that matter most
BEST = 20
BARS = 60  # of the histogram

Tables = Callable[[], Iterable[pd.DataFrame]]


@dataclass(frozen=True)
class Heat:
    """The best objective for each pair of values of two parameters, whatever the others; NaN where there is none."""

    across: str
    down: str
    best: np.ndarray  # (bins of down, bins of across)


@dataclass(frozen=True)
class Survey:
    """The shape of the results."""

    count: int
    defined: int  # combinations whose objective is defined
    mean: float
    deviation: float
    positive: float  # share of those defined that are above 0
    best: pd.DataFrame  # at most 20 rows, best first and each combination once, with a column objective
    matters: dict[
        str, float
    ]  # parameter -> share of the objective's variance that its value alone explains, largest first
    bins: dict[str, list[str]]  # parameter -> what the bins of its axis are called
    heat: list[Heat]  # of the pairs of the parameters that matter most, the two foremost first
    edges: np.ndarray  # (bars + 1,) of the histogram
    bars: np.ndarray  # (bars,) combinations


def survey(sweep: Sweep, tables: Tables) -> Survey:
    """``tables`` gives the pieces of the results anew each time it is called."""
    axes = sweep.grid.axes
    total = _Total(axes)
    best = pd.DataFrame()
    chosen = [parameter_column(name) for name in axes]
    for table in tables():
        objective = sweep.objective.column(table)
        total.add(table, objective)
        piece = table.assign(objective=objective).dropna(subset=["objective"])
        best = pd.concat([best, piece]) if len(best) else piece
        best = best.sort_values("objective", ascending=False, kind="stable").drop_duplicates(chosen).head(BEST)
    matters = total.matters(sampled=total.count < sweep.grid.count)
    foremost = [name for name in matters if size(axes[name]) > 1][:MOST_AXES] if total.defined else []
    heat = {pair: np.full((bins(axes[pair[1]]), bins(axes[pair[0]])), -np.inf) for pair in combinations(foremost, 2)}
    if len(foremost) == 1:
        heat = {(foremost[0], foremost[0]): np.full((bins(axes[foremost[0]]),) * 2, -np.inf)}
    edges = (
        np.linspace(total.low, total.high, BARS + 1)
        if total.high > total.low
        else np.array([total.low - 0.5, total.low + 0.5])
    )
    bars = np.zeros(len(edges) - 1, dtype=np.int64)
    for table in tables():
        objective = sweep.objective.column(table)
        known = ~np.isnan(objective)
        bars += np.histogram(objective[known], edges)[0]
        places = {name: bin_of(axes[name], table[parameter_column(name)])[known] for name in foremost}
        for (across, down), cells in heat.items():
            np.maximum.at(cells, (places[down], places[across]), objective[known])
    return Survey(
        count=total.count, defined=total.defined, mean=total.mean, deviation=total.deviation, positive=total.positive / max(total.defined, 1),
        best=best.reset_index(drop=True), matters=matters, bins={name: bin_names(axes[name]) for name in foremost},
        heat=[Heat(*pair, np.where(np.isinf(cells), np.nan, cells)) for pair, cells in heat.items()], edges=edges, bars=bars,
    )  # fmt: skip


class _Total:
    """Sums over all results, and for each bin of each axis."""

    def __init__(self, axes: Mapping[str, Axis]) -> None:
        self.axes = axes
        self.count = self.defined = self.positive = 0
        self.low, self.high = math.inf, -math.inf
        self.sum = self.squares = 0.0
        self.by = {name: np.zeros((2, bins(axis))) for name, axis in axes.items()}  # how many, and their sum

    def add(self, table: pd.DataFrame, objective: np.ndarray) -> None:
        known = ~np.isnan(objective)
        values = objective[known]
        self.count += len(objective)
        self.defined += len(values)
        self.positive += int((values > 0).sum())
        if not len(values):
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.sum += float(values.sum())
        self.squares += float((values**2).sum())
        for name, sums in self.by.items():
            places = bin_of(self.axes[name], table[parameter_column(name)])[known]
            sums[0] += np.bincount(places, minlength=sums.shape[1])
            sums[1] += np.bincount(places, values, minlength=sums.shape[1])

    @property
    def mean(self) -> float:
        return self.sum / self.defined if self.defined else math.nan

    @property
    def deviation(self) -> float:
        return math.sqrt(self._spread / self.defined) if self.defined else math.nan

    @property
    def _spread(self) -> float:
        return max(self.squares - self.sum**2 / self.defined, 0.0) if self.defined else 0.0

    def matters(self, sampled: bool) -> dict[str, float]:
        """Between-group sum of squares over the whole one, largest first; of a sample, less what groups by chance have (Kelley 1935)."""
        found = {}
        for name, (number, sums) in self.by.items():
            there = number > 0
            between = float((number[there] * (sums[there] / number[there] - self.mean) ** 2).sum())
            if sampled:
                groups = int(there.sum())
                free = self.defined - groups
                by_chance = (groups - 1) * (self._spread - between) / free if free > 0 else between
                between = max(between - by_chance, 0.0)
            found[name] = between / self._spread if self._spread > 0 else 0.0
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def bins(axis: Axis) -> int:
    """How many bins an axis has in a heat map."""
    return min(size(axis), MOST_BINS)


def bin_of(axis: Axis, column: pd.Series[Any]) -> np.ndarray:
    """The bin of each value of a column."""
    if isinstance(axis, Choices):
        places = pd.Index(axis.values).get_indexer(pd.Index(column))
    else:
        values = column.to_numpy(np.float64)
        low, high = float(axis.first), float(axis.last)
        if axis.log:
            values, low, high = np.log(values), math.log(low), math.log(high)
        part = (values - low) / (high - low) if high > low else np.zeros(len(values))
        places = np.rint(part * (axis.count - 1)).astype(np.int64)
    return np.asarray(places * bins(axis) // size(axis), dtype=np.int64)


def bin_names(axis: Axis) -> list[str]:
    """What the bins are called: a value, or the first and the last of several."""
    many = bins(axis)
    firsts = [-(-place * size(axis) // many) for place in range(many)] + [size(axis)]
    names = []
    for first, after in pairwise(firsts):
        low, high = value(axis, first), value(axis, after - 1)
        names.append(_short(low) if after == first + 1 else f"{_short(low)} to {_short(high)}")
    return names


def _short(each: Any) -> str:
    return f"{each:.6g}" if isinstance(each, float) else str(each)
