"""What a strategy decides at the close of the newest bar: the truth that a backtest finds in that row.

Predictions are made by the signal's own code of the candles that they can depend on, conditions by
:func:`freqlstm.strategy.decide` on as many bars as they look back on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from freqlstm.bars import CONDITIONS, ENDINGS, Bars
from freqlstm.candles import Candles
from freqlstm.external import ExternalSeries
from freqlstm.paper.tail import Tail
from freqlstm.signal import Signal
from freqlstm.strategy import Strategy, decide, history_needed, overrides_next

SPARE = 64  # bars beyond those that a strategy says it looks back on: a shift that it did not declare finds its value


class Decision(NamedTuple):
    """What is decided at the close of one bar of one symbol."""

    enter_long: bool = False
    exit_long: bool = False
    enter_short: bool = False
    exit_short: bool = False
    share: float | None = None  # of the exposure that an entry takes; None: all of it
    fired: Mapping[str, str] = {}  # condition that is true -> its comparisons that are
    votes: Mapping[str, str] = {}  # condition that is true -> the points of its vote

    @property
    def true(self) -> tuple[str, ...]:
        """The conditions that are true."""
        return tuple(name for name in CONDITIONS if getattr(self, name))


class Forecaster:
    """One signal's predictions at the newest bar of any symbol.

    A signal that goes on learning goes on from the last bar that it was asked about, and is resumed by ``resume``.
    """

    def __init__(self, signal: Signal, name: str, resume: Callable[[Signal, str], None] | None = None) -> None:
        self.signal = signal
        self.name = name
        self._resume = resume
        self._predictors: dict[str, Any] = {}  # symbol -> its LivePredictor
        self._columns = [f"{name}{ending}" for ending in ENDINGS]

    def newest(self, candles: Candles) -> dict[str, float]:
        """Column of bars -> value at the newest of ``candles``; NaN where the signal may not speak."""
        signal, symbol = self.signal, candles.symbol
        if not signal.speaks_for(symbol):
            return dict.fromkeys(self._columns, np.nan)
        if symbol not in self._predictors:
            if self._resume is not None:
                self._resume(signal, symbol)
            from freqlstm.live import LivePredictor  # which brings TensorFlow, and many signals need none

            self._predictors[symbol] = LivePredictor(signal, advance=True)
        row = self._predictors[symbol].predict(candles)
        return dict(zip(self._columns, row.tolist(), strict=True))

    def ahead(self) -> None:
        """Prepare for the next candle, while there is time."""
        for predictor in self._predictors.values():
            predictor.ahead()


class Decider:
    """The decisions of one strategy on any number of symbols, one bar at a time."""

    def __init__(
        self, strategy: type[Strategy], parameters: Mapping[str, Any], history: Mapping[str, Candles],
        columns: tuple[str, ...], memory: int = 0,
    ) -> None:  # fmt: skip
        """``history`` holds the candles before the first bar; ``memory`` is how many the predictions can depend on."""
        self.strategy = strategy
        self.parameters = parameters
        few = next(iter(history.values()))
        few = few.rows(max(0, len(few) - 50), len(few))
        names = tuple(f"{column}{ending}" for column in columns for ending in ENDINGS)
        nothing = pd.DataFrame(np.nan, index=few.time, columns=list(names))
        self.look_back = history_needed(strategy, parameters, Bars(few, nothing)) + SPARE
        self.memory = memory
        bars = max(self.look_back, memory) + 1
        self.tails = {symbol: Tail(candles, bars, names) for symbol, candles in history.items()}

    def append(self, symbol: str, open_ms: int, candle: tuple[float, float, float, float, float]) -> None:
        """Take the candle that has just closed."""
        self.tails[symbol].append(open_ms, candle)

    def remembered(self, symbol: str, beside: Mapping[str, Candles | ExternalSeries] | None = None) -> Candles:
        """The candles that a prediction at the newest bar can depend on."""
        return self.tails[symbol].candles(self.memory + 1, beside)

    def decide(self, symbol: str, said: Mapping[str, float]) -> Decision:
        """The decision at the newest candle of ``symbol``, of which ``said`` is predicted."""
        tail = self.tails[symbol]
        tail.predict(said)
        candles = tail.candles(self.look_back + 1)
        found = decide(self.strategy, self.parameters, Bars(candles, tail.predictions(self.look_back + 1)))
        last = len(candles) - 1
        truth = {name: bool(getattr(found, name)[last]) for name in CONDITIONS}
        true = [name for name, value in truth.items() if value]
        return Decision(
            **truth,
            share=None if found.share is None else float(found.share[last]),
            fired={name: found.fired(name, last) for name in true},
            votes={name: votes for name in true if (votes := found.votes(name, last))},
        )


def intervals_read(
    strategy: type, parameters: Mapping[str, Any], columns: tuple[str, ...], like: Mapping[str, Candles]
) -> frozenset[str]:
    """The signals of which a strategy looks at more than the prediction; all of them, if it decides bar by bar itself."""
    if overrides_next(strategy):
        return frozenset(columns)
    few = next(iter(like.values())).rows(0, 0)
    names = [f"{column}{ending}" for column in columns for ending in ENDINGS]
    bars = Bars(few, pd.DataFrame(np.nan, index=few.time, columns=names))
    decide(strategy, parameters, bars)
    return frozenset(
        column for column in columns if any(f"{column}{end}" in bars.handed_out for end in ("_low", "_high"))
    )
