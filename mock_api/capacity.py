"""How much the service can bear."""

from __future__ import annotations

import threading
import time
from collections import deque

_SECOND_S = 1.0


class Capacity:
    """At most ``per_s`` requests in any second; a request on top of them is refused.

    A refusal is work too, so refused requests count like the others: a crowd that comes back at once keeps itself out
    for as long as it comes. Such an outage outlives its cause (Bronson et al., "Metastable Failures in Distributed
    Systems", HotOS 2021). The push that a crowd needs to form is a stumble: every ``every_s`` everybody is refused for
    ``stumble_s``.
    """

    def __init__(self, *, per_s: int, stumble_s: float, every_s: float) -> None:
        self._stumble_s, self._every_s = stumble_s, every_s
        self._latest: deque[float] = deque(maxlen=per_s)
        self._stumbled_at = time.monotonic()
        self._lock = threading.Lock()

    def stumble(self) -> None:
        """Now, and every ``every_s`` from now on."""
        with self._lock:
            self._latest.clear()
            self._stumbled_at = time.monotonic()

    def admits(self) -> bool:
        """Whether the request that has just arrived is served."""
        with self._lock:
            now = time.monotonic()
            full = len(self._latest) == self._latest.maxlen and now - self._latest[0] < _SECOND_S
            self._latest.append(now)
            return not full and (now - self._stumbled_at) % self._every_s >= self._stumble_s
