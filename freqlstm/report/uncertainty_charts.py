"""The charts of what forecasts say of their own uncertainty: intervals over time, and probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.contest import Compared
from freqlstm.report.canvas import Figure, blank, milliseconds, rounded
from freqlstm.report.evaluation_charts import colour, neighbours, time_breaks


def coverage_chart(compared: Compared, figures: Mapping[str, Any]) -> Figure | None:
    """The share of outcomes inside each interval over time, and what was promised; None without intervals."""
    if not compared.interval:
        return None
    order = np.argsort(compared.rows["bar"].to_numpy(), kind="stable")
    rows = compared.rows.iloc[order]
    pieces = neighbours(rows["bar"].to_numpy(), most=60)
    time = milliseconds(pd.DatetimeIndex(rows["time"].groupby(pieces).first()))
    came = rows["outcome"].to_numpy()
    lines, levels = [], set()
    for number, name in enumerate(compared.said):
        if name not in compared.interval:
            continue
        low, high = (side[order] for side in compared.interval[name])
        inside = pd.Series(np.where(np.isfinite(low), (came >= low) & (came <= high), np.nan)).groupby(pieces).mean()
        levels.add(figures["signals"][name]["interval"]["level"])
        lines.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": time, "y": rounded(100 * inside, 4),
                "line": {"color": colour(number), "width": 1.6}, "hovertemplate": "%{y:.1f}%<extra>" + name + "</extra>",
            }
        )  # fmt: skip
    layout = blank(340)
    layout["xaxis"] |= {"rangebreaks": time_breaks(rows)}
    layout["yaxis"] |= {"ticksuffix": "%", "title": {"text": "inside the interval"}}
    layout["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 100 * level, "y1": 100 * level,
         "line": {"color": "#222", "dash": "dot", "width": 1}}
        for level in sorted(level for level in levels if level is not None)
    ]  # fmt: skip
    return {"data": lines, "layout": {**layout, "showlegend": True}}


def reliability_chart(figures: Mapping[str, Any]) -> Figure | None:
    """How often it rose against how likely that was said to be; None for other targets."""
    told = {name: each["reliability"]["bins"] for name, each in figures["signals"].items() if each["reliability"]}
    told = {name: bins for name, bins in told.items() if name not in ("zero", "persistence")}
    if not told:
        return None
    marks: list[Figure] = [
        {
            "type": "scatter", "mode": "lines+markers", "name": name, "x": rounded([each["said"] for each in bins], 4),
            "y": rounded([each["rose"] for each in bins], 4), "line": {"color": colour(number + 2), "width": 1},
            "error_y": {"type": "data", "array": rounded([2 * each["error"] for each in bins], 3)},
            "hovertemplate": "said %{x:.3f}, rose %{y:.3f}<extra>" + name + "</extra>",
        }
        for number, (name, bins) in enumerate(told.items())
    ]  # fmt: skip
    said = [each["said"] for bins in told.values() for each in bins]
    ends = rounded([min(said), max(said)], 4)
    diagonal = {"type": "scatter", "mode": "lines", "name": "as said", "x": ends, "y": ends, "hoverinfo": "skip",
                "line": {"color": "#222", "dash": "dot", "width": 1}}  # fmt: skip
    layout = blank(420)
    layout["xaxis"] |= {"type": "linear", "title": {"text": "probability of a rise that was said", "standoff": 4}}
    layout["yaxis"] |= {"title": {"text": "share that rose"}}
    return {"data": [*marks, diagonal], "layout": layout}
