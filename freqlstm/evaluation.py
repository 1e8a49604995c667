"""What the forecasts of several signals are worth, each beside the forecasts that cost nothing and the best baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.contest import Compared, Contest
from freqlstm.files import atomic_folder, write_json, write_text
from freqlstm.findings import findings
from freqlstm.measures import Outcomes, measured
from freqlstm.reliability import calibration_error, coverage, reliability
from freqlstm.residuals import residual_tests
from freqlstm.results import to_toml
from freqlstm.store import write_table
from freqlstm.uncertainty import bootstrap_error, holm

BASELINES = ("zero", "persistence", "ridge", "har", "lightgbm")
REFERENCES = {"volatility": "har"}  # what R2 is measured against; zero for what is not listed


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Who was compared on what, every figure, and the rows they are made of. ``figures`` is a part of evaluation.json."""

    run_id: str
    config: dict[str, Any]
    manifest: dict[str, Any]
    figures: dict[str, Any]
    compared: Compared

    @property
    def synthetic(self) -> bool:
        """True if the candles are those of the demo market: whatever shows this must say so."""
        return bool(self.manifest.get("synthetic"))

    def as_dict(self) -> dict[str, Any]:
        """What evaluation.json holds."""
        return {"run_id": self.run_id, "synthetic": self.synthetic, "figures": self.figures, "manifest": self.manifest}

    def save(self, folder: Path) -> None:
        """Write the folder at once or not at all; the page is added by whoever makes it."""
        with atomic_folder(folder) as target:
            write_text(target / "run.toml", to_toml(self.config))
            write_json(target / "evaluation.json", self.as_dict())
            write_table(target / "predictions.parquet", self.compared.table())


def figures_of(contest: Contest, compared: Compared) -> dict[str, Any]:
    """Every figure of every signal: pooled, by symbol, by fold, by era (calendar year), and what they say in words."""
    outcomes = compared.outcomes(contest.target, contest.horizon)
    said = compared.said
    squared = {name: float(np.mean((outcomes.came - values) ** 2)) for name, values in said.items()}
    naive = min(("zero", "persistence"), key=squared.__getitem__)
    wanted = REFERENCES.get(contest.target, "zero")
    reference = wanted if wanted in said else "zero"
    ranked = sorted((name for name in BASELINES if name in said), key=squared.__getitem__)
    groups = _groups(compared.rows)
    signals: dict[str, Any] = {}
    for name, values in said.items():
        best = next((each for each in ranked if each != name), None)
        rivals = {"naive": naive, "reference": reference, "zero": "zero", "persistence": "persistence"}
        rivals |= {} if best is None else {"best": best}

        def one(rows: np.ndarray, values: np.ndarray = values, rivals: dict[str, str] = rivals) -> dict[str, Any]:
            own = {other: said[other][rows] for other in {*rivals.values()}}
            theirs = {rival: own[other] for rival, other in rivals.items()}
            return dict(measured(values[rows], outcomes.only(rows), own[reference], own["zero"], theirs))

        signals[name] = {
            "pooled": one(np.arange(len(outcomes))),
            **{group: {key: one(rows) for key, rows in parts.items()} for group, parts in groups.items()},
            "best_baseline": best,
            "residuals": {
                symbol: residual_tests((outcomes.came - values)[rows], outcomes.bars[rows], contest.horizon)
                for symbol, rows in groups["by_symbol"].items()
            },
            "interval": _intervals(compared, name, outcomes, groups),
            "reliability": _reliability(values, outcomes),
            "over_seeds": _over_seeds(compared, name, outcomes, said[naive]),
            "fit_seconds": _mean([fold.get("fit_seconds") for fold in compared.folds.get(name, [])]),
            "fits": len(compared.folds.get(name, [])),
        }  # fmt: skip
    for contender in contest.contenders:
        interval = signals[contender.name]["interval"]
        if interval is not None:
            interval["level"] = contender.description.parameters.get("interval")
    named = [contender.name for contender in contest.contenders]
    for rival in ("naive", "best", "reference"):
        p_values = {name: signals[name]["pooled"].get(f"dm_p_vs_{rival}") for name in named}
        adjusted = holm({name: p for name, p in p_values.items() if p is not None})
        for name in named:
            signals[name]["pooled"][f"holm_p_vs_{rival}"] = adjusted.get(name)
    figures: dict[str, Any] = {
        "target": contest.target, "horizon": contest.horizon, "naive": naive, "reference": reference,
        "named": named, "rows": len(outcomes), "bars": compared.bars, "labelled": compared.labelled,
        "spoken": compared.spoken, "symbols": list(groups["by_symbol"]), "signals": signals,
        "differences": _differences(named, said, naive, outcomes),
        "correlations": _correlations(said),
    }  # fmt: skip
    return {**figures, "findings": findings(figures)}


