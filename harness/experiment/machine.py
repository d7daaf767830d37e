"""Who else has used the processors. A trial beside other work says nothing for or against anybody."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

MOST_OTHERS = 0.2  # of all processors: on two, two trials side by side leave little more than that

_EVERY_S = 0.5  # what ends between two looks, is counted up to the first of them


class Machine:
    """Watched while the block runs.

    What a process has used is gone with it, unless its parent waits for it; and a sandbox that is ended does not wait
    for what ran in it. So all that this process has started is looked at again and again.
    """

    def __enter__(self) -> Self:
        self._begun_s, self._busy_s, self._before = time.monotonic(), _busy_s(), _used()
        self._last, self._over = dict(self._before), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="machine", daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watcher.join()

    def others(self) -> float:
        """The share of all processors, 0 to 1, that went to processes which this one has not started."""
        self._last |= _used()
        own_s = sum(self._last.values()) - sum(self._before.values())
        capacity_s = (time.monotonic() - self._begun_s) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, (_busy_s() - self._busy_s - own_s) / capacity_s))

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._last |= _used()


def _busy_s() -> float:
    """Seconds of all processors since the machine began, with those that other guests of its host took from it."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)  # guests stand in user, too


def _used() -> dict[tuple[int, float], float]:
    """Seconds that this process and each that descends from it has used, by process id and start."""
    me, used = psutil.Process(), dict[tuple[int, float], float]()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used[process.pid, process.create_time()] = times.user + times.system
    return used
