"""The rules in vectorbt, as fast as it runs them: its Rust engine where that is installed, times without a time zone.

Orders decided at a close fill at the next open: signals are shifted by a bar and filled at that bar's open. Where a
signal to enter meets one to leave, an open position is closed. What still differs: vectorbt sizes an order by the open
at which it fills, freqlstm by the close at which it was decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt

from benchmarks.rules import CASH, COMMISSION, SLIPPAGE, WARMUP, Levels

ENGINE = "rust" if find_spec("vectorbt_rust") else "numba"


def portfolio(frame: pd.DataFrame, enter: np.ndarray, leave: np.ndarray, engine: str) -> Any:
    """A simulation of signals of shape (bars,) or (bars, combinations)."""
    return vbt.Portfolio.from_signals(
        frame["close"], shifted(enter), shifted(leave), price=frame["open"], fees=COMMISSION, slippage=SLIPPAGE,
        init_cash=CASH, size=Levels().exposure, size_type="percent", upon_long_conflict="opposite", freq="1min",
        engine=engine,
    )  # fmt: skip


def shifted(signal: np.ndarray) -> np.ndarray:
    """The same a bar later."""
    later = np.zeros_like(signal)
    later[1:] = signal[:-1]
    return later


class Indicators:
    """RSI, Bollinger bands and MACD of vectorbt, each once for every distinct value of its parameters."""

    def __init__(self, close: pd.Series[float], combinations: Sequence[Levels], engine: str) -> None:
        self.close = close.to_numpy()
        periods = sorted({each.rsi_period for each in combinations})
        # Wilder's smoothing over n bars is an exponential mean with the span 2n - 1
        rsi = vbt.RSI.run(close, window=[2 * n - 1 for n in periods], ewm=True, engine=engine).rsi.to_numpy()
        self.rsi = dict(zip(periods, rsi.reshape(len(close), -1).T, strict=True))
        periods = sorted({each.period for each in combinations})
        bands = vbt.BBANDS.run(close, window=periods, alpha=Levels().deviations, engine=engine)
        lower, upper = (np.asarray(each).reshape(len(close), -1).T for each in (bands.lower, bands.upper))
        self.bands = dict(zip(periods, zip(lower, upper, strict=True), strict=True))
        macd = vbt.MACD.run(close, macd_ewm=True, signal_ewm=True, engine=engine)
        self.histogram = macd.macd.to_numpy() - macd.signal.to_numpy()


def signals(have: Indicators, forecast: np.ndarray, chunk: Sequence[Levels]) -> tuple[np.ndarray, np.ndarray]:
    """Where to enter and where to leave; shape (bars, combinations)."""
    shape = len(forecast), len(chunk)
    enter, leave = np.empty(shape, bool), np.empty(shape, bool)
    falling = have.histogram < 0
    for at, levels in enumerate(chunk):
        rsi, (lower, upper) = have.rsi[levels.rsi_period], have.bands[levels.period]
        enter[:, at] = (forecast > levels.threshold) & (rsi < levels.oversold) & (have.close < lower) & falling
        leave[:, at] = (forecast < -levels.threshold) & (rsi > levels.overbought) | (have.close > upper)
    enter[:WARMUP] = leave[:WARMUP] = False
    return enter, leave
