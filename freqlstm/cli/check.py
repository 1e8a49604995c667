"""``freqlstm check``: proves that plugins never peek at the future and keep their other promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freqlstm.cli.backtest import parameters_of
from freqlstm.cli.console import (
    PathName,
    json_option,
    note,
    pairs_option,
    print_json,
    progress_bar,
    timeframe_option,
)  # fmt: skip
from freqlstm.errors import FreqlstmError, PluginError, UnknownName, UsageError

if TYPE_CHECKING:
    from freqlstm.candles import Candles
    from freqlstm.plugins import Kind, Plugin


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@pairs_option
@timeframe_option
@click.option("--timerange", metavar="FROM-TO", help="20230101-20230401 in UTC: which stored candles.")
@click.option("--exchange", metavar="NAME", help="Whose stored candles; demo is the synthetic market.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True,
              help="A parameter of the plugin, or of one of its signals: prediction.units=64.")  # fmt: skip
@click.option(
    "-c", "--config", type=PathName(dir_okay=False), help="The run file whose strategy and parameters to check."
)
@json_option
@click.pass_obj
def check(
    root: Path, /, names: tuple[str, ...], as_json: bool, changes: tuple[str, ...], config: Path | None, **given: Any
) -> None:
    """Prove that strategies and signals never peek at the future: all of the project's and the shipped ones, or those named.

    Everything is run again on candles whose future was removed or changed; nothing before may change. Runs on the synthetic
    demo market unless a pair, a timeframe or an exchange is given. A strategy's signals are checked with it. What is
    proven is proven for the parameters at hand: their defaults, unless --set or --config gives others.
    """
    from freqlstm.checks import cases_of, run_checks

    parameters: dict[str, Any] = {}
    if config is not None:
        if names:
            raise UsageError(f"Both {names[0]!r} and a run file are given, which names its strategy. Give one of them.")
        strategy, parameters = recipe(config)
        names = (strategy,)
    parameters |= parameters_of(changes)
    plugins = [found for name in names for found in named(name, root)] or everything(root)
    if changes and len(plugins) != 1:
        raise UsageError(f"--set is given with {len(plugins)} plugins to check. Name the one whose parameter it is.")
    market = stored(root, given)
    outcomes = []
    with progress_bar() as progress:
        for outcome in run_checks(cases_of(plugins, root, market, parameters), progress):
            outcomes.append(outcome)
            if not as_json:
                verdict = "PASS" if outcome.passed else "FAIL"
                click.echo(f"{verdict}  {outcome.plugin.name}: {outcome.claim if outcome.passed else outcome.reason}")
                for hint in outcome.hints:
                    click.echo(f"      hint: {hint}")
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        print_json(
            [
                {"plugin": o.plugin.name, "kind": o.plugin.kind, "file": str(o.plugin.path), "check": o.check, "claim": o.claim,
                 "passed": o.passed, "reason": o.reason, "looks_ahead": o.looks_ahead, "hints": o.hints, "seconds": round(o.seconds, 3)}
                for o in outcomes
            ]
        )  # fmt: skip
    checked = len({outcome.plugin.path for outcome in outcomes})
    note(f"{len(outcomes)} checks of {checked} {'plugin' if checked == 1 else 'plugins'}, {len(failed)} failed.")
    if failed:
        raise SystemExit(1)


def everything(root: Path) -> list[Plugin]:
    """All strategies and signals that the project can use."""
    from freqlstm.plugins import discover

    return [*discover("signal", root), *discover("strategy", root)]


def recipe(config: Path) -> tuple[str, dict[str, Any]]:
    """The strategy of a run file and its parameters, those of its signals by ``column.name``.

    How long and how often a signal is fitted is left to the check: a peek shows in one epoch as well.
    """
    from freqlstm.checks.case import QUICK
    from freqlstm.run import read_run

    run = read_run(config)
    of_signals = {
        f"{column}.{name}": value
        for column, values in run.signals.items()
        for name, value in values.items()
        if name not in QUICK
    }
    return run.strategy, {**run.parameters, **of_signals}


def named(name: str, root: Path) -> list[Plugin]:
    """The strategy or the signal of that name, or both; for a file, what its class is."""
    from freqlstm.plugins import find

    found: list[Plugin] = []
    errors: list[FreqlstmError] = []
    kinds: tuple[Kind, ...] = ("strategy", "signal")
    for kind in kinds:
        try:
            plugin = find(kind, name, root)
            if name.endswith(".py"):
                plugin.load()  # refuses the other kind
            found.append(plugin)
        except (UnknownName, PluginError) as error:
            errors.append(error)
    if found:
        return found
    unknown = [error for error in errors if isinstance(error, UnknownName)]
    if len(unknown) == len(kinds):
        known = [each for error in unknown for each in error.known]
        raise UnknownName(
            "strategy or signal", name, known, "`freqlstm strategies` and `freqlstm signals` list what there is."
        )
    folder = Path(name).resolve().parent.name
    raise errors[kinds.index("signal") if folder == "signals" else 0]


def stored(root: Path, given: dict[str, Any]) -> dict[str, Candles] | None:
    """The candles that were asked for; None if none were."""
    from freqlstm.project import Project
    from freqlstm.selection import candles_of

    if not any(given.values()):
        return None
    warnings: list[str] = []
    market = candles_of(Project(root), warnings, **given)
    for warning in warnings:
        note(f"Warning: {warning}")
    return market
