"""``freqlstm tune``: which parameters of a signal are best, found inside a training span."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from freqlstm.errors import UsageError

if TYPE_CHECKING:
    from freqlstm.tuning import Tried, Tuned


@click.command()
@click.argument("signal", default="lstm")
@pairs_option
@timeframe_option
@click.option("--timerange", metavar="FROM-TO", help="20230101-20230401 in UTC; the newest 90 days if not given.")
@click.option("--exchange", metavar="NAME", help="Whose stored candles; demo is the synthetic market.")
@click.option("--trials", type=int, default=20, show_default=True, help="Configurations, with those that are stored.")
@click.option(
    "--folds", type=int, default=3, show_default=True, help="Inner folds, in the second half of the time range."
)
@click.option("--seeds", type=int, default=2, show_default=True, help="Fits of each configuration on each fold.")
@click.option("--space", "space", metavar="NAME=…", multiple=True,
              help="Where to search: units=8:64, units=8:64:log or units=16,32,64. Instead of the signal's own space.")  # fmt: skip
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True, help="A parameter of every configuration.")
@click.option("--name", default="default", show_default=True, help="Of the study: models/SIGNAL/tuning/NAME.journal.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the search.")
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Fits at once; 0: one a core.")
@click.option("-s", "--strategy", metavar="NAME", help="Of the run file; lstm_rsi, or another that uses the signal.")
@click.option("--to", "file", type=PathName(dir_okay=False), help="The run file; backtests/tuned_SIGNAL.toml.")
@click.option("--force", is_flag=True, help="Overwrite the run file.")
@click.option("--accept-off-grid", is_flag=True, help="Take candles off the timeframe's grid as they are.")
@json_option
@click.pass_obj
def tune(
    root: Path, /, signal: str, pairs: tuple[str, ...], timeframe: str | None, timerange: str | None, exchange: str | None, trials: int,
    folds: int, seeds: int, space: tuple[str, ...], changes: tuple[str, ...], name: str, seed: int, jobs: int, strategy: str | None,
    file: Path | None, force: bool, accept_off_grid: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find the parameters of a signal that miss least on inner folds of a time range, and write a run file with them.

    Every configuration is judged by its squared error over that of the naive forecast. Nothing after the time range is
    looked at, and every configuration counts as tried. Interrupted, the same command goes on.
    """
    import pandas as pd

    from freqlstm.cli.backtest import parameters_of
    from freqlstm.plugins import find
    from freqlstm.search import space_of
    from freqlstm.selection import Selection, with_beside
    from freqlstm.store import Project
    from freqlstm.tuned import require_free, strategy_for, write_run
    from freqlstm.tuning import Tuning, read_beside_in
    from freqlstm.tuning import tune as search

    project, warnings = Project(root), list[str]()
    plugin = find("signal", signal, root)
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"--name is {name!r}. It must be the name of a file, as in --name wide.")
    kind: Any = plugin.load()
    fixed = parameters_of(changes)
    with plugin.blamed():
        kind(**fixed)
    where = space_of(kind, space)
    use = strategy_for(plugin, strategy, root)
    if use is None and file is not None:
        raise UsageError(
            f"--to is {str(file)!r}, but no strategy uses {plugin.name}, so there is no run file. Leave it out."
        )
    file = file or project.backtests / f"tuned_{plugin.name}.toml"
    if use is not None and not force:
        require_free(file)
    given: dict[str, Any] = {
        "pairs": pairs,
        "timeframe": timeframe,
        "exchange": exchange,
        "timerange": timerange,
        "accept_off_grid": accept_off_grid,
    }
    selection = Selection(**{key: value for key, value in given.items() if value})
    stored = selection.load(project, warnings)
    start, end = selection.span(stored, warnings)
    if not timerange:
        start = max(start, end - pd.Timedelta(days=90))
    market = {symbol: candles.between(start, end) for symbol, candles in stored.items()}
    beside = read_beside_in(plugin, fixed, where)
    market = with_beside(market, beside, project, warnings, since=start, accept_off_grid=accept_off_grid)
    for warning in warnings:
        note(f"Warning: {warning}")
    tuning = Tuning(plugin, fixed, where, market, folds, seeds, seed)
    journal = project.models / plugin.name / "tuning" / f"{name}.journal"
    with progress_bar() as progress:
        found = search(tuning, journal, trials, project.models, project.ledger, jobs, progress)
    first = next(iter(stored.values()))
    words = verdict(found)
    after = ""
    if use is not None:
        chosen: dict[str, Any] = {"pairs": list(stored), "timeframe": first.timeframe, "exchange": first.exchange}
        if accept_off_grid:
            chosen["accept_off_grid"] = True
        until = max(candles.time[-1] for candles in stored.values()) + first.step
        after = write_run(file, use, {**fixed, **found.winner.parameters}, chosen, tuning.span, until, words)
    if as_json:
        print_json({
            "signal": plugin.name, "span": tuning.span, "synthetic": first.synthetic, "journal": journal, "space": tuning.recipe()["space"],
            "trials": len(found.trials), "given_up": sum(bool(each.given_up) for each in found.trials), "default": told(found.default),
            "winner": told(found.winner), "luck": found.luck, "verdict": words, "run_file": file if use else None, "timerange": after or None,
        })  # fmt: skip
        return
    summarize(found, words)
    click.echo(f"\n{file}" if use else f"\nNo strategy uses {plugin.name}, so there is no run file.")


def told(tried: Tried) -> dict[str, Any]:
    """A configuration for JSON."""
    return {"number": tried.number, "error": tried.error, "folds": tried.folds, "seeds": [each.seeds for each in tried.scores],
            "parameters": tried.parameters}  # fmt: skip


def summarize(found: Tuned, words: str) -> None:
    """The winner beside the default configuration and the naive forecast."""
    folds = [f"fold {number + 1}" for number in range(len(found.default.scores))]
    columns = ("squared error", "all folds", *folds, "parameters")
    rows: list[tuple[object, ...]] = [("naive forecast", "1.0000", *("1.0000" for _ in folds), "")]
    for title, tried in (("default", found.default), (f"trial {found.winner.number}", found.winner)):
        figures = (f"{value:.4f}" for value in (tried.error, *tried.folds))
        rows.append((title, *figures, " ".join(f"{key}={_value(value)}" for key, value in tried.parameters.items())))
    print_table(columns, rows[: 2 if found.winner is found.default else 3], right=columns[1:-1])
    given_up = sum(bool(each.given_up) for each in found.trials)
    click.echo(f"\n{len(found.trials)} configurations tried, {given_up} of them given up early. {words}")


def verdict(found: Tuned) -> str:
    """In words: what the winner is worth."""
    from freqlstm.tuning import LEVEL

    others, ahead = len(found.trials) - 1, found.default.error - found.winner.error
    if found.luck is None:
        words = f"None of {others} others is better than the default configuration."
        if others < 2:
            words = ("Only the default was tried.", "The other one is no better than the default configuration.")[
                others
            ]
    elif found.luck > LEVEL:
        words = (
            f"Trial {found.winner.number} is not better than the default beyond noise: it misses {ahead / found.default.error:.2%} less, and the best of "
            f"{others} worthless ones would with a probability of {found.luck:.2f}. Keep the default."
        )
    else:
        words = (
            f"Trial {found.winner.number} misses {ahead / found.default.error:.2%} less than the default, beyond noise (probability by luck among "
            f"{others}: {found.luck:.1g})."
        )
    if found.winner.error >= 1:
        words += " It is no better than the naive forecast."
    return words


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
