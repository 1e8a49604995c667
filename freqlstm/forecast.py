"""Fit one signal on stored candles, and let it say what it expects next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, TooFewCandles
from freqlstm.plugins import Plugin
from freqlstm.predictions import model_folder
from freqlstm.progress import Progress, silent
from freqlstm.signal import Signal, prediction_table


@dataclass(frozen=True)
class Forecast:
    """What a signal says at the close of the newest candle about the next ``horizon`` bars."""

    symbol: str
    timeframe: str
    known_at: pd.Timestamp  # the close of the newest candle, UTC
    until: pd.Timestamp  # the close of the last bar being forecast
    close: float
    target: str
    prediction: float  # see Signal.predict for its unit
    prediction_low: float  # NaN: the signal gives no interval
    prediction_high: float
    trained_until: pd.Timestamp | None


def train(
    plugin: Plugin, parameters: Mapping[str, Any], market: dict[str, Candles], models: Path, progress: Progress = silent
) -> tuple[Signal, Path]:
    """The signal fitted on all candles of ``market``, and the folder in which it was saved (or found, if it was fitted before)."""
    kind: type[Signal] = plugin.load()
    with plugin.blamed():
        signal = kind(**parameters)
        folder = model_folder(models, plugin, signal, market)
        if folder.is_dir():
            with suppress(ModelError):  # what is damaged is fitted again
                return kind.load(folder), folder
        signal.fit(market, progress)
        signal.save(folder)
    return signal, folder


def newest_model(plugin: Plugin, symbol: str, timeframe: str, models: Path) -> Signal:
    """The fitted signal whose training candles of ``symbol`` end last, of those that this version can load."""
    kind: type[Signal] = plugin.load()
    with plugin.blamed():
        signal = kind()
    if not signal.needs_fit:
        return signal
    best: tuple[str, Signal] | None = None
    reasons = []
    for file in sorted((models / plugin.name).glob("[!.]*/signal.json")):
        try:
            signal = kind.load(file.parent)
        except ModelError as error:
            reasons.append(str(error))
            continue
        seen = signal.training_["candles"].get(symbol)
        if (
            seen
            and seen["timeframe"] == timeframe
            and signal.speaks_for(symbol)
            and (best is None or seen["last"] > best[0])
        ):
            best = (seen["last"], signal)
    if best is None:
        raise ModelError(
            f"No fitted {plugin.name} for {symbol} {timeframe} is in {models / plugin.name}. "
            f"`freqlstm train --signal {plugin.name} -p {symbol} -i {timeframe}` makes one."
            + (f" ({reasons[0]})" if reasons else "")
        )
    return best[1]


def forecast(signal: Signal, candles: Candles) -> Forecast:
    """The prediction at the newest candle, from as many candles before it as the signal needs."""
    newest = candles.rows(max(0, len(candles) - signal.warmup - 512), len(candles))
    said = prediction_table(signal, newest).iloc[-1]
    if pd.isna(said["prediction"]):
        raise TooFewCandles(
            f"{type(signal).__name__} can say nothing at {newest.time[-1] + newest.step} UTC: it needs {signal.warmup} candles of "
            f"{candles.symbol} without a gap before it. Download the newest ones."
        )
    known_at = newest.time[-1] + newest.step
    trained = signal.training_["candles"].get(candles.symbol) if signal.needs_fit else None
    return Forecast(
        candles.symbol, candles.timeframe, known_at, known_at + signal.horizon * newest.step, float(newest.close.iloc[-1]),
        signal.target, float(said["prediction"]), float(said["prediction_low"]), float(said["prediction_high"]),
        pd.Timestamp(trained["last"]) + newest.step if trained else None,
    )  # fmt: skip
