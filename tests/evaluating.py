"""Signals and candles that evaluations are tried on: quick to fit, and known to be worth something or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.evaluation import Evaluation
from freqlstm.evaluation_run import EvaluationRun, run_evaluation
from freqlstm.folds import FoldPlan
from freqlstm.store import CandleStore, Project

BTC, ETH = "BTC/USDT", "ETH/USDT"
PLAN = FoldPlan(train="1d", test="6h", min_train="12h")
SPANS = ("20240102-20240102T1200", "20240103-20240103T0900")

# Regresses what came on the move of the last bar, by least squares; its intervals hold what 80% of training rows held.
SLOPE = '''"""The move of the last bar, times what was learned of it."""

import numpy as np
import pandas as pd

from freqlstm import Signal, labels


class Slope(Signal):
    horizon: int = 1
    interval: float = 0.8
    offset: float = 0.0  # added to every forecast
    silent_before: int = 0  # hour of the day before which it says nothing

    @property
    def warmup(self):
        return 3

    def learn(self, market, progress):
        x = np.concatenate([np.log(c.close).diff().to_numpy() for c in market.values()])
        y = np.concatenate([labels.forward_return(c, self.horizon).to_numpy() for c in market.values()])
        both = np.isfinite(x) & np.isfinite(y)
        self.slope_ = float(x[both] @ y[both] / (x[both] @ x[both]))
        self.spread_ = float(np.quantile(np.abs(y[both] - self.slope_ * x[both]), self.interval))
        stage = {"error_before": 1.0, "error_after": 0.9, "kept": True}
        stages = [stage, {"error_before": 0.9, "error_after": 0.91, "kept": False}]
        self.report_ = {"validation_errors": [[1.0, 0.9, 0.95]], "stages": stages, "symbols_seen": sorted(market)}

    def inputs(self, candles):
        return pd.DataFrame({"move": np.log(candles.close).diff(), "noise": np.sin(candles.close * 1e6)})

    def predict_from(self, inputs, candles):
        said = self.slope_ * inputs["move"] + self.offset
        said = said.where(candles.time.hour >= self.silent_before)
        return pd.DataFrame(
            {"prediction": said, "prediction_low": said - self.spread_, "prediction_high": said + self.spread_}
        )

    def predict(self, candles):
        return candles.by_segment(lambda c: self.predict_from(self.inputs(c), c), self.warmup)
'''

# Draws its weights from its seed: every seed is another forecast, and all are worthless.
GUESS = '''"""A forecast that is drawn, not learned."""

import numpy as np
import pandas as pd

from freqlstm import Signal


class Guess(Signal):
    horizon: int = 1
    size: float = 1e-4

    def learn(self, market, progress):
        self.phase_ = float(np.random.default_rng(self.seed).uniform(0, 1e6))

    def predict(self, candles):
        return pd.Series(self.size * np.sin(candles.close.to_numpy() * 1e5 + self.phase_), index=candles.time)
'''

# Says with what probability the next close is higher; too sure of itself by a factor.
CHANCE = '''"""The probability of a rise after a rise."""

from typing import Literal

import numpy as np

from freqlstm import Signal


class Chance(Signal):
    horizon: int = 1
    target: Literal["direction"] = "direction"
    steepness: float = 200.0

    @property
    def warmup(self):
        return 1

    def predict(self, candles):
        def of_stretch(stretch):
            return 1 / (1 + np.exp(self.steepness * np.log(stretch.close).diff()))

        return candles.by_segment(of_stretch, self.warmup)["close"]
'''

# The mean of the variance of three pasts, in logarithms.
CALM = '''"""Log variance of the past, at three lengths."""

from typing import Literal

import numpy as np
import pandas as pd

from freqlstm import Signal, labels


class {name}(Signal):
    horizon: int = 15
    target: Literal["volatility"] = "volatility"

    @property
    def warmup(self):
        return 8 * self.horizon

    def predict(self, candles):
        pasts = [labels.log_past_variance(candles, n * self.horizon) - np.log(n) for n in {pasts}]
        return pd.concat(pasts, axis=1).mean(axis=1, skipna=False)
'''


def reverting(rows: int, symbol: str = BTC, seed: int = 1, back: float = 0.0, start: str = "2024-01-01") -> Candles:
    """Minutes whose every move takes back the share ``back`` of the one before; 0 is a random walk."""
    random = np.random.default_rng(seed)
    shock, move = random.normal(0, 1e-3, rows), np.zeros(rows)
    for row in range(1, rows):
        move[row] = shock[row] - back * move[row - 1]
    close = 100 * np.exp(np.cumsum(move))
    open_ = np.concatenate([[100.0], close[:-1]])
    frame = pd.DataFrame(
        {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close, "volume": 1.0},
        index=pd.date_range(start, periods=rows, freq="min", tz="UTC"),
    )  # fmt: skip
    return Candles.from_frame(frame, symbol, "1m", "binance")


def project_with(folder: Path, *market: Candles) -> Project:
    """A project with these candles in its store and the signals of this module in its folder."""
    sources = {
        "slope": SLOPE, "guess": GUESS, "chance": CHANCE,
        "har": CALM.format(name="Har", pasts=(1, 4, 8)), "calm": CALM.format(name="Calm", pasts=(1, 2)),
    }  # fmt: skip
    (folder / "signals").mkdir(parents=True)
    for name, source in sources.items():
        (folder / "signals" / f"{name}.py").write_text(source)
    project = Project(folder)
    store = CandleStore(project.data)
    for candles in market:
        store.write(candles)
    return project


def evaluated(project: Project, *signals: str, warn: list[str] | None = None, **other: Any) -> Evaluation:
    """An evaluation over two spans, with folds of a quarter of a day, in one process."""
    given = {"pairs": (BTC,), "timeranges": SPANS, "folds": PLAN, **other}
    return run_evaluation(EvaluationRun(signals=signals, **given), project, jobs=1, warn=warn)
