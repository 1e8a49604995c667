"""What ``freqlstm strategies`` and ``freqlstm signals`` print."""

from __future__ import annotations

from pathlib import Path

import click

from freqlstm.cli.console import note, print_json, print_table
from freqlstm.plugins import Kind, Plugin, discover, find, shown

LONG = 60  # characters: a longer list would push what a parameter means out of sight


def show(kind: Kind, name: str | None, project: Path, as_json: bool) -> None:
    """The list of plugins, or the parameters of one."""
    if name is not None:
        _describe(find(kind, name, project), as_json)
        return
    plugins = discover(kind, project)
    if as_json:
        print_json([_row(plugin) for plugin in plugins])
        return
    print_table(["name", "origin", "file", "summary"], [list(_row(plugin).values()) for plugin in plugins])
    for plugin in plugins:
        if plugin.shadows and plugin.origin == "project":
            note(f"{shown(plugin.path)} hides the {kind} of the same name in {shown(plugin.shadows)}.")


def _describe(plugin: Plugin, as_json: bool) -> None:
    parameters = plugin.parameters()
    if as_json:
        print_json({**_row(plugin), "digest": plugin.digest, "parameters": {p.name: p.default for p in parameters}})
        return
    click.echo(f"{plugin.name}: {plugin.summary}\n{plugin.origin}, {shown(plugin.path)}\n")
    rows, lists = [], []
    for each in parameters:
        default = each.default
        if isinstance(default, (list, tuple)) and len(str(default)) > LONG:
            lists.append(f"\n{each.name}: {', '.join(map(str, default))}")
            default = f"{len(default)}, see below"
        rows.append((each.name, default, each.comment))
    print_table(["parameter", "default", "meaning"], rows)
    for line in lists:
        click.echo(line)


def _row(plugin: Plugin) -> dict[str, str]:
    return {
        "name": plugin.name,
        "origin": plugin.origin,
        "file": str(shown(plugin.path)),
        "summary": plugin.summary,
    }
