"""``freqlstm report``: the tearsheet of a result, made again."""

from __future__ import annotations

from pathlib import Path

import click

from freqlstm.cli.console import PathName, json_option, print_json, progress_bar


@click.command()
@click.argument("run_id", default="latest")
@click.option("-o", "--output", type=PathName(dir_okay=False), help="Another file than the run's own.")
@json_option
@click.pass_obj
def report(root: Path, /, run_id: str, output: Path | None, as_json: bool) -> None:
    """Make the HTML tearsheet of RUN_ID again. Without RUN_ID: of the newest run."""
    from freqlstm.report.tearsheet import write_tearsheet
    from freqlstm.reproduce import load_result
    from freqlstm.run import find_run
    from freqlstm.store import Project

    project = Project(root)
    folder = find_run(project, run_id)
    sheet = output or folder / "tearsheet.html"
    with progress_bar() as progress:
        progress(0, 1, "drawing the tearsheet")
        write_tearsheet(load_result(project, folder), sheet)
    if as_json:
        print_json({"run_id": folder.name, "tearsheet": str(sheet)})
    else:
        click.echo(sheet)
