"""Compiled kernels: cached on disk, free of Python's lock, and announced the one time that they are compiled.

The cache lies next to the code (in its ``__pycache__``), or in the user's cache folder where that cannot be written, or
in ``$NUMBA_CACHE_DIR`` where that is set. A kernel is compiled again when its own file changes, and not when another
does: kernels that call each other belong in one module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numba
from numba.core import event

from freqlstm.progress import Progress

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(function: Kernel) -> Kernel:
    """``function`` compiled at its first call. Floats are added and multiplied in the order written, as Python does it."""
    return _compiled(function, {})


def inner_kernel(function: Kernel) -> Kernel:
    """The same for one that makes no arrays: it counts no references and becomes part of the kernels that call it."""
    return _compiled(function, {"_nrt": False, "forceinline": True})


def _compiled(function: Kernel, options: dict[str, bool]) -> Kernel:
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy", **options}
    try:
        return cast(Kernel, numba.njit(cache=True, **settings)(function))
    except RuntimeError:  # no folder for the cache can be written: every process compiles
        return cast(Kernel, numba.njit(**settings)(function))


@contextmanager
def announced(progress: Progress, what: str) -> Iterator[None]:
    """Tells ``progress`` when the first kernel in the block is compiled, and nothing when all come from the cache."""
    listener = _Announcer(progress, what)
    event.register("numba:compile", listener)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)  # type: ignore[no-untyped-call]


class _Announcer(event.Listener):
    def __init__(self, progress: Progress, what: str) -> None:
        self.progress: Progress | None = progress
        self.what = what

    def on_start(self, event: Any) -> None:
        if self.progress is not None:
            self.progress(0, 1, f"compiling {self.what} (once)")
            self.progress = None

    def on_end(self, event: Any) -> None:
        pass
