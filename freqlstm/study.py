"""The journal of a tuning study: one file, in which every configuration stands as soon as it is proposed and judged.

A process that is killed leaves at most a torn line, which is cut off, and a configuration that it was trying, which is
proposed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from freqlstm.errors import StoreError, UsageError
from freqlstm.files import explained, make_folder

WARMING_UP = 4  # whole trials before any is given up
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

# What a study was begun with: key in the journal -> as it is called in messages.
RECIPE = {
    "signal": "signal", "identity": "source, fixed parameters or library versions of the signal", "space": "space", "candles": "candles",
    "span": "time range", "folds": "number of inner folds", "seeds": "number of seeds", "seed": "seed of the search",
}  # fmt: skip


class _NoLock(JournalFileOpenLock):
    """The journal is locked as a whole while a study is open; a lock of its own would outlive a process that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        """There is nothing to release."""


@contextmanager
def opened(journal: Path, recipe: Mapping[str, Any]) -> Iterator[optuna.Study]:
    """The study of a journal, begun if there is none; a UsageError if it was begun otherwise or is being worked on."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with explained(journal):
        make_folder(journal.parent)
    lock = FileLock(f"{journal}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"Another process is tuning in {journal}. Wait until it has ended, or give this one another --name."
        ) from None
    try:
        yield _study(journal, recipe)
    finally:
        lock.release()


def _study(journal: Path, recipe: Mapping[str, Any]) -> optuna.Study:
    _cut_torn_line(journal)
    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=_NoLock(str(journal))))
        study = optuna.create_study(
            storage=storage, study_name="tuning", direction="minimize", load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=WARMING_UP),
        )  # fmt: skip
        stored = study.user_attrs.get("recipe")
        left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise StoreError(
            f"{journal} is damaged: {error}. Move it away to begin anew, or give another --name."
        ) from error
    if stored is None:
        study.set_user_attr("recipe", recipe)
    else:
        for key, word in RECIPE.items():
            if stored.get(key) != recipe[key]:
                raise UsageError(
                    f"{journal} was begun with another {word}: {_short(stored.get(key))}, not {_short(recipe[key])}. Give another --name to begin "
                    f"anew, or what it was begun with to go on."
                )
    for trial in left:  # a process that was killed was trying it: it is proposed again, and keeps its scores
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    return study


def _cut_torn_line(journal: Path) -> None:
    """Remove the beginning of a line that a crash has cut off."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(journal, whole)


def _short(value: Any) -> str:
    """A part of a recipe as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={_short(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " to ".join(map(str, value))
    text = str(value)
    return text[:12] if len(text) == 64 else text
