"""The charts of how signals were fitted, and of what they listen to."""

from __future__ import annotations

from typing import Any

import numpy as np

from freqlstm.report.canvas import QUIET, STRATEGY, Figure, blank, rounded
from freqlstm.report.evaluation_charts import colour, upright

MOST_LINES = 40  # training histories of one signal


def training_chart(folds: list[dict[str, Any]]) -> Figure | None:
    """Validation error after each epoch or tree, over that after the first, a line for each fit; None without any."""
    lines: list[Figure] = []
    for fold in folds:
        for member, errors in enumerate(fold.get("validation_errors") or []):
            if isinstance(errors, list) and errors and errors[0] and len(lines) < MOST_LINES:
                called = f"fold {fold['number'] + 1}, {str(fold.get('test_start', ''))[:10]}, fit {member + 1}"
                thin = np.unique(np.linspace(0, len(errors) - 1, 150).astype(np.int64))
                lines.append(
                    {
                        "type": "scatter", "mode": "lines+markers", "x": [int(step) + 1 for step in thin],
                        "y": rounded(np.asarray(errors, np.float64)[thin] / errors[0], 6), "marker": {"size": 4},
                        "line": {"color": colour(fold["number"]), "width": 1}, "showlegend": False,
                        "hovertemplate": "%{x}: %{y:.5f}<extra>" + called + "</extra>",
                    }
                )  # fmt: skip
    if not lines:
        return None
    layout = blank(320)
    layout["xaxis"] |= {"type": "linear", "title": {"text": "epoch, or tree", "standoff": 4}}
    layout["yaxis"] |= {"title": {"text": "validation error / the first"}}
    return {"data": lines, "layout": layout}


def stages_chart(folds: list[dict[str, Any]]) -> Figure | None:
    """Validation error of the sum after each stage of boosting, over that of its base; a hollow mark was not kept."""
    lines: list[Figure] = []
    for fold in folds:
        stages = fold.get("stages") or []
        if not stages or not stages[0].get("error_before") or len(lines) >= MOST_LINES:
            continue
        base = stages[0]["error_before"]
        marks = ["circle", *("circle" if stage["kept"] else "circle-open" for stage in stages)]
        lines.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": list(range(len(stages) + 1)),
                "y": rounded([1.0, *(stage["error_after"] / base for stage in stages)], 7),
                "marker": {"symbol": marks, "size": 9}, "line": {"color": colour(fold["number"]), "width": 1.2},
                "name": f"fold {fold['number'] + 1}", "hovertemplate": "stage %{x}: %{y:.5f}<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    if not lines:
        return None
    layout = blank(320)
    layout["xaxis"] |= {"type": "linear", "dtick": 1, "title": {"text": "stage; 0 is the base", "standoff": 4}}
    layout["yaxis"] |= {"title": {"text": "validation error / base's"}}
    return {"data": lines, "layout": {**layout, "showlegend": True}}


def importance_chart(features: list[dict[str, Any]]) -> Figure:
    """What shuffling each feature in time adds to the squared error, in percent of it."""
    shown = features[:40]
    layout = blank(importance_height(len(features)))
    layout["xaxis"] |= {"type": "linear", "ticksuffix": "%", "title": {"text": "squared error added", "standoff": 4}}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    layout["shapes"] = [upright(0.0)]
    bars = {
        "type": "bar", "orientation": "h", "x": rounded([100 * each["increase"] for each in shown], 4),
        "y": [each["feature"] for each in shown], "marker": {"color": STRATEGY},
        "error_x": {"type": "data", "array": rounded([100 * each["spread"] for each in shown], 3), "color": QUIET},
        "hovertemplate": "%{x:.4f}%<extra>%{y}</extra>",
    }  # fmt: skip
    return {"data": [bars], "layout": {**layout, "showlegend": False}}


def importance_height(features: int) -> int:
    """Pixels of the chart of importance."""
    return 110 + 20 * min(features, 40)
