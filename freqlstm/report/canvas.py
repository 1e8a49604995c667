"""What all charts share: colours, axes, and numbers in few characters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

STRATEGY, HOLD, GAIN, LOSS, FORECAST, QUIET = "#1f6fb2", "#d9a400", "#1a8f5a", "#c8373a", "#7a5cc4", "#8a94a3"

Figure = dict[str, Any]  # as plotly.js takes it


def axis() -> Figure:
    """An axis that can be zoomed and makes room for its labels."""
    return {
        "gridcolor": "#e8ebef",
        "zerolinecolor": "#c3c9d2",
        "automargin": True,
        "fixedrange": False,
        "title": {"standoff": 6},
    }


def blank(height: int) -> Figure:
    """The layout of a chart over time, ``height`` pixels high, its legend above it."""
    return {
        "height": height,
        "margin": {"l": 52, "r": 12, "t": 40, "b": 36},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "#fff",
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 12, "color": "#2b3440"},
        "hovermode": "closest",
        "dragmode": "zoom",
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        "xaxis": {**axis(), "type": "date"},
        "yaxis": axis(),
    }


def milliseconds(time: pd.DatetimeIndex | pd.Series[Any]) -> list[int]:
    """UTC times as plotly.js takes them."""
    return [int(value) for value in pd.DatetimeIndex(time).as_unit("ms").asi8]


def rounded(values: Any, digits: int) -> list[float | None]:
    """To so many significant digits, so that the page holds no more text than the eye can use."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in np.asarray(values, np.float64)]


def thrice(first: list[Any], second: list[Any]) -> list[Any]:
    """first, second and a break, over and over: many line pieces in one trace."""
    return [value for pair in zip(first, second, strict=True) for value in (*pair, None)]
