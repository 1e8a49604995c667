"""Runs a result again, from nothing but its run file, and compares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm.errors import RunError
from freqlstm.files import jsonable
from freqlstm.progress import Progress, silent
from freqlstm.results import Result
from freqlstm.run import prepare, read_run, run_backtest
from freqlstm.store import Project

COUNTED = ("configurations_tried", "deflated_sharpe")  # they grow with every other configuration that is tried


@dataclass(frozen=True)
class Comparison:
    """One part of a run, then and now."""

    part: str
    same: bool
    detail: str = ""
    given: bool = False  # an input; a difference of one explains a different result but is none


def load_result(project: Project, folder: Path) -> Result:
    """The saved result in ``folder``, with the candles that it was made of."""
    job = prepare(read_run(folder / "run.toml"), project, [])
    return Result.load(folder, {symbol: candles.between(job.start, job.end) for symbol, candles in job.market.items()})


def reproduce(project: Project, folder: Path, jobs: int = 0, progress: Progress = silent) -> list[Comparison]:
    """Fit, predict and trade again without any cache, and compare bit for bit what came then and now."""
    then = load_result(project, folder)
    now = run_backtest(read_run(folder / "run.toml"), project, jobs=jobs, cache=False, progress=progress)
    return list(compare(then, now))


def compare(then: Result, now: Result) -> Iterator[Comparison]:
    """Inputs first, since they explain differences of the outputs."""
    was, is_ = ({"engine": "backtrader", **jsonable(result.manifest)} for result in (then, now))
    for part in ("versions", "machine", "plugins", "candles", "market_rules", "seed", "engine"):
        yield _values(part, was.get(part), is_.get(part), given=True)
    for symbol in then.predictions:
        yield _tables(f"predictions of {symbol}", then.predictions[symbol], now.predictions[symbol])
    yield _tables("trades", then.trades, now.trades)
    yield _tables("equity", then.equity, now.equity)
    yield _values("statistics", _uncounted(jsonable(then.stats)), _uncounted(jsonable(now.stats)))


def confirm(comparisons: list[Comparison], run_id: str) -> None:
    """An error that names the first part of the result that differs, and the inputs that do."""
    different = [comparison for comparison in comparisons if not comparison.same and not comparison.given]
    if different:
        inputs = [comparison.part for comparison in comparisons if comparison.given and not comparison.same]
        raise RunError(
            f"{run_id} is not reproduced: {', '.join(each.part for each in different)} differ; {different[0].part}: "
            f"{different[0].detail}. "
            + (f"Inputs that have changed since: {', '.join(inputs)}." if inputs else "No input has changed since.")
        )


def _uncounted(stats: dict[str, Any]) -> dict[str, Any]:
    return {**stats, "luck": {key: value for key, value in stats["luck"].items() if key not in COUNTED}}


def _values(part: str, then: Any, now: Any, given: bool = False) -> Comparison:
    return Comparison(part, then == now, "" if then == now else _first_difference(then, now), given)


def _first_difference(then: Any, now: Any, path: str = "") -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in [*then, *(key for key in now if key not in then)]:
            if then.get(key) != now.get(key):
                return _first_difference(then.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (a, b) in enumerate(zip(then, now, strict=True)):
            if a != b:
                return _first_difference(a, b, f"{path}[{number}]")
    return f"{path or 'value'} was {json.dumps(then)}, is {json.dumps(now)}"


def _tables(part: str, then: pd.DataFrame, now: pd.DataFrame) -> Comparison:
    if list(then.columns) != list(now.columns):
        return Comparison(part, False, f"columns were {list(then.columns)}, are {list(now.columns)}")
    if len(then) != len(now):
        return Comparison(part, False, f"{len(then)} rows then, {len(now)} now")
    for column in then.columns:
        a, b = then[column], now[column]
        same = ((a == b) | (a.isna() & b.isna())).to_numpy()
        if not same.all():
            row = int((~same).argmax())
            return Comparison(
                part, False, f"{column} in row {row} ({then.index[row]}) was {a.iloc[row]!r}, is {b.iloc[row]!r}"
            )
    return Comparison(part, True, f"{len(then):,} rows bit-identical")
