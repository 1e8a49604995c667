"""Work shared out to processes, and how far it is."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeVar, Union

from joblib import Parallel, delayed

from freqlstm.errors import FreqlstmError, UnknownName, UsageError
from freqlstm.progress import Progress

T = TypeVar("T")
Outcome = Union[T, "Failed"]


def parallel(workers: int, function: Callable[..., Outcome[T]], arguments: Iterable[tuple[Any, ...]]) -> Iterator[T]:
    """``function`` of each of the arguments, in their order, worked out by so many processes; with one, by this process.

    The processes keep their imports from call to call and end when idle for half a minute.
    """
    processes = Parallel(
        n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch=workers, max_nbytes=None, idle_worker_timeout=30
    )  # fmt: skip
    outcomes: Any = None
    try:
        with _deaf_children():
            outcomes = processes(delayed(function)(*each) for each in arguments)
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                raise outcome.kind(outcome.text)
            yield outcome
    except BrokenProcessPool as error:
        codes = re.findall(r"[A-Z]+\(-?\d+\)", str(error))
        raise FreqlstmError(
            f"A process that shared the work ended by itself ({', '.join(dict.fromkeys(codes)) or type(error).__name__}), most likely "
            f"because there was no memory left. Run again with fewer at once, as in --jobs 1: what was fitted is kept."
        ) from error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that work was done in vain: after an error it was
            if outcomes is not None:
                outcomes.close()


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started in the block never hear Ctrl-C, nor print where it met them: this one hears it and ends them.

    It hears it after the block: a process that is only half begun would print that it misses the rest.
    """
    before = signal.getsignal(signal.SIGINT)
    in_charge = threading.current_thread() is threading.main_thread() and callable(before)
    if not hasattr(signal, "pthread_sigmask") or not in_charge:
        yield
        return
    heard = []
    resource_tracker.ensure_running()  # started inside the block, it would lift the mask
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what a new process inherits
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if heard:
        signal.raise_signal(signal.SIGINT)


@dataclass(frozen=True)
class Failed:
    """An error as its class and text, which survive any way from one process to another."""

    kind: type[FreqlstmError]
    text: str


def caught(work: Callable[[], T]) -> Outcome[T]:
    """What ``work`` returns, or how it failed."""
    try:
        return work()
    except UnknownName as error:  # cannot be made again from its text alone
        return Failed(UsageError, str(error))
    except FreqlstmError as error:
        return Failed(type(error), str(error))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """How many threads this process may work with: of the processes of :func:`parallel`, each has its share of the cores.

    Whoever sets OMP_NUM_THREADS, as such processes find it set, says so for all of them.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(given), cores()) if given.isdigit() and int(given) else cores()


@contextmanager
def watched(folds: int, progress: Progress) -> Iterator[Path]:
    """A folder for the folds' notes, read twice a second while the block runs; progress counts folds and parts of them."""
    folder = Path(tempfile.mkdtemp(prefix="freqlstm-"))
    over = threading.Event()

    def watch() -> None:
        shown = ""
        notes: dict[int, tuple[float, str]] = {}
        while not over.wait(0.5):
            for note in sorted(folder.iterdir()):
                with suppress(OSError, ValueError):  # it is being written: what it said before still holds
                    part, _, text = note.read_text().partition(" ")
                    notes[int(note.name)] = (float(part), text)
            running = [f"fold {number + 1}: {text}" for number, (part, text) in sorted(notes.items()) if part < 1]
            now = f"{sum(part for part, _ in notes.values())} {running}"
            if now != shown:
                shown = now
                progress(sum(part for part, _ in notes.values()), folds, "; ".join(running) or "predicting")

    watcher = threading.Thread(target=watch, daemon=True)
    progress(0, folds, "starting")
    watcher.start()
    try:
        yield folder
        over.set()
        watcher.join()
        progress(folds, folds, "predictions made")
    finally:
        over.set()
        watcher.join()
        shutil.rmtree(folder, ignore_errors=True)


def beat(folder: Path | None, number: int) -> Progress:
    """A progress that leaves its notes in the folder of :func:`watched`, from whatever process."""

    def note(done: float, total: float, text: str) -> None:
        if folder is not None:
            with suppress(OSError):
                (folder / str(number)).write_text(f"{done / max(total, 1)} {text}")

    return note
