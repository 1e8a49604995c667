"""``freqlstm train``: fit a signal and save it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from freqlstm.cli.console import (
    PathName,
    json_option,
    note,
    pairs_option,
    print_json,
    print_table,
    progress_bar,
    timeframe_option,
)


@click.command()
@click.option(
    "--signal", "name", default="lstm", show_default=True, help="A name that `freqlstm signals` lists, or a file."
)
@pairs_option
@timeframe_option
@click.option("--timerange", metavar="FROM-TO", help="20230101-20230401 in UTC; the newest 90 days if not given.")
@click.option("--exchange", metavar="NAME", help="Whose stored candles; demo is the synthetic market.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True, help="A parameter of the signal.")
@click.option("--accept-off-grid", is_flag=True, help="Take candles off the timeframe's grid as they are.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted fit from its last whole epoch.")
@click.option("--tensorboard", "events", metavar="DIR", type=PathName(file_okay=False),
              help="Write loss, validation error and learning rate of every epoch there.")  # fmt: skip
@json_option
@click.pass_obj
def train(
    root: Path, /, name: str, pairs: tuple[str, ...], timeframe: str | None, timerange: str | None, exchange: str | None,
    changes: tuple[str, ...], accept_off_grid: bool, resume: bool, events: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Fit a signal on the newest candles of one or several pairs and save it under models/.

    `freqlstm predict` then says what it expects next. A fit that is interrupted, even by a power cut, goes on with
    --resume and gives the same model to the last bit.
    """
    import pandas as pd

    from freqlstm.cli.backtest import parameters_of
    from freqlstm.forecast import train as fit
    from freqlstm.models import read_beside
    from freqlstm.plugins import find
    from freqlstm.selection import candles_of, with_beside
    from freqlstm.store import Project

    project, warnings = Project(root), list[str]()
    plugin = find("signal", name, root)
    parameters = parameters_of(changes)
    with plugin.blamed():
        beside = read_beside(plugin.load()(**parameters))
    market = candles_of(
        project,
        warnings,
        pairs=pairs,
        timeframe=timeframe,
        exchange=exchange,
        timerange=timerange,
        accept_off_grid=accept_off_grid,
    )
    if not timerange:
        market = {
            symbol: candles.between(candles.time[-1] + candles.step - pd.Timedelta(days=90), None)
            for symbol, candles in market.items()
        }
    market = with_beside(market, beside, project, warnings, accept_off_grid=accept_off_grid)
    try:
        with progress_bar() as progress:
            signal, folder = fit(
                plugin, parameters, market, project.models, progress, resume=resume, events=events, warn=warnings
            )
    finally:
        for warning in warnings:
            note(f"Warning: {warning}")
    if as_json:
        print_json({"folder": str(folder), "training": signal.training_, "report": signal.report_})
        return
    rows = [(symbol, seen["timeframe"], seen["first"], seen["last"], seen["rows"])
            for symbol, seen in signal.training_["candles"].items()]  # fmt: skip
    print_table(("pair", "timeframe", "first candle", "last candle", "rows"), rows, right=("rows",))
    print_report(signal.report_)
    click.echo(f"\n{folder}")


def print_report(report: Mapping[str, Any]) -> None:
    """A line for each figure, and a table for each list of mappings, whose columns are not told a second time."""
    tables = {key: value for key, value in report.items() if value and _is_table(value)}
    told = {column for rows in tables.values() for row in rows for column in row}
    for key, value in report.items():
        if key not in tables and key not in told:
            click.echo(f"{key}: {in_words(value)}")
    for key, rows in tables.items():
        click.echo(f"\n{key}")
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = [[in_words(row[column]) if column in row else "" for column in columns] for row in rows]
        print_table([column.replace("_", " ") for column in columns], lines)


def in_words(value: Any) -> str:
    """A figure with six digits at most; lists without brackets, and a semicolon between lists in a list."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(each, (list, tuple)) for each in value)
        return ("; " if nested else " ").join(map(in_words, value))
    return str(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(row, Mapping) for row in value)
