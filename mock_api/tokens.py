"""Access tokens: who has one may charge."""

from __future__ import annotations

import secrets
import threading
import time


class Tokens:
    """The tokens that hold, in memory. Each is for ``life_s``, a short one for ``short_life_s``."""

    def __init__(self, *, life_s: float, short_life_s: float) -> None:
        self._life_s, self._short_life_s = life_s, short_life_s
        self._ends_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def revoke(self) -> None:
        """No token that was given out until now holds any longer."""
        with self._lock:
            self._ends_at.clear()

    def issue(self, *, short: bool) -> tuple[str, float]:
        """A new token and its life in seconds."""
        token, life_s = secrets.token_urlsafe(24), self._short_life_s if short else self._life_s
        with self._lock:
            now = time.monotonic()
            self._ends_at = {known: end for known, end in self._ends_at.items() if end > now}
            self._ends_at[token] = now + life_s
        return token, life_s

    def holds(self, token: str) -> bool:
        """Whether the token was issued here, and is neither over nor revoked."""
        with self._lock:
            return self._ends_at.get(token, 0.0) > time.monotonic()
