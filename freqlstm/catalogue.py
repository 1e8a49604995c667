"""The features that exist by name: what each of them is, in one place.

Those "scaled" are divided by the EWMA volatility, and by the root of their number of bars.
"""

from __future__ import annotations

import math

import numpy as np

from freqlstm import rolling
from freqlstm.candles import Candles
from freqlstm.feature_base import SCALED, SMALLEST_VOLATILITY, Feature, array, feature, log, returns, scaled, volatility

SMALLEST_SPREAD = 1e-9  # of prices, relative to the price: below it is rounding
DAY = 86_400  # seconds
FIRST_MONDAY = 4 * DAY  # 1970-01-05, in seconds since 1970


# The functions of a number of bars give features of any length: `momentum(30)` can be listed beside the names.


def return_lag(bars: int) -> Feature:
    """Log return of the bar ``bars`` ago, scaled; 0 is the bar that just closed."""
    return Feature(
        f"return_lag_{bars}",
        lambda candles: scaled(candles, rolling.lagged(returns(candles), bars)),
        max(bars + 1, SCALED),
        f"log return of the bar {bars} ago, scaled",
    )


def momentum(bars: int) -> Feature:
    """Log return over the last ``bars``, scaled."""
    return Feature(
        f"momentum_{bars}",
        lambda candles: scaled(candles, rolling.change(log(candles, "close"), bars), bars),
        max(bars, SCALED),
        f"log return over {bars} bars, scaled",
    )


def log_variance(bars: int) -> Feature:
    """Log of the mean squared log return of the last ``bars``; not scaled, since it tells the level itself."""
    return Feature(
        f"log_variance_{bars}",
        lambda candles: rolling.log(rolling.mean(returns(candles) ** 2, bars), SMALLEST_VOLATILITY**2),
        bars,
        f"log of the mean squared return of {bars} bars",
    )


def volatility_ratio(bars: int) -> Feature:
    """Log of the realised volatility of the last ``bars`` over the EWMA volatility."""

    def value(candles: Candles) -> np.ndarray:
        variance = rolling.mean(returns(candles) ** 2, bars)
        return np.asarray(rolling.log(variance, SMALLEST_VOLATILITY**2) / 2 - rolling.log(volatility(candles)))

    return Feature(
        f"volatility_ratio_{bars}", value, max(bars, SCALED), f"log of the volatility of {bars} bars over the usual one"
    )


def moving_average(bars: int) -> Feature:
    """Log of the close over its mean of the last ``bars``, scaled."""

    def value(candles: Candles) -> np.ndarray:
        close = array(candles, "close")
        return scaled(candles, np.log(close / rolling.mean(close, bars)), bars)

    return Feature(
        f"moving_average_{bars}", value, max(bars - 1, SCALED), f"log of the close over its mean of {bars} bars"
    )


def bollinger_z(bars: int) -> Feature:
    """Distance of the close from its mean of the last ``bars``, in population standard deviations (Bollinger 1983)."""

    def value(candles: Candles) -> np.ndarray:
        close = array(candles, "close")
        spread = rolling.deviation(close, bars)
        return rolling.ratio(close - rolling.mean(close, bars), np.where(spread < SMALLEST_SPREAD * close, 0.0, spread))

    return Feature(f"bollinger_z_{bars}", value, bars - 1, f"deviations of the close from its mean of {bars} bars")


def high_distance(bars: int) -> Feature:
    """Log of the highest high of the last ``bars`` over the close, scaled; never negative."""
    return Feature(
        f"high_distance_{bars}",
        lambda candles: scaled(candles, rolling.highest(log(candles, "high"), bars) - log(candles, "close"), bars),
        max(bars - 1, SCALED),
        f"how far the close is below the highest high of {bars} bars, scaled",
    )


def low_distance(bars: int) -> Feature:
    """Log of the close over the lowest low of the last ``bars``, scaled; never negative."""
    return Feature(
        f"low_distance_{bars}",
        lambda candles: scaled(candles, log(candles, "close") - rolling.lowest(log(candles, "low"), bars), bars),
        max(bars - 1, SCALED),
        f"how far the close is above the lowest low of {bars} bars, scaled",
    )


