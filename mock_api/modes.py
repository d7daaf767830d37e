"""Which requests fail, and how."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from mock_api.capacity import Capacity

WORDS = ("healthy", "latency", "error", "broken", "overload", "expire_tokens")
_TOGETHER = {"latency", "error"}


def parse_mode(text: str) -> str:
    """The mode in its one spelling. Raises ValueError that names the words.

    ``healthy``; ``latency``, ``error`` or both, with a comma; ``broken``: every request fails; ``overload``: the
    service stumbles now and then, and bears no more than its `Capacity`; ``expire_tokens``: tokens end, new ones soon.
    """
    words = {word.strip() for word in text.split(",")}
    if not words <= set(WORDS) or (len(words) > 1 and words != _TOGETHER):
        raise ValueError(
            f"{text!r} is not a fault mode: write healthy, broken, latency, error or latency,error, overload "
            "or expire_tokens"
        )
    return ",".join(word for word in WORDS if word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What befalls one request: it fails at once, or its answer, maybe a refusal, is held back for ``delay_s``."""

    failed: bool = False
    refused: bool = False
    delay_s: float = 0.0

    def __str__(self) -> str:
        return "failed" if self.failed else "refused" if self.refused else "late" if self.delay_s else "none"


class Faults:
    """Draws an `Outcome` for each request.

    Each request takes two numbers from one generator, whatever the mode, so that with a seed the n-th request meets the
    same luck in every run, even when the mode was switched before it. One number decides between late, failed and fine:
    with shares of 0.6 and 0.3 just a tenth of the requests is fine when both faults are on.
    """

    def __init__(
        self,
        *,
        mode: str,
        latency_share: float,
        error_share: float,
        latency_s: tuple[float, float],
        capacity: Capacity,
        busy_s: float,
        seed: int | None = None,
    ) -> None:
        self.mode = mode
        """May be set at any time, to what `parse_mode` returns; it holds for the requests that arrive later."""
        self._latency_share = latency_share
        self._error_share = error_share
        self._latency_s = latency_s
        self._capacity, self._busy_s = capacity, busy_s
        self._random = random.Random(seed)  # noqa: S311 - luck, not secrets
        self._lock = threading.Lock()

    def draw(self) -> Outcome:
        """The fate of the request that has just arrived."""
        with self._lock:
            luck, delay_s = self._random.random(), self._random.uniform(*self._latency_s)
        words = self.mode.split(",")
        if "overload" in words:
            return Outcome(refused=not self._capacity.admits(), delay_s=self._busy_s)
        late = self._latency_share if "latency" in words else 0.0
        if "broken" in words or ("error" in words and late <= luck < late + self._error_share):
            return Outcome(failed=True)
        return Outcome(delay_s=delay_s) if luck < late else Outcome()