def _groups(rows: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """The row numbers of each symbol, fold and calendar year."""
    keys = {
        "by_symbol": rows["symbol"].astype(str),
        "by_fold": rows["fold"].astype(str),
        "by_era": pd.DatetimeIndex(rows["time"]).strftime("%Y"),
    }
    return {
        group: {str(key): np.asarray(found) for key, found in rows.groupby(np.asarray(key), sort=False).indices.items()}
        for group, key in keys.items()
    }


def _intervals(
    compared: Compared, name: str, outcomes: Outcomes, groups: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, Any] | None:
    """How often the interval held, pooled and in each group; None without one."""
    if name not in compared.interval:
        return None
    low, high = compared.interval[name]
    return {
        "pooled": coverage(low, high, outcomes.came),
        **{
            group: {key: coverage(low[rows], high[rows], outcomes.came[rows]) for key, rows in parts.items()}
            for group, parts in groups.items()
        },
    }


def _reliability(said: np.ndarray, outcomes: Outcomes) -> dict[str, Any] | None:
    if outcomes.target != "direction":
        return None
    bins = reliability(said, outcomes.came)
    return {"bins": bins, "calibration_error": calibration_error(bins)}


def _over_seeds(compared: Compared, name: str, outcomes: Outcomes, naive: np.ndarray) -> dict[str, Any] | None:
    """Mean and standard deviation of the errors of the single seeds, and how many are below the naive forecast's; None for one seed."""
    if name not in compared.by_seed:
        return None
    errors = outcomes.came - compared.by_seed[name]  # (seeds, rows)
    rival = outcomes.came - naive
    each = {"rmse": np.sqrt(np.mean(errors**2, axis=1)), "mae": np.mean(np.abs(errors), axis=1)}
    limit = {"rmse": float(np.sqrt(np.mean(rival**2))), "mae": float(np.mean(np.abs(rival)))}
    found: dict[str, Any] = {"seeds": len(errors)}
    for figure, values in each.items():
        found |= {
            figure: values.tolist(), f"{figure}_mean": float(values.mean()), f"{figure}_sd": float(values.std(ddof=1)),
            f"{figure}_below_naive": int((values < limit[figure]).sum()),
        }  # fmt: skip
    return found


def _differences(
    named: list[str], said: Mapping[str, np.ndarray], naive: str, outcomes: Outcomes
) -> dict[str, dict[str, float | None]]:
    """Each signal's mean errors less those of the naive forecast, with the bootstrap error of that difference."""
    theirs = outcomes.came - said[naive]
    found = {}
    for name in named:
        error = outcomes.came - said[name]
        absolute, squared = np.abs(error) - np.abs(theirs), error**2 - theirs**2
        found[name] = {
            "mae": float(absolute.mean()), "mae_error": bootstrap_error(absolute, outcomes.bars, outcomes.horizon),
            "mse": float(squared.mean()), "mse_error": bootstrap_error(squared, outcomes.bars, outcomes.horizon),
        }  # fmt: skip
    return found


def _correlations(said: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """Pearson's, of the forecasts with each other; of what is constant there is none."""
    moving = {name: values for name, values in said.items() if np.ptp(values) > 0}
    if len(moving) < 2:
        return {}
    matrix = np.corrcoef(np.stack(list(moving.values())))
    return {
        name: {other: float(value) for other, value in zip(moving, line, strict=True)}
        for name, line in zip(moving, matrix, strict=True)
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
