"""QuantStats' figures and charts, of daily UTC returns and 365 periods a year.

QuantStats guesses prices from returns, assumes 252 days, drops the days before the first trade from both sides and
fetches a favicon. So its own page is not used: its functions are, each told everything that it would guess.
"""

from __future__ import annotations

import base64
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before anything asks for a window

import matplotlib.pyplot as plt
import pandas as pd
import quantstats as qs

from freqlstm.report.figures import text
from freqlstm.stats import PERIODS, SHORTEST_YEAR

STRATEGY, BENCHMARK = "Strategy", "Buy and hold"

# What is left out: figures that daily returns cannot know (time in market, risk of ruin, Kelly), that ignore 365 periods
# (Risk-Adjusted Return), that are stated above from every bar (drawdown dates, Calmar), and spans longer than the run.
METRICS = {
    "Cumulative Return": 1, "CAGR﹪": SHORTEST_YEAR, "Volatility (ann.)": 2, "Sharpe": 2, "Prob. Sharpe Ratio": 10,
    "Smart Sharpe": 10, "Sortino": 2, "Omega": 10, "Max Drawdown": 1, "Avg. Drawdown": 2, "Avg. Drawdown Days": 2,
    "Ulcer Index": 2, "Skew": 10, "Kurtosis": 10, "Daily Value-at-Risk": 10, "Expected Shortfall (cVaR)": 10,
    "Tail Ratio": 10, "Best Day": 1, "Worst Day": 1, "Avg. Win": 2, "Avg. Loss": 2, "Win Days": 2, "Payoff Ratio": 2,
    "Profit Factor": 2, "Gain/Pain Ratio": 2, "Max Consecutive Wins": 2, "Max Consecutive Losses": 2, "Best Month": 60,
    "Worst Month": 60, "Win Month": 60, "Best Year": 730, "Worst Year": 730, "Information Ratio": 10, "R^2": 10,
    "Beta": 10, "Alpha": SHORTEST_YEAR, "Correlation": 10,
}  # fmt: skip
NAMES = {"CAGR﹪": "CAGR", "Max Drawdown": "Max Drawdown (daily closes)", "R^2": "R²"}


def metrics_table(returns: pd.Series[float], benchmark: pd.Series[float]) -> list[tuple[str, str, str]]:
    """(name, buy and hold, strategy) of every figure that a run of this length can support; empty if there is none."""
    if len(returns) < 2 or not returns.any():
        return []
    with _quiet():
        table = qs.reports.metrics(
            _naive(returns, STRATEGY),
            _naive(benchmark, BENCHMARK),
            rf=0.0,
            display=False,
            mode="full",
            internal="True",
            periods_per_year=PERIODS,
            prepare_returns=False,
            match_dates=False,
            strategy_title=STRATEGY,
            benchmark_title=BENCHMARK,
        )
    return [
        (NAMES.get(name, name), *(_cell(table.loc[name, column]) for column in (BENCHMARK, STRATEGY)))
        for name, days in METRICS.items()
        if name in table.index and len(returns) >= days
    ]


def worst_drawdowns(returns: pd.Series[float], most: int = 5) -> list[tuple[str, str, str, str]]:
    """(peak, recovered or last day, depth, days) of the deepest drawdowns between daily closes."""
    if len(returns) < 2 or not (returns < 0).any():
        return []
    with _quiet():
        details = qs.stats.drawdown_details(qs.stats.to_drawdown_series(_naive(returns, STRATEGY)))
    worst = details.sort_values("max drawdown").head(most)
    return [
        (text(row["start"]), text(row["end"]), f"{-row['max drawdown']:.2f}%", f"{int(row['days']):,}")
        for _, row in worst.iterrows()
    ]


def charts(returns: pd.Series[float], benchmark: pd.Series[float]) -> list[tuple[str, str]]:
    """(title, data URI of an SVG) of QuantStats' charts, without those that a run of this length would leave empty."""
    days = len(returns)
    if days < 2 or not returns.any():
        return []
    strategy, hold = _naive(returns, STRATEGY), _naive(benchmark, BENCHMARK)
    window = min(180, max(14, days // 3))
    plots = qs.plots
    wanted: list[tuple[str, int, Callable[..., Any], dict[str, Any]]] = [
        ("Cumulative returns", 2, plots.returns, {"returns": strategy, "benchmark": hold, "prepare_returns": False}),
        (
            "Cumulative returns, volatility matched",
            10,
            plots.returns,
            {"returns": strategy, "benchmark": hold, "prepare_returns": False, "match_volatility": True},
        ),
        ("Daily returns", 2, plots.daily_returns, {"returns": strategy, "benchmark": hold, "prepare_returns": False}),
        ("Underwater", 2, plots.drawdown, {"returns": strategy}),
        ("Worst five drawdowns", 10, plots.drawdowns_periods, {"returns": strategy, "prepare_returns": False}),
        ("Return quantiles", 60, plots.distribution, {"returns": strategy, "prepare_returns": False}),
        (
            f"Rolling volatility ({window} days)",
            42,
            plots.rolling_volatility,
            {"returns": strategy, "benchmark": hold, "period": window, "periods_per_year": PERIODS},
        ),
        (
            f"Rolling Sharpe ratio ({window} days)",
            42,
            plots.rolling_sharpe,
            {"returns": strategy, "period": window, "periods_per_year": PERIODS},
        ),
        (
            f"Rolling Sortino ratio ({window} days)",
            42,
            plots.rolling_sortino,
            {"returns": strategy, "period": window, "periods_per_year": PERIODS},
        ),
        ("Monthly returns (%)", 300, plots.monthly_heatmap, {"returns": strategy, "cbar": False}),
        (
            "Returns by year",
            730,
            plots.yearly_returns,
            {"returns": strategy, "benchmark": hold, "prepare_returns": False},
        ),
    ]
    drawn = []
    for title, fewest, plot, arguments in wanted:
        if days >= fewest:
            picture = _draw(plot, arguments)
            if picture is not None:
                drawn.append((title, picture))
    return drawn


def _draw(plot: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """One chart as a data URI, without QuantStats' own title; None where it finds these returns impossible to draw."""
    file = io.BytesIO()
    with _quiet():
        try:
            figure = plot(
                **arguments, figsize=(6.4, 3.4), fontname="DejaVu Sans", subtitle=False, show=False, ylabel=""
            )
        except (ValueError, ZeroDivisionError, IndexError, TypeError):
            return None
        finally:
            figures = [plt.figure(number) for number in plt.get_fignums()]
        return None if figure is None and not figures else _saved(figure or figures[-1], file)


def _saved(figure: Any, file: io.BytesIO) -> str:
    figure.suptitle("")
    for axes in figure.axes:
        axes.set_title("")
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the fonts that matplotlib misses and the divisions by zero of QuantStats; settings and figures restored."""
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR + 1)
    try:
        with (
            warnings.catch_warnings(),
            pd.option_context("mode.chained_assignment", None),
            matplotlib.rc_context({"font.family": "DejaVu Sans", "svg.hashsalt": "freqlstm"}),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        fonts.setLevel(level)
        plt.close("all")


def _naive(returns: pd.Series[float], name: str) -> pd.Series[float]:
    """The same days without a time zone, which QuantStats cannot resample."""
    return pd.Series(returns.to_numpy(), index=pd.DatetimeIndex(returns.index).tz_localize(None), name=name)


def _cell(value: Any) -> str:
    """QuantStats writes dashes and NaN for what it cannot say."""
    written = str(value).strip()
    return text(None) if written in ("", "-", "nan", "nan%", "inf", "-inf") else text(written.replace("-", "−"))
