"""Functions of networks compiled by XLA, on the backend that Keras runs on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import keras


def compiled(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """``function`` compiled anew for each shape of its arguments; None on a backend without XLA."""
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        made: Callable[..., Any] = tf.function(function, jit_compile=True, autograph=False)
        return made
    if name == "jax":
        import jax

        jitted: Callable[..., Any] = jax.jit(function)
        return jitted
    return None


def gradient(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """That of what ``function`` returns by its first argument; None on a backend without XLA."""
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        def slope(first: Any, *rest: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(first)
                value = function(first, *rest)
            return tape.gradient(value, first)

        return slope
    if name == "jax":
        import jax

        made: Callable[..., Any] = jax.grad(function)
        return made
    return None


KEPT = 16  # compiled functions in a process, at most
Made = TypeVar("Made")
_COMPILED: dict[Hashable, Any] = {}


def compiled_once(key: Hashable, make: Callable[[], Made]) -> Made:
    """What ``make`` makes, made only once in a process for each ``key``, which must tell everything that decides what it is."""
    if key not in _COMPILED:
        if len(_COMPILED) >= KEPT:
            del _COMPILED[next(iter(_COMPILED))]
        _COMPILED[key] = make()
    found: Made = _COMPILED[key]
    return found
