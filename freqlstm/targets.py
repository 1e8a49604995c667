"""What a network learns for each target, and how its output becomes a prediction.

Everything is expressed in *units*: (outcome - base) / scale, where base and scale are known at the close of bar t.

| target     | outcome                        | base                                  | scale           | learned label |
|------------|--------------------------------|---------------------------------------|-----------------|---------------|
| return     | log return of the next h bars  | 0                                     | sigma sqrt h    | tanh(units)   |
| direction  | 1 for a rise, 0 for a fall     | 0.5                                   | 1               | 1 or 0        |
| volatility | log realised variance of those | that of the last 4 h bars, less log 4 | 1               | units         |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from freqlstm import features, labels
from freqlstm.candles import Candles
from freqlstm.errors import UsageError

TARGETS = ("return", "direction", "volatility")


@dataclass(frozen=True)
class Target:
    """One target at one horizon; ``halflife`` (bars) is that of the volatility which scales returns."""

    name: str
    horizon: int
    halflife: int = features.HALFLIFE

    def __post_init__(self) -> None:
        if self.name not in TARGETS:
            raise UsageError(f"Target {self.name!r} is not known. It must be one of {', '.join(TARGETS)}.")

    @property
    def warmup(self) -> int:
        """Bars of an unbroken stretch before base and scale exist."""
        if self.name == "return":
            return features.ewma_warmup(self.halflife)
        return labels.PAST * self.horizon if self.name == "volatility" else 0

    def outcome(self, candles: Candles) -> pd.Series[float]:
        """What came; row t is known at the close of bar t + horizon. The only thing here that looks ahead."""
        if self.name == "return":
            return labels.forward_return(candles, self.horizon)
        if self.name == "direction":
            return labels.direction(candles, self.horizon)
        return labels.log_realised_variance(candles, self.horizon)

    def base_and_scale(self, candles: Candles) -> tuple[np.ndarray, np.ndarray]:
        """Shapes (rows,), float64, known at the close of bar t; NaN in the warm-up."""
        zeros = np.zeros(len(candles))
        if self.name == "return":
            sigma = features.ewma_volatility(candles, self.halflife).to_numpy()
            return zeros, np.where(sigma > 0, sigma, np.nan) * math.sqrt(self.horizon)
        if self.name == "direction":
            return zeros + 0.5, zeros + 1.0
        past = labels.log_past_variance(candles, labels.PAST * self.horizon).to_numpy()
        return past - math.log(labels.PAST), zeros + 1.0

    def units(self, candles: Candles) -> np.ndarray:
        """Shape (rows,): the outcome in units, NaN where there is none. Looks ahead."""
        base, scale = self.base_and_scale(candles)
        return np.asarray((self.outcome(candles).to_numpy() - base) / scale)

    def label(self, units: np.ndarray) -> np.ndarray:
        """What a network is trained on: returns are compressed, so that a crash does not outweigh a month."""
        if self.name == "return":
            return np.asarray(np.tanh(units))
        return units + 0.5 if self.name == "direction" else units

    def stretch(self, units: np.ndarray) -> float:
        """The least-squares factor from labels back to units: a mean of compressed returns is smaller than their mean."""
        label = self.label(units)
        power = float(label @ label)
        return float(units @ label) / power if self.name == "return" and power > 0 else 1.0

    def from_network(self, output: np.ndarray) -> np.ndarray:
        """A network's output in units; for a direction the output is a log odds."""
        return np.asarray(1 / (1 + np.exp(-output)) - 0.5) if self.name == "direction" else output
