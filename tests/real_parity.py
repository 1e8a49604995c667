"""Every shipped strategy on recorded candles, in both engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.bars import Bars
from freqlstm.candles import Candles
from freqlstm.costs import Costs, market_rules
from freqlstm.engines.fills import Simulation
from freqlstm.strategy import Decisions, decide, signals_of

STRATEGIES = (
    "boosted_confluence", "buy_and_hold", "lstm_bollinger", "lstm_macd", "lstm_rsi", "lstm_volatility_gate", "rsi_bollinger",
)  # fmt: skip


def stand_in(candles: Candles, columns: Mapping[str, str]) -> pd.DataFrame:
    """A column for each signal, made of past closes: the engines are compared, not the signals."""
    moved = np.log(candles.close).diff()
    made = {
        name: np.log(moved.rolling(30).var() * 30) if "volatility" in signal else -0.2 * moved.rolling(5).sum()
        for name, signal in columns.items()
    }
    return pd.DataFrame(made, index=candles.time).replace([np.inf, -np.inf], np.nan)


def decided(strategy: Any, market: Mapping[str, Candles]) -> dict[str, Decisions]:
    """The conditions of a shipped strategy on each symbol."""
    columns = signals_of(strategy)
    return {
        symbol: decide(strategy, {}, Bars(candles, stand_in(candles, columns))) for symbol, candles in market.items()
    }


def run(
    simulate: Callable[..., Simulation], strategy: Any, market: Mapping[str, Candles], decisions: Mapping[str, Decisions],
    **parameters: Any,
) -> Simulation:  # fmt: skip
    """One run with the market's own lots and usual costs."""
    return simulate(
        strategy, parameters, market, predictions={s: pd.DataFrame(index=c.time) for s, c in market.items()},
        decisions=decisions, rules={symbol: market_rules(symbol) for symbol in market}, costs=Costs(), cash=1e6,
    )  # fmt: skip
