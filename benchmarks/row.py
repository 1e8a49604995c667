"""A row of the table: what is measured, against what, and what was to be reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import INSTALL, BrokenVariant, Figures, Tell, Variant, interleaved


@dataclass(frozen=True)
class Measured:
    """The figures of one row, all of the same run."""

    ours: Figures
    best: Figures | None  # the fastest competitor
    further: Mapping[str, Figures]  # by the name of the variant

    @property
    def ratio(self) -> float | None:
        """How many times as long the fastest competitor takes."""
        return None if self.best is None else self.best.seconds / self.ours.seconds


@dataclass(frozen=True)
class Target:
    """What was to be reached; ``met`` is None where a competitor is missing."""

    text: str
    met: Callable[[Measured], bool | None]


def at_least(times: float) -> Target:
    """So many times as fast as the fastest competitor."""
    return Target(f"{times:g} times", lambda row: None if row.ratio is None else row.ratio >= times)


def within(seconds: float, text: str) -> Target:
    """In at most so many seconds; ``text`` says it in the unit that a person would take."""
    return Target(text, lambda row: row.ours.seconds <= seconds)


def under_mb(mb: float) -> Target:
    """With a peak below so much memory, further variants of ours included."""
    return Target(f"{mb:,.0f} MB", lambda row: all(one.peak_mb <= mb for one in [row.ours, *row.further.values()]))


def share_of_memory(share: float) -> Target:
    """With at most this share of the memory that the fastest competitor takes, that of libraries left out."""
    return Target(
        f"{share:.0%} of the memory",
        lambda row: None if row.best is None else row.ours.told["work_mb"] <= share * row.best.told["work_mb"],
    )


def told_under(name: str, most: float, text: str) -> Target:
    """With at most so much of something that the variant tells."""
    return Target(text, lambda row: row.ours.told[name] <= most)


@dataclass(frozen=True)
class Row:
    """One line of the table, not measured yet."""

    key: str
    what: str
    ours: Variant
    competitors: Sequence[Variant]
    targets: Sequence[Target]
    further: Sequence[Variant] = ()  # ours once more: more work, or otherwise
    beside: Sequence[Variant] = ()  # others that the targets do not speak of
    same: Sequence[str] = ()  # what all of them must tell alike, or the row fails
    near: Mapping[str, float] = field(default_factory=dict)  # what may differ by this fraction
    note: Callable[[Measured], str] = lambda row: ""
    prepare: Callable[[], None] = lambda: None  # before the first variant, unmeasured

    @property
    def turns(self) -> list[Variant]:
        """All variants that can run."""
        return [one for one in (self.ours, *self.competitors, *self.beside, *self.further) if not one.missing]

    def measure(self, rounds: int, tell: Tell, judge: bool = True) -> dict[str, Any]:
        """What the table, the chart and ``--json`` show of this row; without ``judge`` targets are not looked at."""
        absent = sorted({one.needs for one in self.competitors if one.missing})
        install = f"{', '.join(absent)} is not installed: {INSTALL}" if absent else ""
        shown: dict[str, Any] = {
            "key": self.key, "what": self.what, "ours": None, "competitors": [], "beside": [], "further": [], "ratio": None,
            "targets": [{"text": one.text, "met": None} for one in self.targets],
        }  # fmt: skip
        try:
            self.prepare()
            found = {
                one.name: each for one, each in zip(self.turns, interleaved(self.turns, rounds, tell), strict=True)
            }
        except BrokenVariant as error:
            return {**shown, "verdict": "failed", "note": str(error)}

        def of(variants: Sequence[Variant]) -> dict[str, Figures]:
            return {one.name: found[one.name] for one in variants if one.name in found}

        rivals = of(self.competitors)
        best = min(rivals.values(), key=lambda one: one.seconds, default=None)
        row = Measured(found[self.ours.name], best, of(self.further))
        shown["ours"] = _shown(self.ours.name, row.ours)
        for part in ("competitors", "beside", "further"):
            shown[part] = [_shown(name, one) for name, one in of(getattr(self, part)).items()]
        differing = self._differing({self.ours.name: row.ours, **rivals, **of(self.beside)})
        if differing:
            return {**shown, "verdict": "failed", "note": differing}
        shown["ratio"] = row.ratio
        if judge:
            shown["targets"] = [{"text": one.text, "met": one.met(row)} for one in self.targets]
        met = [one["met"] for one in shown["targets"]]
        shown["verdict"] = "missed" if False in met else "not compared" if None in met else "met"
        shown["note"] = ". ".join(text for text in (self.note(row), install) if text)
        return shown

    def _differing(self, found: Mapping[str, Figures]) -> str:
        """What the variants were to tell alike and do not; empty if they do."""
        for name in self.same:
            said = {variant: one.told[name] for variant, one in found.items()}
            if len({repr(value) for value in said.values()}) > 1:
                return f"The {name} differ: {said}."
        for name, fraction in self.near.items():
            said = {variant: one.told[name] for variant, one in found.items()}
            first = next(iter(said.values()))
            if not all(math.isclose(value, first, rel_tol=fraction) for value in said.values()):
                return f"The {name} differ by more than {fraction:g}: {said}."
        return ""


def _shown(name: str, one: Figures) -> dict[str, Any]:
    return {
        "name": name, "seconds": one.seconds, "peak_mb": one.peak_mb, "rounds": one.rounds, "told": dict(one.told),
    }  # fmt: skip
