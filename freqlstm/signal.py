"""The base class of signals."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd

from freqlstm import provenance
from freqlstm.candles import Candles
from freqlstm.errors import ModelError, PluginError, UnknownName
from freqlstm.features import Feature
from freqlstm.features import warmup as features_warmup
from freqlstm.files import atomic_folder, explained, jsonable
from freqlstm.parameters import checked, declared
from freqlstm.progress import Progress, silent

PREDICTION_COLUMNS = ("prediction", "prediction_low", "prediction_high", "prediction_spread")
FORMAT = 1  # of signal.json


class Signal:
    """Says at the close of each bar what the next ``horizon`` bars will bring.

    Subclass it, annotate the parameters as class attributes, and write ``predict``. A signal that has something to
    learn writes ``learn`` too, and keeps what it learned in attributes that end in ``_``: JSON values, or else named in
    ``in_files`` and handled by ``write_files`` and ``read_files``.
    """

    horizon: int = 5  # bars ahead being forecast
    target: Literal["return", "direction", "volatility"] = "return"  # what is forecast
    seed: int = 0  # of everything random
    features: tuple[str | Feature, ...] = ()  # names, or features of the plugin's own

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {"horizon": (1, math.inf), "seed": (0, 2**31 - 1)}
    search: ClassVar[Mapping[str, Any]] = {}  # parameter -> (low, high), (low, high, "log") or [choices]: where to tune
    in_files: ClassVar[tuple[str, ...]] = ()  # fitted attributes that are not JSON values
    files: ClassVar[tuple[str, ...]] = ()  # data that it reads, relative to its own file: a change makes another signal

    project: ClassVar[Path] = Path()  # set by whoever loads the class: the folder whose own signals come first
    _project: Path = Path()  # that of when this one was made: its class may be loaded for another project since
    _inside: tuple[str, ...] = ()  # the modules of the signals that this one is a part of
    _kept_in: Path | None = None  # where the signals that it is made of are kept; None: they are not

    training_: dict[str, Any]  # what the last fit was given: see record_training
    report_: dict[str, Any]  # what the last fit has to tell, such as epochs and errors

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        source = getattr(sys.modules.get(cls.__module__), "__file__", None)
        if "files" in vars(cls) and source is not None:
            _check_files(cls, Path(source).resolve())

    def __init__(self, **parameters: Any) -> None:
        self._project = type(self).project
        known = declared(type(self))
        for name in parameters:
            if name not in known:
                raise UnknownName("parameter", name, known)
        for name in known:
            value = parameters.get(name, getattr(type(self), name))
            setattr(self, name, checked(type(self), name, self._own_features(value) if name == "features" else value))

    def _own_features(self, names: Any) -> Any:
        """The plugin's own features in place of their names, which is all that a file or a command line can hold."""
        own = {each.name: each for each in type(self).features if isinstance(each, Feature)}
        return [own.get(name, name) for name in names] if isinstance(names, (list, tuple)) else names

    # What a plugin writes

    def predict(self, candles: Candles) -> pd.Series[float] | pd.DataFrame:
        """A Series aligned to ``candles.time``, or a DataFrame with the columns of :data:`PREDICTION_COLUMNS` that there are.

        They are the prediction, the interval around it, and the standard deviation of the models that it averages.

        Row t is known at the close of bar t; NaN where the signal may not speak. The unit is that of ``target``: log
        return over the horizon, probability of a rise, or log realised variance over the horizon.
        """
        raise PluginError(f"{type(self).__name__} has no predict. A signal must write predict(self, candles).")

    def learn(self, market: dict[str, Candles], progress: Progress) -> None:
        """Fit to these candles, all of which are in the past. Nothing to learn unless overridden."""

    def write_files(self, folder: Path) -> None:
        """Write what ``in_files`` names; never as a pickle."""

    def read_files(self, folder: Path) -> None:
        """Read what :meth:`write_files` wrote; the parameters and the JSON attributes are there already."""

    @property
    def warmup(self) -> int:
        """Bars of one unbroken stretch that must lie before the first bar with a prediction."""
        return features_warmup(self.all_features)

    @property
    def all_features(self) -> tuple[str | Feature, ...]:
        """Every feature that predictions are made of: what these read beside the candles is loaded with them."""
        return self.features

    @property
    def memory(self) -> int:
        """Bars before a bar that can make a difference to its row at all; more than the warm-up where the interval remembers longer."""
        return self.warmup

    @property
    def uses(self) -> tuple[str, ...]:
        """The names of other signals that it is made of; they have its horizon, target, seed and validation share."""
        return ()

    def recent(self, candles: Candles, first: pd.Timestamp) -> Candles:
        """Those of ``candles`` that its predictions from the bar ``first`` on can depend on."""
        return candles.between(first - self.memory * candles.step, None)

    # What a signal that goes on learning after its fit writes besides

    def advance(self, candles: Candles) -> pd.Series[float] | pd.DataFrame:
        """Predict as ``predict`` does, and keep what was learned on the way: the next call goes on from here."""
        return self.predict(candles)

    def resume(self, folder: Path, symbol: str) -> None:
        """Go on from what :meth:`keep` wrote there for that symbol, if there is such a file."""

    def keep(self, folder: Path, symbol: str) -> None:
        """Write what was learned from that symbol's candles since the fit; whole or not at all."""

    def speaks_for(self, symbol: str) -> bool:
        """Whether predictions can be made for that symbol's candles."""
        return True

    # What everybody uses

    @property
    def needs_fit(self) -> bool:
        """True if the signal learns from candles."""
        return type(self).learn is not Signal.learn or type(self).fit is not Signal.fit

    @property
    def kept_in(self) -> Path | None:
        """The folder of fitted signals, in which those that it is made of are looked for before they are fitted."""
        return self._kept_in

    def keep_members_in(self, folder: Path | None) -> None:
        """Set :attr:`kept_in`."""
        self._kept_in = folder

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter's value, as JSON; a feature of the plugin's own is given by its name."""
        return {name: _as_json(getattr(self, name)) for name in declared(type(self))}

    def fit(self, market: dict[str, Candles], progress: Progress = silent) -> Self:
        """Learn from the candles of one or several symbols; sees nothing else."""
        started = time.perf_counter()
        self.report_ = {}
        self.learn(market, progress)
        self.record_training(market, time.perf_counter() - started)
        return self

    def record_training(self, market: dict[str, Candles], seconds: float) -> None:
        """Remember what a fit was given."""
        self.training_ = {
            "seconds": round(seconds, 3),
            "candles": {
                symbol: {
                    "exchange": candles.exchange,
                    "timeframe": candles.timeframe,
                    "first": str(candles.time[0]) if len(candles) else None,
                    "last": str(candles.time[-1]) if len(candles) else None,
                    "rows": len(candles),
                    "digest": candles.digest,
                }
                for symbol, candles in sorted(market.items())
            },
        }

    def require_fit(self, candles: Candles) -> None:
        """A ModelError unless this signal was fitted, on this symbol and at this timeframe."""
        if not hasattr(self, "training_"):
            raise ModelError(f"{type(self).__name__} has not been fitted. Call fit(market) or load(folder) first.")
        if not self.speaks_for(candles.symbol):
            raise ModelError(
                f"{type(self).__name__} was not fitted on {candles.symbol}, only on "
                f"{', '.join(self.training_['candles'])}. Fit it on that symbol too."
            )
        timeframes = {each["timeframe"] for each in self.training_["candles"].values()}
        if candles.timeframe not in timeframes:
            raise ModelError(
                f"{type(self).__name__} was fitted on {', '.join(sorted(timeframes))} candles and cannot predict from "
                f"{candles.timeframe} candles. Fit it on that timeframe."
            )

    # Files

    def save(self, folder: Path) -> None:
        """Write signal.json and the files it names; whole or not at all."""
        path = _plugin_file(type(self))
        with atomic_folder(folder) as temporary:
            self.write_files(temporary)
            provenance.write_sealed(
                temporary / "signal.json",
                {
                    "format": FORMAT,
                    "class": type(self).__name__,
                    "source": path.name,
                    "digest": loaded_digest(type(self)),
                    "parameters": self.parameters,
                    "fitted": self._fitted(),
                    "versions": provenance.library_versions(path),
                    "files": {
                        file.relative_to(temporary).as_posix(): provenance.file_digest(file)
                        for file in sorted(temporary.rglob("*"))
                        if file.is_file()
                    },
                },
            )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The signal that was saved there; a ModelError if anything is damaged, foreign, or not what is installed now."""
        saved = provenance.read_sealed(folder / "signal.json")
        path = _plugin_file(cls)
        again = "Fit it again."
        if saved.get("format") != FORMAT:
            raise ModelError(f"{folder} has format {saved.get('format')!r} of signal.json, not {FORMAT}. {again}")
        if saved["class"] != cls.__name__:
            raise ModelError(
                f"{folder} holds a fitted {saved['class']}, not a {cls.__name__}. Load it with that signal."
            )
        if saved["digest"] != loaded_digest(cls):
            raise ModelError(f"{folder} was fitted by another version of {path.name} or of freqlstm. {again}")
        versions = provenance.library_versions(path)
        for name, version in saved["versions"].items():
            if versions.get(name) != version:
                raise ModelError(
                    f"{folder} was fitted with {name} {version}; here is {versions.get(name, 'none')}. {again}"
                )
        for name, digest in saved["files"].items():
            file = folder / name
            if ".." in Path(name).parts or Path(name).is_absolute() or not file.is_file():
                raise ModelError(f"{folder} lacks its file {name}. Delete the folder and fit the signal again.")
            if provenance.file_digest(file) != digest:
                raise ModelError(
                    f"{file} was damaged or changed since it was written. Delete its folder and fit again."
                )
        signal = cls(**saved["parameters"])
        for name, value in saved["fitted"].items():
            setattr(signal, name, value)
        with explained(folder):
            signal.read_files(folder)
        return signal

    def _fitted(self) -> dict[str, Any]:
        """The fitted attributes that go into signal.json."""
        names = [name for name in vars(self) if name.endswith("_") and name not in self.in_files]
        try:
            return {name: jsonable(getattr(self, name)) for name in sorted(names)}
        except TypeError as error:
            raise PluginError(
                f"{type(self).__name__} cannot be saved: {error}. Keep in attributes that end in '_' what JSON can hold, or name "
                f"them in in_files and write them in write_files."
            ) from error


