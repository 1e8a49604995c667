"""``freqlstm sandbox``: a local exchange that replays candles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freqlstm.cli.console import PathName, json_option, note, pairs_option, print_json, timeframe_option

if TYPE_CHECKING:
    from freqlstm.sandbox import Sandbox


@click.command()
@pairs_option
@timeframe_option
@click.option("--exchange", metavar="NAME", help="Whose stored candles; demo is the synthetic market.")
@click.option(
    "--timerange", metavar="RANGE", default="", help="What is replayed, as in 20230101-20230401; before is history."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Seconds of the market in one second; 0: stepped through the controls.",
)
@click.option("--ticks", type=click.IntRange(min=4), default=12, show_default=True, help="Prices in each candle.")
@click.option(
    "--spread",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Ticks between bid and ask; 0: both are the last price, as in a backtest without slippage.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    default=50_000,
    show_default=True,
    help="Of the quote asset, about, at each of the 20 levels of the book.",
)
@click.option("--balance", metavar="ASSET=AMOUNT", multiple=True, help="Instead of USDT=10000; may be repeated.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8700, show_default=True, help="Of HTTP; 0: any free one."
)
@click.option("--tls-port", type=click.IntRange(0, 65535), default=8701, show_default=True, help="Of HTTPS.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order books and the faults.")
@click.option("--state", metavar="FILE", type=PathName(dir_okay=False), help="Keeps orders and balances across a kill.")
@json_option
@click.pass_obj
def sandbox(
    root: Path, /, pairs: tuple[str, ...], timeframe: str | None, exchange: str | None, timerange: str, speed: float,
    ticks: int, spread: int, depth: int, balance: tuple[str, ...], port: int, tls_port: int, seed: int, state: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run an exchange on this machine that speaks Binance's spot API and replays candles, until Ctrl-C.

    It has one account. FREQLSTM_SANDBOX_KEY and FREQLSTM_SANDBOX_SECRET in the environment replace its well-known key.
    """
    import asyncio
    import os
    from dataclasses import replace
    from decimal import Decimal

    from freqlstm.sandbox import Liquidity, Sandbox, Terms
    from freqlstm.sandbox.choice import balances_of, keys_of, replayed
    from freqlstm.store import Project

    warnings: list[str] = []
    market, start, end = replayed(
        Project(root), warnings, pairs=pairs, timeframe=timeframe, exchange=exchange, timerange=timerange
    )
    for warning in warnings:
        note(f"Warning: {warning}")
    liquidity = Liquidity(spread=spread, amount=Decimal(depth))
    terms = Terms(start=start, end=end, speed=speed, ticks=ticks, seed=seed, liquidity=liquidity)
    if balance:
        terms = replace(terms, balances=balances_of(balance))
    if keys := keys_of(os.environ):
        terms = replace(terms, keys=keys)
    made = Sandbox(market, terms, port=port, tls_port=tls_port, state=state)
    asyncio.run(_serve(made, as_json))


async def _serve(made: Sandbox, as_json: bool) -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with made:
        _print_how_to_connect(made.described(), as_json)
        waiting = [asyncio.ensure_future(each.wait()) for each in (stop, made.ended)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            note("Every candle has been replayed. The exchange stays open, at its last price.")
        await stop.wait()
        waiting[1].cancel()
    note("The sandbox has ended.")


def _print_how_to_connect(told: dict[str, Any], as_json: bool) -> None:
    import sys

    import pandas as pd

    if as_json:
        print_json(told)
    else:
        key, secret = next(iter(told["keys"].items()), ("that of the environment",) * 2)
        first, last = (f"{pd.Timestamp(told[name], unit='ms'):%Y-%m-%d %H:%M}" for name in ("start", "end"))
        label = "  SYNTHETIC demo market" if told["synthetic"] else ""
        pace = f"{told['speed']:g}-fold speed" if told["speed"] else "stepped"
        click.echo(
            f"sandbox exchange: {', '.join(told['pairs'])} {told['timeframe']}, {first} to {last} UTC, {pace}{label}\n"
            f"REST         {told['url']}/api/v3\n"
            f"streams      {told['url'].replace('http', 'ws')}/stream/ws\n"
            f"WS-API       {told['url'].replace('http', 'ws')}/ws-api/v3\n"
            f"TLS          port {told['tls_port']} as {', '.join(told['hosts'])}\n"
            f"API key      {key}\n"
            f"secret       {secret}\n"
            f"controls     {told['url']}/control/state, and POST step, run, fault, strike, wipe …\n"
            f"Ctrl-C ends it."
        )
    sys.stdout.flush()
