"""The run file of a tuned signal: what `freqlstm backtest` runs with the parameters that won."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm.errors import PluginError, UnknownName, UsageError
from freqlstm.files import write_text
from freqlstm.plugins import Plugin, discover, find, shown
from freqlstm.results import to_toml
from freqlstm.run import run_of
from freqlstm.strategy import signals_of
from freqlstm.timerange import timerange_text

USUAL = "lstm_rsi"  # the strategy if it uses the signal and none is named


def strategy_for(signal: Plugin, named: str | None, root: Path) -> tuple[str, str] | None:
    """(strategy, its column that the signal fills): of the strategy that is named, or else of any; None if there is none."""
    if named is not None:
        plugin = find("strategy", named, root)
        uses = signals_of(plugin.load())
        column = _column(uses, signal, root)
        if column is None:
            raise UsageError(
                f"Strategy {plugin.name} does not use {signal.name}, only {', '.join(uses.values()) or 'no signal'}. Name one that does, "
                f"or leave out --strategy."
            )
        return plugin.name, column
    found = []
    for plugin in discover("strategy", root):
        try:
            uses = signals_of(plugin.load())
            column = _column(uses, signal, root)
        except (PluginError, UnknownName):  # whoever runs that one is told
            continue
        if column is not None:
            found.append(((plugin.name != USUAL, len(uses), plugin.name), (plugin.name, column)))
    return min(found)[1] if found else None  # of several the one that depends on the fewest signals


def _column(uses: Mapping[str, str], signal: Plugin, root: Path) -> str | None:
    """The first column that the signal fills."""
    for column, name in uses.items():
        if find("signal", name, root).path == signal.path:
            return column
    return None


def require_free(file: Path) -> None:
    """A UsageError if the file is there: a recipe is never overwritten in silence."""
    if file.exists():
        raise UsageError(f"{shown(file)} is there already. Give another file with --to, or overwrite it with --force.")


def write_run(
    file: Path, use: tuple[str, str], parameters: Mapping[str, Any], selection: Mapping[str, Any],
    span: tuple[pd.Timestamp, pd.Timestamp], until: pd.Timestamp, found: str,
) -> str:  # fmt: skip
    """Write a run file for the candles after the span, if there are any up to ``until``; the time range that it has.

    ``found`` is what the study says, for the comment at the top.
    """
    strategy, column = use
    start, end = span
    after = timerange_text(end, until) if until > end else ""
    content = {
        "strategy": strategy, **selection, "timerange": after or None, "signals": {column: dict(parameters)},
    }  # fmt: skip
    text = to_toml(content)
    run_of(tomllib.loads(text), str(file))
    warning = f"# {found}\n# Chosen on {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: only candles after that can tell what it is worth.\n"
    if not after:
        warning += "# There were none yet, so this runs on the very candles that it was chosen on. Set timerange when there are.\n"
    write_text(file, f"{warning}\n{text}")
    return after
