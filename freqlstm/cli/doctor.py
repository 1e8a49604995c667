"""``freqlstm doctor``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from freqlstm.cli.console import json_option, print_json, print_table, progress_bar


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check versions, folders, disk space and libraries; exit code 1 if something has to be put right."""
    from freqlstm.doctor import examine

    project: Path = ctx.obj
    with progress_bar() as progress:
        findings = examine(project, progress)
    wrong = [finding for finding in findings if not finding.ok]
    if as_json:
        print_json({"ok": not wrong, "findings": [{**asdict(finding), "ok": finding.ok} for finding in findings]})
    else:
        print_table(["", "", ""], [("ok" if f.ok else "WRONG", f.name, f.found) for f in findings])
        for finding in wrong:
            click.echo(f"\n{finding.name}: {finding.found}. {finding.advice}")
        click.echo(f"\n{len(wrong)} to put right." if wrong else "\nEverything is as it should be.")
    ctx.exit(1 if wrong else 0)
