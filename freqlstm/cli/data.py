"""``freqlstm data``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freqlstm.cli.console import exchange_option, json_option, note, print_json, print_table, progress_bar
from freqlstm.errors import NoCandles, TooFewCandles, UnknownName

if TYPE_CHECKING:
    from freqlstm.quality import Quality
    from freqlstm.store import StoredSeries

NOTHING = (
    "No candles are stored. `freqlstm download` and `freqlstm import` bring some; until then backtests use the demo "
    "market, which is SYNTHETIC."
)


class DataGroup(click.Group):
    """A group whose unknown commands are answered with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            raise UnknownName("command of `freqlstm data`", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(cls=DataGroup)
def data() -> None:
    """List, check and resample the candles that are stored in this project, and list its external series."""


@data.command("list")
@json_option
@click.pass_obj
def list_(project: Path, as_json: bool) -> None:
    """List what is stored."""
    from freqlstm.store import CandleStore, Project

    series = CandleStore(Project(project).data).series()
    if as_json:
        print_json(
            [
                {
                    "exchange": s.exchange,
                    "pair": s.symbol,
                    "timeframe": s.timeframe,
                    "first": s.first,
                    "last": s.last,
                    "candles": s.rows,
                }
                for s in series
            ]
        )
    elif series:
        columns = ("exchange", "pair", "timeframe", "first (UTC)", "last", "candles")
        rows = [(s.exchange, s.symbol, s.timeframe, _minute(s.first), _minute(s.last), f"{s.rows:,}") for s in series]
        print_table(columns, rows, right=("candles",))
    else:
        note(NOTHING)


@data.command()
@click.argument("names", metavar="[PAIR|FILE]...", nargs=-1)
@click.option("-i", "--timeframe", metavar="TIMEFRAME", help="Only this one; of files, what they hold.")
@click.option("--exchange", metavar="NAME", help="Only what comes from there.")
@click.option("--assume-utc", is_flag=True, help="Take times in files without a time zone as UTC.")
@json_option
@click.pass_obj
def check(
    project: Path, names: Sequence[str], timeframe: str | None, exchange: str | None, assume_utc: bool, as_json: bool
) -> None:
    """Report gaps, duplicates, impossible prices and other defects of stored candles, or of a file before its import.

    Without a PAIR or FILE: of everything that is stored. Nothing is repaired.
    """
    from freqlstm.ingest import guess, read_rows
    from freqlstm.quality import report
    from freqlstm.store import CandleStore, Project

    store = CandleStore(Project(project).data)
    pairs = [name for name in names if not _is_file(name)]
    reports = []
    with progress_bar() as progress:
        for number, name in enumerate(name for name in names if _is_file(name)):
            progress(number, len(names), f"checking {name}")
            rows, found = read_rows(Path(name), timeframe, assume_utc)
            reports.append(report(rows, guess(Path(name)).symbol or Path(name).name, found))
        series = _chosen(store.series(), pairs, timeframe, exchange) if pairs or not names else []
        for number, s in enumerate(series):
            progress(number, len(series), f"checking {s.symbol} {s.timeframe}")
            reports.append(report(store.read(s.exchange, s.symbol, s.timeframe).frame, s.symbol, s.timeframe))
    if as_json:
        print_json([quality.as_dict() for quality in reports])
    elif reports:
        click.echo("\n\n".join(_text(quality) for quality in reports))
    else:
        note(NOTHING)


@data.command("series")
@json_option
@click.pass_obj
def series_(project: Path, as_json: bool) -> None:
    """List the external series that are stored: what is known of each, and from when on."""
    from freqlstm.series_store import SeriesStore
    from freqlstm.store import Project

    store = SeriesStore(Project(project).data)
    found = [(store.read(name), store.origin(name)) for name in store.names()]
    if as_json:
        print_json(
            [
                {"series": each.name, "rows": len(each), "first": each.time[0], "last": each.time[-1], "last_known_at": each.known_at[-1],
                 **origin}
                for each, origin in found
            ]
        )  # fmt: skip
    elif found:
        columns = ("series", "source", "first (UTC)", "last", "known at", "rows")
        rows = [
            (f"series:{each.name}", origin.get("source"), _minute(each.time[0]), _minute(each.time[-1]), _minute(each.known_at[-1]), f"{len(each):,}")
            for each, origin in found
        ]  # fmt: skip
        print_table(columns, rows, right=("rows",))
    else:
        note("No external series is stored. `freqlstm import-series` and `freqlstm download-series` bring some.")


@data.command()
@click.option("-p", "--pairs", "pair", metavar="PAIR", required=True, help="For example BTC/USDT.")
@click.option("--from", "source", metavar="TIMEFRAME", required=True, help="The timeframe that is stored.")
@click.option(
    "--to", "target", metavar="TIMEFRAME", required=True, help="A multiple of it; the same puts candles on the grid."
)
@exchange_option
@json_option
@click.pass_obj
def resample(project: Path, pair: str, source: str, target: str, exchange: str, as_json: bool) -> None:
    """Make candles of a longer timeframe out of stored ones; incomplete ones are left out.

    Candles put on the grid of their own timeframe are stored as exchange NAME_on_grid: the originals are never changed.
    """
    from dataclasses import replace

    from freqlstm.candles import resample as resampled
    from freqlstm.store import CandleStore, Project

    store = CandleStore(Project(project).data)
    stored = store.read(exchange, pair, source)
    made = resampled(stored, target)
    if not len(made):
        raise TooFewCandles(
            f"The {len(stored):,} stored {source} candles of {stored.symbol} from {exchange} complete no {target} candle. "
            f"Get more of them, or choose a shorter timeframe."
        )
    if source == target:
        made = replace(made, exchange=f"{exchange}_on_grid")
    new = store.write(made)
    if as_json:
        print_json(
            {"exchange": made.exchange, "pair": made.symbol, "timeframe": target, "candles": len(made), "new": new}
        )
    else:
        click.echo(f"{made.symbol} {target} of {made.exchange}: {len(made):,} candles, {new:,} new.")


def _chosen(
    series: Sequence[StoredSeries], pairs: Sequence[str], timeframe: str | None, exchange: str | None
) -> list[StoredSeries]:
    """The stored series that are asked for; every pair must be among them."""
    from freqlstm.candles import check_symbol, step_of

    if timeframe is not None:
        step_of(timeframe)
    asked = [check_symbol(pair) for pair in pairs]
    known = {s.symbol for s in series}
    for pair in asked:
        if pair not in known:
            raise UnknownName("stored pair", pair, known, "`freqlstm data list` lists what there is.")
    chosen = [
        s for s in series
        if s.symbol in (asked or known) and timeframe in (None, s.timeframe) and exchange in (None, s.exchange)
    ]  # fmt: skip
    if series and not chosen:
        what = " ".join(part for part in (", ".join(asked), timeframe, exchange and f"from {exchange}") if part)
        raise NoCandles(f"No candles of {what} are stored. `freqlstm data list` lists what there is.")
    return chosen


def _is_file(name: str) -> bool:
    """Whether ``name`` is a path: BTC/USDT is not, unless there is such a file."""
    return Path(name).is_file() or "." in Path(name).name


def _minute(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _text(quality: Quality) -> str:
    span = f"{_minute(quality.first)} to {_minute(quality.last)} UTC" if quality.rows else "empty"
    head = f"{quality.symbol} {quality.timeframe}: {quality.rows:,} candles, {span}, score {quality.score:g} of 100"
    gaps = f"{len(quality.gaps):,} gaps, {quality.missing:,} candles missing, {quality.zero_volume:,} without volume"
    return "\n".join([head, gaps, *(f"  {finding}" for finding in quality.findings())])
