"""A small cache of what was found a moment ago."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """At most ``size`` values, none older than ``fresh_s`` seconds; the least recently used one goes. For threads."""

    def __init__(self, *, size: int, fresh_s: float) -> None:
        self._size = size
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[float, Value]] = OrderedDict()  # since when, and what

    def get(self, key: Key, find: Callable[[], Value]) -> Value:
        """What ``key`` stands for, found anew where it is not kept. Of two threads at once, both may find it."""
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and now - kept[0] < self._fresh_s:
                self._kept.move_to_end(key)
                return kept[1]
        value = find()
        with self._lock:
            self._kept[key] = (now, value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return value
