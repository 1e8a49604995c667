"""Walk-forward folds: for each test span, the train span before it.

A fit is handed only candles that opened before ``train_end``; labels that need later ones do not exist there, so the
purge of the training labels needs no further step. Spans are half-open: [start, end).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from freqlstm.errors import TooFewCandles, UsageError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
LONGEST = 100 * 366 * 86_400  # seconds


def duration(text: str) -> pd.Timedelta:
    """A length of time such as "90d", "12h", "30m" or "2w"."""
    found = re.fullmatch(r"(\d+)([smhdw])", text) if isinstance(text, str) else None
    if not found:
        raise UsageError(f"Duration {text!r} is not understood. Write a number and one of s, m, h, d, w, as in '90d'.")
    seconds = int(found[1]) * UNITS[found[2]]
    if seconds > LONGEST:
        raise UsageError(f"Duration {text!r} is longer than a century. Write a shorter one, as in '90d'.")
    return pd.Timedelta(seconds=seconds)


@dataclass(frozen=True)
class Fold:
    """One fit and the span it is tested on. Times are open times of candles, UTC."""

    number: int
    train_start: pd.Timestamp
    train_end: pd.Timestamp
    test_start: pd.Timestamp
    test_end: pd.Timestamp


@dataclass(frozen=True)
class FoldPlan:
    """How a time range is cut into folds; every length is a duration such as "7d".

    ``train`` is the longest train span, ``min_train`` the shortest that is fitted at all, ``embargo`` the time left
    unused between train and test. ``expanding`` train spans begin at the first candle and ignore ``train``.
    """

    train: str = "90d"
    test: str = "7d"
    min_train: str = "30d"
    embargo: str = "0d"
    expanding: bool = False

    def __post_init__(self) -> None:
        for name in ("train", "test", "min_train"):
            if duration(getattr(self, name)) <= pd.Timedelta(0):
                raise UsageError(f"{name} is {getattr(self, name)!r}. It must be longer than nothing, as in '7d'.")
        duration(self.embargo)
        if not self.expanding and duration(self.min_train) > duration(self.train):
            raise UsageError(
                f"min_train {self.min_train!r} is longer than train {self.train!r}, so no fold could ever be fitted. "
                f"Lengthen train or shorten min_train."
            )

    def folds(self, start: pd.Timestamp, end: pd.Timestamp, first_candle: pd.Timestamp) -> list[Fold]:
        """The folds whose test spans tile [start, end), in order, without those that have too little to train on.

        Their boundaries depend on ``start`` only, never on ``end`` (except that the last is cut short there), so the
        folds of a longer range begin with those of a shorter one. ``first_candle`` is the open time of the oldest
        candle there is.
        """
        if not start < end:
            raise UsageError(f"The time range from {start} to {end} is empty. Its start must lie before its end.")
        test, embargo, shortest = duration(self.test), duration(self.embargo), duration(self.min_train)
        folds: list[Fold] = []
        test_start = start
        while test_start < end:
            train_end = test_start - embargo
            train_start = first_candle if self.expanding else max(first_candle, train_end - duration(self.train))
            if train_end - train_start >= shortest:
                test_end = min(test_start + test, end)
                folds.append(Fold(len(folds), train_start, train_end, test_start, test_end))
            test_start += test
        if not folds:
            raise TooFewCandles(
                f"No fold of {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC has {self.min_train} of candles to train on: the first candle is "
                f"of {first_candle:%Y-%m-%d %H:%M}. Start at {first_candle + shortest + embargo:%Y-%m-%d %H:%M} or later, "
                f"or provide earlier candles."
            )
        return folds


def first_validation_bar(bars: np.ndarray, fraction: float = 0.2) -> int:
    """The bar number from which on the last ``fraction`` of ``bars`` lies: where validation begins."""
    if not 0 < fraction < 1:
        raise UsageError(f"The validation fraction is {fraction!r}. It must lie between 0 and 1, as in 0.2.")
    if not len(bars):
        raise TooFewCandles("There is no bar to split into training and validation. Provide more candles.")
    return int(np.sort(bars)[min(int(len(bars) * (1 - fraction)), len(bars) - 1)])


def validation_split(bars: np.ndarray, horizon: int, fraction: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """(bars to fit on, bars to validate on): the last ``fraction`` is validation, and the purge lies between.

    ``bars`` are row numbers of one table, or open times divided by the timeframe where several symbols are pooled.
    The label of bar t ends at bar t + horizon; that of every fit bar ends before the first validation bar.
    """
    bars = np.asarray(bars)
    first = first_validation_bar(bars, fraction)
    return bars[bars + horizon < first], bars[bars >= first]
