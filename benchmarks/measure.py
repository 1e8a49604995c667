"""Variants of the same work, each in a process of its own, taking turns."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freqlstm.progress import Progress


@dataclass(frozen=True)
class Figures:
    """Medians over all rounds of one variant."""

    seconds: float
    peak_mb: float  # resident memory of the whole process, libraries included
    told: dict[str, Any]  # what the variant printed in its last round, besides its seconds


def interleaved(variants: Mapping[str, Sequence[str]], rounds: int, progress: Progress) -> dict[str, Figures]:
    """Run each variant ``rounds`` times in turn: A B C A B C, so that a noisy minute spoils one round and not one variant.

    A variant is the arguments of a Python process which prints, as its last line, a JSON object with its ``seconds`` and
    ``peak_mb``.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    peaks: dict[str, list[float]] = {name: [] for name in variants}
    told: dict[str, dict[str, Any]] = {}
    turns = [name for _ in range(rounds) for name in variants]
    for turn, name in enumerate(turns):
        progress(turn, len(turns), name)
        child = subprocess.run([sys.executable, *variants[name]], stdout=subprocess.PIPE, text=True, check=True)
        told[name] = json.loads(child.stdout.splitlines()[-1])
        seconds[name].append(told[name].pop("seconds"))
        peaks[name].append(told[name].pop("peak_mb"))
    return {
        name: Figures(statistics.median(seconds[name]), statistics.median(peaks[name]), told[name]) for name in variants
    }


def peak_mb() -> float:
    """The most memory that this process has held so far.

    Of its own: what ``getrusage`` tells begins, on Linux, with the memory of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024 / 1024
