"""Who else uses the processors. A trial beside other work says nothing for or against anybody."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Self

import psutil

MOST_OTHERS = 0.2  # of all processors: on two, two trials side by side leave little more than that

_EVERY_S = 1.0

_Id = tuple[int, float]  # of a process: its number, and when it began


class Machine:
    """Watched while the block runs: what other processes use is looked at again and again. Then ``others`` is known.

    It is not reckoned from what all have used and what our own have: those begin and end by the dozen in a trial, and
    what was used by one that ends within a second is not told anywhere. Of others' that is missed, too.
    """

    def __enter__(self) -> Self:
        self._begun_s, self._steal_s = time.monotonic(), _steal_s()
        self._ours, self._before, self._last = set[_Id](), dict[_Id, float](), dict[_Id, float]()
        self._look()
        self._before, self._over = dict(self._last), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="machine", daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watcher.join()
        self._look()
        self.others = self._others()

    def _others(self) -> float:
        """The share of all processors, 0 to 1, that went to processes which this one has not started.

        With what other guests of the same host have taken.
        """
        theirs = [id_ for id_ in self._last if id_ not in self._ours]
        theirs_s = sum(self._last[id_] - self._before.get(id_, 0.0) for id_ in theirs)
        capacity_s = (time.monotonic() - self._begun_s) * (os.cpu_count() or 1)
        return min(1.0, (theirs_s + _steal_s() - self._steal_s) / capacity_s)

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        parents, seen = dict[int, int](), dict[int, _Id]()
        for process in psutil.process_iter(["ppid", "create_time", "cpu_times"]):
            told = process.info
            if told["cpu_times"] is not None:
                parents[process.pid], seen[process.pid] = told["ppid"], (process.pid, told["create_time"])
                self._last[seen[process.pid]] = told["cpu_times"].user + told["cpu_times"].system
        self._ours |= {id_ for pid, id_ in seen.items() if _descends(pid, os.getpid(), parents)}


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    passed = set[int]()
    while pid != ancestor and pid in parents and pid not in passed:
        passed.add(pid)
        pid = parents[pid]
    return pid == ancestor


def _steal_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))
