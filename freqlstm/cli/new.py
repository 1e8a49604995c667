"""``freqlstm new``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("kind", metavar="strategy|signal", type=click.Choice(["strategy", "signal"], case_sensitive=False))
@click.argument("name", required=False)
@click.option("-s", "--strategy", hidden=True, help="freqtrade's way of giving the name.")
@click.pass_obj
def new(project: Path, kind: Literal["strategy", "signal"], name: str | None, strategy: str | None) -> None:
    """Write a strategy or signal called NAME that runs as it is."""
    from freqlstm.plugins import FOLDERS, discover, shown
    from freqlstm.scaffold import new as write_plugin

    name = name or strategy
    if name is None:
        raise click.UsageError(f"Missing argument 'NAME': how shall the {kind} be called?")
    path = write_plugin(kind, name, project)
    click.echo(f"wrote {shown(path)}")
    for plugin in discover(kind, project):
        if plugin.path == path.resolve() and plugin.shadows:
            click.echo(f"It hides the shipped {kind} of that name.")
    run = f"freqlstm backtest --strategy {path.stem}" if kind == "strategy" else f"freqlstm train --signal {path.stem}"
    click.echo(f"Next: {run} (`freqlstm {FOLDERS[kind]}` lists it)")
