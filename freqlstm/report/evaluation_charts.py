"""The charts of an evaluation, as plotly.js draws them; each holds a few thousand points at most."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.contest import Compared
from freqlstm.report.canvas import FORECAST, LOSS, QUIET, STRATEGY, Figure, axis, blank, milliseconds, rounded
from freqlstm.residuals import autocorrelation

PALETTE = (STRATEGY, "#d9a400", "#1a8f5a", "#c8373a", "#7a5cc4", "#e07b39", "#2aa5a0", "#b0518f", "#6b7a2f", "#4c5a6b")
MOST_MEANS = 400  # drawn for each symbol, each the mean of neighbouring rows
MOST_DOTS = 1200
LAGS = 30
OFF_SCALE = -0.05  # an R2 below that would squeeze all others


def colour(number: int) -> str:
    """That of a signal, by its place in the table."""
    return PALETTE[number % len(PALETTE)]


def r2_chart(figures: Mapping[str, Any]) -> Figure:
    """R2 of every signal with two bootstrap errors on each side; what is far below is left out."""
    drawn = {
        name: each["pooled"]
        for name, each in figures["signals"].items()
        if each["pooled"]["r2"] is not None and each["pooled"]["r2"] > OFF_SCALE and name != figures["reference"]
    }
    values = [100 * pooled["r2"] for pooled in drawn.values()]
    layout = blank(r2_height(figures))
    layout["xaxis"] |= {
        "type": "linear",
        "ticksuffix": "%",
        "title": {"text": f"R² against {figures['reference']}", "standoff": 4},
    }
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    layout["shapes"] = [upright(0.0)]
    marks = {
        "type": "scatter", "mode": "markers", "x": rounded(values, 5), "y": list(drawn),
        "marker": {"size": 11, "color": [STRATEGY if value > 0 else LOSS for value in values]},
        "error_x": {"type": "data", "array": rounded([200 * (p["r2_error"] or 0.0) for p in drawn.values()], 4), "color": QUIET},
        "hovertemplate": "%{x:.3f}%<extra>%{y}</extra>",
    }  # fmt: skip
    return {"data": [marks], "layout": {**layout, "showlegend": False}}


def r2_height(figures: Mapping[str, Any]) -> int:
    """Pixels of the chart of R2."""
    return 110 + 30 * len(figures["signals"])


def advantage_chart(compared: Compared, figures: Mapping[str, Any]) -> Figure:
    """How much squared error each signal has saved so far against the naive forecast, in percent of all of the latter's."""
    order = np.argsort(compared.rows["bar"].to_numpy(), kind="stable")
    came, naive = compared.rows["outcome"].to_numpy()[order], figures["naive"]
    theirs = (came - compared.said[naive][order]) ** 2
    shown = np.unique(np.linspace(0, len(order) - 1, 2 * MOST_MEANS).astype(np.int64))
    moments = [f"{time:%Y-%m-%d %H:%M}" for time in pd.DatetimeIndex(compared.rows["time"])[order[shown]]]
    lines: list[Figure] = []
    for number, (name, said) in enumerate(compared.said.items()):
        if name == naive:
            continue
        saved = 100 * np.cumsum(theirs - (came - said[order]) ** 2) / max(float(theirs.sum()), 1e-300)
        lines.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": [int(row) + 1 for row in shown],
                "y": rounded(saved[shown], 5), "line": {"color": colour(number), "width": 1.6}, "text": moments,
                "visible": "legendonly" if saved[-1] < 100 * OFF_SCALE and len(compared.said) > 3 else True,
                "hovertemplate": "%{y:.3f}% by %{text}<extra>" + name + "</extra>",
            }
        )  # fmt: skip
    if not any(line["visible"] is True for line in lines):
        lines = [{**line, "visible": True} for line in lines]
    layout = blank(380)
    layout["xaxis"] |= {"type": "linear", "title": {"text": "rows compared, in order of time", "standoff": 4}}
    layout["yaxis"] |= {"ticksuffix": "%", "title": {"text": f"squared error saved against {naive}"}}
    return {"data": lines, "layout": layout}


