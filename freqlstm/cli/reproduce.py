"""``freqlstm reproduce``: a result again, bit for bit."""

from __future__ import annotations

from pathlib import Path

import click

from freqlstm.cli.console import json_option, print_json, print_table, progress_bar


@click.command()
@click.argument("run_id")
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Folds fitted at once; 0: one a core.")
@json_option
@click.pass_obj
def reproduce(root: Path, /, run_id: str, jobs: int, as_json: bool) -> None:
    """Run RUN_ID again without any cache and compare candles, predictions, trades, equity and statistics.

    RUN_ID may be cut short; "latest" is the newest run.
    """
    from freqlstm.reproduce import confirm
    from freqlstm.reproduce import reproduce as run_again
    from freqlstm.run import find_run
    from freqlstm.store import Project

    project = Project(root)
    folder = find_run(project, run_id)
    with progress_bar() as progress:
        comparisons = run_again(project, folder, jobs=jobs, progress=progress)
    if as_json:
        print_json({"run_id": folder.name, "parts": [vars(comparison) for comparison in comparisons]})
    else:
        print_table(
            ("part", "result", "detail"), [(c.part, "same" if c.same else "DIFFERENT", c.detail) for c in comparisons]
        )
    confirm(comparisons, folder.name)
    if not as_json:
        click.echo(f"\n{folder.name} is reproduced.")
