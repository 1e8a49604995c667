"""What a run was made of: enough to judge it and to repeat it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import pandas as pd

from freqlstm import provenance, quality
from freqlstm.candles import Candles
from freqlstm.job import Job
from freqlstm.plugins import Plugin
from freqlstm.predictions import Predictions

PACKAGES = (
    "freqlstm", "backtrader", "tensorflow", "keras", "numba", "numpy", "pandas", "pyarrow", "pandas-ta-classic", "quantstats",
)  # fmt: skip


def manifest(
    job: Job, forecasts: Mapping[str, Predictions], history: Mapping[str, int], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``history`` is the number of bars before the time range that the strategy's conditions looked at, by symbol."""
    used = {symbol: used_candles(job, forecasts, symbol, history.get(symbol, 0)) for symbol in job.market}
    return {
        "synthetic": any(candles.synthetic for candles in used.values()),
        "start": job.start.isoformat(),
        "end": job.end.isoformat(),
        "plugins": [plugin_entry(plugin) for plugin in job.plugins],
        "candles": {symbol: candle_entry(candles) for symbol, candles in used.items()},
        "quality": {
            symbol: quality.report(candles.frame, symbol, candles.timeframe).as_dict()
            for symbol, candles in used.items()
        },
        "market_rules": {symbol: asdict(rules) for symbol, rules in job.rules.items()},
        "signals": {
            name: {"fingerprint": forecast.fingerprint, "folds": forecast.folds} for name, forecast in forecasts.items()
        },
        "seed": job.seed,
        "engine": job.engine,
        "versions": versions(),
        "machine": provenance.machine(),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }  # fmt: skip


def plugin_entry(plugin: Plugin) -> dict[str, str]:
    """Which file it was, and the digests of it and of all its sources."""
    return {
        "kind": plugin.kind, "name": plugin.name, "origin": plugin.origin, "file": plugin.path.name,
        "sha256": plugin.digest, "source": provenance.source_digest(plugin.path),
    }  # fmt: skip


def candle_entry(candles: Candles) -> dict[str, Any]:
    """Whose candles, how many, and their digest."""
    return {
        "exchange": candles.exchange, "timeframe": candles.timeframe, "rows": len(candles),
        "first": candles.time[0].isoformat(), "last": candles.time[-1].isoformat(), "sha256": candles.digest,
        **({"beside": {name: other.digest for name, other in candles.beside.items()}} if candles.beside else {}),
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def used_candles(job: Job, forecasts: Mapping[str, Predictions], symbol: str, history: int) -> Candles:
    """Every candle of ``symbol`` that training, warm-up, history or trading could have seen, and no other."""
    candles = job.market[symbol]
    traded_from = int(candles.time.searchsorted(job.start))
    firsts: list[pd.Timestamp | None] = [candles.time[max(0, traded_from - history)]]
    firsts += [forecast.description.first_needed(job.start, candles.step, job.folds) for forecast in forecasts.values()]
    known = [first for first in firsts if first is not None]
    return candles.between(min(known) if len(known) == len(firsts) else None, job.end)
