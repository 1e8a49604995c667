"""Ninety days of minutes by the shipped strategy lstm_rsi: walk-forward training, trading, tearsheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground, recorded
from benchmarks.measure import Variant
from benchmarks.row import Row, within

PROJECT = "lstm_rsi"  # folder


def rows(ground: Ground) -> list[Row]:
    """Two rows: the first fills the caches of the second."""
    folder = ground.folder / PROJECT
    settings = {"folder": str(folder), "flags": _flags(ground.quick)}
    what = "backtest --strategy lstm_rsi, 90 days of 1m" + (" of BTC/USDT" if recorded() else " of the demo market")

    def prepare() -> None:
        if not (folder / "strategies").exists():
            _start(folder, ground.quick)

    def note(row: Any) -> str:
        return f"return {row.ours.told['total_return']:+.2%}, {row.ours.told['trades']} trades"

    return [
        Row(
            "lstm-rsi-cold", f"{what}, thirteen fits of three networks included; once",
            Variant("freqlstm backtest", "lstm_rsi:cold", settings, rounds=1), [],
            [within(180, "3 min")], note=note, prepare=prepare,
        ),
        Row(
            "lstm-rsi-warm", f"{what}, predictions cached, tearsheet included",
            Variant("freqlstm backtest", "lstm_rsi:warm", settings), [], [within(5, "5 s")], note=note, prepare=prepare,
        ),
    ]  # fmt: skip


def _flags(quick: bool) -> list[str]:
    if quick:
        return [
            "--strategy",
            "rsi_bollinger",
            "--timeframe",
            "1h",
            "--exchange",
            "demo",
            "--timerange",
            "20240201-20240210",
        ]
    if recorded():
        return ["--strategy", "lstm_rsi", "--pairs", "BTC/USDT", "--timerange", "20230101-20230401"]
    return ["--strategy", "lstm_rsi"]


def _start(folder: Path, quick: bool) -> None:
    """A project, with the recorded candles where there are and where they are used."""
    from benchmarks.command import FREQLSTM, run

    run([*FREQLSTM, "init", str(folder)])
    path = recorded()
    if path is not None and not quick:
        run([*FREQLSTM, "import", str(path)], folder)


def _backtest(folder: str, flags: list[str], *more: str) -> dict[str, Any]:
    from benchmarks.command import FREQLSTM, run

    told = run([*FREQLSTM, "backtest", *flags, "--json", *more], folder)
    result = json.loads(told.pop("printed"))
    return {
        **told, "total_return": result["performance"]["total_return"], "trades": result["trades"]["closed"],
        "tearsheet": result["tearsheet"],
    }  # fmt: skip


def cold(folder: str, flags: list[str]) -> dict[str, Any]:
    """Whatever was fitted before is forgotten."""
    import shutil

    for kept in Path(folder, "models").glob("*/"):
        shutil.rmtree(kept)
    return _backtest(folder, flags)


def warm(folder: str, flags: list[str]) -> dict[str, Any]:
    """Once to fill the caches if they are empty, and once more."""
    if "lstm_rsi" in flags and not any(Path(folder, "models").glob("*/")):
        _backtest(folder, flags)
    return _backtest(folder, flags)
