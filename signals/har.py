"""Heterogeneous autoregression (Corsi 2009): what the last 5 minutes to a day say about what comes, linearly.

A volatility is regressed on the log variances of the last 5, 15, 60, 240 and 1440 bars, a return on the returns over them.
"""

from typing import Any

from freqlstm.catalogue import log_variance, momentum, return_lag
from freqlstm.features import Feature
from freqlstm.labels import PAST
from freqlstm.linear import LinearSignal

SPANS = (5, 15, 60, 240, 1440)  # bars


class Har(LinearSignal):
    features: tuple[str | Feature, ...] = ()  # none: those of the target
    horizon: int = 15  # bars ahead being forecast
    target = "volatility"

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.shrinks = self.target != "volatility"  # whose HAR is plain least squares, as everybody's is
        if not self.features:
            spans = sorted({*SPANS, PAST * self.horizon})  # the forecast starts from the latter
            returns = (return_lag(0), *map(momentum, SPANS))
            self.features = tuple(map(log_variance, spans)) if self.target == "volatility" else returns

    def _own_features(self, names: Any) -> Any:
        if not isinstance(names, (list, tuple)):
            return names  # which is refused
        made = {"log_variance": log_variance, "momentum": momentum}
        split = [name.rpartition("_") if isinstance(name, str) else ("", "", "") for name in names]
        return [
            made[kind](int(bars)) if kind in made and bars.isdigit() else name
            for name, (kind, _, bars) in zip(names, split, strict=True)
        ]
