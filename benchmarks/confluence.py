"""The rules as a strategy of freqlstm, and what its engines need to run them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ground import SYMBOL, forecasts
from benchmarks.rules import CASH, COMMISSION, SLIPPAGE, WARMUP, Levels
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.strategy import Strategy

LEVELS = Levels()
RULES: Mapping[str, MarketRules] = {SYMBOL: MarketRules(lot_step=1e-8, min_notional=0.0)}  # as vectorbt: no such limits
COSTS = Costs(commission=COMMISSION, slippage=SLIPPAGE)
__all__ = ["CASH", "COSTS", "RULES", "Confluence", "predictions"]


class Confluence(Strategy):
    """Buy the oversold dip below the lower band, where the MACD falls and the forecast rises."""

    signals = dict(prediction="lstm")
    warmup = WARMUP
    params = LEVELS._asdict()

    def enter_long(self, bars: Any) -> Any:
        return (
            (bars.prediction > self.p.threshold)
            & (bars.rsi(self.p.rsi_period) < self.p.oversold)
            & (bars.close < bars.bollinger(self.p.period, self.p.deviations).lower)
            & (bars.macd().histogram < 0)
        )

    def exit_long(self, bars: Any) -> Any:
        return (bars.prediction < -self.p.threshold) & (bars.rsi(self.p.rsi_period) > self.p.overbought) | (
            bars.close > bars.bollinger(self.p.period, self.p.deviations).upper
        )


def predictions(candles: Candles) -> pd.DataFrame:
    """What the signal is taken to have said."""
    return pd.DataFrame({"prediction": np.asarray(forecasts(len(candles)))}, index=candles.time)
