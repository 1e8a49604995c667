"""What the figures of an evaluation say in words, whatever one hoped for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEYOND_NOISE = 0.05  # a p-value below this is no accident; after Holm's correction, of none of the signals
ERRORS = 2  # standard errors within which a difference tells nothing
FEW_ROWS = 250  # below that, the error of an error is told whatever the differences


def findings(figures: Mapping[str, Any]) -> list[str]:
    """Sentences, the most important first."""
    return [
        *_against_naive(figures),
        *_against_best(figures),
        *_within_error(figures),
        *_seeds(figures),
        *_kept(figures),
    ]


def _against_naive(figures: Mapping[str, Any]) -> list[str]:
    naive = figures["naive"]
    judged = _judged(figures, "naive", naive)
    if not judged:
        return []
    better = [name for name, p in judged.items() if p < BEYOND_NOISE]
    corrected = f" after Holm's correction for {len(judged)} signals" if len(judged) > 1 else ""
    if not better:
        return [f"No signal's error is below {naive}'s beyond noise (DM p < .05{corrected})."]
    told = ", ".join(f"{name} (p {_p(judged[name])})" for name in better)
    rest = [name for name in judged if name not in better]
    said = [f"Squared error below {naive}'s beyond noise (DM p < .05{corrected}): {told}."]
    return [*said, f"Not below it beyond noise: {', '.join(rest)}."] if rest else said


def _against_best(figures: Mapping[str, Any]) -> list[str]:
    """Which signals are below the best of the baselines; nothing to say where that is the naive forecast itself."""
    named = figures["named"]
    bests = {figures["signals"][name]["best_baseline"] for name in named} - {figures["naive"], None}
    if not bests:
        return []
    best = min(bests, key=lambda name: figures["signals"][name]["pooled"]["rmse"])
    judged = {
        name: p
        for name, p in _judged(figures, "best", best).items()
        if figures["signals"][name]["best_baseline"] == best
    }
    better = [name for name, p in judged.items() if p < BEYOND_NOISE]
    if not judged:
        return []
    if not better:
        return [f"No signal's error is below that of the best baseline, {best}, beyond noise."]
    told = ", ".join(f"{name} (p {_p(judged[name])})" for name in better)
    return [f"Squared error below that of the best baseline, {best}, beyond noise: {told}."]


def _within_error(figures: Mapping[str, Any]) -> list[str]:
    """A warning where the errors differ by no more than a resampled test set would make them differ anyway."""
    naive = figures["naive"]
    own = figures["signals"][naive]["pooled"]
    itself = ""
    if own["mae_error"] is not None:
        itself = f"the mean absolute error of {naive} itself is {_small(own['mae'])} ± {_small(own['mae_error'])}"
    known = {
        name: each
        for name, each in figures["differences"].items()
        if each["mae_error"] is not None and each["mse_error"] is not None and name != naive
    }
    beyond = any(
        abs(each[error]) > ERRORS * each[f"{error}_error"] for each in known.values() for error in ("mae", "mse")
    )
    if known and not beyond:
        name = max(known, key=lambda each: abs(known[each]["mae"]))
        return [
            f"These {figures['rows']:,} rows prove nothing: the largest difference in mean absolute error from {naive}, "
            f"{_small(abs(known[name]['mae']))} of {name}, is within {ERRORS} bootstrap errors of {_small(known[name]['mae_error'])}"
            f"{'; ' + itself if itself else ''}."
        ]
    if figures["rows"] < FEW_ROWS and itself:
        return [f"Only {figures['rows']:,} rows: {itself}, so another {figures['rows']:,} could turn the order round."]
    return []


def _seeds(figures: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} over {over['seeds']} seeds: mean absolute error {_small(over['mae_mean'])} ± {_small(over['mae_sd'])}, "
        f"{over['mae_below_naive']} of them below {figures['naive']}; root mean square error {_small(over['rmse_mean'])} ± "
        f"{_small(over['rmse_sd'])}, {over['rmse_below_naive']} below."
        for name in figures["named"]
        if (over := figures["signals"][name]["over_seeds"]) is not None
    ]


def _kept(figures: Mapping[str, Any]) -> list[str]:
    """How often intervals held."""
    told = []
    for name in figures["named"]:
        interval = figures["signals"][name]["interval"]
        if interval is not None and interval["level"] is not None:
            told.append(f"{name} {interval['pooled']['coverage']:.1%} of a promised {interval['level']:.1%}")
    return [f"Outcomes inside the intervals: {'; '.join(told)}."] if told else []


def _judged(figures: Mapping[str, Any], rival: str, called: str) -> dict[str, float]:
    """The corrected p-values of the named signals against ``rival``, without the rival itself."""
    values = {name: figures["signals"][name]["pooled"][f"holm_p_vs_{rival}"] for name in figures["named"]}
    return {name: p for name, p in values.items() if p is not None and name != called}


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _small(value: float) -> str:
    return f"{value:.3g}"
