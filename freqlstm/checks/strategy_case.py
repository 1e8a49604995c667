"""A strategy on the ground that it is checked on: what it decides, and what it trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.backtest import decisions_for
from freqlstm.checks.case import Case, SignalCase, fresh
from freqlstm.checks.ground import Market
from freqlstm.checks.verdict import Event
from freqlstm.costs import Costs, market_rules
from freqlstm.engines.backtrader import simulate
from freqlstm.job import Job
from freqlstm.strategy import CONDITIONS, check_parameters, overrides_next

Forecasts = dict[str, pd.DataFrame]  # symbol -> the columns that signals fill, at the candles' open times

EARLIER = 600  # bars
TYPICAL = {
    "return": (0.0, 1e-3),
    "direction": (0.5, 0.1),
    "volatility": (-12.0, 1.0),
}  # mean and deviation of forecasts


@dataclass(frozen=True, eq=False)
class StrategyCase(Case):
    """A strategy, with the cases of the signals that it names."""

    signals: Mapping[str, SignalCase] = field(default_factory=dict)

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
        """Where trading begins: earlier for a next() of its own, whose indicators need bars before the first cut."""
        ground = self.ground
        return (
            ground.start
            if self.of_conditions
            else max(ground.first.time[0], ground.start - EARLIER * ground.first.step)
        )

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
            made[symbol] = pd.DataFrame(columns, index=candles.time)
        return made

    def job(self, market: Market, start: pd.Timestamp, end: pd.Timestamp) -> Job:
        """A run of the strategy over [start, end) that costs nothing to set up."""
        return Job(
            strategy=self.plugin, parameters={}, signals={}, market=market, start=start, end=end, folds=self.ground.plan,
            rules={symbol: market_rules(symbol) for symbol in market}, costs=Costs(), cash=10_000.0, seed=1, allow_short=True,
        )  # fmt: skip

    def decisions(self, kind: Any, job: Job, forecasts: Forecasts, symbol: str) -> Any:
        """What the conditions decide for one symbol."""
        candles = job.market[symbol].between(job.start, job.end)
        return decisions_for(job, kind, check_parameters(kind, {}), forecasts[symbol].reindex(candles.time), symbol)

    def conditions(self, kind: Any, job: Job, forecasts: Forecasts, symbol: str) -> pd.DataFrame:
        """One column for each condition and for each comparison inside it, before and after the warm-up is masked."""
        decisions = self.decisions(kind, job, forecasts, symbol)
        columns: dict[str, np.ndarray] = {}
        for name, column in decisions.columns.items():
            columns[f"condition {name}"] = column.to_numpy()[decisions.offset :]
            for text, truth in (getattr(column, "terms", None) or {}).items():
                columns[f"condition {name} ({text})"] = truth[decisions.offset :]
            if getattr(column, "votes", None) is not None:
                columns[f"vote of {name}"] = column.votes[decisions.offset :]
        for name in CONDITIONS:
            columns[f"decision {name}"] = getattr(decisions, name)
        return pd.DataFrame(columns, index=job.market[symbol].between(job.start, job.end).time)

    def trading(self, kind: Any, job: Job, forecasts: Forecasts) -> Trading:
        """Orders, fills and equity of a run."""
        traded = {symbol: candles.between(job.start, job.end) for symbol, candles in job.market.items()}
        tables = {symbol: forecasts[symbol].reindex(candles.time) for symbol, candles in traded.items()}
        decisions = {}
        if self.of_conditions:
            decisions = {symbol: self.decisions(kind, job, tables, symbol) for symbol in traded}
        orders: list[Event] = []
        outcome = simulate(
            _watched(kind, orders), {}, traded, predictions=tables, decisions=decisions, rules=job.rules, costs=job.costs,
            cash=job.cash, allow_short=True,
        )  # fmt: skip
        events = [
            (traded[fill.symbol].time[fill.row], f"a fill of {fill.size!r} {fill.symbol} at {fill.price!r}")
            for fill in outcome.fills
        ]
        refusals = [
            (traded[each.symbol].time[each.decided_row], f"an order of {each.size!r} {each.symbol} that is refused")
            for each in outcome.refusals
            if each.why.startswith(("worth", "smaller", "this market")) and "before commission" not in each.why
        ]  # the others are known at the next open only
        return Trading(orders + refusals, events, outcome.equity)


@dataclass(frozen=True)
class Trading:
    """What a run did; an order belongs to the bar at whose close it was decided."""

    orders: list[Event]
    fills: list[Event]
    equity: pd.DataFrame


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