def prediction_table(signal: Signal, candles: Candles, advance: bool = False) -> pd.DataFrame:
    """What ``signal`` predicts, checked, with all columns of :data:`PREDICTION_COLUMNS` (NaN in those that it does not give).

    With ``advance`` it keeps what it learns on the way.
    """
    made = signal.advance(candles) if advance else signal.predict(candles)
    who = f"{type(signal).__name__}.predict"
    if not isinstance(made, (pd.Series, pd.DataFrame)):
        raise PluginError(
            f"{who} returned a {type(made).__name__}. It must return a Series or DataFrame at candles.time."
        )
    if not made.index.equals(candles.time):
        raise PluginError(
            f"{who} returned {len(made)} rows whose index is not candles.time. Give one row for each candle."
        )
    table = made.rename("prediction").to_frame() if isinstance(made, pd.Series) else made
    unknown = [name for name in table.columns if name not in PREDICTION_COLUMNS]
    if unknown or "prediction" not in table:
        raise PluginError(
            f"{who} returned the columns {', '.join(map(str, table.columns))}. They must be prediction and, where there "
            f"are such, prediction_low, prediction_high and prediction_spread."
        )
    values = np.full((len(PREDICTION_COLUMNS), len(table)), np.nan)
    try:
        for name in table.columns:
            values[PREDICTION_COLUMNS.index(name)] = table[name]
    except (TypeError, ValueError) as error:
        raise PluginError(f"{who} returned values that are not numbers: {error}.") from error
    if np.isinf(values).any():
        raise PluginError(f"{who} returned an infinite prediction. Where nothing can be said it must be NaN.")
    return pd.DataFrame(values.T, candles.time, list(PREDICTION_COLUMNS))


