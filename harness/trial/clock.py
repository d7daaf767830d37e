"""The clock of a trial."""

from __future__ import annotations

import time


class TrialClock:
    """Seconds since it was made, by the machine's monotonic clock, which all processes on it share."""

    def __init__(self) -> None:
        self.origin_s = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self.origin_s

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
