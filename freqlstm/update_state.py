"""How far a signal that goes on learning has come with one symbol, and the file that holds it exactly."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freqlstm.errors import ModelError
from freqlstm.files import write_bytes

FORMAT = 1
DTYPES = {
    "weights": "float32",
    "moments": "float32",
    "losses": "float64",
    "bars": "int64",
    "means": "float64",
    "said": "float64",
}


@dataclass(frozen=True, eq=False)
class State:
    """Everything that what comes depends on besides candles and the fit; never changed, only followed by another."""

    position: int  # number of the last bar gone through: its open time in units of the timeframe since 1970
    updates: int  # steps of learning so far
    weights: np.ndarray  # (networks, parameters), float32
    moments: np.ndarray  # (networks, vectors, parameters), float32: what the optimizer remembers
    losses: np.ndarray  # (2,): running squared errors of the updated networks and of the static ones
    bars: np.ndarray  # (n,), int: the newest bars that were predicted
    means: np.ndarray  # (2, n): what the updated networks said of them on average, and the static ones
    said: np.ndarray  # (networks, n): what was answered

    @classmethod
    def fresh(cls, position: int, weights: np.ndarray, vectors: int) -> State:
        """That of a signal that was just fitted on candles up to the bar ``position``."""
        networks, parameters = weights.shape
        return cls(
            position, 0, weights, np.zeros((networks, vectors, parameters), np.float32), np.zeros(2),
            np.zeros(0, np.int64), np.zeros((2, 0)), np.zeros((networks, 0)),
        )  # fmt: skip

    def write(self, path: Path, model: str) -> None:
        """Write a file, whole or not at all; ``model`` is the digest of the fit that it goes on from."""
        arrays = {name: np.ascontiguousarray(getattr(self, name), dtype) for name, dtype in DTYPES.items()}
        head = {"format": FORMAT, "model": model, "position": self.position, "updates": self.updates}
        text = json.dumps({**head, "digest": _digest(head, arrays)})
        content = io.BytesIO()
        np.savez(content, head=np.array(text), **arrays)  # type: ignore[arg-type]
        write_bytes(path, content.getvalue())

    @classmethod
    def read(cls, path: Path, model: str, like: State) -> State:
        """What :meth:`write` wrote; a ModelError if it is damaged, of another fit, or not of the shapes of ``like``."""
        advice = "Delete the file, and the signal goes on from its fit."
        try:
            content = io.BytesIO(path.read_bytes())
            if not zipfile.is_zipfile(content):
                raise ValueError("it was cut short, or is something else")
            with np.load(content, allow_pickle=False) as file:
                arrays = {name: file[name] for name in DTYPES}
                head = json.loads(str(file["head"]))
            digest = head.pop("digest")
            if digest != _digest(head, arrays) or head["format"] != FORMAT:
                raise ValueError("its content is not what was written")
            state = cls(position=head["position"], updates=head["updates"], **arrays)
            shapes = [(state.weights.shape, like.weights.shape), (state.moments.shape, like.moments.shape)]
        except Exception as error:
            raise ModelError(f"{path} is damaged: {str(error).rstrip('.')}. {advice}") from error
        if head["model"] != model or any(one != two for one, two in shapes):
            raise ModelError(
                f"{path} holds what another fit has learned since, or another version of the signal. {advice}"
            )
        return state


def _digest(head: dict[str, object], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over everything in the file."""
    sha = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
