"""Stock Backtrader, for comparison: its own loop, its observers, and candles that it reads row by row.

It fills what the reference engine fills, to the bit; only the broker is that of the reference engine.
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
from freqlstm.engines.backtrader import backtrader_timeframe, open_account, ran, steps_of
from freqlstm.engines.broker import Ledger
from freqlstm.engines.fills import Simulation
from freqlstm.strategy import Decisions, overrides_next


class RowFeed(bt.feeds.PandasData):  # type: ignore[misc]
    """Backtrader's feed of a pandas table, with what the broker and the desks of the reference engine ask a feed for.

    A look back beyond the first candle finds NaN, as it does there: the past must not be the future in any engine.
    """

    candles: Candles
    decisions: Decisions | None
    market_rules: MarketRules
    allow_short: bool
    step_days: float
    days: np.ndarray

    @classmethod
    def of(cls, candles: Candles, columns: pd.DataFrame) -> RowFeed:
        """Candles, and ``columns`` as further lines."""
        names = tuple(map(str, columns))
        kind = type("RowFeed", (cls,), {"lines": names, "params": tuple((name, -1) for name in names)})
        table = candles.frame.assign(openinterest=0.0, **{str(name): columns[name] for name in columns})
        timeframe, compression = backtrader_timeframe(candles.step)
        feed = kind(
            dataname=table.set_axis(naive(candles.time)), openinterest=-1, timeframe=timeframe, compression=compression
        )
        feed.candles, feed.days = candles, row_days(candles.time)
        feed.step_days = candles.step / pd.Timedelta(days=1)
        return feed  # type: ignore[no-any-return]

    def preload(self) -> None:
        super().preload()
        if self.decisions is None:
            rows = len(self.candles)
            for name in self.lines.getlinealiases():
                line = getattr(self.lines, name)
                line.array.frombytes(np.full(rows, np.nan).tobytes())
                line.extension = len(line.array) - rows

    def row_of(self, day: float) -> int:
        """The row of the candle that opened at ``day``."""
        return int(np.searchsorted(self.days, day))


def naive(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """UTC without saying so, as Backtrader wants it."""
    return times.tz_localize(None).as_unit("ns")


def row_days(times: pd.DatetimeIndex) -> np.ndarray:
    """Open times as the day numbers that Backtrader makes of each row. Shape (rows,)."""
    return np.array([bt.date2num(time) for time in naive(times).to_pydatetime()])


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
    """Like :func:`freqlstm.engines.backtrader.simulate`, at the pace of Backtrader as it comes."""
    cerebro = bt.Cerebro()
    times = steps_of(market)
    broker = Ledger(array.array("d", row_days(times).tobytes()))
    open_account(cerebro, broker, costs, cash)
    for symbol, candles in market.items():
        feed = RowFeed.of(candles, predictions[symbol] if overrides_next(strategy) else pd.DataFrame())
        feed.decisions, feed.market_rules, feed.allow_short = decisions.get(symbol), rules[symbol], allow_short
        cerebro.adddata(feed, name=symbol)
    return ran(cerebro, broker, strategy, parameters, times)
