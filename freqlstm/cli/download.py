"""``freqlstm download``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd

from freqlstm.cli.console import (
    exchange_option,
    json_option,
    note,
    pairs_option,
    print_json,
    print_table,
    progress_bar,
    split_names,
)
from freqlstm.errors import UsageError
from freqlstm.timerange import moment, parse_timerange

if TYPE_CHECKING:
    from freqlstm.download import Summary


@click.command()
@pairs_option
@click.option(
    "-i",
    "-t",
    "--timeframe",
    "--timeframes",
    "timeframes",
    metavar="TIMEFRAME",
    multiple=True,
    callback=split_names,
    help="1m (the default), 5m, 1h …; may be repeated.",
)
@click.argument("more", metavar="[PAIR|TIMEFRAME]...", nargs=-1)
@exchange_option
@click.option("--since", metavar="TIME", help="First open time, UTC: 2024-01-31 or '2024-01-31 12:00'.")
@click.option("--until", metavar="TIME", help="End, not included; now if it is left out.")
@click.option("--days", metavar="N", type=click.IntRange(min=1), help="This many days before the end; 30 by default.")
@click.option("--timerange", "span", metavar="START-END", help="Since and until in one: 20240101-20240601.")
@click.option("--base-url", metavar="URL", help="Another server with the exchange's API: a mirror.")
@json_option
@click.pass_context
def download(
    ctx: click.Context,
    pairs: Sequence[str],
    timeframes: Sequence[str],
    more: Sequence[str],
    exchange: str,
    since: str | None,
    until: str | None,
    days: int | None,
    span: str | None,
    base_url: str | None,
    as_json: bool,
) -> None:
    """Fetch candles from an exchange: only what is missing before, inside and after what is stored.

    It may be interrupted at any moment; the same command goes on from there.
    """
    more = split_names(ctx, ctx.command.params[0], more)
    pairs = [*pairs, *(name for name in more if "/" in name)]
    timeframes = [*timeframes, *(name for name in more if "/" not in name)] or ["1m"]
    if not pairs:
        raise UsageError("No pair was given. Name at least one, as in `freqlstm download --pairs BTC/USDT`.")
    if span is not None and (since or until or days):
        raise UsageError("--timerange was given together with --since, --until or --days. Give one or the other.")
    if since is not None and days is not None:
        raise UsageError("--since and --days were both given. Give one: the other follows from it.")
    start, end = (
        (moment(since) if since else None, moment(until) if until else None) if span is None else parse_timerange(span)
    )

    from freqlstm.download import DownloadInterrupted
    from freqlstm.download import download as fetch
    from freqlstm.exchange import Exchange
    from freqlstm.store import CandleStore, Project

    project: Path = ctx.obj if isinstance(ctx.obj, Path) else Path.cwd()
    try:
        with progress_bar() as progress:

            def wait(seconds: float) -> None:
                if seconds > 2:
                    note(f"{exchange} asks for patience or does not answer: next try in {seconds:.0f} seconds.")
                time.sleep(seconds)

            with Exchange(exchange, base_url, sleep=wait) as opened:
                if start is None:
                    start = (end or opened.now()).floor("D") - pd.Timedelta(days=days or 30)
                store = CandleStore(Project(project).data)
                summary = fetch(opened, store, pairs, timeframes, start, end, progress)
    except DownloadInterrupted as stop:
        note(f"Interrupted. {_stored(stop.summary)} The same command goes on from there.")
        ctx.exit(130)
    if as_json:
        print_json(summary.as_dict())
        return
    columns = ("pair", "timeframe", "new candles", "do not exist")
    rows = [(s.symbol, s.timeframe, f"{s.rows:,}", f"{s.absent_rows:,}") for s in summary.series]
    print_table(columns, rows, right=columns[2:])


def _stored(summary: Summary) -> str:
    brought = [f"{s.rows:,} of {s.symbol} {s.timeframe}" for s in summary.series if s.rows]
    return f"Stored: {', '.join(brought)} candles." if brought else "No candle had come yet."
