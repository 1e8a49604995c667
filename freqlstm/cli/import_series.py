"""``freqlstm import-series``."""

from __future__ import annotations

from pathlib import Path

import click

from freqlstm.cli.console import PathName, json_option, print_json


@click.command("import-series")
@click.argument("name")
@click.argument("file", type=PathName(dir_okay=False))
@click.option("--time", metavar="COLUMN", required=True, help="The column that says what time each value is about.")
@click.option("--value", metavar="COLUMN", help="The column of values, if there are several columns of numbers.")
@click.option("--known-after", metavar="DURATION", help="How long after its time a value became known: 1d, 12h, 0s.")
@click.option("--time-format", metavar="FORMAT", help="How times are written if not in ISO 8601: '%d/%m/%Y'.")
@click.option("--assume-utc", is_flag=True, help="Take times without a time zone as UTC.")
@click.option("--replace", is_flag=True, help="Let these values replace stored ones that differ.")
@json_option
@click.pass_obj
def import_series(
    project: Path, /, name: str, file: Path, time: str, value: str | None, known_after: str | None, time_format: str | None,
    assume_utc: bool, replace: bool, as_json: bool,
) -> None:  # fmt: skip
    """Store an external series from a CSV, Parquet, Feather or JSON file as NAME; signals read it as series:NAME.

    No value is used before the moment at which it became known. Importing the same file twice changes nothing.
    """
    from freqlstm.provenance import file_digest
    from freqlstm.series_files import read_series
    from freqlstm.series_store import SeriesStore
    from freqlstm.store import Project

    series = read_series(file, name, time, known_after, value, time_format, assume_utc)
    origin = {
        "source": file.name,
        "sha256": file_digest(file),
        "time": time,
        "value": value,
        "known_after": known_after,
    }
    new = SeriesStore(Project(project).data).write(series, origin, replace)
    if as_json:
        print_json({"series": name, "rows": len(series), "new": new, "first": series.time[0], "last": series.time[-1]})
        return
    click.echo(
        f"series:{name}: {len(series):,} rows, {new:,} new, {series.time[0]:%Y-%m-%d} to {series.time[-1]:%Y-%m-%d}."
    )
