"""A strategy on the ground that it is checked on: what it decides, and what it trades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.backtest import decisions_for
from freqlstm.bars import ENDINGS, Bars, Decisions
from freqlstm.checks.case import Case, SignalCase, fresh
from freqlstm.checks.ground import Market
from freqlstm.checks.verdict import Event
from freqlstm.costs import Costs, market_rules
from freqlstm.engines.backtrader import simulate
from freqlstm.job import Job
from freqlstm.plugins import Plugin
from freqlstm.strategy import CONDITIONS, Strategy, check_parameters, history_needed, overrides_next

Forecasts = dict[str, pd.DataFrame]  # symbol -> the columns that signals fill, at the candles' open times

NEW_CANDLES = 2_000  # bars on which a strategy is first asked how much history it needs
TYPICAL = {"return": (0.0, 1e-3), "direction": (0.5, 0.1), "volatility": (-12.0, 1.0)}  # mean, deviation of forecasts


@dataclass(frozen=True, eq=False)
class StrategyCase(Case):
    """A strategy, with the cases of the signals that it names."""

    signals: Mapping[str, SignalCase] = field(default_factory=dict)
    history: int = 0  # bars that its conditions look back on, or before which Backtrader does not call its next()

    @cached_property
    def kind(self) -> type:
        """The class, of the file as it was first executed."""
        loaded: type = fresh(self.plugin)
        return loaded

    @property
    def of_conditions(self) -> bool:
        """Whether it decides by conditions over columns, not bar by bar in a next() of its own."""
        return not overrides_next(self.kind)

    @property
    def start(self) -> pd.Timestamp:
        """Where trading begins: with the first candle, so that what trades seldom has the time to."""
        start: pd.Timestamp = self.ground.first.time[0]
        return start

    def forecasts(self, market: Market, cut: pd.Timestamp | None = None) -> Forecasts:
        """Made-up forecasts of every size a signal would give, so that conditions meet their thresholds often.

        Those after ``cut`` have the other sign.
        """
        made = {}
        for number, (symbol, candles) in enumerate(market.items()):
            times = self.ground.market[symbol].time
            columns = {}
            for alias, signal in self.signals.items():
                mean, deviation = TYPICAL[signal.target]
                random = np.random.default_rng([number, *alias.encode()])
                size = deviation * random.lognormal(-0.5, 1.0, len(times))
                away = pd.Series(size * random.standard_normal(len(times)), index=times).reindex(
                    candles.time, fill_value=size[0]
                )
                if cut is not None:
                    away = away.where(away.index <= cut, -away)
                columns[alias] = mean + away
                columns[f"{alias}_low"], columns[f"{alias}_high"] = (
                    columns[alias] - deviation,
                    columns[alias] + deviation,
                )
                columns[f"{alias}_spread"] = pd.Series(size, index=times).reindex(candles.time, fill_value=size[0])
            made[symbol] = pd.DataFrame(columns, index=candles.time)
        return made

    def job(self, market: Market, start: pd.Timestamp, end: pd.Timestamp) -> Job:
        """A run of the strategy over [start, end) that costs nothing to set up."""
        return Job(
            strategy=self.plugin, parameters=dict(self.parameters), signals={}, market=market, start=start, end=end, folds=self.ground.plan,
            rules={symbol: market_rules(symbol) for symbol in market}, costs=Costs(), cash=10_000.0, seed=1, allow_short=True,
        )  # fmt: skip

    def decisions(self, kind: Any, job: Job, forecasts: Forecasts, symbol: str) -> Any:
        """What the conditions decide for one symbol."""
        candles = job.market[symbol].between(job.start, job.end)
        return decisions_for(job, kind, self.values(kind), forecasts[symbol].reindex(candles.time), symbol)

    def values(self, kind: Any) -> dict[str, Any]:
        """All parameters, defaults included."""
        return check_parameters(kind, self.parameters)

    def conditions(self, kind: Any, job: Job, forecasts: Forecasts, symbol: str) -> pd.DataFrame:
        """What :func:`told` tells of the bars of a job."""
        times = job.market[symbol].between(job.start, job.end).time
        return told(self.decisions(kind, job, forecasts, symbol), times)

    def trading(self, kind: Any, job: Job, forecasts: Forecasts) -> Trading:
        """Orders, fills and equity of a run."""
        traded = {symbol: candles.between(job.start, job.end) for symbol, candles in job.market.items()}
        tables = {symbol: forecasts[symbol].reindex(candles.time) for symbol, candles in traded.items()}
        decisions = {}
        if self.of_conditions:
            decisions = {symbol: self.decisions(kind, job, tables, symbol) for symbol in traded}
        orders: list[Event] = []
        outcome = simulate(
            _watched(kind, orders), dict(self.parameters), traded, predictions=tables, decisions=decisions, rules=job.rules, costs=job.costs,
            cash=job.cash, allow_short=True,
        )  # fmt: skip
        events = [
            (traded[fill.symbol].time[fill.row], f"a fill of {fill.size!r} {fill.symbol} at {fill.price!r}")
            for fill in outcome.fills
        ]
        refusals = [
            (traded[each.symbol].time[each.decided_row], f"an order of {each.size!r} {each.symbol} that is refused")
            for each in outcome.refusals  # those that are known at the close: the others are at the next open only
            if each.why.startswith(("worth", "smaller", "this market")) and "before commission" not in each.why
        ]
        return Trading(orders + refusals, events, outcome.equity)


@dataclass(frozen=True)
class Trading:
    """What a run did; an order belongs to the bar at whose close it was decided."""

    orders: list[Event]
    fills: list[Event]
    equity: pd.DataFrame


def told(decisions: Decisions, times: pd.DatetimeIndex) -> pd.DataFrame:
    """One column for each condition and for each comparison inside it, before and after the warm-up is masked."""
    columns: dict[str, np.ndarray] = {}
    for name, column in decisions.columns.items():
        columns[f"condition {name}"] = column.to_numpy()[decisions.offset :]
        for text, truth in _terms(column):
            again = sum(each.startswith(f"condition {name} ({text})") for each in columns)
            ending = f" {again + 1}" if again else ""  # the same words may stand for two comparisons
            columns[f"condition {name} ({text}){ending}"] = truth[decisions.offset :]
        votes: Any = getattr(column, "votes", None)
        if votes is not None:
            columns[f"vote of {name}"] = votes[decisions.offset :]
    for name in CONDITIONS:
        columns[f"decision {name}"] = getattr(decisions, name)
    if decisions.share is not None:
        columns["share of the exposure"] = decisions.share
    return pd.DataFrame(columns, index=times)


def _terms(column: Any) -> Iterable[tuple[str, np.ndarray]]:
    """The comparisons inside a condition: their text and truth."""
    terms = getattr(column, "terms", None) or ()
    return terms.items() if isinstance(terms, Mapping) else terms


def history_of(plugin: Plugin, parameters: Mapping[str, Any], market: Market) -> int:
    """Bars that the conditions look back on; for a next() of its own, those that its indicators need to begin."""
    kind: Any = plugin.load()
    few = {symbol: candles.rows(0, NEW_CANDLES) for symbol, candles in market.items()}
    columns = [
        f"{alias}{end}" for alias in getattr(kind, "signals", {}) if issubclass(kind, Strategy) for end in ENDINGS
    ]
    forecasts = {symbol: pd.DataFrame(0.0, candles.time, columns) for symbol, candles in few.items()}
    if not overrides_next(kind):
        symbol = next(iter(few))
        return history_needed(kind, check_parameters(kind, parameters), Bars(few[symbol], forecasts[symbol]))
    found = [0]

    class Asked(kind):  # type: ignore[misc]
        def _periodset(self) -> None:
            super()._periodset()
            found.extend([self._minperiod, *self._minperiods])
            raise LookupError("this is all that was to be asked")

    Asked.__module__, Asked.__name__ = kind.__module__, kind.__name__
    with suppress(Exception):  # what else may be wrong with it is found by the checks
        simulate(
            Asked, dict(parameters), few, predictions=forecasts, decisions={},
            rules={symbol: market_rules(symbol) for symbol in few}, costs=Costs(), cash=10_000.0,
        )  # fmt: skip
    return int(max(found))


def _watched(strategy: Any, orders: list[Event]) -> Any:
    """The strategy with a note of every order at the moment at which it is decided."""

    def note(self: Any, order: Any) -> Any:
        if order is not None:
            feed, created = order.data, order.created
            kind = order.ExecTypes[order.exectype]
            text = f"a {kind} order of {created.size!r} {feed.candles.symbol} at {created.price!r}"
            orders.append((feed.candles.time[len(feed) - 1], text))
        return order

    class Watched(strategy):  # type: ignore[misc]
        def buy(self, *args: Any, **kwargs: Any) -> Any:
            return note(self, super().buy(*args, **kwargs))

        def sell(self, *args: Any, **kwargs: Any) -> Any:
            return note(self, super().sell(*args, **kwargs))

    Watched.__name__ = strategy.__name__
    return Watched
