"""What a fitted signal listens to: how much worse it forecasts when one of its inputs is shuffled in time.

Whole blocks of time change places, so that a shuffled input still looks like itself from bar to bar (Breiman, 2001,
with blocks in place of rows). Every fold asks the model that spoke in it, on its own test span only. A signal's own
inputs are shuffled and not those of the signals that it is made of: of boosting, the stages are asked and not the base.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.contest import Compared, Contender, Contest
from freqlstm.jobs import Outcome, beat, caught, cores, parallel, watched
from freqlstm.progress import Progress, silent
from freqlstm.signal import Signal
from freqlstm.skill import references

BLOCK = pd.Timedelta(days=1)  # or a tenth of a test span that is shorter than ten days
REPEATS = 3  # shuffles of every input
MOST_ROWS = 6000  # judged for each symbol and fold, spread over all blocks


@runtime_checkable
class Listener(Protocol):
    """A signal that tells what its model sees, and predicts from what it is shown."""

    def inputs(self, candles: Candles) -> pd.DataFrame: ...
    def predict_from(self, inputs: pd.DataFrame, candles: Candles) -> pd.DataFrame | pd.Series[float]: ...


@dataclass(frozen=True)
class Shuffled:
    """Sums of squared errors on one test span of one symbol."""

    features: tuple[str, ...]
    rows: np.ndarray  # (features, repeats), int: rows that could be judged
    before: np.ndarray  # (features, repeats): with the inputs as they were, on these rows
    after: np.ndarray  # (features, repeats): with one of them shuffled


def importances(
    contest: Contest, compared: Compared, models: Path, *, jobs: int = 0, progress: Progress = silent
) -> dict[str, dict[str, Any]]:
    """For each signal with inputs: the squared error that shuffling each adds, as a fraction of it, the largest first.

    ``spread`` is the standard deviation over the shuffles. The fitted signals are read from ``models``; of several seeds
    the first is asked.
    """
    tasks = [
        _Task(contender, models / contender.plugin.name / fold["model_id"], fold["number"], symbol, _span(fold), contest.horizon,
              contest.target, number)
        for number, (contender, fold, symbol) in enumerate(
            (contender, fold, symbol)
            for contender in contest.contenders
            for fold in compared.folds[contender.name]
            if fold["seed"] == contender.description.parameters["seed"]
            for symbol in fold["symbols"]
        )
    ]  # fmt: skip
    if not tasks:
        return {}
    with watched(len(tasks), progress) as beats:
        work = ((replace(task, beats=beats), task.slice(contest.market[task.symbol])) for task in tasks)
        made = list(parallel(min(jobs or cores(), len(tasks)), _Task.done, work))
    found: dict[str, dict[str, Any]] = {}
    for contender in contest.contenders:
        own = [
            shuffled
            for task, shuffled in zip(tasks, made, strict=True)
            if task.contender.name == contender.name and shuffled is not None
        ]
        if own:
            found[contender.name] = _pooled(own)
    return found


def _span(fold: dict[str, Any]) -> tuple[pd.Timestamp, pd.Timestamp]:
    return pd.Timestamp(fold["test_start"]), pd.Timestamp(fold["test_end"])


@dataclass(frozen=True)
class _Task:
    """One symbol in one fold of one signal: the work of one process."""

    contender: Contender
    folder: Path  # of the fitted signal
    fold: int
    symbol: str
    span: tuple[pd.Timestamp, pd.Timestamp]
    horizon: int
    target: str
    number: int
    beats: Path | None = None

    def slice(self, candles: Candles) -> Candles:
        start, end = self.span
        return candles.between(start - self.contender.description.warmup * candles.step, end)

    def done(self, candles: Candles) -> Outcome[Shuffled | None]:
        def work() -> Shuffled | None:
            plugin = self.contender.plugin
            with plugin.blamed():
                signal: Signal = cast(type[Signal], plugin.load()).load(self.folder)
                if not isinstance(signal, Listener) or not signal.speaks_for(self.symbol):
                    return None
                note = beat(self.beats, self.number)

                def tell(done: float, total: float, text: str) -> None:
                    note(done, total, f"{self.contender.name} {self.span[0]:%Y-%m-%d} {self.symbol}, {text}")

                return shuffled(signal, candles, self.span[0], self.horizon, self.target, self.fold, tell)

        return caught(work)


def shuffled(
    signal: Listener, candles: Candles, start: pd.Timestamp, horizon: int, target: str, seed: int,
    progress: Progress = silent,
) -> Shuffled | None:  # fmt: skip
    """The errors from ``start`` on, with and without each input shuffled; None if there is no input or row to judge."""
    known = signal.inputs(candles)
    if not len(known.columns):
        return None
    came = references(candles, horizon, target)[0].to_numpy()
    first = int(candles.time.searchsorted(start))
    block = max(1, min(int(BLOCK / candles.step), (len(candles) - first) // 10))
    inputs = known.copy()
    hidden = ~_judged(len(candles), first, block)
    inputs.loc[hidden] = np.nan  # where nothing is shown, nothing is said, which is what takes the time
    error = came - _said(signal, inputs, candles)
    judged = np.flatnonzero(np.isfinite(error) & (np.arange(len(candles)) >= first))
    if not len(judged):
        return None
    names = tuple(map(str, inputs.columns))
    shape = (len(names), REPEATS)
    rows, before, after = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
    for repeat in range(REPEATS):
        source = _moved(len(candles), first, block, np.random.default_rng([seed, repeat]))
        for number, name in enumerate(inputs.columns):
            progress(repeat * len(names) + number, REPEATS * len(names), f"shuffling {name}")
            changed = inputs.copy()
            changed[name] = np.where(hidden, np.nan, known[name].to_numpy()[source])
            with_it = came[judged] - _said(signal, changed, candles)[judged]
            both = np.isfinite(with_it)
            rows[number, repeat] = int(both.sum())
            before[number, repeat] = float(np.sum(error[judged][both] ** 2))
            after[number, repeat] = float(np.sum(with_it[both] ** 2))
    return Shuffled(names, rows, before, after)


def _said(signal: Listener, inputs: pd.DataFrame, candles: Candles) -> np.ndarray:
    made = signal.predict_from(inputs, candles)
    return (made if isinstance(made, pd.Series) else made["prediction"]).to_numpy(np.float64)


def _judged(rows: int, first: int, block: int) -> np.ndarray:
    """Shape (rows,), bool: of each block a part, at another time of day in each, so that all of them together are few."""
    blocks = max(1, -(-(rows - first) // block))
    kept = min(block, max(1, MOST_ROWS // blocks))
    shown = np.zeros(rows, dtype=bool)
    shown[:first] = kept == block
    for number in range(blocks):
        begin = first + number * block + int((number * 0.618034) % 1 * (block - kept + 1))
        shown[begin : begin + kept] = True
    return shown


def _moved(rows: int, first: int, block: int, random: np.random.Generator) -> np.ndarray:
    """Shape (rows,): which row's value each row is given. Every whole block takes the place of another; the rest stays."""
    blocks = (rows - first) // block
    source = np.arange(rows)
    ring = random.permutation(blocks)
    order = np.zeros(blocks, np.int64)
    order[ring] = np.roll(ring, 1)  # each block gives its place to the next of a ring: none keeps its own
    whole = source[first : first + blocks * block].reshape(blocks, block) if blocks else np.zeros((0, block), int)
    source[first : first + blocks * block] = whole[order].ravel()
    return source


def _pooled(parts: list[Shuffled]) -> dict[str, Any]:
    """All folds and symbols together: a shuffle counts once, over all of them."""
    names = list(dict.fromkeys(name for part in parts for name in part.features))
    told = []
    for name in names:
        own = [(part, part.features.index(name)) for part in parts if name in part.features]
        before = np.sum([part.before[at] for part, at in own], axis=0)
        after = np.sum([part.after[at] for part, at in own], axis=0)
        ratio = after / np.maximum(before, 1e-300) - 1
        told.append({"feature": name, "increase": float(ratio.mean()), "spread": float(ratio.std(ddof=1))})
    rows = int(sum(part.rows.max() for part in parts))
    return {"rows": rows, "repeats": REPEATS, "features": sorted(told, key=lambda each: -float(str(each["increase"])))}
