"""``freqlstm sweep``: a strategy with every combination of some parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freqlstm.cli.backtest import content_of, parsed, percent, recipe_options, set_parameter
from freqlstm.cli.console import (
    json_option,
    note,
    print_json,
    print_table,
    progress_bar,
)
from freqlstm.errors import UsageError

if TYPE_CHECKING:
    from freqlstm.sweep_result import SweepResult
    from freqlstm.sweep_run import SweepRun

SHOWN = 5  # combinations


@click.command()
@recipe_options
@click.option("--set", "changes", metavar="NAME=…", multiple=True,
              help="threshold=0:0.002:21 (from:to:count, or from:to:count:log) and rsi_period=7,14,21 vary; oversold=35 and prediction.units=64 do not.")  # fmt: skip
@click.option("--objective", metavar="NAME", help="What is best: sharpe, sortino, calmar, profit or drawdown; sharpe.")
@click.option("--trials", type=click.IntRange(min=1), help="Let a search propose so many combinations, instead of all.")
@click.option("--train", metavar="TIME", help="Walk-forward: the span that parameters are chosen on, as in 90d.")
@click.option("--test", metavar="TIME", help="Walk-forward: the span that they trade next, as in 30d.")
@click.option("--seed", type=int, help="Of weights, shuffles and the search; 1.")
@click.option("--allow-short", is_flag=True, default=None, help="The market lets you sell short.")
@click.option(
    "--accept-off-grid", is_flag=True, default=None, help="Take candles off the timeframe's grid as they are."
)
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Threads, and folds fitted at once; 0: one a core.")
@click.option("--no-cache", is_flag=True, help="Fit and predict again, whatever is stored.")
@json_option
@click.pass_obj
def sweep(
    root: Path, /, run_file: Path | None, config: Path | None, changes: tuple[str, ...], jobs: int, no_cache: bool, as_json: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Run a strategy with every combination of some of its parameters, and say whether the best is more than luck.

    Predictions are made once. Every combination is a trial of the ledger. The best runs again in Backtrader. Interrupted,
    the same command goes on. How the signals are fitted ([folds]) is said in a run file.
    """
    from freqlstm.report.sweep import sweep_page
    from freqlstm.store import Project
    from freqlstm.sweep_result import saved
    from freqlstm.sweep_run import run_sweep

    if run_file is not None and config is not None:
        raise UsageError("Two run files are given, one as an argument and one with --config. Give one.")
    project = Project(root)
    asked = build_run(run_file or config, flags, changes)
    warnings: list[str] = []
    with progress_bar() as progress:
        result, parts = run_sweep(asked, project, jobs=jobs, cache=not no_cache, progress=progress, warn=warnings)
        progress(0, 1, "drawing the page")
        result, folder = saved(result, project.results, sweep_page)
        parts.remove()
    for warning in warnings:
        note(f"Warning: {warning}")
    if as_json:
        print_json({"run_id": result.run_id, "folder": str(folder), "page": str(folder / "sweep.html"), "synthetic": result.synthetic,
                    "warnings": warnings, **result.figures})  # fmt: skip
        return
    summarize(result)
    if result.winner is not None:
        click.echo(f"\nIts tearsheet: freqlstm backtest {_relative(folder / 'best.toml')}")
    click.echo(f"\n{folder / 'sweep.html'}")


def build_run(file: Path | None, flags: dict[str, Any], changes: tuple[str, ...]) -> SweepRun:
    """The sweep of ``file``, which may be the run file of a backtest, with flags in place of its keys."""
    from freqlstm.sweep_run import read_sweep_run, sweep_run_of

    content = read_sweep_run(file) if file is not None else {}
    if file is not None:
        sweep_run_of(content, str(file))  # which names the file in its errors
    content = content_of(content, flags)
    for name in ("train", "test"):
        if name in content:
            content.setdefault("walk", {})[name] = content.pop(name)
    swept = content.setdefault("sweep", {})
    fixed = content.setdefault("parameters", {})
    named = set()
    for change in changes:
        name, equals, text = (part.strip() for part in change.partition("="))
        if not equals or not name:
            raise UsageError(f"--set received {change!r}. It must be NAME=…, as in --set threshold=0:0.002:21.")
        if name in named:
            raise UsageError(f"--set names {name} twice. Give all its values at once, as in --set rsi_period=7,14,21.")
        named.add(name)
        if not varies(text):
            set_parameter(content, name, parsed(text))
            swept.pop(name, None)
        elif "." in name:
            raise UsageError(
                f"--set received {change!r}. Parameters of a signal have one value, since predictions are made once; `freqlstm tune` varies them."
            )
        else:
            swept[name] = parsed(text) if text.startswith("[") else text
            fixed.pop(name, None)
    return sweep_run_of(content, "the command line")


