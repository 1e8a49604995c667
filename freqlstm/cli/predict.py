"""``freqlstm predict``: what a fitted signal expects next."""

from __future__ import annotations

from pathlib import Path

import click

from freqlstm.cli.console import json_option, note, pairs_option, print_json, print_table, timeframe_option


@click.command()
@click.argument("pair", required=False)
@click.option(
    "--signal", "name", default="lstm", show_default=True, help="A name that `freqlstm signals` lists, or a file."
)
@pairs_option
@timeframe_option
@click.option("--exchange", metavar="NAME", help="Whose stored candles; demo is the synthetic market.")
@click.option(
    "--set", "changes", metavar="NAME=VALUE", multiple=True, help="A parameter that the signal was fitted with."
)
@json_option
@click.pass_obj
def predict(
    root: Path, /, pair: str | None, name: str, pairs: tuple[str, ...], timeframe: str | None, exchange: str | None,
    changes: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Print what a fitted signal expects after the newest stored candle of each pair."""
    import math

    from freqlstm.cli.backtest import parameters_of
    from freqlstm.forecast import forecast, learned_in, newest_model
    from freqlstm.models import read_beside
    from freqlstm.plugins import find
    from freqlstm.selection import candles_of, with_beside
    from freqlstm.store import Project

    project, warnings, parameters = Project(root), list[str](), parameters_of(changes)
    plugin = find("signal", name, root)
    folder = learned_in(project.models, plugin)
    market = candles_of(
        project, warnings, pairs=(pair, *pairs) if pair else pairs, timeframe=timeframe, exchange=exchange
    )
    with plugin.blamed():
        beside = read_beside(plugin.load()(**parameters))
    market = with_beside(market, beside, project, warnings)
    for warning in warnings:
        note(f"Warning: {warning}")
    with plugin.blamed():
        said = [
            forecast(newest_model(plugin, candles, project.models, parameters), candles, folder)
            for candles in market.values()
        ]
    if as_json:
        print_json([{**vars(each), "synthetic": market[each.symbol].synthetic} for each in said])
        return
    rows = [
        (
            each.symbol, f"{each.known_at:%Y-%m-%d %H:%M}", f"{each.until:%Y-%m-%d %H:%M}", f"{each.close:g}",
            f"{each.prediction:+.6f}",
            "" if math.isnan(each.prediction_low) else f"{each.prediction_low:+.6f} to {each.prediction_high:+.6f}",
            f"{each.trained_until:%Y-%m-%d %H:%M}" if each.trained_until is not None else "",
            "SYNTHETIC" if market[each.symbol].synthetic else "",
        )
        for each in said
    ]  # fmt: skip
    print_table(
        ("pair", "known at (UTC)", "until", "close", f"{said[0].target}", "interval", "trained until", ""),
        rows,
        right=("close",),
    )
