"""Whether what a forecast says of its own uncertainty is so: intervals and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from freqlstm.stats import Figures

BINS = 10


def coverage(low: np.ndarray, high: np.ndarray, came: np.ndarray) -> Figures:
    """Shares of outcomes inside, below and above the interval, and its mean width; rows without an interval don't count."""
    given = np.isfinite(low) & np.isfinite(high)
    rows = int(given.sum())
    if not rows:
        return {"rows": 0, "coverage": None, "below": None, "above": None, "width": None}
    low, high, came = low[given], high[given], came[given]
    below, above = float(np.mean(came < low)), float(np.mean(came > high))
    return {
        "rows": rows,
        "coverage": float(np.mean((came >= low) & (came <= high))),
        "below": below,
        "above": above,
        "width": float(np.mean(high - low)),
    }


def reliability(said: np.ndarray, came: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """For groups of rows with equally many each, by rising probability: what was said on average, and how often it rose.

    ``error`` is the standard error of that share. Equal probabilities are never parted, so there may be fewer groups.
    """
    if not len(said):
        return []
    edges = np.unique(np.quantile(said, np.linspace(0, 1, bins + 1)[1:-1]))
    group = np.searchsorted(edges, said, side="right")
    found = []
    for number in np.unique(group):
        inside = group == number
        rows, rose = int(inside.sum()), float(came[inside].mean())
        found.append(
            {"rows": rows, "said": float(said[inside].mean()), "rose": rose, "error": float(np.sqrt(rose * (1 - rose) / rows))}
        )  # fmt: skip
    return found


def calibration_error(groups: list[dict[str, Any]]) -> float | None:
    """Mean distance of what was said from how often it rose, over the rows of :func:`reliability` (Naeini et al., 2015)."""
    rows = sum(group["rows"] for group in groups)
    if not rows:
        return None
    return float(sum(group["rows"] * abs(group["said"] - group["rose"]) for group in groups) / rows)
