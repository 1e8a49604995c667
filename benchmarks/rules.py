"""The rules of the rows that compare whole backtests: a dip that a forecast, RSI, Bollinger bands and MACD agree on."""

from __future__ import annotations

from typing import Any, NamedTuple


class Levels(NamedTuple):
    """Parameters of the rules, and what a fill costs."""

    threshold: float = 0.0001  # of the forecast, a log return
    oversold: float = 35.0  # of the RSI, to enter
    overbought: float = 60.0  # to leave
    rsi_period: int = 14  # bars
    period: int = 20  # bars of the Bollinger bands
    deviations: float = 2.0
    exposure: float = 0.95

    def with_(self, **changes: Any) -> Levels:
        """The same with other values."""
        return self._replace(**changes)


WARMUP = 600  # bars before the first entry: more than any indicator of the grids needs to forget where it began
COMMISSION = 0.001
SLIPPAGE = 0.0001
CASH = 1_000_000.0


def grid(**choices: list[Any]) -> list[Levels]:
    """All combinations of some values, the last parameter varying fastest."""
    combinations = [Levels()]
    for name, values in choices.items():
        combinations = [levels.with_(**{name: value}) for levels in combinations for value in values]
    return combinations
