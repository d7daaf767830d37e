"""Who else has used the processors. A trial beside other work says nothing for or against anybody."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress

import psutil

MOST_OTHERS = 0.2  # of all processors: on two, two trials side by side leave little more than that


class Since:
    """From when it was made."""

    def __init__(self) -> None:
        self._at_s, self._busy_s, self._own_s = time.monotonic(), busy_s(), own_s()

    def seconds(self) -> float:
        return time.monotonic() - self._at_s

    def others(self) -> float:
        """The share of all processors, 0 to 1, that went to processes which this one has not started."""
        theirs_s = (busy_s() - self._busy_s) - (own_s() - self._own_s)
        return min(1.0, max(0.0, theirs_s / (self.seconds() * (os.cpu_count() or 1))))


def busy_s() -> float:
    """Seconds of all processors since the machine began, with those that other guests of its host took from it."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)  # guests stand in user, too


def own_s() -> float:
    """Of this process and all that it has started. Ended ones count as well, with whoever waited for them."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    total = sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # its own and its children's, user and system
    return total
