"""Variants of the same work, each in a process of its own, taking turns."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Tell = Callable[[str], None]

INSTALL = "python -m pip install -r benchmarks/requirements.txt"


@dataclass(frozen=True)
class Variant:
    """One way of doing the work of a row: a function of a module of this package, and what it is called with.

    The function returns its ``seconds``, how many ``units`` of the row's work it did if not all of it (one), and
    whatever shows that it did the same as the others.
    """

    name: str
    work: str  # module:function
    settings: Mapping[str, Any] = field(default_factory=dict)  # of what JSON can say
    rounds: int | None = None  # at most, where one takes minutes
    needs: str = ""  # the library, of those in requirements.txt, without which it cannot run

    @property
    def missing(self) -> bool:
        """Whether that library is not installed."""
        return bool(self.needs) and find_spec(self.needs) is None


@dataclass(frozen=True)
class Figures:
    """Medians over all rounds of one variant."""

    seconds: float  # of all the row's work
    peak_mb: float  # resident memory of the whole process, libraries included
    rounds: int
    told: Mapping[str, Any]  # what the variant returned in its last round, besides these


class BrokenVariant(Exception):
    """A variant ended with an error."""


def interleaved(variants: Sequence[Variant], rounds: int, tell: Tell) -> list[Figures]:
    """Run each variant ``rounds`` times in turn: A B C A B C, so that a noisy minute spoils one round and not one variant."""
    seconds: list[list[float]] = [[] for _ in variants]
    peaks: list[list[float]] = [[] for _ in variants]
    told: list[dict[str, Any]] = [{} for _ in variants]
    for turn in range(rounds):
        for number, variant in enumerate(variants):
            if variant.rounds is None or turn < variant.rounds:
                told[number] = run(variant)
                seconds[number].append(told[number].pop("seconds") / told[number].get("units", 1.0))
                peaks[number].append(told[number].pop("peak_mb"))
                tell(f"{variant.name}, round {turn + 1}: {duration(seconds[number][-1])}, {peaks[number][-1]:,.0f} MB")
    return [
        Figures(statistics.median(each), statistics.median(peak), len(each), said)
        for each, peak, said in zip(seconds, peaks, told, strict=True)
    ]


def run(variant: Variant) -> dict[str, Any]:
    """What one process told in the last line that it printed."""
    command = [sys.executable, "-m", "benchmarks.child", variant.work, json.dumps(dict(variant.settings))]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise BrokenVariant(f"{variant.name} ended with {last}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def duration(seconds: float) -> str:
    """A time in the unit that a person would take."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor or unit == "us":
            return f"{seconds / factor:.3g} {unit}" if seconds < 1000 * factor else f"{seconds / factor:,.0f} {unit}"
    raise AssertionError


def peak_mb() -> float:
    """The most memory that this process has held so far.

    Of its own: what ``getrusage`` tells begins, on Linux, with the memory of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return rusage_mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def rusage_mb(maxrss: int) -> float:
    """What the system calls ``ru_maxrss``, which is in kilobytes but on macOS."""
    return maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)
