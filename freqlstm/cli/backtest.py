"""``freqlstm backtest``: a strategy over candles, to an HTML tearsheet."""

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
)  # fmt: skip
from freqlstm.errors import UsageError

if TYPE_CHECKING:
    from freqlstm.results import Result
    from freqlstm.run import Run


def recipe_options(command: Any) -> Any:
    """What is traded, on which candles and at which costs: the flags that stand for the keys of every run file."""
    options = [
        click.argument("run_file", required=False, type=PathName(dir_okay=False)),
        click.option("-c", "--config", type=PathName(dir_okay=False), help="The run file, as an option."),
        click.option("-s", "--strategy", metavar="NAME", help="A name that `freqlstm strategies` lists, or a file."),
        pairs_option,
        timeframe_option,
        click.option("--timerange", metavar="FROM-TO", help="20230101-20230401 in UTC, the end not included."),
        click.option("--exchange", metavar="NAME", help="Whose stored candles; demo is the synthetic market."),
        click.option("--cash", "--dry-run-wallet", type=float, help="Of the quote asset at the start; 10000."),
        click.option("--fee", type=float, help="Commission a side as a fraction; 0.001."),
        click.option("--slippage", type=float, help="A side as a fraction; 0.0001."),
    ]
    for option in reversed(options):  # the last one applied comes first in the help
        command = option(command)
    return command


@click.command()
@recipe_options
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True,
              help="A parameter of the strategy, or of one of its signals: prediction.units=64.")  # fmt: skip