def _check_files(cls: type[Signal], source: Path) -> None:
    """A PluginError unless every name in ``files`` can be read from the source without running it, and is a file."""
    names = cls.files
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
        raise PluginError(
            f'The files of {cls.__name__} are {names!r}. They must be a tuple of names, as in ("bias.csv",).'
        )
    written = provenance.named_files(source)
    for name in names:
        file = (source.parent / name).resolve()
        if file not in written:
            raise PluginError(
                f"The files of {cls.__name__} are worked out when it is imported. Write their names out in a tuple."
            )
        if not file.is_file():
            raise PluginError(f"The files of {cls.__name__} name {name}, but {file} is no file. Put it there.")


_DIGESTS: dict[type, str] = {}


def loaded_digest(cls: type[Signal]) -> str:
    """Source digest of a class, taken when it was first asked for: a file edited later is not what is running."""
    if cls not in _DIGESTS:
        _DIGESTS[cls] = provenance.source_digest(_plugin_file(cls))
    return _DIGESTS[cls]


def _plugin_file(cls: type[Signal]) -> Path:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None:
        raise PluginError(
            f"{cls.__name__} was not defined in a file, so what it is cannot be recorded. Put it in a file."
        )
    return Path(file)


def _as_json(value: Any) -> Any:
    if isinstance(value, Feature):
        return value.name
    return [_as_json(each) for each in value] if isinstance(value, (tuple, list)) else value
