"""Every figure of one forecast on the rows on which several are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from freqlstm.skill import (
    FEWEST_ROWS,
    correlation,
    diebold_mariano,
    directional_accuracy,
    percentage_error,
    qlike,
    ranks,
)  # fmt: skip
from freqlstm.stats import Figures
from freqlstm.uncertainty import bootstrap_error

FIGURES = (
    "r2", "r2_error", "error_ratio", "rmse", "rmse_error", "mae", "mae_error", "mape", "qlike", "theil_u", "ic",
    "rank_ic", "directional_accuracy", "bias",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came in the compared rows: shapes (rows,). ``bars`` are open times divided by the timeframe."""

    came: np.ndarray
    bars: np.ndarray
    target: str
    horizon: int  # bars

    def __len__(self) -> int:
        return len(self.came)

    def only(self, rows: np.ndarray) -> Outcomes:
        """Those of some rows."""
        return Outcomes(self.came[rows], self.bars[rows], self.target, self.horizon)


def measured(
    said: np.ndarray, outcomes: Outcomes, reference: np.ndarray, zero: np.ndarray, rivals: Mapping[str, np.ndarray]
) -> Figures:
    """The figures of a forecast, None each on fewer than 30 rows, and p-values against the ``rivals``.

    ``r2`` is 1 - ``error_ratio``, the sum of squared errors over that of the ``reference``; ``theil_u`` the root of the
    same over that of ``zero`` (Theil, 1966). ``..._error`` is a standard error under the stationary bootstrap; for r2
    and rmse by the delta method. ``mape`` and ``qlike`` are those of volatility: a return or a direction is around
    nothing, of which there is no percentage. ``bias`` is the mean of what came less what was said.
    """
    rows = len(outcomes)
    p_values = [f"dm_p_vs_{name}" for name in rivals]
    if rows < FEWEST_ROWS:
        return {"rows": rows, **dict.fromkeys((*FIGURES, *p_values))}
    came, bars, horizon = outcomes.came, outcomes.bars, outcomes.horizon
    error, rival = came - said, came - reference
    squared, theirs = error**2, rival**2
    mean, mean_theirs, mean_zero = float(squared.mean()), float(theirs.mean()), float(np.mean((came - zero) ** 2))
    rmse = math.sqrt(mean)
    ratio = mean / mean_theirs if mean_theirs > 0 else None
    of_square = bootstrap_error(squared, bars, horizon)
    of_ratio = None if ratio is None else bootstrap_error(squared - ratio * theirs, bars, horizon)
    volatile = outcomes.target == "volatility"
    found: Figures = {
        "rows": rows,
        "r2": None if ratio is None else 1 - ratio,
        "r2_error": None if of_ratio is None else of_ratio / mean_theirs,
        "error_ratio": ratio,
        "rmse": rmse,
        "rmse_error": None if of_square is None or not rmse else of_square / (2 * rmse),
        "mae": float(np.mean(np.abs(error))),
        "mae_error": bootstrap_error(np.abs(error), bars, horizon),
        "mape": percentage_error(said, came, horizon) if volatile else None,
        "qlike": float(np.mean(qlike(said, came))) if volatile else None,
        "theil_u": math.sqrt(mean / mean_zero) if mean_zero > 0 else None,
        "ic": correlation(said, came),
        "rank_ic": correlation(ranks(said), ranks(came)),
        "directional_accuracy": directional_accuracy(said, came, outcomes.target),
        "bias": float(error.mean()),
    }
    known: dict[int, float | None] = {}  # one forecast may be several rivals
    for name, other in rivals.items():
        if id(other) not in known:
            known[id(other)] = diebold_mariano(error, came - other, horizon, bars)
        found[f"dm_p_vs_{name}"] = known[id(other)]
    return found
