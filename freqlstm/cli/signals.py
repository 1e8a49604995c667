"""``freqlstm signals``."""

from __future__ import annotations

from pathlib import Path

import click

from freqlstm.cli.console import json_option
from freqlstm.cli.listing import show


@click.command()
@click.argument("name", required=False)
@json_option
@click.pass_obj
def signals(project: Path, name: str | None, as_json: bool) -> None:
    """List the signals of this project and the shipped ones, or describe the one called NAME.

    Listing reads the files without running them.
    """
    show("signal", name, project, as_json)
