"""``freqlstm download-series``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from freqlstm.cli.console import json_option, note, print_json
from freqlstm.errors import UnknownName
from freqlstm.timerange import moment


@click.command("download-series")
@click.argument("source")
@click.argument("what", nargs=-1)
@click.option("--since", metavar="TIME", help="Leave out what is older, UTC: 2024-01-31.")
@click.option("--name", metavar="NAME", help="What the series is called here.")
@click.option("--replace", "replacing", is_flag=True, help="Take the source's newer values for times that are stored.")
@json_option
@click.pass_obj
def download_series(
    project: Path, /, source: str, what: tuple[str, ...], since: str | None, name: str | None, replacing: bool, as_json: bool
) -> None:  # fmt: skip
    """Fetch an external series and store it; signals read it as series:NAME.

    \b
    fear_greed                         Fear & Greed Index, alternative.me
    defillama chain|protocol NAME      total value locked, DefiLlama
    fred ID                            a series of FRED; key in FRED_API_KEY
    lunarcrush COIN FIGURE             social figures; key in LUNARCRUSH_API_KEY
    coingecko COIN COLUMN              prices, market_caps or total_volumes; key in COINGECKO_API_KEY is optional
    stock_to_flow                      Bitcoin's, computed

    Every value is stored with the moment at which it is taken to be known, and not used before. A value that is stored and
    that the source has revised since stays as it was first known.
    """
    from freqlstm.connectors import SOURCES
    from freqlstm.series_store import SeriesStore
    from freqlstm.store import Project

    if source not in SOURCES:
        raise UnknownName("source of series", source, SOURCES)

    def wait(seconds: float) -> None:
        if seconds > 2:
            note(f"{source} asks for patience or does not answer: next try in {seconds:.0f} seconds.")
        time.sleep(seconds)

    opened = SOURCES[source](sleep=wait)
    series = opened.fetch(what, moment(since) if since else None)
    series = replace(series, name=name) if name else series
    origin = {"source": " ".join((source, *what)), "known_after": opened.known_after}
    store = SeriesStore(Project(project).data)
    new, revised = (store.write(series, origin, True), 0) if replacing else store.extend(series, origin)
    if revised:
        note(
            f"{revised:,} stored values were revised by the source since; they stay as first known. --replace takes the new ones."
        )
    if as_json:
        print_json(
            {"series": series.name, "rows": len(series), "new": new, "revised": revised, "first": series.time[0], "last": series.time[-1]}
        )  # fmt: skip
        return
    click.echo(
        f"series:{series.name}: {len(series):,} rows, {new:,} new, {series.time[0]:%Y-%m-%d} to {series.time[-1]:%Y-%m-%d}."
    )
