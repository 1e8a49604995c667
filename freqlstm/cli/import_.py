"""``freqlstm import``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from freqlstm.cli.console import PathName, json_option, note, print_json, print_table, progress_bar


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PathName())
@click.option(
    "-p", "--pairs", "pair", metavar="PAIR", help="If the file's name does not tell it, as BTC_USDT-1m.csv does."
)
@click.option("-i", "--timeframe", metavar="TIMEFRAME", help="If neither the file's name nor its rows tell it.")
@click.option("--exchange", metavar="NAME", help="If neither the file's name nor its folder tells it.")
@click.option("--assume-utc", is_flag=True, help="Take times without a time zone as UTC.")
@click.option("--replace", is_flag=True, help="Let these candles replace stored ones that differ.")
@json_option
@click.pass_obj
def import_(
    project: Path,
    files: Sequence[Path],
    pair: str | None,
    timeframe: str | None,
    exchange: str | None,
    assume_utc: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Store candles from CSV, Parquet, Feather or JSON files, or from folders of them such as freqtrade's.

    Importing the same file twice changes nothing.
    """
    from freqlstm.candles import off_grid
    from freqlstm.ingest import find_files, read_file
    from freqlstm.store import CandleStore, Project

    store = CandleStore(Project(project).data)
    paths = [path for given in files for path in find_files(given)]
    done = []
    with progress_bar() as progress:
        for number, path in enumerate(paths):
            progress(number, len(paths), path.name)
            candles = read_file(path, pair, timeframe, exchange, assume_utc)
            off = int(off_grid(candles.time, candles.step).sum())
            if off:
                note(
                    f"{off:,} of {len(candles):,} candles in {path.name} do not open on the {candles.timeframe} grid: "
                    f"backtests refuse them until they are resampled (`freqlstm data resample`) or --accept-off-grid is given."
                )
            done.append(
                {
                    "file": str(path),
                    "exchange": candles.exchange,
                    "pair": candles.symbol,
                    "timeframe": candles.timeframe,
                    "candles": len(candles),
                    "new": store.write(candles, replace),
                    "off_grid": off,
                }
            )
    if as_json:
        print_json(done)
        return
    rows = [
        (row["file"], row["exchange"], row["pair"], row["timeframe"], f"{row['candles']:,}", f"{row['new']:,}")
        for row in done
    ]
    print_table(("file", "exchange", "pair", "timeframe", "candles", "new"), rows, right=("candles", "new"))
