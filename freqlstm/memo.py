"""A memory of bounded size, shared by threads: what was not used for longest is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

OVERHEAD = 512  # bytes that an entry takes beside its values


class Memo:
    """Values by key, together no larger than ``limit`` bytes; ``size`` is what they take now."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()
        self._making: dict[Hashable, Lock] = {}

    def recall(self, key: Hashable) -> Any:
        """The value under ``key``; None where there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        """Remember ``value``, which takes ``size`` bytes, and forget what no longer fits."""
        size += OVERHEAD
        with self._lock:
            self.size -= self._entries.pop(key, (None, 0))[1]
            if size <= self.limit:
                self._entries[key] = (value, size)
                self.size += size
            while self.size > self.limit:
                self.size -= self._entries.popitem(last=False)[1][1]

    def once(self, key: Hashable, make: Callable[[], tuple[Any, int]]) -> Any:
        """The value under ``key``, made if it is not there; of threads that want it at once, one makes it.

        ``make`` returns the value, which is not None, and its size in bytes. It may ask for other keys, never for its own.
        """
        value = self.recall(key)
        if value is not None:
            return value
        with self._lock:
            making = self._making.setdefault(key, Lock())
        with making:
            value = self.recall(key)
            if value is None:
                try:
                    value, size = make()
                finally:
                    with self._lock:
                        self._making.pop(key, None)
                self.keep(key, value, size)
            return value
