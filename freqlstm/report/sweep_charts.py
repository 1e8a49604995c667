"""The charts of a sweep, as plotly.js draws them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from freqlstm.report.canvas import GAIN, HOLD, LOSS, QUIET, STRATEGY, Figure, axis, blank, milliseconds, rounded
from freqlstm.sweep_survey import Heat, Survey

MOST_POINTS = 1500
COLOURS = [[0.0, LOSS], [0.5, "#ffffff"], [1.0, GAIN]]  # 0 of the objective is white


def heat_chart(survey: Survey, heat: Heat, objective: str) -> Figure:
    """The best objective for each pair of values, whatever the other parameters."""
    layout = blank(460)
    single = heat.across == heat.down
    cells = heat.best if not single else np.diagonal(heat.best)[None, :]
    finite = cells[np.isfinite(cells)]
    far = float(np.abs(finite).max()) if len(finite) else 1.0
    names = survey.bins
    layout["xaxis"] |= {"type": "category", "title": {"text": heat.across, "standoff": 6}}
    layout["yaxis"] |= {"type": "category", "title": {"text": "" if single else heat.down, "standoff": 6}}
    drawn = {
        "type": "heatmap", "x": names[heat.across], "y": [""] if single else names[heat.down], "z": [rounded(line, 4) for line in cells],
        "colorscale": COLOURS, "zmin": -far, "zmax": far, "zmid": 0, "hoverongaps": False, "xgap": 1, "ygap": 1,
        "colorbar": {"title": {"text": objective, "side": "right"}, "thickness": 12},
        "hovertemplate": f"{heat.across} %{{x}}<br>{heat.down} %{{y}}<br>best {objective} %{{z}}<extra></extra>",
    }  # fmt: skip
    return {"data": [drawn], "layout": layout}


def spread_chart(survey: Survey, objective: str, best: float | None) -> Figure:
    """How many combinations have which objective."""
    layout = blank(320)
    middle = (survey.edges[:-1] + survey.edges[1:]) / 2
    layout["xaxis"] |= {"type": "linear", "title": {"text": objective, "standoff": 6}}
    layout["yaxis"] |= {"title": {"text": "combinations", "standoff": 6}}
    layout["bargap"] = 0.05
    if best is not None:
        layout["shapes"] = [
            {
                "type": "line", "x0": best, "x1": best, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": STRATEGY, "dash": "dot"},
            }
        ]  # fmt: skip
        layout["annotations"] = [
            {"x": best, "y": 1, "yref": "paper", "text": "the best", "showarrow": False, "yanchor": "bottom"}
        ]
    bars = {
        "type": "bar", "x": rounded(middle, 5), "y": [int(each) for each in survey.bars], "width": float(survey.edges[1] - survey.edges[0]) * 0.95,
        "marker": {"color": [GAIN if each > 0 else LOSS for each in middle]}, "hovertemplate": "%{y:,} at about %{x}<extra></extra>",
    }  # fmt: skip
    return {"data": [bars], "layout": {**layout, "showlegend": False}}


def equity_chart(lines: dict[str, pd.Series[float]], borders: list[pd.Timestamp]) -> Figure:
    """Equity over time, the first line in front; ``borders`` are where other parameters begin to trade."""
    layout = blank(380)
    data = []
    for number, (name, line) in enumerate(lines.items()):
        colour = HOLD if name == "buy and hold" else QUIET if number else STRATEGY
        shown = np.unique(np.linspace(0, len(line) - 1, min(len(line), MOST_POINTS)).astype(np.int64))
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": milliseconds(pd.DatetimeIndex(line.index[shown])),
                "y": rounded(line.to_numpy()[shown], 7), "line": {"color": colour, "width": 1.2 if number else 1.8},
            }
        )  # fmt: skip
    layout["shapes"] = [
        {
            "type": "line", "x0": each, "x1": each, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
            "line": {"color": "#c3c9d2", "width": 1, "dash": "dot"},
        }
        for each in milliseconds(pd.DatetimeIndex(borders))
    ]  # fmt: skip
    layout["yaxis"] |= axis()
    return {"data": data, "layout": layout}
