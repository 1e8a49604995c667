"""Tuning: which parameters of a signal miss least on the inner folds of a training span.

Configurations are proposed by a tree-structured Parzen estimator (Bergstra et al. 2011) and given up after a fold on which
they are worse than the median of those before. Everything is in one journal file: a study that was interrupted anywhere
goes on to the configurations, and the figures, that it would have had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import ttest_1samp

from freqlstm import ledger
from freqlstm.errors import Diverged, TooFewCandles, UsageError
from freqlstm.files import jsonable
from freqlstm.folds import Fold
from freqlstm.inner_folds import Market, Score, inner_folds, relative, score
from freqlstm.jobs import cores
from freqlstm.models import identity, members_of, read_beside, signal_class
from freqlstm.plugins import Plugin
from freqlstm.progress import Progress, silent
from freqlstm.provenance import fingerprint
from freqlstm.search import Choices, Space, as_text
from freqlstm.signal import Signal
from freqlstm.study import FINISHED, opened

LEVEL = 0.05  # probability of a chance so lucky, beyond which a difference is called one


@dataclass(frozen=True)
class Tuning:
    """Everything that decides a study but the number of its trials."""

    plugin: Plugin
    fixed: Mapping[str, Any]  # parameters that all configurations have, where they are not the default
    space: Space
    market: Market  # the candles of the span, and none after it
    folds: int = 3
    seeds: int = 2  # fits of each configuration on each fold
    seed: int = 0  # of the search

    def __post_init__(self) -> None:
        for name, value in (("folds", self.folds), ("seeds", self.seeds)):
            if not 1 <= value <= 100:
                raise UsageError(f"--{name} is {value}. It must be between 1 and 100.")
        for name in self.space:
            if name in self.fixed:
                raise UsageError(
                    f"{name!r} is both set and searched. Leave out --set {name}, or search other parameters."
                )

    def signal(self, **chosen: Any) -> Signal:
        """The signal of a configuration, not fitted."""
        with self.plugin.blamed():
            return signal_class(self.plugin)(**self.fixed, **chosen)

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """(open time of the first candle, close time of the last)."""
        step = next(iter(self.market.values())).step
        filled = [candles for candles in self.market.values() if len(candles)]
        return min(each.time[0] for each in filled), max(each.time[-1] for each in filled) + step

    def inner_folds(self) -> list[Fold]:
        return inner_folds(*self.span, next(iter(self.market.values())).step, self.folds)

    def identity(self, **chosen: Any) -> dict[str, Any]:
        """What a configuration is, whatever the candles."""
        signal = self.signal(**chosen)
        return identity(self.plugin, signal.parameters, members_of(signal))

    def possible_members(self) -> list[dict[str, Any]]:
        """The identities of the signals that a searched parameter chooses from: a change of their files makes other scores."""
        chosen = [
            {name: value}
            for name, domain in self.space.items()
            if isinstance(domain, Choices)
            for value in domain.values
        ]
        return [members_of(self.signal(**each)) for each in chosen]

    def recipe(self) -> dict[str, Any]:
        """What must not change while a study is stored."""
        told = {
            "signal": self.plugin.name, "identity": fingerprint([self.identity(), self.possible_members()]), "space": as_text(self.space),
            "candles": {symbol: candles.digest for symbol, candles in sorted(self.market.items())},
            "span": [str(moment) for moment in self.span], "folds": self.folds, "seeds": self.seeds, "seed": self.seed,
        }  # fmt: skip
        return dict(jsonable(told))


def read_beside_in(plugin: Plugin, fixed: Mapping[str, Any], space: Space) -> list[str]:
    """What the configurations of a space read beside a symbol's own candles."""
    kind = signal_class(plugin)
    with plugin.blamed():
        found = {*read_beside(kind(**fixed))}
        for name, domain in space.items():
            for value in domain.values if isinstance(domain, Choices) and name not in fixed else ():
                found |= {*read_beside(kind(**fixed, **{name: value}))}
    return sorted(found)


@dataclass(frozen=True)
class Tried:
    """One configuration and how wrong it was."""

    number: int  # in the order in which they were tried; 0 is the default configuration
    parameters: dict[str, Any]  # those that are searched
    error: float  # squared error over that of the naive forecast, pooled over the folds that it was tried on
    scores: list[Score]  # of those folds
    given_up: str  # why it was not tried on all folds; empty if it was

    @property
    def folds(self) -> list[float]:
        """The relative error of each fold."""
        return [relative([each]) for each in self.scores]


@dataclass(frozen=True)
class Tuned:
    """What a study has found."""

    trials: list[Tried]  # the first is the default configuration

    @property
    def default(self) -> Tried:
        return self.trials[0]

    @property
    def winner(self) -> Tried:
        """The least wrong of those that were tried on all folds; the earliest of equals."""
        return min((each for each in self.trials if not each.given_up), key=lambda each: each.error)

    @property
    def luck(self) -> float | None:
        """Probability that as many worthless configurations bring one that is ahead of the default by so much; None: none is ahead.

        One-sided t-test on the differences of the squared errors over equal stretches of time, times the number of
        configurations that could have won (Bonferroni).
        """
        if self.winner is self.default:
            return None
        errors = [np.concatenate([score.error for score in each.scores]) for each in (self.default, self.winner)]
        chance = float(ttest_1samp(errors[0] - errors[1], 0.0, alternative="greater").pvalue)
        return min(1.0, chance * (len(self.trials) - 1))


