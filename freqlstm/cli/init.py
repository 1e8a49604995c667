"""``freqlstm init``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from freqlstm.cli.console import PathName


@click.command()
@click.argument("folder", metavar="[FOLDER]", default=".", type=PathName())
@click.pass_obj
def init(project: Path, folder: Path) -> None:
    """Start a project in FOLDER: a strategy, a signal, and room for candles and results.

    Files that are there already are left alone.
    """
    from freqlstm.plugins import shown
    from freqlstm.scaffold import init as make_project

    written = make_project(project / folder)
    for path in written:
        click.echo(f"wrote {shown(path.resolve())}")
    made = (project / folder).resolve()
    where = "" if made == Path.cwd() else f"cd {shlex.quote(str(shown(made)))} && "
    click.echo(f"Next: {where}freqlstm backtest --strategy my_strategy" if written else "Everything is there already.")
