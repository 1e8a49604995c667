"""Return, risk, cost and luck statistics of an equity curve and of its trades.

Everything is measured on UTC days, 365 a year, because these markets never close. A statistic that is not defined
(the Sharpe ratio of one day, the win rate of no trades) is None, never zero and never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

from freqlstm.candles import Candles

PERIODS = 365  # trading days a year
SHORTEST_YEAR = 30  # days: an annual figure made of fewer would be a multiplied accident

Figures = dict[str, float | int | None]


def daily_returns(equity: pd.Series[float], cash: float | None = None) -> pd.Series[float]:
    """Return of each UTC day from the first bar's to the last bar's; a day without bars returns 0.

    ``equity`` is indexed by the bars' open times and holds the value at their close, so the bar of 23:59 still belongs
    to its day. The first day is measured from ``cash``, or from the first value if that is not given. The first and
    the last day are usually shorter than the others. Whatever comes later, the first day that ends with nothing or
    with debts returns -1 and those after it 0: of nothing there is no return.
    """
    index = pd.DatetimeIndex(equity.index)
    if not len(index):
        return pd.Series(np.zeros(0), index=index.rename("day"), name="return")
    close = equity.groupby(index.floor("D")).last().asfreq("D").ffill()
    values = close.to_numpy(np.float64)
    values = np.where(np.logical_or.accumulate(values <= 0), 0.0, values)
    before = np.concatenate([[float(equity.iloc[0]) if cash is None else cash], values[:-1]])
    returns = np.divide(values, before, out=np.ones(len(values)), where=before != 0) - 1.0
    return pd.Series(returns, index=pd.DatetimeIndex(close.index, name="day"), name="return")


def drawdown(equity: pd.Series[float], cash: float) -> pd.Series[float]:
    """At each bar's close, the fraction that equity lies below its highest value so far, ``cash`` included."""
    peak = np.maximum.accumulate(np.maximum(equity.to_numpy(np.float64), cash))
    return pd.Series(1.0 - equity.to_numpy(np.float64) / peak, index=equity.index, name="drawdown")


def sharpe_ratio(returns: pd.Series[float]) -> float | None:
    """Mean over standard deviation (n - 1) of daily returns, times the root of 365; no risk-free rate (Sharpe, 1994)."""
    values = returns.to_numpy(np.float64)
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    return float(values.mean() / values.std(ddof=1) * math.sqrt(PERIODS))


def sortino_ratio(returns: pd.Series[float]) -> float | None:
    """Mean over the root mean square of losses, every day counted, times the root of 365 (Sortino and Price, 1994)."""
    values = returns.to_numpy(np.float64)
    if len(values) < 2 or not (values < 0).any():
        return None
    downside = math.sqrt(float(np.mean(np.minimum(values, 0.0) ** 2)))
    return float(values.mean() / downside * math.sqrt(PERIODS))


def performance(equity: pd.Series[float], cash: float) -> Figures:
    """What became of ``cash``: returns and risk as fractions, drawdown from every bar, the rest from daily returns.

    ``annual_return`` and ``calmar`` are None for less than 30 days. ``longest_drawdown_days`` runs from a peak to the
    first bar that reaches it again, or to the last bar.
    """
    returns = daily_returns(equity, cash)
    days = len(returns)
    final = float(equity.iloc[-1]) if len(equity) else cash
    total = final / cash - 1.0
    annual = None
    if days >= SHORTEST_YEAR:
        annual = (final / cash) ** (PERIODS / days) - 1.0 if final > 0 else -1.0
    deepest = float(drawdown(equity, cash).max()) if len(equity) else 0.0
    return {
        "total_return": total,
        "annual_return": annual,
        "annual_volatility": float(returns.std(ddof=1) * math.sqrt(PERIODS)) if days > 1 else None,
        "sharpe": sharpe_ratio(returns),
        "sortino": sortino_ratio(returns),
        "calmar": annual / deepest if annual is not None and deepest > 0 else None,
        "max_drawdown": deepest,
        "longest_drawdown_days": longest_drawdown_days(equity, cash),
        "final_equity": final,
        "days": days,
    }


def longest_drawdown_days(equity: pd.Series[float], cash: float) -> float:
    """The longest time under water, in days, from the peak to the bar that reaches it again or to the last bar."""
    if not len(equity):
        return 0.0
    below = drawdown(equity, cash).to_numpy() > 0
    if not below.any():
        return 0.0
    rows = np.arange(len(below))
    peak_row = np.maximum.accumulate(np.where(below, 0, rows))  # the last row at a peak; the first row if there is none
    leaving = np.concatenate([below[1:] < below[:-1], [below[-1]]])  # the last row under water of each drawdown
    last = rows[leaving]
    recovered = np.minimum(last + 1, len(below) - 1)
    time = pd.DatetimeIndex(equity.index).as_unit("ns").asi8
    return float((time[recovered] - time[peak_row[last]]).max() / 86_400e9)


