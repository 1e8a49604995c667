"""What is predicted and decided at the close of each bar, for every symbol of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import backtrader as bt

from freqlstm.bars import ENDINGS
from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.external import ExternalSeries
from freqlstm.paper.decision import Decider, Decision
from freqlstm.paper.models import Models
from freqlstm.paper.records import Candle
from freqlstm.paper.tail import Tail
from freqlstm.strategy import overrides_next

LEARNING = 5000  # bars kept besides for signals that go on learning, which look back on what they learned from
SPARE = 1100  # bars kept besides, lest what is looked at begin at another candle every time: sums would lose their last bits

Said = dict[str, dict[str, float]]
"""symbol -> column of bars -> prediction at the close of the newest bar."""


def bars_kept(models: Models) -> int:
    """Bars of history that predictions are made from."""
    return 2 * models.memory + SPARE + (LEARNING if models.learn else 0)


class Deliberation:
    """Follows the candles of a session; ``history`` holds those before it."""

    def __init__(
        self, strategy: type[bt.Strategy], parameters: Mapping[str, Any], history: Mapping[str, Candles], models: Models,
        series: Callable[[str], ExternalSeries],
    ) -> None:  # fmt: skip
        self.models = models
        self._series = series
        self._beside = sorted({name for each in models.described.values() for name in each.beside})
        absent = [name for name in self._beside if "/" in name and name not in history]
        if absent:
            raise UsageError(
                f"The strategy's signals read the candles of {absent[0]} beside those of {', '.join(history)}. Trade it too: add it "
                f"with --pairs {absent[0]}."
            )
        columns = tuple(models.described)
        self.names = tuple(f"{column}{ending}" for column in columns for ending in ENDINGS)
        self.memory = bars_kept(models)
        self.decider: Decider | None = None
        if overrides_next(strategy):
            self.tails = {symbol: Tail(candles, self.memory + 1, self.names) for symbol, candles in history.items()}
        else:
            self.decider = Decider(strategy, parameters, history, columns, self.memory)
            self.tails = self.decider.tails

    def append(self, candles: Mapping[str, Candle]) -> None:
        """Take the candles that have just closed."""
        for symbol, candle in candles.items():
            self.tails[symbol].append(candle.open_ms, candle.floats)

    def remember(self, said: Mapping[str, Mapping[str, float]]) -> None:
        """Take what was predicted at the newest bar, as it was written down."""
        for symbol, table in said.items():
            self.tails[symbol].predict(table)

    def decide(self, symbols: Iterable[str]) -> tuple[Said, dict[str, Decision]]:
        """Predict and decide at the newest bar of these symbols."""
        said = {symbol: self._predict(symbol) for symbol in symbols}
        if self.decider is None:
            self.remember(said)
            return said, {}
        return said, {symbol: self.decider.decide(symbol, table) for symbol, table in said.items()}

    def ahead(self) -> None:
        """Prepare for the next bar, when this one is done with."""
        for speaker in self.models.speakers.values():
            speaker.forecaster.ahead()

    def _predict(self, symbol: str) -> dict[str, float]:
        said: dict[str, float] = {}
        if not self.models.speakers:
            return said
        candles = self.tails[symbol].candles(self.memory + 1)
        others: dict[str, Candles | ExternalSeries] = {}
        for name in self._beside:
            if name != symbol:
                others[name] = self.tails[name].candles(self.memory + 1) if "/" in name else self._series(name)
        if others:
            candles = candles.with_beside(others)
        for speaker in self.models.speakers.values():
            said |= speaker.forecaster.newest(candles)
        return said
