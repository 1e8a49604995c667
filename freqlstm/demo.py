"""The demo market: synthetic candles of BTC, ETH, SOL and ADA that need no network, always labelled SYNTHETIC.

It imitates what matters to a strategy: volatility that clusters over minutes and days, a busy and a quiet time of day,
jumps, prices on a tick grid, assets that move together, and returns that revert a little, so that a forecaster has a little to
find (a correlation of a few percent) and costs are what decides. It is a toy: nothing earned on it says anything about
a real market.

Only integer and basic floating-point arithmetic is used, from a bit generator whose stream never changes, so the
candles are the same on every machine, to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
import pandas as pd

from freqlstm.candles import Candles, check_symbol, step_of
from freqlstm.errors import UnknownName

END = pd.Timestamp("2024-04-01", tz="UTC")
BARS = 131_040  # 91 days of minutes
LONGEST = pd.Timedelta(days=1820)  # of the coarse timeframes

MINUTE_VOLATILITY = 5e-4  # standard deviation of a BTC return over one minute
REVERSION = 0.05  # share of the shock of the bar before that is given back
SLOW_REVERSION = 0.01  # share of the shocks of each of the five bars before that is given back
JUMP_EVERY = 3_000  # bars, on average
EDGE = 1.0 / 65_536


@dataclass(frozen=True)
class Asset:
    """One synthetic asset."""

    price: float  # of the first open, in USDT
    beta: float  # share of the market's shocks
    own: float  # share of its own shocks
    ticks: int  # price steps in one USDT
    lots: int  # volume steps in one unit of the asset
    turnover: float  # typical volume a minute, in USDT


ASSETS = {
    "BTC/USDT": Asset(42_300.0, 0.95, 0.31, 100, 100_000, 900_000.0),
    "ETH/USDT": Asset(2_290.0, 1.05, 0.55, 100, 10_000, 450_000.0),
    "SOL/USDT": Asset(101.0, 1.25, 1.05, 100, 1_000, 180_000.0),
    "ADA/USDT": Asset(0.5940, 1.15, 0.90, 10_000, 10, 60_000.0),
}


def demo_market(timeframe: str = "1m", symbols: Sequence[str] = tuple(ASSETS)) -> dict[str, Candles]:
    """Candles of several symbols, each the same whichever others are asked for."""
    return {check_symbol(symbol): demo_candles(symbol, timeframe) for symbol in symbols}


def demo_candles(symbol: str = "BTC/USDT", timeframe: str = "1m") -> Candles:
    """Candles without gaps that end on 2024-04-01: 131,040 of them (91 days of ``1m``), or 1,820 days if that is less.

    Each timeframe is a market of its own: 5m candles are not sums of the 1m ones.
    """
    symbol = check_symbol(symbol)
    if symbol not in ASSETS:
        raise UnknownName("symbol of the demo market", symbol, ASSETS)
    frame = _frame(symbol, timeframe).copy(deep=False)  # copied on write, so nobody can change what is kept
    return Candles(frame, symbol, timeframe, "demo")


@lru_cache(maxsize=16)
def _frame(symbol: str, timeframe: str) -> pd.DataFrame:
    asset = ASSETS[symbol]
    step = step_of(timeframe)
    rows = min(BARS, LONGEST // step)
    time = pd.date_range(END - rows * step, periods=rows, freq=step, unit="ms", name="time")
    minute = (time.as_unit("ns").asi8 // 60_000_000_000 % 1_440).astype(np.int64)
    busy = _time_of_day(minute) if step < pd.Timedelta(days=1) else np.ones(rows)

    common, own = f"market {timeframe}", f"{symbol} {timeframe}"
    shock = asset.beta * _shocks(common, rows) + asset.own * _shocks(own, rows)
    level = _volatility_level(common, rows) * (0.7 + 0.3 * _volatility_level(own, rows))
    size = MINUTE_VOLATILITY * _square_root(step / pd.Timedelta(minutes=1))
    volatility = size * level * busy
    drift = volatility * volatility * (asset.beta * asset.beta + asset.own * asset.own) / 2  # the log price has none
    change = np.clip(drift + volatility * _reverting(shock), -0.5, 0.5)

    close = asset.price * np.cumprod(1.0 + change)
    open_ = np.concatenate([[asset.price], close[:-1]])
    spread = volatility * (asset.beta + asset.own) * 0.8
    high = np.maximum(open_, close) * (1.0 + _wick(f"high {own}", change, spread))
    low = np.minimum(open_, close) / (1.0 + _wick(f"low {own}", change, spread))

    surprise = np.abs(change) / np.maximum(volatility, 1e-12)
    crowd = _exponential(0.35 * _normal(f"crowd {own}", rows) + 0.15 * _normal(f"crowd {common}", rows))
    minutes = step / pd.Timedelta(minutes=1)
    traded = asset.turnover * minutes * level * busy * (0.5 + 0.6 * surprise) * crowd * _quarter_hours(minute, step)

    def on_ticks(price: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(np.rint(price * asset.ticks), 1.0))

    table = np.stack([on_ticks(price) for price in (open_, high, low, close)])
    table[1], table[2] = table.max(axis=0), table.min(axis=0)
    frame = pd.DataFrame(dict(zip(("open", "high", "low", "close"), table / asset.ticks, strict=True)), index=time)
    frame["volume"] = np.maximum(np.rint(traded / close * asset.lots), 1.0) / asset.lots
    return frame


def _words(name: str, count: int) -> np.ndarray:
    """Random 64-bit words of the stream called ``name``."""
    seed = int.from_bytes(hashlib.sha256(f"freqlstm demo 1 {name}".encode()).digest()[:16], "big")
    return np.asarray(np.random.PCG64(seed).random_raw(count))


def _normal(name: str, rows: int) -> np.ndarray:
    """Shape (rows,): nearly normal numbers, mean 0 and deviation 1: twelve uniform ones added up, in integers."""
    quarters = _words(name, rows * 3).view(np.uint16).reshape(rows, 12)
    return np.asarray((quarters.sum(axis=1, dtype=np.int64) - 12 * 65_535 / 2) * EDGE)


def _shocks(name: str, rows: int) -> np.ndarray:
    """Shape (rows,): shocks of deviation about 1, now and then a jump of five or more."""
    shock = _normal(f"shock {name}", rows)
    draw = _words(f"jump {name}", rows)
    jump = np.where(draw % JUMP_EVERY == 0, 5.0 + (draw >> 60) / 4.0, 0.0)
    return np.asarray(shock + np.where(draw >> 32 & 1 == 1, jump, -jump))


def _reverting(shock: np.ndarray) -> np.ndarray:
    """Each shock less a little of those before it."""
    result = shock.copy()
    for lag in range(1, 6):
        weight = SLOW_REVERSION + (REVERSION if lag == 1 else 0.0)
        result[lag:] -= weight * shock[:-lag]
    return result


def _volatility_level(name: str, rows: int) -> np.ndarray:
    """Shape (rows,): a positive factor around 1 that wanders over about an hour's and a day's worth of minutes."""
    fast = _wandering(f"fast {name}", rows, 0.97, 0.45)
    slow = _wandering(f"slow {name}", rows, 0.9993, 0.40)
    return _exponential(fast + slow)


def _wandering(name: str, rows: int, memory: float, deviation: float) -> np.ndarray:
    """Shape (rows,): a first-order autoregression of the given standard deviation."""
    kick = deviation * _square_root(1.0 - memory * memory)
    steps = (kick * _normal(name, rows)).tolist()
    return np.array(list(accumulate(steps, lambda before, step: memory * before + step)))


def _time_of_day(minute: np.ndarray) -> np.ndarray:
    """Shape (rows,): a factor from 0.75 at 03:00 to 1.25 at 15:00 UTC, two parabolas instead of a sine."""
    phase = (minute - 540) % 1_440 / 720.0  # 0 at 09:00, 1 at 21:00
    half = phase % 1.0
    return np.asarray(1.0 + np.where(phase < 1.0, 1.0, -1.0) * half * (1.0 - half))


def _quarter_hours(minute: np.ndarray, step: pd.Timedelta) -> np.ndarray:
    """Shape (rows,): more volume in the first minute of each quarter of an hour."""
    return np.where((minute % 15 == 0) & (step < pd.Timedelta(minutes=15)), 1.3, 1.0)


def _wick(name: str, change: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How far a Brownian bridge of that spread goes beyond its two ends: an exact draw of its maximum.

    Source: the reflection principle; the exponential it needs is half the sum of two squared normal numbers.
    """
    rows = len(change)
    exponential = (_normal(f"{name} 1", rows) ** 2 + _normal(f"{name} 2", rows) ** 2) / 2
    return np.asarray((np.sqrt(change * change + 2 * spread * spread * exponential) - np.abs(change)) / 2)


def _exponential(power: np.ndarray) -> np.ndarray:
    """e to the ``power``, by ten squarings: the C library's own differs between machines in the last bit."""
    result = 1.0 + power / 1024.0
    for _ in range(10):
        result = result * result
    return np.asarray(result)


def _square_root(value: float) -> float:
    return float(np.sqrt(value))  # exactly rounded everywhere, unlike the power operator
