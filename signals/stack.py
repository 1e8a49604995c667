"""The mean of several signals, or the mean that validation would have weighed best."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.models import fitted_member, loaded_member, said_by, save_member, unfitted_member, unseen_from
from freqlstm.plugins import style_free
from freqlstm.progress import Progress
from freqlstm.supervised import SupervisedSignal, TrainingData

MEMBERS = {
    "volatility": ("lstm_volatility", "lightgbm"),
    "return": ("lstm", "lightgbm"),
    "direction": ("lstm", "lightgbm"),
}


class Stack(SupervisedSignal):
    features = ()  # those of its members are theirs
    members: tuple[str, ...] = ()  # names of signals; none: an LSTM and trees
    weights: Literal["equal", "validation"] = "equal"  # or the non-negative ones that fit the validation rows best

    in_files = ("members_",)

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.members = self.members or MEMBERS[self.target]
        plain = [style_free(Path(name).stem) for name in self.members]  # a member is kept under this name
        again = [name for number, name in enumerate(self.members) if plain[number] in plain[:number]]
        if again:
            raise UsageError(
                f'The member {again[0]!r} of Stack is named twice. Name each once: weights = "validation" weighs them.'
            )

    @property
    def uses(self) -> tuple[str, ...]:
        return self.members

    @property
    def all_features(self) -> tuple[Any, ...]:
        return ()

    @property
    def warmup(self) -> int:
        return max(super().warmup, *(unfitted_member(self, name)[1].warmup for name in self.members))

    def recent(self, candles: Candles, first: pd.Timestamp) -> Candles:
        needed = [member.recent(candles, first) for member in getattr(self, "members_", {}).values()]
        return max([super().recent(candles, first), *needed], key=len)

    def fit_to(self, data: TrainingData, market: dict[str, Candles], progress: Progress) -> np.ndarray:
        self.members_ = {name: fitted_member(self, name, market, progress) for name in self.members}
        said = np.full((len(self.members), len(data.matrix)), np.nan)
        for symbol, span in data.spans.items():
            said[:, span] = self._units(market[symbol])
        said = said[:, data.check_rows]  # (members, rows)
        self.validated_from_ = max(self.validated_from_, unseen_from(self.members_.values()))
        said[:, data.bars[data.check_rows] < self.validated_from_] = np.nan  # there some member has learned
        self.weights_ = [1 / len(self.members)] * len(self.members)
        spoken = np.isfinite(said).all(axis=0)
        if self.weights == "validation" and spoken.any():
            found, _ = nnls(said[:, spoken].T, data.check_units[spoken])
            total = float(np.linalg.norm(found, 1))
            if total > 0:
                self.weights_ = (found / total).tolist()
        self.report_ |= {"weights": dict(zip(self.members, self.weights_, strict=True))}
        return self.average(said)

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        return self._units(candles)[:, rows]

    def average(self, said: np.ndarray) -> np.ndarray:
        return sum(weight * line for weight, line in zip(self.weights_, said, strict=True))

    def _units(self, candles: Candles) -> np.ndarray:
        """What every member predicts, in units of the target, shape (members, bars)."""
        base, scale = self.aim.base_and_scale(candles)
        return np.array([(said_by(member, candles) - base) / scale for member in self.members_.values()])

    def write_files(self, folder: Path) -> None:
        for name, member in self.members_.items():
            save_member(self, name, member, folder)

    def read_files(self, folder: Path) -> None:
        self.members_ = {name: loaded_member(self, name, folder) for name in self.members}
