"""The reference engine: Backtrader, fed with whole columns.

Market orders decided at the close of bar t fill at the open of t+1. Fills, refusals, cash and equity are Backtrader's
own, but for three things that its broker leaves to chance: slippage never pushes a limit order beyond its limit, an
order never fills on a candle that was already there when it was placed, and an entry lapses where the next candle is
missing.
"""

from __future__ import annotations

import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines.fills import Fill, Refusal
from freqlstm.errors import PluginError
from freqlstm.strategy import Decisions, overrides_next

_DAY = 86_400_000.0  # milliseconds


def backtrader_days(time: pd.DatetimeIndex) -> np.ndarray:
    """Open times as Backtrader's day numbers: days since 0001-01-01, plus one. Shape (rows,), float64."""
    return np.asarray(time.as_unit("ms").asi8 / _DAY + 719163.0)


class ColumnFeed(bt.feed.DataBase):  # type: ignore[misc]
    """Candles and predictions handed to Backtrader as whole arrays instead of row by row."""

    def __init__(
        self, candles: Candles, columns: Mapping[str, np.ndarray], decisions: Decisions | None,
        market_rules: MarketRules, allow_short: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.candles = candles
        self.decisions = decisions
        self.market_rules = market_rules
        self.allow_short = allow_short
        self.step_days = candles.step / pd.Timedelta(days=1)
        self._columns = {
            **{name: candles.frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")},
            "datetime": backtrader_days(candles.time),
            "openinterest": np.zeros(len(candles)),
            **columns,
        }

    @classmethod
    def with_lines(cls, names: tuple[str, ...]) -> type[ColumnFeed]:
        """The same feed with further lines."""
        return type("ColumnFeed", (cls,), {"lines": names}) if names else cls

    def preload(self) -> None:
        rows = len(self.candles)
        for name in self.lines.getlinealiases():
            line = getattr(self.lines, name)
            line.array = array.array("d")
            line.array.frombytes(np.ascontiguousarray(self._columns[name], dtype=np.float64).tobytes())
            line.lencount = rows
            line.idx = rows - 1
        self.home()


class Ledger(bt.brokers.BackBroker):  # type: ignore[misc]
    """Backtrader's broker, with a memory: fills, refusals and the value at every bar."""

    def __init__(self) -> None:
        super().__init__()
        self.fills: list[Fill] = []
        self.refusals: list[Refusal] = []
        self.equity = array.array("d")
        self.idle_cash = array.array("d")
        self._before_slippage = 0.0

    def next(self) -> None:
        super().next()
        self.equity.append(self._value)
        self.idle_cash.append(self.cash)

    def refuse(self, data: Any, size: float, reason: str, why: str) -> None:
        """Note an order that is not even sent."""
        self.refusals.append(Refusal(data.candles.symbol, len(data) - 1, size, reason, why))

    def notify(self, order: Any) -> None:
        if order.status == order.Completed:
            done, feed = order.executed, order.data
            self.fills.append(
                Fill(
                    feed.candles.symbol, self._row(feed, order.created.dt), len(feed) - 1, done.size, done.price,
                    done.comm, abs(done.price - self._before_slippage) * abs(done.size), order.info.get("reason", ""),
                )
            )  # fmt: skip
        elif order.status in (order.Margin, order.Rejected):
            worth = abs(order.created.size) * order.data.open[0]
            self._refused(order, f"worth {worth:,.2f} before commission, with {self.cash:,.2f} in cash")
        super().notify(order)

    def _refused(self, order: Any, why: str) -> None:
        feed = order.data
        self.refusals.append(
            Refusal(
                feed.candles.symbol, self._row(feed, order.created.dt), order.created.size,
                order.info.get("reason", ""), why,
            )
        )  # fmt: skip

    @staticmethod
    def _row(feed: ColumnFeed, day: float) -> int:
        return int(np.searchsorted(feed._columns["datetime"], day))

    def _try_exec(self, order: Any) -> None:
        now, decided = order.data.datetime[0], order.created.dt
        if now <= decided:  # another symbol's candle: this one has none yet
            return
        if order.info.get("next_candle_only") and now > decided + 1.5 * order.data.step_days:
            self._refused(order, "the candle in which it would have filled is missing")
            order.cancel()
            self.notify(order)
            return
        self._before_slippage = order.created.price  # a limit order that fills at its limit does not slip
        super()._try_exec(order)

    def _slip_up(self, pmax: float, price: float, doslip: bool = True, lim: bool = False) -> float:
        self._before_slippage = price
        slipped = price * (1 + self.p.slip_perc)
        return min(slipped, pmax) if lim else slipped

    def _slip_down(self, pmin: float, price: float, doslip: bool = True, lim: bool = False) -> float:
        self._before_slippage = price
        slipped = price * (1 - self.p.slip_perc)
        return max(slipped, pmin) if lim else slipped


class ExposureSizer(bt.Sizer):  # type: ignore[misc]
    """Sizes the orders of plain Backtrader strategies that name no size: 95% of cash in whole lots, or all of a position."""

    def _getsizing(self, comminfo: Any, cash: float, data: Any, isbuy: bool) -> float:
        held = self.broker.getposition(data).size
        if held and (held < 0) == isbuy:
            return abs(float(held))
        return float(data.market_rules.floor(0.95 * cash / data.close[0]))


@dataclass(frozen=True)
class Simulation:
    """What an engine returns. ``equity`` is indexed by open time and holds the values at that bar's close."""

    fills: list[Fill]
    refusals: list[Refusal]
    equity: pd.DataFrame  # columns equity, cash


def simulate(
    strategy: type[bt.Strategy],
    parameters: Mapping[str, Any],
    market: Mapping[str, Candles],
    *,
    predictions: Mapping[str, pd.DataFrame],
    decisions: Mapping[str, Decisions],
    rules: Mapping[str, MarketRules],
    costs: Costs,
    cash: float,
    allow_short: bool = False,
) -> Simulation:
    """Run ``strategy`` over the candles of ``market`` with shared ``cash`` (units of the quote asset).

    ``decisions`` come from :func:`freqlstm.strategy.decide`; a strategy with its own ``next()`` gets none, but the
    predictions as further lines of its data.
    """
    cerebro = bt.Cerebro(stdstats=False)
    broker = Ledger()
    broker.set_cash(cash)
    broker.setcommission(commission=costs.commission)
    broker.set_slippage_perc(costs.slippage)
    cerebro.broker = broker
    cerebro.addsizer(ExposureSizer)
    own_loop = overrides_next(strategy)
    for symbol, candles in market.items():
        columns = {name: values.to_numpy() for name, values in predictions[symbol].items()} if own_loop else {}
        kind = ColumnFeed.with_lines(tuple(columns))
        cerebro.adddata(kind(candles, columns, decisions.get(symbol), rules[symbol], allow_short), name=symbol)
    cerebro.addstrategy(strategy, **parameters)
    try:
        cerebro.run()
    except Exception as error:
        if own_loop and not isinstance(error, PluginError):
            raise PluginError(f"{strategy.__name__} stopped with {type(error).__name__}: {error}.") from error
        raise
    times = next(iter(market.values())).time
    for candles in list(market.values())[1:]:
        times = times.union(candles.time)
    equity = pd.DataFrame({"equity": np.array(broker.equity), "cash": np.array(broker.idle_cash)}, index=times)
    return Simulation(broker.fills, broker.refusals, equity)
