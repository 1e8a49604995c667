"""Small markets and scripted strategies for tests of trading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from freqlstm.bars import Bars
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines.backtrader import Simulation, simulate
from freqlstm.engines.fills import trade_list
from freqlstm.strategy import Strategy, decide, overrides_next

FREE = Costs(commission=0.0, slippage=0.0)
FINE = MarketRules(lot_step=0.01, min_notional=5.0)


def candles_of(
    *rows: Sequence[float], symbol: str = "BTC/USDT", missing: Sequence[int] = (), first: int = 0
) -> Candles:
    """Minutes of (open, high, low, close) from 2024-01-01 00:00, the ``first`` of them skipped, and without those ``missing``."""
    times = pd.date_range("2024-01-01", periods=first + len(rows), freq="min", tz="UTC")[first:]
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"], index=times, dtype=float).assign(volume=1.0)
    return Candles.from_frame(frame.drop(times[list(missing)]), symbol, "1m")


def flat(price: float, rows: int) -> list[tuple[float, float, float, float]]:
    """Candles in which nothing moves."""
    return [(price, price, price, price)] * rows


def scripted(
    enter_long: Sequence[int] = (), exit_long: Sequence[int] = (), enter_short: Sequence[int] = (),
    exit_short: Sequence[int] = (), **settings: Any,
) -> type[Strategy]:  # fmt: skip
    """A strategy whose conditions are true on the given rows."""

    class Scripted(Strategy):
        params = tuple(settings.items())

        def _at(self, bars: Bars, rows: Sequence[int]) -> np.ndarray:
            return np.isin(np.arange(len(bars.candles)), rows)

        def enter_long(self, bars: Bars) -> Any:
            return self._at(bars, enter_long)

        def exit_long(self, bars: Bars) -> Any:
            return self._at(bars, exit_long)

        def enter_short(self, bars: Bars) -> Any:
            return self._at(bars, enter_short)

        def exit_short(self, bars: Bars) -> Any:
            return self._at(bars, exit_short)

    return Scripted


def run(
    strategy: type[bt.Strategy], *symbols: Candles, cash: float = 1000.0, costs: Costs = FREE,
    rules: MarketRules = FINE, allow_short: bool = False, predictions: Mapping[str, pd.DataFrame] | None = None,
    simulate: Callable[..., Simulation] = simulate, **parameters: Any,
) -> Simulation:  # fmt: skip
    """Decide and simulate."""
    market = {candles.symbol: candles for candles in symbols}
    tables = predictions or {symbol: pd.DataFrame(index=candles.time) for symbol, candles in market.items()}
    decisions = {}
    if not overrides_next(strategy):
        decisions = {
            symbol: decide(strategy, parameters, Bars(candles, tables[symbol])) for symbol, candles in market.items()
        }
    return simulate(
        strategy, parameters, market, predictions=tables, decisions=decisions, rules=dict.fromkeys(market, rules),
        costs=costs, cash=cash, allow_short=allow_short,
    )  # fmt: skip


def trades_of(simulation: Simulation, *symbols: Candles) -> pd.DataFrame:
    """The trade list, with nothing but the names of the conditions as reasons."""
    market = {candles.symbol: candles for candles in symbols}
    return trade_list(
        simulation.fills, simulation.refusals, market, lambda symbol, reason, row: (reason, "", float("nan"))
    )
