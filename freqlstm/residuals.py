"""What is left in the errors of a forecast: order in time, waves of size, and far tails."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from freqlstm.stats import Figures

LAGS = 10  # residuals that each is compared with
FEWEST = 5 * LAGS  # residuals below which nothing is tested


def residual_tests(residuals: np.ndarray, bars: np.ndarray, horizon: int) -> Figures:
    """p-values of "no order in time", "no waves" and "normal", of one symbol's residuals in order of time.

    Ljung and Box (1978) on 10 lags; Engle's (1982) ARCH test on 10 lags; Jarque and Bera (1980). Residuals of
    overlapping horizons are alike by construction, so only those at every horizon-th bar are tested. None for fewer
    than 50 of them or for residuals that are all the same.
    """
    apart = residuals[bars % horizon == bars[0] % horizon] if len(bars) else residuals
    found: Figures = {"rows": len(apart), "ljung_box_p": None, "arch_lm_p": None, "jarque_bera_p": None,
                      "skew": None, "kurtosis": None}  # fmt: skip
    if len(apart) < FEWEST or np.ptp(apart) == 0:
        return found
    scaled = apart / apart.std()  # squares of small numbers are no numbers for a regression
    centred = scaled - scaled.mean()
    power = float(np.mean(centred**2))
    skew, kurtosis = float(np.mean(centred**3)) / power**1.5, float(np.mean(centred**4)) / power**2
    return found | {
        "ljung_box_p": _order_p(centred),
        "arch_lm_p": _arch_p(scaled),
        "jarque_bera_p": float(chi2.sf(len(apart) / 6 * (skew**2 + (kurtosis - 3) ** 2 / 4), 2)),
        "skew": skew,
        "kurtosis": kurtosis,  # of a normal distribution: 3
    }


def _order_p(centred: np.ndarray) -> float:
    """n (n + 2) times the sum of squared autocorrelations over n - lag: chi-squared if there is no order in time."""
    rows, power = len(centred), float(centred @ centred)
    alike = [float(centred[lag:] @ centred[:-lag]) / power for lag in range(1, LAGS + 1)]
    return float(chi2.sf(rows * (rows + 2) * sum(r**2 / (rows - lag) for lag, r in enumerate(alike, start=1)), LAGS))


def _arch_p(residuals: np.ndarray) -> float:
    """Rows times R2 of the squares regressed on those of the 10 bars before: chi-squared if size comes in no waves."""
    squares = residuals**2
    later = squares[LAGS:]
    before = np.column_stack([np.ones(len(later)), *(squares[LAGS - lag : -lag] for lag in range(1, LAGS + 1))])
    left = later - before @ np.linalg.lstsq(before, later, rcond=None)[0]
    spread = float(np.sum((later - later.mean()) ** 2))
    explained = 1 - float(left @ left) / spread if spread > 0 else 0.0
    return float(chi2.sf(len(later) * explained, LAGS))


def autocorrelation(values: np.ndarray, bars: np.ndarray, lags: int) -> list[float | None]:
    """Correlation of what stands at bar t with what stands at bar t - lag, for 1 to ``lags``; pairs across a gap are left out."""
    found: list[float | None] = []
    centred = values - values.mean() if len(values) else values
    power = float(centred @ centred) / max(len(centred), 1)
    for lag in range(1, lags + 1):
        earlier = np.searchsorted(bars, bars - lag)
        both = (
            (earlier < len(bars)) & (bars[np.minimum(earlier, len(bars) - 1)] == bars - lag) if len(bars) else bars > 0
        )
        pairs = int(both.sum())
        if pairs < 2 or power == 0:
            found.append(None)
        else:
            found.append(float(centred[both] @ centred[earlier[both]]) / pairs / power)
    return found