def rsi(bars: int) -> Feature:
    """Relative strength index (Wilder 1978), 0 to 100, 50 where nothing moved; its memory ends at a millionth."""
    alpha, length = 1 / bars, rolling.memory(1 / bars)

    def value(candles: Candles) -> np.ndarray:
        move = rolling.change(array(candles, "close"))
        gain = np.maximum(rolling.decayed(np.maximum(move, 0), alpha, length), 0)
        loss = np.maximum(rolling.decayed(np.maximum(-move, 0), alpha, length), 0)
        still = rolling.highest(np.abs(move), length) == 0
        return np.where(still, 50.0, 100 * rolling.ratio(gain, gain + loss, 0.5))

    return Feature(f"rsi_{bars}", value, length, f"relative strength index of {bars} bars, 0 to 100")


# The features that have one length or none.


@feature(SCALED)
def volatility_level(candles: Candles) -> np.ndarray:
    """Log of the EWMA volatility itself."""
    return rolling.log(volatility(candles))


@feature(SCALED)
def range_1(candles: Candles) -> np.ndarray:
    """Log of the high over the low of the bar, scaled."""
    return scaled(candles, log(candles, "high") - log(candles, "low"))


@feature(SCALED)
def range_60(candles: Candles) -> np.ndarray:
    """Log of the volatility that the ranges of 60 bars imply (Parkinson 1980) over the EWMA volatility."""
    squares = (log(candles, "high") - log(candles, "low")) ** 2
    implied = rolling.mean(squares, 60) / (4 * math.log(2))
    return np.asarray(rolling.log(implied, SMALLEST_VOLATILITY**2) / 2 - rolling.log(volatility(candles)))


@feature(max(rolling.memory(1 / 14), SCALED))
def atr_14(candles: Candles) -> np.ndarray:
    """Average true range (Wilder 1978) of the log price over 14 bars, scaled."""
    before = rolling.lagged(log(candles, "close"), 1)
    true_range = np.fmax(log(candles, "high"), before) - np.fmin(log(candles, "low"), before)
    return scaled(candles, rolling.decayed(true_range, 1 / 14, rolling.memory(1 / 14)))


@feature(0)
def close_position(candles: Candles) -> np.ndarray:
    """Where the close lies in its bar: -1 at the low, 1 at the high, 0 if they are the same."""
    high, low, close = array(candles, "high"), array(candles, "low"), array(candles, "close")
    return rolling.ratio((close - low) - (high - close), high - low)


@feature(SCALED)
def gap(candles: Candles) -> np.ndarray:
    """Log of the open over the close before, scaled."""
    return scaled(candles, log(candles, "open") - rolling.lagged(log(candles, "close"), 1))


@feature(13)
def stochastic_14(candles: Candles) -> np.ndarray:
    """Where the close lies between the lowest low and the highest high of 14 bars (Lane 1984): 0 to 1, 0.5 if equal."""
    low = rolling.lowest(array(candles, "low"), 14)
    return rolling.ratio(array(candles, "close") - low, rolling.highest(array(candles, "high"), 14) - low, 0.5)


MACD_SLOW, MACD_SIGNAL = rolling.memory(2 / 27), rolling.memory(2 / 10)


@feature(max(MACD_SLOW + MACD_SIGNAL, SCALED))
def macd_histogram(candles: Candles) -> np.ndarray:
    """MACD 12, 26 minus its signal line 9 (Appel 1979) of the log price, scaled; its memory ends at a millionth."""
    logarithm = log(candles, "close")
    macd = rolling.decayed(logarithm, 2 / 13, MACD_SLOW) - rolling.decayed(logarithm, 2 / 27, MACD_SLOW)
    return scaled(candles, macd - rolling.decayed(macd, 2 / 10, MACD_SIGNAL))


@feature(19)
def bollinger_width_20(candles: Candles) -> np.ndarray:
    """Log of the population standard deviation of 20 closes over their mean."""
    close = array(candles, "close")
    return rolling.log(rolling.deviation(close, 20) / rolling.mean(close, 20), SMALLEST_VOLATILITY)


@feature(60)
def efficiency_60(candles: Candles) -> np.ndarray:
    """Net move of 60 bars over the sum of their moves (Kaufman 1995): -1 to 1, 0 where nothing moved."""
    logarithm = log(candles, "close")
    path = rolling.mean(np.abs(rolling.change(logarithm)), 60) * 60
    return np.asarray(rolling.change(logarithm, 60) / np.maximum(path, SMALLEST_VOLATILITY))


@feature(61)
def reversal_60(candles: Candles) -> np.ndarray:
    """First autocorrelation of the returns of 60 bars, taken about zero: negative where moves were taken back."""
    moves = returns(candles)
    variance = np.maximum(rolling.mean(moves**2, 60), SMALLEST_VOLATILITY**2)
    return np.asarray(rolling.mean(moves * rolling.lagged(moves, 1), 60) / variance)