def trade_summary(trades: pd.DataFrame) -> Figures:
    """Counts of all orders that became something, and figures of the closed trades after costs.

    ``profit_factor`` is None when nothing was lost; ``mean_net_pnl`` is in the quote currency.
    """
    closed = trades[trades["status"] == "closed"].sort_values("exit_time", kind="stable")
    pnl = closed["net_pnl"].to_numpy(np.float64)
    net = closed["net_return"].to_numpy(np.float64)
    lost = float(-pnl[pnl < 0].sum())
    some = len(closed) > 0
    return {
        "closed": len(closed),
        "long": int((closed["side"] == "long").sum()),
        "short": int((closed["side"] == "short").sum()),
        "open": int((trades["status"] == "open").sum()),
        "refused": int((trades["status"] == "refused").sum()),
        "win_rate": float((pnl > 0).mean()) if some else None,
        "profit_factor": float(pnl[pnl > 0].sum()) / lost if lost > 0 else None,
        "mean_net_pnl": float(pnl.mean()) if some else None,
        "mean_net_return": float(net.mean()) if some else None,
        "median_net_return": float(np.median(net)) if some else None,
        "best_net_return": float(net.max()) if some else None,
        "worst_net_return": float(net.min()) if some else None,
        "mean_bars_held": float(closed["bars_held"].to_numpy(np.float64).mean()) if some else None,
        "longest_losing_streak": longest_run(pnl < 0),
    }


