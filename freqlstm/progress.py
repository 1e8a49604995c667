"""How long work tells that it is getting on, without knowing who watches."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with the number of steps done, the number there are, and what is being done."""

    def __call__(self, done: float, total: float, text: str) -> None: ...


def silent(done: float, total: float, text: str) -> None:
    """A progress that nobody watches."""