def varies(text: str) -> bool:
    """Whether what follows ``--set NAME=`` is a range or a list, and not one value."""
    if text.startswith(('"', "'")):
        return "," in text and parsed(text) == text  # not one text with a comma in it
    return not text or text.startswith("[") or "," in text or ":" in text


def summarize(result: SweepResult) -> None:
    """The best combinations beside holding, and what luck and other candles say of them."""
    from freqlstm.sweep import parameter_column

    figures, survey = result.figures, result.survey
    label = "  SYNTHETIC demo market" if result.synthetic else ""
    searched = (
        f"{figures['rows']:,} of {figures['combinations']:,}"
        if figures["rows"] < figures["combinations"]
        else f"{figures['rows']:,}"
    )
    click.echo(
        f"{result.run_id}: {', '.join(result.config['pairs'])} {result.config['timerange']}, {searched} combinations by {figures['objective']}{label}"
    )
    for plugin in result.manifest["plugins"]:
        click.echo(f"{plugin['kind']} {plugin['name']} ({plugin['origin']}), SHA-256 {plugin['sha256'][:12]}")
    click.echo()
    names = list(result.config["sweep"])
    if len(survey.best):
        columns = ("after costs", "return", "Sharpe", "max. drawdown", "trades", *names)
        rows = [
            (number, percent(row["total_return"]), _number(row["sharpe"]), f"{row['max_drawdown']:.2%}", int(row["trades"]),
             *(_value(row[parameter_column(name)]) for name in names))
            for number, row in enumerate(survey.best.head(SHOWN).to_dict("records"), start=1)
        ]  # fmt: skip
        held = figures["beats"]["buy_and_hold"]
        rows.append(
            (
                "hold",
                percent(held["total_return"]),
                _number(held["sharpe"]),
                f"{held['max_drawdown']:.2%}",
                "",
                *[""] * len(names),
            )
        )
        print_table(columns, rows, right=columns[1:])
        what = ", ".join(f"{name} {share:.0%}" for name, share in list(figures["matters"].items())[:4])
        click.echo(f"\n{survey.positive:.1%} of all have a {figures['objective']} above 0; explained by {what}")
    if result.winner is not None:
        click.echo(f"the best in Backtrader: {len(result.winner.trades)} trades and refusals, all the same")
    if figures["luck"] is not None:
        luck = figures["luck"]
        deflated = "none" if luck["deflated_sharpe"] is None else f"{luck['deflated_sharpe']:.1%}"
        click.echo(
            f"trials on these candles: {luck['configurations_tried']:,};  deflated Sharpe ratio of the best: {deflated}"
        )
    click.echo(figures["verdict"])
    if figures["walk"] is not None:
        summarize_walk(result)


def summarize_walk(result: SweepResult) -> None:
    """The parameters of each span, and the stitched result beside what hindsight and holding made of the same days."""
    from freqlstm.sweep import FRACTIONS

    told, names = result.figures["walk"], list(result.config["sweep"])
    shown = percent if result.figures["objective"] in FRACTIONS else _number
    click.echo()
    columns = ("chosen before", "traded until", f"{result.figures['objective']} then", "return next", "trades", *names)
    rows = []
    for span in told["spans"]:
        chosen, tested = span["parameters"] or {}, span["tested"]
        rows.append((f"{span['test_start']:%Y-%m-%d %H:%M}", f"{span['test_end']:%Y-%m-%d %H:%M}", shown(span["trained"]),
                     percent(tested.get("total_return")), tested.get("trades", ""), *(_value(chosen.get(name)) for name in names)))  # fmt: skip
    print_table(columns, rows, right=columns[2:])
    click.echo()
    heads = ("walk-forward", "return", "Sharpe", "max. drawdown", "trades")
    lines = [
        (title, percent(each["total_return"]), _number(each["sharpe"]), f"{each['max_drawdown']:.2%}", trades)
        for title, each, trades in (
            ("out of sample", told["out_of_sample"], told["trades"]["closed"]),
            ("best in hindsight", told["in_sample"], ""),
            ("buy and hold", told["buy_and_hold"], ""),
        )
    ]
    print_table(heads, lines, right=heads[1:])


def _number(value: float | None) -> str:
    return "none" if value is None or value != value else f"{value:.2f}"


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
