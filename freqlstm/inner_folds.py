"""The inner folds of a training span, and how wrong a signal is on them: nothing after the end of the span is touched.

Each fold trains on all that precedes it in the span and is validated on the part after it. A fit is handed only candles
that opened before the part begins, so no training label reaches into it: that is the purge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import Diverged, TooFewCandles
from freqlstm.folds import Fold
from freqlstm.jobs import Outcome, caught, parallel
from freqlstm.models import signal_class
from freqlstm.plugins import Plugin
from freqlstm.signal import Signal, prediction_table
from freqlstm.skill import FEWEST_ROWS, references

Market = dict[str, Candles]
BLOCKS = 10  # equal stretches of time into which the errors of a fold are summed: what noise is measured by


@dataclass(frozen=True)
class Score:
    """Squared errors on one inner fold, summed over all symbols and over each of :data:`BLOCKS` stretches of time."""

    error: list[float]  # of the signal, the mean of its seeds
    naive: list[float]  # of the forecast that costs nothing: see freqlstm.skill.references
    seeds: list[float]  # error of each seed over that of the naive forecast, over the whole fold


def relative(scores: Sequence[Score]) -> float:
    """The squared error over that of the naive forecast, pooled over the folds: below 1 is better than it."""
    naive = sum(sum(score.naive) for score in scores)
    return sum(sum(score.error) for score in scores) / naive if naive > 0 else 1.0


def inner_folds(start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta, count: int) -> list[Fold]:
    """The second half of [start, end) in ``count`` equal parts, each with all that precedes it to train on."""
    bars = int((end - start) / step)
    edges = [start + round(bars * (count + part) / (2 * count)) * step for part in range(count + 1)]
    if bars < 2 * count * FEWEST_ROWS:
        raise TooFewCandles(
            f"The time range {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC holds {bars} bars, too few for {count} inner folds. Choose a "
            f"longer one, or fewer folds."
        )
    return [Fold(number, start, edges[number], edges[number], edges[number + 1]) for number in range(count)]


def score(
    plugin: Plugin,
    parameters: Mapping[str, Any],
    seeds: Sequence[int],
    market: Market,
    fold: Fold,
    models: Path,
    jobs: int,
) -> Score:
    """What the signal with these parameters misses on one inner fold, fitted once with each of the seeds.

    ``market`` may hold no candle after the span; ``models`` is where signals that it is made of are kept.
    """
    seen = {symbol: candles.between(fold.train_start, fold.test_end) for symbol, candles in market.items()}
    work = [(plugin, {**parameters, "seed": seed}, seen, fold, models) for seed in seeds]
    each = list(parallel(min(jobs, len(seeds)), _outcome, work))
    error = np.mean([sums for sums, _ in each], axis=0)
    naive = each[0][1]
    total = float(naive.sum())
    return Score(error.tolist(), naive.tolist(), [float(sums.sum()) / total if total > 0 else 1.0 for sums, _ in each])


def _outcome(
    plugin: Plugin, parameters: Mapping[str, Any], market: Market, fold: Fold, models: Path
) -> Outcome[tuple[np.ndarray, np.ndarray]]:
    def work() -> tuple[np.ndarray, np.ndarray]:
        with plugin.blamed():
            signal = signal_class(plugin)(**parameters)
            try:
                if signal.needs_fit:
                    signal.keep_members_in(models)
                    signal.fit({symbol: candles.between(None, fold.train_end) for symbol, candles in market.items()})
                return _sums(signal, market, fold)
            except (TooFewCandles, Diverged) as error:
                span = f"train {fold.train_start:%Y-%m-%d %H:%M} to {fold.train_end:%Y-%m-%d %H:%M}"
                raise type(error)(f"Inner fold {fold.number + 1} ({span}): {error}") from error

    return caught(work)


def _sums(signal: Signal, market: Market, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of the signal and of the naive forecast in the validation part, shapes (BLOCKS,), over the same rows."""
    sums, rows = np.zeros((2, BLOCKS)), 0
    for symbol, candles in market.items():
        if not signal.speaks_for(symbol) or not len(candles.between(fold.test_start, None)):
            continue
        asked = signal.recent(candles, fold.test_start)
        said = prediction_table(signal, asked)["prediction"]
        came, naive, _ = references(candles, signal.horizon, signal.target)
        table = pd.DataFrame({"said": said, "came": came, "naive": naive}).loc[fold.test_start :]
        table = table[np.isfinite(table.to_numpy(np.float64)).all(axis=1)]
        block = ((table.index - fold.test_start) * BLOCKS // (fold.test_end - fold.test_start)).to_numpy()
        for line, name in enumerate(("said", "naive")):
            missed = (table["came"] - table[name]).to_numpy() ** 2
            sums[line] += np.bincount(block.astype(int), missed, BLOCKS)
        rows += len(table)
    if rows < FEWEST_ROWS:
        raise TooFewCandles(
            f"{rows} rows of {fold.test_start:%Y-%m-%d %H:%M} to {fold.test_end:%Y-%m-%d %H:%M} UTC have a prediction and an outcome, and {FEWEST_ROWS} "
            f"are needed. Choose a longer time range, or fewer folds."
        )
    return sums[0], sums[1]
