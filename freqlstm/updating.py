"""Signals whose networks go on learning after the fit: predict a bar first, learn only then (prequential: Dawid 1984).

At the close of bar t the signal says what it expects. If t is a multiple of ``every``, each network then takes one step
on the newest ``sequences`` bars whose labels are complete by that moment: those up to bar t - horizon. The networks as
they were fitted are asked beside them, and answer while the running squared error of the updated ones is the greater.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from freqlstm import provenance
from freqlstm.blocks import bar_numbers, first_bar, pieces
from freqlstm.candles import Candles
from freqlstm.compiled_step import CompiledStep
from freqlstm.errors import ModelError, PluginError
from freqlstm.inference import forward
from freqlstm.keras_signal import KerasSignal
from freqlstm.prequential import Passage
from freqlstm.progress import Progress
from freqlstm.signal import loaded_digest
from freqlstm.targets import Target
from freqlstm.update_state import State
from freqlstm.update_step import MOMENTS, UpdateStep, fixed_of, weights_of
from freqlstm.xla import compiled_once

KEPT = 512  # bars, at least, whose answers are remembered, so that they are the same when they are asked for again


class UpdatingSignal(KerasSignal):
    """A signal of networks that learn from each symbol's new candles; a plugin writes ``build``, as for a KerasSignal.

    ``predict`` remembers nothing: it goes through the candles from the bar on which the signal has stopped, and forgets
    what it learned on the way. ``advance`` says the same and keeps it. Bars before that one are answered by the networks
    as they were fitted.
    """

    every: int = 60  # bars from one update to the next
    sequences: int = 240  # newest bars with a complete label, learned from at each update
    step_size: float = 1e-2  # learning rate of an update; the norm of its gradient is clipped to 1
    optimizer: Literal["sgd", "adam"] = "sgd"  # of the updates
    loss_halflife: int = 1440  # bars, of the running errors that decide which networks answer

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        "every": (1, math.inf), "sequences": (1, 1_000_000), "step_size": (0.0, 10.0), "loss_halflife": (1, math.inf),
    }  # fmt: skip
    in_files: ClassVar[tuple[str, ...]] = ("networks_", "state_")

    state_: dict[str, State]  # symbol -> how far it has come

    # What is computed must not depend on where the candles begin: a program that starts anew has not all of them

    def inputs(self, candles: Candles) -> pd.DataFrame:
        return pd.concat(
            [super(UpdatingSignal, self).inputs(piece).iloc[own] for piece, own in pieces(candles, self.warmup)]
        )

    @property
    def aim(self) -> Target:
        return _FixedTarget(self.target, self.horizon, self.volatility_halflife)

    def recent(self, candles: Candles, first: pd.Timestamp) -> Candles:
        """The candles that it needs to go on from where it is, and to predict from ``first`` on."""
        if candles.symbol not in getattr(self, "state_", {}):
            return super().recent(candles, first)
        learned = self.state_[candles.symbol].position + 1 - self.horizon - self.sequences
        remembered = first.value // candles.step.value - (self.memory - self.warmup)
        place = first_bar(min(learned, remembered) - self.lookback, self.warmup)
        begin = int(np.searchsorted(bar_numbers(candles), place, side="right"))
        return candles.rows(max(0, begin - 1), len(candles))  # that place itself may be missing

    @property
    def kept(self) -> int:
        """Newest bars whose answers are remembered: those asked for again, and those that their intervals depend on."""
        return KEPT + self.memory - self.warmup + self.horizon

    # Learning

    def learn(self, market: dict[str, Candles], progress: Progress) -> None:
        super().learn(market, progress)
        self.state_ = {symbol: self._fresh(int(bar_numbers(market[symbol])[-1])) for symbol in self.scaling_}

    def known_by(self, bar: int) -> int:
        """The newest bar whose label is complete at the close of ``bar``."""
        return bar - self.horizon

    def advance(self, candles: Candles) -> pd.DataFrame | pd.Series[float]:
        """Predict as ``predict`` does, and keep what was learned on the way: the next call goes on from here."""
        inputs, symbol = self.inputs(candles), candles.symbol
        if not len(candles) or bar_numbers(candles)[-1] < self.state_[symbol].position:
            raise ModelError(
                f"{type(self).__name__} has gone through the candles of {symbol} up to {self._reached(candles)} UTC, and these end "
                f"before that. Give it newer ones, or load the signal as it was fitted."
            )
        return super().predict_from(inputs, candles)

    def predict_from(self, inputs: pd.DataFrame, candles: Candles) -> pd.DataFrame | pd.Series[float]:
        other = copy.copy(self)
        other.state_ = dict(self.state_)  # a state is never changed, only replaced
        return super(UpdatingSignal, other).predict_from(inputs, candles)

    def respond(self, matrix: np.ndarray, rows: np.ndarray, candles: Candles) -> np.ndarray:
        """Forecasts in units, shape (networks, len(rows)); goes on from the state, and keeps the one it comes to."""
        state = self.state_[candles.symbol]
        bars = bar_numbers(candles)
        if len(bars) and bars[0] > state.position + 1:
            raise ModelError(
                f"{type(self).__name__} has gone through the candles of {candles.symbol} up to {self._reached(candles)} UTC, and these begin at "
                f"{candles.time[0]:%Y-%m-%d %H:%M}. Give it those between too: what it says depends on what it learned from them."
            )
        static = np.stack([weights_of(network) for network in self.networks_])
        fixed = [fixed_of(network) for network in self.networks_]
        passage = Passage(self, self._step(), static, fixed, matrix, rows, candles)
        said, self.state_[candles.symbol] = passage.go(state)
        return said

    def _step(self) -> CompiledStep | UpdateStep:
        """The compiled step for networks of these parameters and of this code."""
        try:
            code: object = loaded_digest(type(self))
        except PluginError:  # written where there is no file
            code = type(self)
        shapes = [tuple(variable.shape) for variable in self.networks_[0].variables]
        features = len(self.all_features)
        plain = all(forward(each, self.lookback, features).path == "compiled" for each in self.networks_)
        key = type(self).__qualname__, code, json.dumps(self.parameters, sort_keys=True), tuple(shapes), plain

        def make() -> CompiledStep | UpdateStep:
            given = self.networks_[0], self.loss(), self.optimizer, self.step_size
            return (CompiledStep.of(*given) if plain else None) or UpdateStep(*given)

        return compiled_once(key, make)

    def _reached(self, candles: Candles) -> str:
        """When the last bar closed that the signal has gone through."""
        closed = pd.Timestamp((self.state_[candles.symbol].position + 1) * candles.step.value, tz="UTC")
        return f"{closed:%Y-%m-%d %H:%M}"

    # Files

    def write_files(self, folder: Path) -> None:
        super().write_files(folder)
        model = self._model()
        for symbol, state in self.state_.items():
            state.write(folder / _file(symbol), model)

    def read_files(self, folder: Path) -> None:
        super().read_files(folder)
        self.state_ = {}
        model = self._model()
        for symbol in self.scaling_:
            self.state_[symbol] = State.read(folder / _file(symbol), model, self._fresh(0))

    def resume(self, folder: Path, symbol: str) -> None:
        file = folder / self._model()[:16] / _file(symbol)
        if symbol in self.state_ and file.exists():
            self.state_[symbol] = State.read(file, self._model(), self._fresh(0))

    def keep(self, folder: Path, symbol: str) -> None:
        model = self._model()
        self.state_[symbol].write(folder / model[:16] / _file(symbol), model)

    def _fresh(self, position: int) -> State:
        weights = np.stack([weights_of(network) for network in self.networks_])
        return State.fresh(position, weights, MOMENTS[self.optimizer])

    def _model(self) -> str:
        """A digest of everything that was fitted."""
        arrays = [array for network in self.networks_ for array in (weights_of(network), *fixed_of(network))]
        sha = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        fitted = [self.scaling_, self.stretch_, self.slope_, self.calibration_, self.errors_]
        known = [type(self).__name__, loaded_digest(type(self)), self.parameters, *fitted, sha]
        return provenance.fingerprint(known)


class _FixedTarget(Target):
    """A target that is computed in pieces which begin at fixed places."""

    def outcome(self, candles: Candles) -> pd.Series[float]:
        parts = pieces(candles, self.warmup, ahead=self.horizon)
        return pd.concat([super(_FixedTarget, self).outcome(piece).iloc[own] for piece, own in parts])

    def base_and_scale(self, candles: Candles) -> tuple[np.ndarray, np.ndarray]:
        both = [
            np.array(super(_FixedTarget, self).base_and_scale(piece))[:, own]
            for piece, own in pieces(candles, self.warmup)
        ]
        base, scale = np.concatenate(both, axis=1)
        return base, scale


def _file(symbol: str) -> str:
    """The name of the file of a symbol's state."""
    return f"{symbol.replace('/', '-').replace(':', '_')}.npz"