def time_chart(compared: Compared, name: str) -> Figure:
    """What came and what was said over time: means of neighbouring rows, a pair of lines for each symbol."""
    lines: list[Figure] = []
    breaks: list[Any] = []
    for number, (symbol, own) in enumerate(compared.rows.groupby("symbol", sort=False)):
        rows = own.index.to_numpy()
        pieces = neighbours(own["bar"].to_numpy())
        time = own["time"].groupby(pieces).first()
        breaks = breaks or time_breaks(own)
        for what, values, pen in (
            ("came", own["outcome"].to_numpy(), {"color": QUIET, "width": 1}),
            ("said", compared.said[name][rows], {"color": FORECAST, "width": 1.6}),
        ):
            mean = pd.Series(values).groupby(pieces).mean()
            lines.append(
                {
                    "type": "scatter", "mode": "lines", "name": f"{symbol} {what}", "x": milliseconds(pd.DatetimeIndex(time)),
                    "y": rounded(mean.to_numpy(), 5), "line": pen, "visible": True if number == 0 else "legendonly",
                    "hovertemplate": "%{y:.4~g}<extra>" + f"{symbol} {what}" + "</extra>",
                }
            )  # fmt: skip
    layout = blank(400)
    layout["xaxis"] |= {"rangebreaks": breaks}
    layout["yaxis"] |= {"exponentformat": "none"}
    return {"data": lines, "layout": layout}


def scatter_chart(compared: Compared, name: str) -> Figure:
    """What was said against what came: some of the rows, and the mean of each tenth of them by rising forecast."""
    said, came = compared.said[name], compared.rows["outcome"].to_numpy()
    some = np.random.default_rng(0).permutation(len(said))[:MOST_DOTS]
    tenth = np.searchsorted(np.quantile(said, np.linspace(0, 1, 11)[1:-1]), said, side="right")
    table = pd.DataFrame({"said": said, "came": came}).groupby(tenth)
    mean, error = table.mean(), table["came"].sem().fillna(0.0)
    low, high = (float(bound) for bound in np.quantile(said, [0.001, 0.999]))
    layout = blank(440)
    layout["xaxis"] |= {"type": "linear", "title": {"text": "said", "standoff": 4}, "exponentformat": "none"}
    layout["yaxis"] |= {"title": {"text": "came"}, "exponentformat": "none"}
    dots = {
        "type": "scatter", "mode": "markers", "name": f"{len(some):,} of {len(said):,} rows", "x": rounded(said[some], 4),
        "y": rounded(came[some], 4), "marker": {"size": 4, "color": QUIET, "opacity": 0.45}, "hoverinfo": "skip",
    }  # fmt: skip
    means = {
        "type": "scatter", "mode": "markers", "name": "mean of each tenth, two standard errors", "x": rounded(mean["said"], 5),
        "y": rounded(mean["came"], 5), "marker": {"size": 9, "color": FORECAST},
        "error_y": {"type": "data", "array": rounded(2 * error, 4), "color": FORECAST},
        "hovertemplate": "said %{x:.4~g}, came %{y:.4~g}<extra></extra>",
    }  # fmt: skip
    line = {
        "type": "scatter", "mode": "lines", "name": "said = came", "x": rounded([low, high], 5), "y": rounded([low, high], 5),
        "line": {"color": "#222", "dash": "dot", "width": 1}, "hoverinfo": "skip",
    }  # fmt: skip
    return {"data": [dots, line, means], "layout": layout}


