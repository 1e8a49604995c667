"""What a person sees of a session: a live view in a terminal, lines in a file."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from freqlstm.cli.console import note, print_table

if TYPE_CHECKING:
    from rich.live import Live

NEWS = 8  # newest things that happened, that are shown


class View:
    """Draws on stderr if that is a terminal; otherwise it writes a line for everything that happens."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self._news: deque[str] = deque(maxlen=NEWS)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.live:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tell(self, kind: str, text: str) -> None:
        """Something has happened."""
        self._news.append(f"{kind}: {text}")
        if self._live is None:
            note(f"{kind}: {text}")

    def show(self, status: Mapping[str, Any]) -> None:
        """How the session is."""
        if self._live is not None:
            self._live.update(drawn(status, list(self._news)), refresh=True)


def drawn(status: Mapping[str, Any], news: list[str]) -> Any:
    """A status as rich draws it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    symbols = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("symbol", "close", "position", "unrealized", "prediction", "last decision", "orders"):
        symbols.add_column(column, justify="left" if column in ("symbol", "last decision", "orders") else "right")
    for row in symbol_rows(status):
        symbols.add_row(*(Text(cell) for cell in row))
    lines = [Text(line) for line in summary(status)]
    return Group(*lines, symbols, *(Text(line, style="dim") for line in news))


def summary(status: Mapping[str, Any]) -> list[str]:
    """Everything that is not about one symbol, as lines."""
    health = status["health"]
    limits = {name: float(value) for name, value in status["limits"].items()}
    gain = status["equity"] / status["start_cash"] - 1
    ages = ", ".join(
        f"{name} {'never' if age is None else f'{age:.0f} s ago'}" for name, age in health["stream_age"].items()
    )
    lines = [
        f"{status['name']}: {status['strategy']} on {status['exchange']}, {status['timeframe']}, {status['bars']:,} bars, last "
        f"{str(status['last_bar'])[:16]}",
        f"equity {status['equity']:,.2f} ({gain:+.2%}), cash {status['cash']:,.2f}, {status['trades']} sales, {status['refusals']} refused",
        f"heard: {ages}; {health['mode']}; weight {health['weight_used']} of {health['weight_limit']}; reconnected {health['reconnects']} times",
        f"limits: {limits['orders_in_bar']:g} of {limits['max_orders_per_bar']:g} orders of this bar, {limits['orders_in_hour']:g} of "
        f"{limits['max_orders_per_hour']:g} of this hour; position {limits['position']:,.2f} of {limits['max_position']:,.2f}; lost today "
        f"{limits['loss_today']:,.2f} of {limits['max_daily_loss']:,.2f}",
        f"decided in {status['decide_ms']:g} ms",
    ]  # fmt: skip
    halt = status["halt"] or health["halted"]
    if halt:
        lines.append(f"HALTED: {halt}")
    lines += [f"{column}: {problem}" for column, problem in status["models_problem"].items()]
    return lines


def symbol_rows(status: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a symbol."""
    rows: list[tuple[str, ...]] = []
    for symbol, each in status["symbols"].items():
        said = [
            f"{value:.6f}"
            for name, value in each["prediction"].items()
            if not name.endswith(("_low", "_high", "_spread")) and value == value
        ]
        why = "; ".join(f"{name}: {each['fired'].get(name, '')}".rstrip(": ") for name in each["true"])
        orders = ", ".join(f"{order['reason']} {order['price']:.8g}" for order in each["open_orders"])
        rows.append(
            (
                symbol, "" if each["close"] is None else f"{each['close']:.8g}", each["position"],
                "" if each["unrealized"] is None else f"{each['unrealized']:+,.2f}", " ".join(said), why or "nothing", orders,
            )
        )  # fmt: skip
    return rows


def print_status(status: Mapping[str, Any]) -> None:
    """A status on stdout."""
    running = "running" if status["running"] else "not running"
    if "symbols" not in status:
        click.echo(f"{status['name']}: {running}; it has not said anything yet.")
        return
    click.echo(f"{running}, as of {str(status['now'])[:19]} UTC")
    for line in summary(status):
        click.echo(line)
    columns = ("symbol", "close", "position", "unrealized", "prediction", "last decision", "orders")
    print_table(columns, symbol_rows(status), right=columns[1:5])
