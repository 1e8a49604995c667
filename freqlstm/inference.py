"""What networks say of all windows of a matrix: the quickest way that agrees with the network's own forward pass.

There are three. Compiled code runs LSTMs and dense layers (:mod:`freqlstm.compiled_network`). XLA runs whatever else goes
through a window step by step. Everything else, and what differs by more than TOLERANCE from the network itself, is asked
by Keras. Which it is depends on the network and its weights alone, and a window's bits depend on nothing but the window:
not on what is asked beside it, nor on the process, nor on threads. Windows exist for one block at a time.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from freqlstm.compiled_network import CompiledNetwork, Rolled
from freqlstm.jobs import threads
from freqlstm.windows import gather
from freqlstm.xla import compiled, compiled_once

BLOCK = (
    512  # windows asked at a time; by XLA and Keras always so many, for the bits of a product may depend on its shape
)
TOLERANCE = 1e-5  # by which an output may differ, absolutely or relatively, whichever is more
PROBES = 24  # windows of random numbers on which each network is compared
ASKED = 64  # windows of the training's own on which it is compared besides


class Forward:
    """The forward pass of a network with the weights that it has when this is made."""

    def __init__(self, network: keras.Model, lookback: int, features: int) -> None:
        self.lookback = lookback
        self.difference = 0.0  # the largest that was found, as TOLERANCE counts it
        self.refused = ""  # what disagreed, and by how much
        self._network: Callable[[], Any] = weakref.ref(network)  # whoever keeps this keeps no network
        self.compiled = CompiledNetwork.of(network)
        self._xla = None if self.compiled or not _goes_step_by_step(network) else _xla(network)
        draw = np.random.default_rng(0)
        size = np.repeat([0.3, 1.0, 3.0], PROBES // 3)[:, None, None]
        probes = size * draw.normal(size=(PROBES, lookback, features))
        self.compare(probes.reshape(-1, features).astype(np.float32), np.arange(1, PROBES + 1) * lookback - 1)

    @property
    def path(self) -> str:
        """Which way it is: compiled, xla or keras."""
        return "compiled" if self.compiled else "xla" if self._xla else "keras"

    def compare(self, matrix: np.ndarray, rows: np.ndarray) -> bool:
        """Whether these windows' outputs are the network's own; if not, Keras is asked from now on."""
        if self.path == "keras" or not len(rows):
            return True
        theirs = self._network().predict_on_batch(gather(matrix, rows, self.lookback))[:, 0].astype(np.float64)
        with np.errstate(invalid="ignore"):  # of a training that went astray
            off = np.abs(self.outputs(matrix, rows) - theirs) / np.maximum(1.0, np.abs(theirs))
        self.difference = max(self.difference, float(np.max(off)))
        if np.max(off) <= TOLERANCE:  # not so if there is a NaN
            return True
        self.refused = f"{self.path} code differs from the network by {np.max(off):.1e}, more than {TOLERANCE}"
        self.compiled = self._xla = None
        return False

    def outputs(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Shape (len(rows),), float64: the output for the window of each row of ``matrix``, (rows, features).

        Compiled code is asked on as many threads as this process may have, which changes no bit.
        """
        gather(matrix, rows[[0, -1]] if len(rows) else rows, self.lookback)  # refuses rows without a window
        ask = self._ask_compiled if self.compiled else self._ask_xla if self._xla else self._ask_keras
        matrix = np.ascontiguousarray(matrix, np.float32)
        output = np.zeros(len(rows))

        def block(first: int) -> None:
            part = rows[first : first + BLOCK]
            output[first : first + len(part)] = ask(matrix, part)

        if self.compiled and len(rows) > BLOCK and (count := threads()) > 1:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(block, range(0, len(rows), BLOCK)))
        else:
            for first in range(0, len(rows), BLOCK):
                block(first)
        return output

    def _ask_compiled(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        assert self.compiled is not None
        return self.compiled.outputs(matrix, rows, self.lookback)

    def _ask_xla(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        assert self._xla is not None
        return np.asarray(self._xla(_filled(matrix, rows, self.lookback)))[: len(rows)]

    def _ask_keras(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        said = self._network().predict_on_batch(_filled(matrix, rows, self.lookback))
        return np.asarray(said)[: len(rows), 0]


def _filled(matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
    """Shape (BLOCK, lookback, features): the windows of these rows, and then the last of them again."""
    return gather(matrix, np.concatenate([rows, np.full(BLOCK - len(rows), rows[-1])]), lookback)


_FORWARDS: weakref.WeakKeyDictionary[keras.Model, tuple[bytes, Forward]] = weakref.WeakKeyDictionary()


def forward(network: keras.Model, lookback: int, features: int) -> Forward:
    """The forward pass of a network as it is now, made and compared once for the same weights."""
    digest = hashlib.sha256(f"{lookback} {features}".encode())
    for variable in network.weights:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    key, made = _FORWARDS.get(network, (b"", None))
    if made is None or key != digest.digest():
        made = Forward(network, lookback, features)
        _FORWARDS[network] = digest.digest(), made
    return made


def outputs(network: keras.Model, matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
    """Shape (len(rows),), float64: the network's output for the window of each row."""
    rows, memory = np.asarray(rows), _MEMORY.get()
    if memory is not None:
        return memory.outputs(network, matrix, rows, lookback)
    return forward(network, lookback, matrix.shape[1]).outputs(matrix, rows)


class Memory:
    """What networks were asked and said, so that one more row at the end of a matrix costs one step and not all."""

    def __init__(self) -> None:
        self._asked: dict[int, _Asked] = {}  # by the network's id; what is kept there keeps the network too

    @contextmanager
    def active(self) -> Iterator[None]:
        """:func:`outputs` answers from here in the block."""
        token = _MEMORY.set(self)
        try:
            yield
        finally:
            _MEMORY.reset(token)

    def outputs(self, network: keras.Model, matrix: np.ndarray, rows: np.ndarray, lookback: int) -> np.ndarray:
        """As the function: a row is asked for unless its window is bit for bit what it was the last time."""
        before = self._asked.get(id(network))
        prepared = before is not None and before.next is not None and before.way.lookback == lookback
        way = before.way if prepared and before is not None else forward(network, lookback, matrix.shape[1])
        now = _Asked(network, way, matrix.copy(), np.full(len(matrix), np.nan))
        if before is not None and before.way is way:
            same = _unchanged(before.matrix, matrix)
            now.said[:same] = before.said[:same]
            if same == len(before.matrix) and len(rows) and rows[-1] == same and before.next is not None:
                now.said[same] = before.next.output(now.matrix[same])
        new = rows[np.isnan(now.said[rows])]
        now.said[new] = way.outputs(now.matrix, new)
        self._asked[id(network)] = now
        answer: np.ndarray = now.said[rows]
        return answer

    def ahead(self) -> None:
        """Take every network through all steps but the last of the window of the row that will come next.

        The answer to that row is one of the weights that the network has now.
        """
        for asked in self._asked.values():
            asked.next = None
            if asked.way is not forward(asked.network, asked.way.lookback, asked.matrix.shape[1]):
                continue
            last = asked.matrix[len(asked.matrix) - asked.way.lookback + 1 :]
            if asked.way.compiled and len(last) == asked.way.lookback - 1 and np.isfinite(last).all():
                asked.next = asked.way.compiled.rolled(last)


@dataclass(eq=False)
class _Asked:
    network: keras.Model
    way: Forward
    matrix: np.ndarray  # (rows, features), float32
    said: np.ndarray  # (rows,): NaN where nothing was asked
    next: Rolled | None = None


def _unchanged(before: np.ndarray, now: np.ndarray) -> int:
    """How many rows both begin with, to the bit."""
    count = min(len(before), len(now))
    differs = (before[:count].view(np.uint32) != now[:count].view(np.uint32)).any(axis=1)
    return int(np.argmax(differs)) if differs.any() else count


_MEMORY: ContextVar[Memory | None] = ContextVar("memory of outputs", default=None)


def told(network: keras.Model, lookback: int, features: int) -> dict[str, Any]:
    """What a report says of the way in which a network is asked."""
    way = forward(network, lookback, features)
    return {"path": way.path, "difference": way.difference} | ({"refused": way.refused} if way.refused else {})


def refuse(network: keras.Model, lookback: int, features: int, before: Mapping[str, Any]) -> None:
    """Ask Keras if that is what a report says of the network: the way must be that of the fit."""
    way = forward(network, lookback, features)
    if "refused" in before and not way.refused:
        way.refused, way.compiled, way._xla = str(before["refused"]), None, None


def layers_of(network: keras.Model) -> list[keras.layers.Layer]:
    """The network, its layers, theirs, and those that a layer keeps in an attribute, as wrappers do."""
    found: list[keras.layers.Layer] = [network]
    seen = {id(network)}
    for layer in found:  # grows while it is walked
        inside = list(getattr(layer, "layers", ()))
        for value in vars(layer).values():
            inside += (
                value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else [value]
            )
        for each in inside:
            if isinstance(each, keras.layers.Layer) and id(each) not in seen:
                seen.add(id(each))
                found.append(each)
    return found


def _goes_step_by_step(network: keras.Model) -> bool:
    """Whether it has a loop over the bars of a window, which is where XLA is the quicker."""
    return any(isinstance(layer, keras.layers.RNN) for layer in layers_of(network))


def _xla(network: keras.Model) -> Callable[[np.ndarray], Any] | None:
    """The forward pass by XLA, compiled once for networks that are built alike; None where it cannot be."""
    layers = layers_of(network)
    try:
        config = json.dumps(network.get_config(), default=repr)
    except Exception:  # a layer that does not tell what it is made of: nothing else is built alike
        config = repr(network)
    for number, layer in enumerate(layers):  # Keras counts on in the names of layers
        config = config.replace(json.dumps(layer.name), str(number))
    shapes = tuple(tuple(variable.shape) for variable in network.variables)

    def make() -> Callable[..., Any] | None:
        def said(learned: Any, fixed: Any, windows: Any) -> Any:
            return network.stateless_call(learned, fixed, windows, training=False)[0][:, 0]

        return compiled(said)

    function = compiled_once(("forward", config, tuple(map(type, layers)), shapes), make)
    if function is None:
        return None
    read = keras.ops.convert_to_numpy
    learned = [read(variable) for variable in network.trainable_variables]
    fixed = [read(variable) for variable in network.non_trainable_variables]
    return lambda windows: function(learned, fixed, windows)
