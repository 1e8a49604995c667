"""What the verbs share: a progress bar, tables, JSON and the options that several of them have."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from freqlstm.progress import Progress

Command = TypeVar("Command", bound=Callable[..., Any])

QUIET_SECONDS = 10.0  # between two lines of progress when stderr is not a terminal


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress that draws a bar on stderr, or writes a line now and then if that is not a terminal."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def progress(done: float, total: float, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text)

        yield progress


class _Lines:
    """A progress for log files: nothing in the first seconds, then a line every ten."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, done: float, total: float, text: str) -> None:
        now = time.monotonic()
        if now - self.last >= QUIET_SECONDS:
            self.last = now
            note(f"{done / total:.0%}  {text}" if done and total else text)


def note(text: str) -> None:
    """One line on stderr: progress, a warning, anything that is not the result."""
    click.echo(text, err=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> None:
    """Print ``rows`` under ``columns``; those named in ``right`` are aligned to the right.

    In a pipe no line is folded, so that ``grep`` and ``cut`` can be relied on.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    piped = not sys.stdout.isatty()
    lines = Console(width=10_000 if piped else None)
    with lines.capture() as capture:
        lines.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()) if piped else capture.get(), nl=piped)


def print_json(value: object) -> None:
    """Print ``value`` as JSON: times in ISO 8601, numbers that JSON has not (NaN, infinity) as null."""
    from freqlstm.files import jsonable

    click.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False))


def json_option(command: Command) -> Command:
    """``--json``, handed over as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def exchange_option(command: Command) -> Command:
    """``--exchange NAME``."""
    return click.option("--exchange", metavar="NAME", default="binance", show_default=True, help="As ccxt spells it.")(
        command
    )


class PathName(click.Path):
    """A path as :class:`pathlib.Path`; an empty one, which would mean the current folder, is refused."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(path_type=Path, **rules)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail("the path is empty. Write one; '.' is the current folder.", param, ctx)
        try:
            return super().convert(value, param, ctx)
        except FileNotFoundError:
            self.fail("the current folder is gone. Change to one that exists.", param, ctx)


def split_names(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
    """A click callback for an option that may be repeated and may hold several names: ``-p BTC/USDT,ETH/USDT``."""
    names = tuple(name for text in value for name in text.replace(",", " ").split())
    if value and not names:
        raise click.BadParameter("there is no name in it.", ctx, param)
    return names


def pairs_option(command: Command) -> Command:
    """``-p/--pairs``, handed over as a tuple ``pairs`` that is empty if the option was not given."""
    return click.option(
        "-p",
        "--pairs",
        metavar="PAIR",
        multiple=True,
        callback=split_names,
        help="For example BTC/USDT; may be repeated.",
    )(command)


def timeframe_option(command: Command) -> Command:
    """``-i/--timeframe``, handed over as ``timeframe``, None if it was not given."""
    return click.option("-i", "--timeframe", metavar="TIMEFRAME", help="The time between two candles: 1m, 5m, 1h …")(
        command
    )