@feature(59)
def volume_z_60(candles: Candles) -> np.ndarray:
    """Distance of the root of the volume from its mean of 60 bars, in standard deviations; 0 where volume is constant."""
    root = np.sqrt(array(candles, "volume"))
    return rolling.ratio(root - rolling.mean(root, 60), rolling.deviation(root, 60))


@feature(1439)
def volume_level(candles: Candles) -> np.ndarray:
    """log(1 + mean volume of 60 bars over that of 1440 bars)."""
    volume = array(candles, "volume")
    return rolling.log(1 + rolling.ratio(rolling.mean(volume, 60), rolling.mean(volume, 1440)))


@feature(59)
def signed_volume(candles: Candles) -> np.ndarray:
    """log(1 + volume over its mean of 60 bars), with the sign of the bar's return."""
    volume = array(candles, "volume")
    loudness = rolling.log(1 + rolling.ratio(volume, rolling.mean(volume, 60)))
    return np.asarray(np.sign(returns(candles)) * loudness)


@feature(60)
def obv_60(candles: Candles) -> np.ndarray:
    """On-balance volume (Granville 1963) over 60 bars as a fraction of their volume: -1 to 1."""
    volume = array(candles, "volume")
    return rolling.ratio(rolling.mean(np.sign(returns(candles)) * volume, 60), rolling.mean(volume, 60))


@feature(SCALED)
def vwap_distance_60(candles: Candles) -> np.ndarray:
    """Log of the close over the volume-weighted mean close of 60 bars, scaled; 0 where nothing was traded."""
    volume, close = array(candles, "volume"), array(candles, "close")
    weighted = rolling.ratio(rolling.mean(volume * close, 60), rolling.mean(volume, 60))
    return scaled(candles, np.log(np.where(weighted > 0, close / np.where(weighted > 0, weighted, 1.0), 1.0)), 60)


def _fraction(candles: Candles, seconds: int, offset: int = 0) -> np.ndarray:
    """How far the open time is into its day, week or quarter hour, 0 to 1; offset in seconds since 1970."""
    milliseconds = candles.time.as_unit("ms").asi8
    return (milliseconds - offset * 1000) % (seconds * 1000) / (seconds * 1000)


@feature(0)
def time_of_day_sin(candles: Candles) -> np.ndarray:
    """Sine of the UTC time of day of the open: 0 at midnight, 1 at 06:00."""
    return np.sin(2 * np.pi * _fraction(candles, DAY))


@feature(0)
def time_of_day_cos(candles: Candles) -> np.ndarray:
    """Cosine of the UTC time of day of the open: 1 at midnight, -1 at noon."""
    return np.cos(2 * np.pi * _fraction(candles, DAY))


@feature(0)
def time_of_week_sin(candles: Candles) -> np.ndarray:
    """Sine of the UTC time of the week of the open, from Monday."""
    return np.sin(2 * np.pi * _fraction(candles, 7 * DAY, FIRST_MONDAY))


@feature(0)
def time_of_week_cos(candles: Candles) -> np.ndarray:
    """Cosine of the UTC time of the week of the open, from Monday."""
    return np.cos(2 * np.pi * _fraction(candles, 7 * DAY, FIRST_MONDAY))


@feature(0)
def minute_of_quarter(candles: Candles) -> np.ndarray:
    """Minutes from the quarter hour before to the open, 0 to 15; constant on timeframes of 15m and more."""
    return 15 * _fraction(candles, 900)


DEFAULT: tuple[Feature, ...] = (
    *(return_lag(bars) for bars in range(5)),
    *(momentum(bars) for bars in (5, 15, 60, 240)),
    *(volatility_ratio(bars) for bars in (15, 60, 240, 1440)),
    *(range_1, close_position, gap, rsi(14), macd_histogram, bollinger_z(20), bollinger_z(120)),
    *(volume_z_60, volume_level, signed_volume, high_distance(60), low_distance(60)),
    *(time_of_day_sin, time_of_day_cos, minute_of_quarter),
)
MORE: tuple[Feature, ...] = (
    *(volatility_level, range_60, atr_14, stochastic_14, bollinger_width_20, efficiency_60, reversal_60),
    *(moving_average(bars) for bars in (20, 60, 240)),
    *(obv_60, vwap_distance_60, time_of_week_sin, time_of_week_cos),
)
