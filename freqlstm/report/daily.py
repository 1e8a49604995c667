"""QuantStats' figures and charts, of daily UTC returns and 365 periods a year.

QuantStats guesses prices from returns, assumes 252 days, drops the days before the first trade from both sides and
fetches a favicon. So its own page is not used: its functions are, each told everything that it would guess.
"""

from __future__ import annotations

import base64
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before anything asks for a window

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import quantstats
from matplotlib import dates
from matplotlib.colors import to_hex, to_rgba
from matplotlib.ticker import PercentFormatter

from freqlstm.report.figures import text
from freqlstm.stats import PERIODS, SHORTEST_YEAR

qs: Any = quantstats  # neither it nor matplotlib's dates have types
Locator: Any = dates.AutoDateLocator
Formatter: Any = dates.ConciseDateFormatter
VERSION: str = qs.__version__

STRATEGY, BENCHMARK = "Strategy", "Buy and hold"

COLOURS = {"#fedd78": "#d9a400", "#348dc1": "#1f6fb2"}  # QuantStats' own, as they can be read on white

# What is left out: figures that daily returns cannot know (time in market, risk of ruin, Kelly), that ignore 365 periods
# (Risk-Adjusted Return), that forget the cash before the first day (drawdowns), and spans longer than the run. The
# number is the days that a figure needs.
METRICS = {
    "Cumulative Return": 1, "CAGR﹪": SHORTEST_YEAR, "Volatility (ann.)": 2, "Sharpe": 2, "Prob. Sharpe Ratio": 10,
    "Smart Sharpe": 10, "Sortino": 2, "Omega": 10, "Skew": 10, "Kurtosis": 10, "Daily Value-at-Risk": 10,
    "Expected Shortfall (cVaR)": 10, "Tail Ratio": 10, "Best Day": 1, "Worst Day": 1, "Avg. Win": 2, "Avg. Loss": 2,
    "Win Days": 2, "Payoff Ratio": 2, "Profit Factor": 2, "Gain/Pain Ratio": 2, "Max Consecutive Wins": 2,
    "Max Consecutive Losses": 2, "Best Month": 60, "Worst Month": 60, "Win Month": 60, "Best Year": 730,
    "Worst Year": 730, "Information Ratio": 10, "R^2": 10, "Beta": 10, "Alpha": SHORTEST_YEAR, "Correlation": 10,
}  # fmt: skip
NAMES = {"CAGR﹪": "CAGR", "R^2": "R²"}


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
        (NAMES.get(name, name), _cell(table.loc[name, BENCHMARK]), _cell(table.loc[name, STRATEGY]))
        for name, days in METRICS.items()
        if name in table.index and len(returns) >= days
    ]


def worst_drawdowns(returns: pd.Series[float], most: int = 5) -> list[tuple[str, str, str, str]]:
    """(peak, recovered or last day, depth, days) of the deepest drawdowns between daily closes."""
    if len(returns) < 2 or not (returns < 0).any():
        return []
    with _quiet():
        details = qs.stats.drawdown_details(qs.stats.to_drawdown_series(_from_cash(_naive(returns, STRATEGY))))
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
    curve, both = _from_cash(strategy), {"returns": _from_cash(strategy), "benchmark": _from_cash(hold)}
    window = min(180, max(14, days // 3))
    rolling = {"returns": strategy, "period": window, "periods_per_year": PERIODS}
    plots, as_is = qs.plots, {"prepare_returns": False}
    wanted: list[tuple[str, int, Callable[..., Any], dict[str, Any]]] = [
        ("Cumulative returns", 2, plots.returns, both | as_is),
        ("Cumulative returns, volatility matched", 10, plots.returns, both | as_is | {"match_volatility": True}),
        ("Underwater", 2, plots.drawdown, {"returns": curve}),
        ("Worst five drawdowns", 10, plots.drawdowns_periods, {"returns": curve} | as_is),
        ("Distribution of daily returns", 20, plots.histogram, {"returns": strategy, "resample": "D"} | as_is),
        (f"Rolling volatility, {window} days", 42, plots.rolling_volatility, rolling | {"benchmark": hold}),
        (f"Rolling Sharpe ratio, {window} days", 42, plots.rolling_sharpe, rolling),
        (f"Rolling Sortino ratio, {window} days", 42, plots.rolling_sortino, rolling),
        ("Monthly returns, percent", 300, plots.monthly_heatmap, {"returns": strategy, "cbar": False}),
        ("Return quantiles", 365, plots.distribution, {"returns": strategy} | as_is),
        ("Returns by year", 730, plots.yearly_returns, {"returns": strategy, "benchmark": hold} | as_is),
    ]
    drawn = [(title, _draw(plot, arguments)) for title, fewest, plot, arguments in wanted if days >= fewest]
    return [(title, picture) for title, picture in drawn if picture is not None]


def _draw(plot: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """One chart as a data URI, without QuantStats' own title; None where it finds these returns impossible to draw."""
    file = io.BytesIO()
    looks = {"figsize": (6.4, 3.2), "fontname": "DejaVu Sans", "show": False, "ylabel": "", "subtitle": False}
    if "subtitle" not in inspect.signature(plot).parameters:  # the heat map has none
        del looks["subtitle"]
    with _quiet():
        try:
            figure = plot(**arguments, **looks)
        except (ValueError, ZeroDivisionError, IndexError):
            return None
        figure.suptitle("")
        for axes in figure.axes:
            _restyle(axes)
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def _restyle(axes: Any) -> None:
    """No title of its own, colours that can be read, the legend above, and dates so few that none touches the next."""
    axes.set_title("")
    legend = axes.get_legend()
    for line in [*axes.get_lines(), *(legend.get_lines() if legend else [])]:
        line.set_color(COLOURS.get(str(line.get_color()).lower(), line.get_color()))
    for patch in axes.patches:
        colour = to_hex(patch.get_facecolor())
        if colour in COLOURS:
            patch.set_facecolor(to_rgba(COLOURS[colour], patch.get_alpha()))
    if legend:
        names = [name.get_text() for name in legend.get_texts()]
        style = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncol": 2, "frameon": False, "borderaxespad": 0.2}
        axes.legend(legend.legend_handles, names, **style)
    if isinstance(axes.xaxis.get_major_locator(), Locator) or isinstance(
        axes.xaxis.get_major_formatter(), dates.DateFormatter
    ):
        locator = Locator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(Formatter(locator))
        axes.tick_params(axis="x", labelrotation=0)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("center")
    elif len(axes.patches) > 10:  # the histogram: its heights are a density, which is no number of days
        axes.yaxis.set_visible(False)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the fonts that matplotlib misses and the divisions by zero of QuantStats; settings and figures restored."""
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR + 1)
    try:
        with (
            warnings.catch_warnings(),
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


def _from_cash(returns: pd.Series[float]) -> pd.Series[float]:
    """The same with a day of no return before the first, so that curves begin at the cash that the account held."""
    days = pd.DatetimeIndex(returns.index)
    values = np.concatenate([[0.0], returns.to_numpy(np.float64)])
    return pd.Series(values, index=days[:1].shift(-1, freq="D").append(days), name=returns.name)


def _cell(value: Any) -> str:
    """QuantStats writes dashes and NaN for what it cannot say."""
    written = str(value).strip()
    return text(None) if written in ("", "-", "nan", "nan%", "inf", "-inf") else text(written.replace("-", "−"))
