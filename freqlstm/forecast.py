"""Fit one signal on stored candles, and let it say what it expects next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, TooFewCandles
from freqlstm.event_log import EventLog
from freqlstm.files import jsonable
from freqlstm.models import model_folder
from freqlstm.plugins import Plugin
from freqlstm.progress import Progress, silent
from freqlstm.provenance import read_sealed
from freqlstm.recording import Checkpoints, Recorder, recorded
from freqlstm.signal import Signal, prediction_table

CHECKPOINTS = "checkpoints"  # the folder of models/SIGNAL in which unfinished fits are kept, each under its MODEL_ID
NEWEST = 512  # candles that are predicted along with the last one


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
    plugin: Plugin,
    parameters: Mapping[str, Any],
    market: dict[str, Candles],
    models: Path,
    progress: Progress = silent,
    *,
    resume: bool = False,
    events: Path | None = None,
    warn: list[str] | None = None,
) -> tuple[Signal, Path]:
    """The signal fitted on all candles of ``market``, and the folder in which it was saved (or found, if it was fitted before).

    The fit leaves a checkpoint after every epoch, named like the model, which is removed when the model is there. With
    ``resume`` it goes on from there, to the same model bit for bit; without, it begins anew. With ``events`` it writes
    what TensorBoard shows into ``events/SIGNAL-MODEL_ID``. What a person should know is added to ``warn``.
    """
    kind: type[Signal] = plugin.load()
    warnings = [] if warn is None else warn
    with plugin.blamed():
        signal = kind(**parameters)
        signal.keep_members_in(models)
        folder = model_folder(models, plugin, signal, market)
        log = EventLog(events / f"{plugin.name}-{folder.name}") if events is not None else None
        if folder.is_dir():
            with suppress(ModelError):  # what is damaged is fitted again
                found = kind.load(folder)
                if log is not None:
                    warnings.append(
                        f"It was fitted before, so {events} is told nothing. Delete {folder} to fit it again."
                    )
                return found, folder
        checkpoints = Checkpoints(models / plugin.name / CHECKPOINTS / folder.name)
        if resume and not checkpoints.exist():
            others = sum(1 for each in checkpoints.folder.parent.glob("*/") if any(each.glob("*.json")))
            warnings.append(
                "There is no checkpoint of this signal with these parameters on these candles"
                + (f", though {others} of others" if others else "")
                + ": the fit begins anew."
            )
        if not resume:
            checkpoints.remove()
        with closing(log) if log is not None else nullcontext(), recorded(Recorder(checkpoints, log, warnings)):
            try:
                signal.fit(market, progress)
            except KeyboardInterrupt:
                if checkpoints.exist():
                    warnings.append("What was fitted is kept: --resume goes on from it, on the same candles.")
                raise
            signal.save(folder)
        if log is not None and not log.files:
            warnings.append(f"{plugin.name} is not fitted in epochs, so {events} is told nothing.")
    return signal, folder


def newest_model(
    plugin: Plugin, candles: Candles, models: Path, parameters: Mapping[str, Any] = MappingProxyType({})
) -> Signal:
    """The fitted signal that may say what follows ``candles``: of those with these parameters, the one trained on the newest.

    It must have been trained on the same exchange, symbol and timeframe, and on no candle after the newest of
    ``candles``, which would be a look at what it is asked to forecast. Parameters not given have their defaults.
    """
    kind: type[Signal] = plugin.load()
    with plugin.blamed():
        signal = kind(**parameters)
    if not signal.needs_fit:
        return signal
    wanted = signal.parameters
    fitting: list[tuple[pd.Timestamp, Path]] = []
    reasons: list[tuple[int, str]] = []  # how near it came, and what was wrong with it
    for file in sorted((models / plugin.name).glob("[!.]*/signal.json")):
        try:
            saved = read_sealed(file)
            last, reason = _trained_until(saved, wanted, candles)
        except ModelError as error:
            last, reason = None, (3, str(error))
        if last is not None:
            fitting.append((last, file.parent))
        else:
            reasons.append(reason)
    for _, folder in sorted(fitting, reverse=True):
        try:
            with plugin.blamed():
                signal = kind.load(folder)
        except ModelError as error:
            reasons.append((5, str(error)))
            continue
        if signal.speaks_for(candles.symbol):
            return signal
        reasons.append((5, f"{folder.name} does not speak for {candles.symbol}."))
    command = f"freqlstm train --signal {plugin.name} -p {candles.symbol} -i {candles.timeframe} --exchange {candles.exchange}"
    command += "".join(
        f" --set {shlex.quote(f'{name}={json.dumps(jsonable(value))}')}" for name, value in parameters.items()
    )
    raise ModelError(
        f"No fitted {plugin.name} for {candles.symbol} {candles.timeframe} of {candles.exchange} is in {models / plugin.name}. "
        f"`{command}` makes one." + (f" ({max(reasons)[1]})" if reasons else "")
    )


def _trained_until(
    saved: Mapping[str, Any], wanted: Mapping[str, Any], candles: Candles
) -> tuple[pd.Timestamp | None, tuple[int, str]]:
    """When the newest training candle of a saved signal opened, or None and why it may not forecast these candles."""
    training = saved.get("fitted", {}).get("training_", {}).get("candles", {})
    seen = training.get(candles.symbol)
    if seen is None or seen["last"] is None or seen["timeframe"] != candles.timeframe:
        return None, (0, f"Others there were not trained on {candles.symbol} {candles.timeframe}.")
    if seen["exchange"] != candles.exchange:
        return None, (1, f"One there was trained on candles of {seen['exchange']}.")
    for name, value in jsonable(wanted).items():
        if (had := saved["parameters"].get(name)) != value:
            return None, (2, f"One there was fitted with {name} = {had!r}, not {value!r}.")
    last = max(pd.Timestamp(each["last"]) for each in training.values() if each["last"] is not None)
    if last >= candles.time[-1] + candles.step:
        return None, (4, f"One there was trained up to {last} UTC, after the newest of these candles.")
    return pd.Timestamp(seen["last"]), (0, "")


def learned_in(models: Path, plugin: Plugin) -> Path:
    """The folder in which a signal that goes on learning keeps what it has learned since its fit: see :func:`follow`."""
    return models / plugin.name / "learned"


def follow(signal: Signal, candles: Candles, folder: Path) -> pd.DataFrame:
    """What ``signal`` predicts for the newest of ``candles``, one row for each: the call to make whenever one has closed.

    A signal that goes on learning begins where the last call with this ``folder`` has stopped, in whatever process that
    was, and keeps there what it has learned, apart from the fitted signal, which stays as it is.
    """
    signal.resume(folder, candles.symbol)
    table = prediction_table(signal, _newest(signal, candles), advance=True)
    signal.keep(folder, candles.symbol)
    return table


def _newest(signal: Signal, candles: Candles) -> Candles:
    """As many candles as the signal needs for the predictions of the last few hundred."""
    return signal.recent(candles, candles.time[-1] - NEWEST * candles.step)


def forecast(signal: Signal, candles: Candles, folder: Path | None = None) -> Forecast:
    """The prediction at the newest candle; with a ``folder`` it is made by :func:`follow`."""
    table = prediction_table(signal, _newest(signal, candles)) if folder is None else follow(signal, candles, folder)
    said = table.iloc[-1]
    known_at = candles.time[-1] + candles.step
    if pd.isna(said["prediction"]):
        raise TooFewCandles(
            f"{type(signal).__name__} can say nothing at {known_at} UTC: it needs {signal.warmup} candles of "
            f"{' and '.join([candles.symbol, *candles.beside])} without a gap before it. Download the newest ones."
        )
    trained = signal.training_["candles"].get(candles.symbol) if signal.needs_fit else None
    return Forecast(
        candles.symbol, candles.timeframe, known_at, known_at + signal.horizon * candles.step, float(candles.close.iloc[-1]),
        signal.target, float(said["prediction"]), float(said["prediction_low"]), float(said["prediction_high"]),
        pd.Timestamp(trained["last"]) + candles.step if trained else None,
    )  # fmt: skip