def residual_chart(compared: Compared, name: str) -> Figure:
    """The errors over time, how they are spread beside a normal distribution, and how they resemble those before them."""
    rows = compared.rows
    residual = rows["outcome"].to_numpy() - compared.said[name]
    order = np.argsort(rows["bar"].to_numpy(), kind="stable")
    ordered = rows.iloc[order]
    pieces = neighbours(ordered["bar"].to_numpy())
    grouped = pd.Series(residual[order]).groupby(pieces)
    time = milliseconds(pd.DatetimeIndex(ordered["time"].groupby(pieces).first()))
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": time,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    over_time = [
        {**band, "y": rounded(grouped.quantile(0.1), 4)},
        {**band, "y": rounded(grouped.quantile(0.9), 4), "fill": "tonexty", "fillcolor": "rgba(122,92,196,0.22)"},
        {**band, "y": rounded(grouped.mean(), 4), "line": {"width": 1.2, "color": FORECAST}, "hoverinfo": "x+y"},
    ]
    low, high = np.quantile(residual, [0.002, 0.998])
    counts, edges = np.histogram(residual, bins=60, range=(float(low), float(high)) if high > low else None)
    middle, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    normal = NormalDist(float(residual.mean()), max(float(residual.std()), 1e-300))
    bell = [len(residual) * width * normal.pdf(float(value)) for value in middle]
    spread = [
        {"type": "bar", "x": rounded(middle, 4), "y": counts.tolist(), "xaxis": "x2", "yaxis": "y2", "marker": {"color": QUIET},
         "showlegend": False, "hovertemplate": "%{y:,} rows<extra></extra>"},
        {"type": "scatter", "mode": "lines", "x": rounded(middle, 4), "y": rounded(bell, 4), "xaxis": "x2", "yaxis": "y2",
         "line": {"color": LOSS, "width": 1.4}, "showlegend": False, "hoverinfo": "skip"},
    ]  # fmt: skip
    alike = autocorrelation(residual, _apart(rows), LAGS)
    limit = 1.96 / np.sqrt(len(residual))
    resemblance = {
        "type": "bar", "x": list(range(1, LAGS + 1)), "y": [None if r is None else float(f"{r:.4g}") for r in alike],
        "xaxis": "x3", "yaxis": "y3", "marker": {"color": STRATEGY}, "showlegend": False,
        "hovertemplate": "lag %{x}: %{y:.4f}<extra></extra>",
    }  # fmt: skip
    layout = blank(720)
    layout["xaxis"] |= {"rangebreaks": time_breaks(ordered), "anchor": "y"}
    layout["yaxis"] |= {"domain": [0.74, 1], "title": {"text": "error"}, "exponentformat": "none"}
    layout["xaxis2"] = {**axis(), "anchor": "y2", "exponentformat": "none"}
    layout["yaxis2"] = {**axis(), "domain": [0.38, 0.62], "title": {"text": "rows"}}
    layout["xaxis3"] = {**axis(), "anchor": "y3", "title": {"text": "lag, bars", "standoff": 4}}
    layout["yaxis3"] = {**axis(), "domain": [0.03, 0.26], "title": {"text": "autocorrelation"}}
    layout["shapes"] = [
        {"type": "line", "xref": "x3", "yref": "y3", "x0": 0.5, "x1": LAGS + 0.5, "y0": level, "y1": level,
         "line": {"color": LOSS, "dash": "dot", "width": 1}}
        for level in (limit, -limit)
    ]  # fmt: skip
    return {"data": [*over_time, *spread, resemblance], "layout": {**layout, "bargap": 0.05}}


def correlation_chart(figures: Mapping[str, Any]) -> Figure | None:
    """A heat map of how alike the forecasts are; None for fewer than two that move."""
    matrix = figures["correlations"]
    if not matrix:
        return None
    names = list(matrix)
    values = [[float(f"{matrix[a][b]:.3f}") for b in names] for a in names]
    layout = blank(correlation_height(figures))
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    heat = {
        "type": "heatmap", "x": names, "y": names, "z": values, "zmin": -1, "zmax": 1, "colorscale": "RdBu", "reversescale": True,
        "text": [[f"{value:.2f}" for value in line] for line in values], "texttemplate": "%{text}", "showscale": False,
        "hovertemplate": "%{x}, %{y}: %{z:.3f}<extra></extra>",
    }  # fmt: skip
    return {"data": [heat], "layout": layout}


def correlation_height(figures: Mapping[str, Any]) -> int:
    """Pixels of the heat map."""
    return 120 + 34 * len(figures["correlations"])


def upright(at: float) -> Figure:
    return {
        "type": "line",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "x0": at,
        "x1": at,
        "line": {"color": "#222", "dash": "dot", "width": 1},
    }


def neighbours(bars: np.ndarray, most: int = MOST_MEANS) -> np.ndarray:
    """Shape (rows,): the number of the group of neighbouring rows that are drawn as one point; none spans a long gap."""
    size = max(1, -(-len(bars) // most))
    stretch = np.cumsum(np.diff(bars, prepend=bars[:1]) > _long(bars))
    inside = np.arange(len(bars)) - np.searchsorted(stretch, stretch)
    return np.cumsum((inside % size == 0) | (np.diff(stretch, prepend=-1) > 0))


def _long(bars: np.ndarray) -> int:
    """Bars from which on a gap is not drawn as time."""
    return max(len(bars) // 50, 10)


def time_breaks(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The gaps between spans, which the axis of time leaves out."""
    bars, time = rows["bar"].to_numpy(), pd.DatetimeIndex(rows["time"])
    last = [int(row) for row in np.flatnonzero(np.diff(bars) > _long(bars))]
    return [{"bounds": [f"{time[row]:%Y-%m-%d %H:%M}", f"{time[row + 1]:%Y-%m-%d %H:%M}"]} for row in last]


def _apart(rows: pd.DataFrame) -> np.ndarray:
    """The bars of all symbols one after another, so far apart that none of one is a neighbour of another's."""
    bars = rows["bar"].to_numpy(np.int64)
    symbol = pd.factorize(rows["symbol"])[0]
    return np.asarray(bars + symbol * (np.ptp(bars) + 10 * LAGS))