def tune(
    tuning: Tuning,
    journal: Path,
    trials: int,
    models: Path,
    trials_ledger: Path,
    jobs: int = 0,
    progress: Progress = silent,
) -> Tuned:
    """Try configurations until the journal holds so many, the default one first; what it holds already is kept."""
    if trials < 1:
        raise UsageError(f"--trials is {trials}. It must be at least 1: the default configuration is the first.")
    folds, jobs = tuning.inner_folds(), jobs or cores()
    with opened(journal, tuning.recipe()) as study:
        while len(done := _finished(study)) < trials:
            entropy = np.random.SeedSequence([tuning.seed, len(done)])  # so that going on is as if nothing had happened
            study.sampler = optuna.samplers.TPESampler(seed=int(entropy.generate_state(1)[0]))
            best = min((each.value for each in done if each.value is not None), default=None)
            beside = "" if best is None else f", best so far {best:.4f}"

            def tell(fold: int, number: int = len(done), beside: str = beside) -> None:
                text = f"configuration {number + 1} of {trials}, inner fold {fold + 1} of {len(folds)}{beside}"
                progress(number + fold / len(folds), trials, text)

            _try(study, tuning, folds, models, trials_ledger, jobs, tell)
        progress(trials, trials, "tuned")
        return Tuned([_tried(number, trial) for number, trial in enumerate(_finished(study))])


def _try(
    study: optuna.Study, tuning: Tuning, folds: list[Fold], models: Path, trials_ledger: Path, jobs: int, tell: Any
) -> None:
    """One more configuration: proposed, tried fold by fold, and told to the study and to the ledger."""
    first = not _finished(study)
    if first:
        defaults = tuning.signal().parameters
        inside = {name: domain for name, domain in tuning.space.items() if defaults[name] in domain}
        study.enqueue_trial({name: _stored(domain, defaults[name]) for name, domain in inside.items()})
        trial = study.ask()
        chosen = {name: defaults[name] for name in tuning.space}
        for name, domain in inside.items():
            _suggested(trial, name, domain)
    else:
        trial = study.ask()
        chosen = {name: _suggested(trial, name, domain) for name, domain in tuning.space.items()}
    trial.set_user_attr("parameters", jsonable(chosen))
    known = _known(study, jsonable(chosen))
    scores: list[Score] = []
    given_up = ""
    for fold in folds:
        tell(fold.number)
        try:
            found = known.get(fold.number) or score(
                tuning.plugin, {**tuning.fixed, **chosen}, range(1, tuning.seeds + 1), tuning.market, fold, models, jobs
            )
        except (TooFewCandles, Diverged) as error:
            if first:
                raise
            given_up = str(error)
            break
        scores.append(found)
        trial.set_user_attr(f"fold {fold.number}", asdict(found))
        trial.report(relative(scores), fold.number)
        if not first and fold.number + 1 < len(folds) and trial.should_prune():
            given_up = f"worse than the median after fold {fold.number + 1}"
            break
    candles = next(iter(tuning.market.values()))
    what = fingerprint([tuning.identity(**chosen), "tuned", tuning.folds, tuning.seeds])
    start, end = (moment.isoformat() for moment in tuning.span)
    ledger.record(
        trials_ledger,
        ledger.Trial(what, candles.exchange, candles.timeframe, tuple(sorted(tuning.market)), start, end, None),
    )
    trial.set_user_attr("given up", given_up)
    if given_up:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, relative(scores))


def _suggested(trial: optuna.Trial, name: str, domain: Any) -> Any:
    """The value of one parameter that is proposed, or enqueued."""
    if isinstance(domain, Choices):
        by_text = {str(value): value for value in domain.values}
        return by_text[trial.suggest_categorical(name, list(by_text))]
    if domain.whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def _stored(domain: Any, value: Any) -> Any:
    return str(value) if isinstance(domain, Choices) else value


def _known(study: optuna.Study, parameters: Any) -> dict[int, Score]:
    """Scores, by number of the fold, that another trial of the same parameters has left, perhaps when it was killed."""
    found: dict[int, Score] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get("parameters") == parameters:
            for name, value in trial.user_attrs.items():
                if name.startswith("fold "):
                    found[int(name.removeprefix("fold "))] = Score(**value)
    return found


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=FINISHED)


def _tried(number: int, trial: FrozenTrial) -> Tried:
    told = trial.user_attrs
    folds = sorted(name for name in told if name.startswith("fold "))
    scores = [Score(**told[name]) for name in folds]
    error = relative(scores) if scores else float("inf")
    return Tried(number, told["parameters"], error, scores, told["given up"])
