"""What a backtest leaves behind, in memory and as a run folder."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import RunError
from freqlstm.files import jsonable
from freqlstm.store import atomic_folder, read_json, read_table, write_json, write_table, write_text

__all__ = ["TRADE_COLUMNS", "Result", "jsonable", "to_toml", "trade_table"]

RUN_FILES = ("run.toml", "manifest.json", "stats.json", "predictions.parquet", "trades.parquet", "equity.parquet")

TRADE_COLUMNS: dict[str, str] = {  # name: dtype of an empty table
    "symbol": "object",
    "side": "object",  # long, short
    "status": "object",  # closed, open, refused
    "decided_at": "datetime64[ms, UTC]",  # the close of the bar on which it was decided
    "entry_time": "datetime64[ms, UTC]",
    "exit_time": "datetime64[ms, UTC]",
    "size": "float64",  # units of the base asset, positive
    "entry_price": "float64",
    "exit_price": "float64",
    "entry_reason": "object",
    "exit_reason": "object",
    "votes": "object",
    "prediction": "float64",  # at the moment of decision
    "gross_pnl": "float64",  # quote currency, before commission and slippage
    "commission": "float64",
    "slippage": "float64",
    "turnover": "float64",  # value of everything bought and sold, also of the part of an open trade
    "net_pnl": "float64",
    "net_return": "float64",  # fraction of the value entered, after costs
    "bars_held": "float64",
    "refused_because": "object",
}


def main_prediction(table: pd.DataFrame) -> pd.Series[float] | None:
    """The column that charts and the trade list show: ``prediction``, else that of the first signal; None without one."""
    if not len(table.columns):
        return None
    return table["prediction" if "prediction" in table else table.columns[0]]


def trade_table(rows: Sequence[Mapping[Any, Any]]) -> pd.DataFrame:
    """Trades with every column in its order and type, also when there are none; what a row lacks is missing."""
    table = pd.DataFrame(rows, columns=list(TRADE_COLUMNS))
    for name, dtype in TRADE_COLUMNS.items():
        if dtype.startswith("datetime"):
            table[name] = pd.DatetimeIndex(pd.to_datetime(table[name], utc=True)).as_unit("ms")
        elif dtype == "float64":
            table[name] = pd.to_numeric(table[name]).astype(np.float64)
        else:
            table[name] = pd.Series([None if pd.isna(text) else str(text) for text in table[name]], dtype="object")
    return table


@dataclass(frozen=True, eq=False)
class Result:
    """One run: what was asked, what was traded, and what came of it.

    ``market`` holds the candles of the traded range. ``predictions`` has a table per symbol, indexed like its candles,
    with the columns prediction, prediction_low, prediction_high and one for each further signal. ``trades`` has
    :data:`TRADE_COLUMNS`. ``equity`` (indexed by bar open time; values at the bar's close) has equity, cash and
    buy_and_hold: the same cash and costs, equally weighted over the symbols. ``stats`` is what stats.json holds.
    """

    run_id: str
    config: dict[str, Any]
    manifest: dict[str, Any]
    market: dict[str, Candles]
    predictions: dict[str, pd.DataFrame]
    trades: pd.DataFrame
    equity: pd.DataFrame
    stats: dict[str, Any]

    @property
    def cash(self) -> float:
        """What the account held at the start, in the quote currency."""
        return float(self.config["cash"])

    @property
    def synthetic(self) -> bool:
        """True if any candle came from the demo market: whatever shows this result must say so."""
        return bool(self.manifest.get("synthetic")) or any(candles.synthetic for candles in self.market.values())

    def save(self, folder: Path) -> None:
        """Write the run folder at once or not at all; the tearsheet is added by whoever makes it."""
        with atomic_folder(folder) as target:
            write_text(target / "run.toml", to_toml(self.config))
            write_json(target / "manifest.json", {"run_id": self.run_id, **self.manifest})
            write_json(target / "stats.json", self.stats)
            write_table(target / "predictions.parquet", stacked(self.predictions))
            write_table(target / "trades.parquet", self.trades)
            write_text(target / "trades.csv", self.trades.to_csv(index=False))
            write_table(target / "equity.parquet", self.equity.rename_axis("time").reset_index())

    @classmethod
    def load(cls, folder: Path, market: Mapping[str, Candles]) -> Result:
        """The result in ``folder``; ``market`` must hold the candles of its traded range."""
        absent = [name for name in RUN_FILES if not (folder / name).is_file()]
        if absent:
            raise RunError(
                f"{folder} is not a finished run: it has no {absent[0]}. Runs are folders of backtests/results; "
                f"`freqlstm backtest` makes one."
            )
        manifest = read_json(folder / "manifest.json")
        equity = timed(read_table(folder / "equity.parquet"))
        predictions = unstacked(read_table(folder / "predictions.parquet"))
        for symbol in sorted({*predictions, *market}):
            if symbol not in market:
                raise RunError(
                    f"{folder.name} traded {symbol}, whose candles were not given. Give those it was made of."
                )
            if symbol in predictions and not predictions[symbol].index.equals(market[symbol].time):
                raise RunError(
                    f"{folder.name} was made of {len(predictions[symbol]):,} candles of {symbol}, and "
                    f"{len(market[symbol]):,} or others were given. Give those it was made of."
                )
        return cls(
            run_id=manifest.pop("run_id"),
            config=tomllib.loads((folder / "run.toml").read_text(encoding="utf-8")),
            manifest=manifest,
            market=dict(market),
            predictions=predictions,
            trades=trade_table(read_table(folder / "trades.parquet").to_dict("records")),
            equity=equity,
            stats=read_json(folder / "stats.json"),
        )


def timed(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` indexed by its column ``time``."""
    indexed = table.set_index("time")
    indexed.index = pd.DatetimeIndex(indexed.index).as_unit("ms").rename("time")
    return indexed


def stacked(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The predictions of all symbols as one table with the columns symbol and time first."""
    pieces = []
    for symbol, table in predictions.items():
        piece = table.rename_axis("time").reset_index()
        piece.insert(0, "symbol", symbol)
        pieces.append(piece)
    whole = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame({"symbol": [], "time": []})
    whole.attrs["columns"] = {symbol: list(table.columns) for symbol, table in predictions.items()}
    return whole


def unstacked(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The opposite of :func:`stacked`: each symbol has the columns that it had."""
    columns: dict[str, list[str]] = table.attrs["columns"]
    return {symbol: timed(table[table["symbol"] == symbol])[own] for symbol, own in columns.items()}


def to_toml(config: Mapping[str, Any]) -> str:
    """``config`` as TOML: plain keys first, then a table for each dictionary; keys whose value is None are left out."""
    return "\n".join(_toml_lines(config, ())).lstrip("\n") + "\n"


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    known = {str(key): value for key, value in table.items() if value is not None}
    plain = {key: value for key, value in known.items() if not isinstance(value, Mapping)}
    if path and (plain or not known):
        yield f"\n[{'.'.join(map(_toml_key, path))}]"
    yield from (f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items())
    for key in known:
        if key not in plain:
            yield from _toml_lines(known[key], (*path, key))


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, np.generic):
        return _toml_value(value.item())
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return (
            "{ "
            + ", ".join(f"{_toml_key(str(k))} = {_toml_value(v)}" for k, v in value.items() if v is not None)
            + " }"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False)
