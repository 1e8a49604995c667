"""``freqlstm evaluate``: the forecasts of several signals on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freqlstm.cli.backtest import parameters_of
from freqlstm.cli.console import (
    json_option,
    note,
    pairs_option,
    print_json,
    print_table,
    progress_bar,
    split_names,
    timeframe_option,
)  # fmt: skip
from freqlstm.errors import UsageError

if TYPE_CHECKING:
    from freqlstm.evaluation import Evaluation
    from freqlstm.evaluation_run import EvaluationRun


@click.command()
@click.argument("signals", nargs=-1, metavar="SIGNAL...")
@pairs_option
@timeframe_option
@click.option("--timerange", "timeranges", metavar="FROM-TO", multiple=True, callback=split_names,
              help="20230101-20230401 in UTC, the end not included; several, or one repeated.")  # fmt: skip
@click.option("--exchange", metavar="NAME", help="Whose stored candles; demo is the synthetic market.")
@click.option("--target", metavar="TARGET", help="What every signal forecasts: return, direction or volatility.")
@click.option("--horizon", type=int, metavar="BARS", help="How far ahead every signal forecasts.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True,
              help="A parameter of all signals that have it, or of one: lstm.units=64.")  # fmt: skip
@click.option("--pooled/--apart", default=None, help="One model of all pairs together, or one of each; pooled.")
@click.option("--seeds", type=int, metavar="N", help="Fit each signal that learns with N seeds; 1.")
@click.option("--importance", is_flag=True, default=None,
              help="Shuffle each input in time and see what it costs; takes longer than the rest.")  # fmt: skip
@click.option("--train", metavar="TIME", help="Longest train span of a fold; 90d.")
@click.option("--test", metavar="TIME", help="Time between two fits; 7d.")
@click.option("--min-train", metavar="TIME", help="Shortest train span of a fold; 30d.")
@click.option("--embargo", metavar="TIME", help="Time left unused between train and test; 0d.")
@click.option("--expanding", is_flag=True, default=None, help="Train on everything before the test span.")
@click.option("--seed", type=int, help="Of weights and shuffles, the first of them with --seeds; 1.")
@click.option(
    "--accept-off-grid", is_flag=True, default=None, help="Take candles off the timeframe's grid as they are."
)
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Folds fitted at once; 0: one a core.")
@click.option("--no-cache", is_flag=True, help="Fit and predict again, whatever is stored.")
@json_option
@click.pass_obj
def evaluate(
    root: Path, /, signals: tuple[str, ...], changes: tuple[str, ...], jobs: int, no_cache: bool, as_json: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Compare the walk-forward forecasts of signals with each other and with what costs nothing, on the same rows.

    SIGNAL is a name that `freqlstm signals` lists, a file, or one run file (.toml), which flags override. Results and an
    HTML page go to backtests/results/RUN_ID.
    """
    from freqlstm.evaluation_run import run_evaluation, save_evaluation
    from freqlstm.store import Project

    project = Project(root)
    run = build_run(signals, flags, changes)
    warnings: list[str] = []
    with progress_bar() as progress:
        evaluation = run_evaluation(run, project, jobs=jobs, cache=not no_cache, progress=progress, warn=warnings)
        evaluation, folder = save_evaluation(evaluation, project)
        from freqlstm.report.evaluation import write_evaluation

        progress(0, 1, "drawing the page")
        sheet = folder / "evaluation.html"
        write_evaluation(evaluation, sheet)
    for warning in warnings:
        note(f"Warning: {warning}")
    if as_json:
        print_json({"folder": str(folder), "page": str(sheet), **evaluation.as_dict()})
        return
    summarize(evaluation)
    click.echo(f"\n{sheet}")


def build_run(names: tuple[str, ...], flags: dict[str, Any], changes: tuple[str, ...]) -> EvaluationRun:
    """The run of a file, or of the names, with the flags that were given in place of its keys."""
    from freqlstm.evaluation_run import evaluation_run_of, read_evaluation_run

    files = [name for name in names if name.endswith(".toml")]
    if files and len(names) > 1:
        raise UsageError(f"{files[0]} is a run file, which names its signals itself. Give it alone.")
    content: dict[str, Any] = read_evaluation_run(Path(files[0])).as_dict() if files else {"signals": list(names)}
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    for name in ("train", "test", "min_train", "embargo", "expanding"):
        if name in given:
            content.setdefault("folds", {})[name] = given.pop(name)
    parameters = content.setdefault("parameters", {})
    for name, value in parameters_of(changes).items():
        signal, dot, parameter = name.rpartition(".")
        if dot:
            parameters.setdefault(signal, {})[parameter] = value
        else:
            parameters[name] = value
    known = {name: value for name, value in {**content, **given}.items() if value is not None}
    lists: dict[str, Any] = {name: list(known[name]) for name in ("pairs", "timeranges") if name in known}
    return evaluation_run_of({**known, **lists}, "the command line")


