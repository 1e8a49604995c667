"""What a signal is asked to forecast: the only functions that look ahead.

A label stands in the row of bar t and is known only at the close of bar t + horizon. It is NaN where the bars t to
t + horizon are not one unbroken stretch of closed candles, so none spans a gap and none exists for the newest bars.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from freqlstm import rolling
from freqlstm.candles import Candles
from freqlstm.errors import UsageError

SMALLEST_VARIANCE = 1e-12  # per bar: a hundredth of a basis point squared, so that a frozen market has a logarithm
PAST = 4  # horizons of past variance that a forecast of volatility starts from


def forward_return(candles: Candles, horizon: int) -> pd.Series[float]:
    """log(close[t + horizon] / close[t])."""
    _check_bars("horizon", horizon)
    logarithm = rolling.log(candles.close.to_numpy())
    return _ahead(candles, logarithm, horizon, minus=logarithm).rename("forward_return")


def direction(candles: Candles, horizon: int) -> pd.Series[float]:
    """1.0 where the close is higher ``horizon`` bars later, 0.0 where it is lower, NaN where it is the same."""
    move = forward_return(candles, horizon)
    rose = pd.Series(np.where(move > 0, 1.0, 0.0), index=move.index, name="direction")
    return rose.where((move != 0) & move.notna())


def log_realised_variance(candles: Candles, horizon: int) -> pd.Series[float]:
    """Logarithm of the sum of the squared one-bar log returns of the bars t + 1 to t + horizon."""
    past = log_past_variance(candles, horizon).to_numpy()
    return _ahead(candles, past, horizon).rename("log_realised_variance")


def log_past_variance(candles: Candles, bars: int) -> pd.Series[float]:
    """The same sum over the bars t - bars + 1 to t: known at the close of bar t. The first ``bars`` of a stretch are NaN."""
    _check_bars("bars", bars)

    def of_stretch(stretch: Candles) -> pd.Series[float]:
        squares = rolling.change(rolling.log(stretch.close.to_numpy())) ** 2
        logarithm = rolling.log(rolling.mean(squares, bars) * bars, SMALLEST_VARIANCE * bars)
        return pd.Series(logarithm, index=stretch.time, name="log_past_variance")

    return candles.by_segment(of_stretch, bars)["log_past_variance"]


def _ahead(candles: Candles, later: np.ndarray, horizon: int, minus: np.ndarray | None = None) -> pd.Series[float]:
    """``later[t + horizon] - minus[t]`` wherever both bars belong to one unbroken stretch."""
    values = np.full(len(candles), np.nan)
    if len(candles) > horizon:
        change = later[horizon:] - (0.0 if minus is None else minus[:-horizon])
        values[:-horizon] = np.where(candles.segment[horizon:] == candles.segment[:-horizon], change, np.nan)
    return pd.Series(values, index=candles.time)


def _check_bars(name: str, bars: int) -> None:
    if isinstance(bars, bool) or not isinstance(bars, (int, np.integer)) or bars < 1:
        raise UsageError(f"{name} is {bars!r}. It must be a whole number of bars, at least 1.")