def longest_run(flags: np.ndarray) -> int:
    """The length of the longest unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def cost_summary(trades: pd.DataFrame) -> Figures:
    """What was earned before costs, what they took, and what was left, in the quote currency; open trades included.

    ``turnover`` is the value bought and sold. ``break_even_bps`` is the cost of one side, in hundredths of a percent of
    the value traded, at which these trades would have earned nothing; ``paid_bps`` is what they did cost.
    """
    filled = trades[trades["status"] != "refused"]
    names = ("gross_pnl", "commission", "slippage", "net_pnl", "turnover")
    total = {name: float(filled[name].to_numpy(np.float64).sum()) for name in names}
    turnover = total["turnover"]
    return {
        **total,
        "break_even_bps": total["gross_pnl"] / turnover * 1e4 if turnover > 0 else None,
        "paid_bps": (total["commission"] + total["slippage"]) / turnover * 1e4 if turnover > 0 else None,
    }


def sharpe_interval(
    returns: pd.Series[float], seed: int = 0, level: float = 0.95, draws: int = 2000
) -> tuple[float | None, float | None]:
    """The central ``level`` of the Sharpe ratios of resampled histories (stationary bootstrap: Politis and Romano, 1994).

    Blocks last n^(1/3) days on average, so that runs of calm and wild days stay together. (None, None) for less than
    10 days or for returns that are all the same.
    """
    values = returns.to_numpy(np.float64)
    rows = len(values)
    if rows < 10 or np.ptp(values) == 0:
        return None, None
    random = np.random.default_rng(seed)
    jump = random.random((draws, rows)) < rows ** (-1 / 3)
    start = random.integers(0, rows, (draws, rows))
    step = np.arange(rows)
    block = np.maximum.accumulate(np.where(jump, step, 0), axis=1)  # where the current block began
    sample = values[(np.take_along_axis(start, block, axis=1) + step - block) % rows]  # (draws, rows)
    deviation = sample.std(axis=1, ddof=1)
    ratios = sample.mean(axis=1)[deviation > 0] / deviation[deviation > 0] * math.sqrt(PERIODS)
    if not len(ratios):
        return None, None
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def deflated_sharpe(returns: pd.Series[float], trial_sharpes: Sequence[float] | np.ndarray) -> float | None:
    """The probability that the true Sharpe ratio is above what the best of all trials would show by luck alone.

    ``trial_sharpes`` are the annual Sharpe ratios of every configuration tried on these candles, this one included
    (Bailey and Lopez de Prado, 2014). With one trial it is the probability of a true ratio above zero.
    """
    values = returns.to_numpy(np.float64)
    sharpe = sharpe_ratio(returns)
    if sharpe is None:
        return None
    luck = luckiest_of(trial_sharpes, len(values)) / math.sqrt(PERIODS)
    centred = (values - values.mean()) / values.std(ddof=0)
    skew, kurtosis = float(np.mean(centred**3)), float(np.mean(centred**4))
    return sharpe_probability(sharpe / math.sqrt(PERIODS), luck, len(values), skew, kurtosis)


def luckiest_of(trial_sharpes: Sequence[float] | np.ndarray, days: int) -> float:
    """The annual Sharpe ratio to expect of the best of these trials over so many days, were all of them worthless.

    Were they worthless, the ratios would vary as they do, and those above 0 would lie about 0 as far. The smaller of the two
    is taken: combinations that surely lose by their costs say nothing of how far luck lifts what neither earns nor loses.
    It is at least what one such ratio errs, which trials that resemble each other hide.
    """
    daily = np.asarray(trial_sharpes, dtype=np.float64) / math.sqrt(PERIODS)
    if len(daily) < 2 or days < 2:
        return 0.0
    above = daily[daily > 0]
    spread = min(float(daily.var(ddof=1)), float(np.mean(above**2)) if len(above) else 0.0)
    return luckiest_sharpe(max(spread, 1 / (days - 1)), len(daily)) * math.sqrt(PERIODS)


def luckiest_sharpe(variance: float, trials: int) -> float:
    """The Sharpe ratio to expect of the best of ``trials`` worthless configurations, per period, as ``variance`` is."""
    if trials < 2 or variance <= 0:
        return 0.0
    normal = NormalDist()
    high, higher = normal.inv_cdf(1 - 1 / trials), normal.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - np.euler_gamma) * high + np.euler_gamma * higher)


def sharpe_probability(sharpe: float, threshold: float, rows: int, skew: float, kurtosis: float) -> float | None:
    """The probability that the true ratio exceeds ``threshold``, all per period; ``kurtosis`` of a normal is 3."""
    variance = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if rows < 2 or variance <= 0:
        return None
    return NormalDist().cdf((sharpe - threshold) * math.sqrt(rows - 1) / math.sqrt(variance))


def random_entries(
    trades: pd.DataFrame,
    market: Mapping[str, Candles],
    cash: float,
    commission: float,
    slippage: float,
    draws: int = 1000,
    seed: int = 0,
) -> Figures:
    """What the closed trades would have earned, had they begun at random bars.

    Each draw keeps every trade's symbol, side, value and holding time, and no two of one symbol overlap. It buys and
    sells at opens; ``commission`` and ``slippage`` are fractions a side. Returns are profits over ``cash``.
    ``p_value`` is the share of draws at least as good as the strategy's own trades.
    """
    closed = trades[(trades["status"] == "closed") & trades["symbol"].isin(list(market))]
    random = np.random.default_rng(seed)
    earned = np.zeros(draws)
    for symbol, own in closed.groupby("symbol", sort=True):
        earned += _random_profits(own, market[str(symbol)], commission, slippage, draws, random)
    actual = float(closed["net_pnl"].to_numpy(np.float64).sum())
    some = len(closed) > 0
    low, median, high = (float(value) / cash for value in np.quantile(earned, [0.05, 0.5, 0.95]))
    return {
        "trades": len(closed),
        "draws": draws,
        "actual_return": actual / cash,
        "median_return": median if some else None,
        "low_return": low if some else None,
        "high_return": high if some else None,
        "p_value": float((1 + np.sum(earned >= actual)) / (1 + draws)) if some else None,
    }


def _random_profits(
    trades: pd.DataFrame, candles: Candles, commission: float, slippage: float, draws: int, random: np.random.Generator
) -> np.ndarray:
    """Shape (draws,): profit of one symbol's trades, in the quote currency, when their order and their pauses are drawn."""
    opens, closes = candles.open.to_numpy(), candles.close.to_numpy()
    held_for = trades["bars_held"].to_numpy(np.float64).astype(np.int64)
    side = np.where(trades["side"].to_numpy() == "short", -1.0, 1.0)
    value = np.abs(trades["size"].to_numpy(np.float64)) * trades["entry_price"].to_numpy(np.float64)
    last = len(candles) - 1
    free = max(last - int(held_for.sum()), 0)  # bars outside every trade
    profits = np.empty(draws)
    for draw in range(draws):
        order = random.permutation(len(trades))
        held = held_for[order]
        pauses = np.sort(random.integers(0, free + 1, len(trades)))
        start = np.minimum(pauses + np.cumsum(held) - held, last)
        end = np.minimum(start + held, last)
        way = side[order]
        entry = opens[start] * (1 + way * slippage)
        exit_ = np.where(held > 0, opens[end], closes[end]) * (1 - way * slippage)
        profits[draw] = np.sum(value[order] * (way * (exit_ / entry - 1) - commission * (1 + exit_ / entry)))
    return profits