def summarize(evaluation: Evaluation) -> None:
    """The table of all signals, and what it says in words."""
    figures = evaluation.figures
    label = "  SYNTHETIC demo market" if evaluation.synthetic else ""
    spans = ", ".join(evaluation.config["timeranges"])
    click.echo(f"{evaluation.run_id}: {figures['target']} of the next {figures['horizon']} bars{label}")
    click.echo(f"{', '.join(figures['symbols'])} {evaluation.config['timeframe']} {spans}: {figures['rows']:,} rows")
    for plugin in evaluation.manifest["plugins"]:
        click.echo(f"{plugin['kind']} {plugin['name']} ({plugin['origin']}), SHA-256 {plugin['sha256'][:12]}")
    click.echo()
    columns = [column for column in columns_of(figures) if any(column[1](each) for each in figures["signals"].values())]
    rows = [[name, *(write(each) for _, write in columns)] for name, each in figures["signals"].items()]
    heads = ["signal", *(head for head, _ in columns)]
    print_table(heads, rows, right=heads[1:])
    click.echo()
    for finding in figures["findings"]:
        click.echo(finding)


def columns_of(figures: dict[str, Any]) -> list[tuple[str, Any]]:
    """(head, how a signal's figure is written) of every column; one that is empty for all signals is not shown."""
    naive, reference = figures["naive"], figures["reference"]

    def pooled(name: str, write: Any) -> Any:
        return lambda each: "" if each["pooled"].get(name) is None else write(each["pooled"][name])

    def interval(each: dict[str, Any]) -> str:
        told = each["interval"]
        if told is None or told["pooled"]["coverage"] is None:
            return ""
        level = "" if told["level"] is None else f" of {told['level']:.0%}"
        return f"{told['pooled']['coverage']:.1%}{level}"

    def best(each: dict[str, Any]) -> str:
        p = each["pooled"].get("dm_p_vs_best")
        return "" if p is None else f"{_p(p)} {each['best_baseline']}"

    def over(figure: str) -> Any:
        def write(each: dict[str, Any]) -> str:
            told = each["over_seeds"]
            if told is None:
                return ""
            return f"{told[f'{figure}_mean']:.4g} ± {told[f'{figure}_sd']:.2g}"

        return write

    ratio = [(f"error/{reference}'s", pooled("error_ratio", lambda v: f"{v:.3f}"))] if reference == "har" else []
    return [
        (f"R2 vs {reference}", pooled("r2", lambda v: f"{v:+.3%}")),
        ("±", pooled("r2_error", lambda v: f"{v:.3%}")),
        *ratio,
        ("RMSE", pooled("rmse", lambda v: f"{v:.4g}")),
        ("MAE", pooled("mae", lambda v: f"{v:.4g}")),
        ("±", pooled("mae_error", lambda v: f"{v:.2g}")),
        ("MAPE", pooled("mape", lambda v: f"{v:.1%}")),
        ("QLIKE", pooled("qlike", lambda v: f"{v:.4f}")),
        ("direction", pooled("directional_accuracy", lambda v: f"{v:.2%}")),
        ("IC", pooled("ic", lambda v: f"{v:.4f}")),
        ("rank IC", pooled("rank_ic", lambda v: f"{v:.4f}")),
        ("Theil's U", pooled("theil_u", lambda v: f"{v:.4f}")),
        (f"p vs {naive}", pooled("dm_p_vs_naive", _p)),
        *([(f"p vs {reference}", pooled("dm_p_vs_reference", _p))] if reference not in (naive, "zero") else []),
        ("p vs best baseline", best),
        ("in interval", interval),
        ("MAE over seeds", over("mae")),
        ("RMSE over seeds", over("rmse")),
        ("fit s", lambda each: "" if each["fit_seconds"] is None else f"{each['fit_seconds']:.1f}"),
    ]


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
