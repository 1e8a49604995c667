"""The reference engine: Backtrader, fed with whole columns.

Market orders decided at the close of bar t fill at the open of t+1. Cash, equity, fills and refusals are Backtrader's
own but for what :class:`freqlstm.engines.broker.Ledger` lists.
"""

from __future__ import annotations

import array
from collections.abc import Mapping
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines.broker import Ledger
from freqlstm.engines.fills import Simulation as Simulation
from freqlstm.errors import FreqlstmError, PluginError
from freqlstm.strategy import Decisions, Strategy, failure, overrides_next

_DAY = 86_400_000.0  # milliseconds


def backtrader_days(time: pd.DatetimeIndex) -> np.ndarray:
    """Open times as Backtrader's day numbers: days since 0001-01-01, plus one. Shape (rows,), float64."""
    days = np.asarray(time.as_unit("ms").asi8 / _DAY)
    days += 719163.0
    return days


def backtrader_timeframe(step: pd.Timedelta) -> tuple[int, int]:
    """The unit in which Backtrader tells the time between two candles, and how many of them it is."""
    whole_days, rest = divmod(step, pd.Timedelta(days=1))
    if rest:
        return bt.TimeFrame.Minutes, max(1, step // pd.Timedelta(minutes=1))
    return bt.TimeFrame.Days, int(whole_days)


class ColumnFeed(bt.feed.DataBase):  # type: ignore[misc]
    """Candles and predictions handed to Backtrader as whole arrays instead of row by row.

    Where a strategy reads the lines itself, a look back beyond the first candle finds NaN. In Backtrader it would find
    the newest candles, which is where Python's negative indices lead.
    """

    tick_open = tick_high = tick_low = tick_close = None  # what Backtrader asks for on every bar: there are no ticks

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
        self.days = backtrader_days(candles.time)
        self._columns = {
            **{name: candles.frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")},
            "datetime": self.days,
            "openinterest": np.zeros(len(candles)),
            **columns,
        }
        self.p.timeframe, self.p.compression = backtrader_timeframe(candles.step)

    @classmethod
    def with_lines(cls, names: tuple[str, ...]) -> type[ColumnFeed]:
        """The same feed with further lines."""
        return type("ColumnFeed", (cls,), {"lines": names}) if names else cls

    def preload(self) -> None:
        rows = len(self.candles)
        before = np.full(0 if self.decisions is not None else rows, np.nan).tobytes()
        for name in self.lines.getlinealiases():
            line = getattr(self.lines, name)
            line.array = array.array("d")
            line.array.frombytes(np.ascontiguousarray(self._columns[name], dtype=np.float64).tobytes())
            line.array.frombytes(before)  # index -1 is the last of these
            line.extension = len(line.array) - rows
        self.home()

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        self.lines.advance(size)  # without copying the candle into the ticks

    def row_of(self, day: float) -> int:
        """The row of the candle that opened at ``day``."""
        return int(np.searchsorted(self.days, day))


class Simulator(bt.Cerebro):  # type: ignore[misc]
    """Backtrader's loop, which passes over the bars on which nothing can happen.

    For a strategy made of conditions these are known: without a position all bars until the next entry; with one all
    until its next exit, or until a candle that touches its stop or its profit. What is noted is the same to the bit. A
    strategy that can tell the difference, because it watches every bar or every order, gets Backtrader's own loop.
    """

    def _runonce(self, runstrats: list[Any]) -> None:
        (strategy,) = runstrats
        if watches(strategy) or self._timers or self._timerscheat or self.runwriters:
            super()._runonce(runstrats)
            return
        broker, feeds, desks = self._broker, self.datas, strategy.desks
        broker.heard = False
        steps = np.asarray(broker.days)
        seen = {feed: np.searchsorted(feed.days, steps, side="right") for feed in feeds}  # candles at each step
        visits = {feed: np.searchsorted(steps, feed.days).tolist() for feed in feeds}  # step of each candle
        closes = {feed: feed.candles.close.to_numpy()[seen[feed] - 1] for feed in feeds}
        step = 0
        while step < len(steps):
            for feed in feeds:
                feed.advance(int(seen[feed][step]) - len(feed))
            broker.next()
            strategy.next()
            following = step + 1
            if broker.at_rest:
                rows = [(visits[desk.data], desk.next_row()) for desk in desks]
                following = min((visit[row] for visit, row in rows if row < len(visit)), default=len(steps))
            if following > step + 1:
                for desk in desks:
                    desk.pass_over(int(seen[desk.data][following - 1]))
                span = {feed: closes[feed][step + 1 : following] for feed in feeds}
                broker.pass_over(span, following - step - 1)
            step = following


_HOOKS = (
    "prenext", "nextstart", "stop", "notify_order", "notify_trade", "notify_cashvalue", "notify_fund", "notify_store",
    "notify_data", "notify_timer",
)  # fmt: skip


def watches(strategy: bt.Strategy) -> bool:
    """Whether a running strategy does or sees anything between its conditions' orders."""
    own = type(strategy)
    watched = any(getattr(own, hook) is not getattr(Strategy, hook, None) for hook in ("next", *_HOOKS))
    lines = any(len(iterators) for iterators in strategy._lineiterators.values())
    return watched or lines or len(strategy.analyzers) > 0


class ExposureSizer(bt.Sizer):  # type: ignore[misc]
    """Sizes the orders of plain Backtrader strategies that name no size: 95% of cash in whole lots, or all of a position."""

    def _getsizing(self, comminfo: Any, cash: float, data: Any, isbuy: bool) -> float:
        held = self.broker.getposition(data).size
        if held and (held < 0) == isbuy:
            return abs(float(held))
        if not len(data):
            raise PluginError(
                f"{data.candles.symbol} has no candle yet, so an order has no size. Wait for len(data) > 0."
            )
        wanted = max(0.0, 0.95 * cash) / data.close[0]
        size = float(data.market_rules.floor(wanted))
        if not size:  # Backtrader drops an order without a size
            why = data.market_rules.refusal(size, data.close[0])
            self.broker.refuse(data, wanted if isbuy else -wanted, "", why)
        return size


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
    cerebro = Simulator(stdstats=False)
    times = steps_of(market)
    broker = Ledger(array.array("d", backtrader_days(times).tobytes()))
    open_account(cerebro, broker, costs, cash)
    own_loop = overrides_next(strategy)
    for symbol, candles in market.items():
        table = predictions[symbol]
        columns = {str(name): table[name].to_numpy() for name in table} if own_loop else {}
        kind = ColumnFeed.with_lines(tuple(columns))
        cerebro.adddata(kind(candles, columns, decisions.get(symbol), rules[symbol], allow_short), name=symbol)
    return ran(cerebro, broker, strategy, parameters, times)


def steps_of(market: Mapping[str, Candles]) -> pd.DatetimeIndex:
    """Every open time of any symbol, in order."""
    first, *others = (candles.time for candles in market.values())
    for times in others:
        first = first.union(times)
    return first


def open_account(cerebro: bt.Cerebro, broker: Ledger, costs: Costs, cash: float) -> None:
    """Give ``cerebro`` a broker with cash and costs, and the sizes of orders that name none."""
    broker.set_cash(cash)
    broker.setcommission(commission=costs.commission)
    broker.set_slippage_perc(costs.slippage)
    cerebro.broker = broker
    cerebro.addsizer(ExposureSizer)


def ran(
    cerebro: bt.Cerebro, broker: Ledger, strategy: type[bt.Strategy], parameters: Mapping[str, Any],
    times: pd.DatetimeIndex,
) -> Simulation:  # fmt: skip
    """What ``broker`` noted while ``strategy`` ran over the data of ``cerebro``, whose steps open at ``times``."""
    cerebro.addstrategy(strategy, **parameters)
    try:
        cerebro.run()
    except FreqlstmError:
        raise
    except (Exception, SystemExit) as error:  # a plugin that leaves the program would look like success
        broken = failure(strategy, strategy.__name__, error)
        if broken is None:
            raise
        raise broken from error
    values = {"equity": np.array(broker.equity), "cash": np.array(broker.idle_cash)}
    return Simulation(broker.fills, broker.refusals, pd.DataFrame(values, index=times[: len(broker.equity)]))