@click.option("--train", metavar="TIME", help="Longest train span of a fold; 90d.")
@click.option("--test", metavar="TIME", help="Time between two fits; 7d.")
@click.option("--min-train", metavar="TIME", help="Shortest train span of a fold; 30d.")
@click.option("--embargo", metavar="TIME", help="Time left unused between train and test; 0d.")
@click.option("--expanding", is_flag=True, default=None, help="Train on everything before the test span.")
@click.option("--seed", type=int, help="Of weights, shuffles and random entries; 1.")
@click.option("--engine", metavar="NAME", help="backtrader, compiled (faster, the same trades) or backtrader-stock.")
@click.option("--allow-short", is_flag=True, default=None, help="The market lets you sell short.")
@click.option(
    "--accept-off-grid", is_flag=True, default=None, help="Take candles off the timeframe's grid as they are."
)
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Folds fitted at once; 0: one a core.")
@click.option("--no-cache", is_flag=True, help="Fit and predict again, whatever is stored.")
@click.option(
    "--export", type=click.Choice(["none", "trades", "signals"]), help="none: no tearsheet. All else is always written."
)
@json_option
@click.pass_obj
def backtest(
    root: Path, /, run_file: Path | None, config: Path | None, changes: tuple[str, ...], jobs: int, no_cache: bool,
    export: str | None, as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Run a strategy over candles and write backtests/results/RUN_ID with its HTML tearsheet.

    Flags override the run file. Without stored candles the synthetic demo market is used, and labelled so.
    """
    from freqlstm.run import run_backtest, save
    from freqlstm.store import Project

    if run_file is not None and config is not None:
        raise UsageError("Two run files are given, one as an argument and one with --config. Give one.")
    project = Project(root)
    run = build_run(run_file or config, flags, changes)
    warnings: list[str] = []
    with progress_bar() as progress:
        result = run_backtest(run, project, jobs=jobs, cache=not no_cache, progress=progress, warn=warnings)
        result, folder = save(result, project)
        sheet = None
        if export != "none":
            from freqlstm.report.tearsheet import write_tearsheet

            progress(0, 1, "drawing the tearsheet")
            sheet = folder / "tearsheet.html"
            write_tearsheet(result, sheet)
    for warning in warnings:
        note(f"Warning: {warning}")
    if as_json:
        print_json({"run_id": result.run_id, "folder": str(folder), "tearsheet": sheet and str(sheet),
                    "synthetic": result.synthetic, "warnings": warnings, **result.stats})  # fmt: skip
        return
    summarize(result)
    click.echo(f"\n{sheet or folder}")


def build_run(file: Path | None, flags: dict[str, Any], changes: tuple[str, ...]) -> Run:
    """The run of ``file`` (or the defaults) with the flags that were given in place of its keys."""
    from freqlstm.run import read_run, run_of

    content = content_of(read_run(file).as_dict() if file is not None else {}, flags)
    for name in ("train", "test", "min_train", "embargo", "expanding"):
        if name in content:
            content.setdefault("folds", {})[name] = content.pop(name)
    for name, value in parameters_of(changes).items():
        set_parameter(content, name, value)
    return run_of(content, "the command line")


def content_of(content: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """The keys of a run file with the flags that were given in place of some."""
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    for name, key in (("fee", "commission"), ("slippage", "slippage")):
        if name in given:
            content.setdefault("costs", {})[key] = given.pop(name)
    if "strategy" not in content and "strategy" not in given:
        raise UsageError(
            "No strategy is named. Name one with --strategy, as in --strategy lstm_rsi, or give a run file."
        )
    return {**content, **given, "pairs": list(given.get("pairs", content.get("pairs", ["BTC/USDT"])))}


def set_parameter(content: dict[str, Any], name: str, value: Any) -> None:
    """What ``--set NAME=VALUE`` does to the keys of a run file: a parameter of the strategy, or COLUMN.NAME of a signal."""
    column, dot, parameter = name.rpartition(".")
    table = content.setdefault("signals", {}).setdefault(column, {}) if dot else content.setdefault("parameters", {})
    table[parameter] = value


def parameters_of(changes: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of ``--set NAME=VALUE``."""
    parameters = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set received {change!r}. It must be NAME=VALUE, as in --set threshold=0.001.")
        parameters[name.strip()] = parsed(value.strip())
    return parameters


def parsed(text: str) -> Any:
    """``text`` as TOML would read it: a number, true or false, a list; anything else as the text itself."""
    import tomllib

    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text  # a line break could begin another key


def summarize(result: Result) -> None:
    """What a person wants to know before opening the tearsheet: the result beside what it must beat."""
    stats = result.stats
    first, last = result.equity.index[0], result.equity.index[-1]
    label = "  SYNTHETIC demo market" if result.synthetic else ""
    click.echo(f"{result.run_id}: {', '.join(result.market)} {first:%Y-%m-%d} to {last:%Y-%m-%d}{label}")
    for plugin in result.manifest["plugins"]:
        click.echo(f"{plugin['kind']} {plugin['name']} ({plugin['origin']}), SHA-256 {plugin['sha256'][:12]}")
    click.echo()
    beats, trades = stats["beats"], stats["trades"]
    rows = [("strategy", stats["performance"], trades["closed"]), ("buy and hold", beats["buy_and_hold"], None)]
    if beats["rules_without_signal"]:
        rows.append(
            (
                "same rules without the signal",
                beats["rules_without_signal"],
                beats["rules_without_signal"]["closed_trades"],
            )
        )
    columns = ("after costs", "return", "Sharpe", "max. drawdown", "trades")
    table = [(name, percent(p["total_return"]), _number(p["sharpe"]), f"{p['max_drawdown']:.2%}", "" if n is None else n)
             for name, p, n in rows]  # fmt: skip
    chance = beats["random_entries"]
    if chance["median_return"] is not None:
        table.append(("random entries, median", percent(chance["median_return"]), "", "", chance["trades"]))
    print_table(columns, table, right=columns[1:])
    costs, luck = stats["costs"], stats["luck"]
    click.echo(
        f"\ngross {costs['gross_pnl']:,.2f}  commission {0 - costs['commission']:,.2f}  "
        f"slippage {0 - costs['slippage']:,.2f}  net {costs['net_pnl']:,.2f};  refused orders {trades['refused']}"
    )
    for symbol, signals in stats["skill"].items():
        for name, skill in signals.items():
            if skill.get("r2") is not None:
                click.echo(
                    f"{symbol} {name}: R2 {skill['r2']:+.3%} against zero, IC {_number(skill['ic'], 3)}, "
                    f"RMSE {skill['rmse']:.6f} (persistence {skill['persistence_rmse']:.6f}, zero {skill['zero_rmse']:.6f})"
                )
    told = f"configurations tried on these candles: {luck['configurations_tried']}"
    if luck["sharpe_low"] is not None:
        told += f";  95% of resampled Sharpe ratios: {luck['sharpe_low']:.2f} to {luck['sharpe_high']:.2f}"
    click.echo(told)


def percent(value: float | None) -> str:
    """A signed percentage, or nothing."""
    return "" if value is None else f"{value:+.2%}"


def _number(value: float | None, digits: int = 2) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
