"""What decides the result of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from freqlstm import provenance
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.files import jsonable
from freqlstm.folds import FoldPlan
from freqlstm.ledger import Stretch
from freqlstm.plugins import Plugin


@dataclass(frozen=True)
class SignalUse:
    """The signal that fills one column of bars, and its parameters where they are not the default."""

    plugin: Plugin
    parameters: Mapping[str, Any]

    def seeded(self, seed: int) -> dict[str, Any]:
        """The parameters with the seed of the run, unless the signal is given one of its own."""
        return {"seed": seed, **self.parameters}


@dataclass(frozen=True)
class Job:
    """Everything that decides the result of a run. Times are open times of candles, UTC; ``end`` is not included."""

    strategy: Plugin
    parameters: Mapping[str, Any]
    signals: Mapping[str, SignalUse]
    market: Mapping[str, Candles]  # with the candles before ``start`` that training and indicators need
    start: pd.Timestamp
    end: pd.Timestamp
    folds: FoldPlan
    rules: Mapping[str, MarketRules]
    costs: Costs
    cash: float  # quote asset
    seed: int
    allow_short: bool = False
    engine: str = "backtrader"  # decides nothing but the time it takes

    @property
    def plugins(self) -> list[Plugin]:
        """The strategy and its signals."""
        return [self.strategy, *(use.plugin for use in self.signals.values())]

    def traded(self) -> dict[str, Candles]:
        """The candles of the time range."""
        return {symbol: candles.between(self.start, self.end) for symbol, candles in self.market.items()}

    @property
    def stretch(self) -> Stretch:
        """The candles that the trials ledger counts it on."""
        first = next(iter(self.market.values()))
        return Stretch(
            first.exchange, first.timeframe, tuple(sorted(self.market)), self.start.isoformat(), self.end.isoformat()
        )

    def digest(self) -> str:
        """SHA-256 of everything but the candles, the time range and the engine: the configuration that the ledger counts."""
        return next(self.digests([self.parameters]))

    def digests(self, several: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """The digest that the job would have with each of several sets of parameters of the strategy."""
        told = {
            "plugins": [provenance.source_digest(plugin.path) for plugin in self.plugins],
            "parameters": _PLACE,
            "signals": {name: use.parameters for name, use in self.signals.items()},
            "folds": asdict(self.folds), "costs": asdict(self.costs), "cash": self.cash, "seed": self.seed,
            "rules": {symbol: asdict(rules) for symbol, rules in self.rules.items()}, "allow_short": self.allow_short,
        }  # fmt: skip
        before, after = _text(told).split(json.dumps(_PLACE))
        for parameters in several:
            yield hashlib.sha256(f"{before}{_text(parameters)}{after}".encode()).hexdigest()


_PLACE = "\0the parameters"  # which no text of a user's can be


def _text(value: object) -> str:
    return json.dumps(_as_numbers(jsonable(value)), sort_keys=True)


def _as_numbers(value: Any) -> Any:
    """``value`` with every whole number as a float: 30 and 30.0 are one configuration."""
    if isinstance(value, dict):
        return {key: _as_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_numbers(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
