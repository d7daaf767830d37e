"""Who else uses the processors. A trial beside other work says nothing for or against anybody."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Self

import psutil

from harness.model.busy import Busy

logger = logging.getLogger(__name__)

_EVERY_S = 1.0

_Id = tuple[int, float]  # of a process: its number, and when it began


class Machine:
    """Watched while the block runs: what other processes use is looked at each second.

    Ours are the processes ``roots``, this one where none is named, and all that they have started. What others use is
    not reckoned from what all have used and what ours have: those begin and end by the dozen in a trial, and what was
    used by one that ends within a second is not told anywhere. Of others' that is missed, too. What leaves its parents
    within that second, which no app can in a sandbox of bubblewrap, is taken for others'.

    ``now`` tells the time, in seconds.
    """

    def __init__(self, now: Callable[[], float], *, roots: Collection[int] = ()) -> None:
        self._now, self._roots = now, frozenset(roots or (os.getpid(),))
        self._ours, self._used_s = set[_Id](), dict[_Id, float]()
        self._seen: list[Busy] = []
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="machine", daemon=True)

    def __enter__(self) -> Self:
        self._since_s, self._steal_s = self._now(), _steal_s()
        self._look()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watcher.join()

    def busy(self) -> Sequence[Busy]:
        """What was seen by now, in order, up to the last whole second."""
        return tuple(self._seen)

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                self._sample()
            except (OSError, psutil.Error) as error:
                logger.warning("it could not be looked at what else runs: %s", error)

    def _sample(self) -> None:
        """With what other guests of the same host have taken."""
        theirs_s, now_s, steal_s = self._look(), self._now(), _steal_s()
        capacity_s = (now_s - self._since_s) * (os.cpu_count() or 1)
        taken_s = theirs_s + steal_s - self._steal_s
        self._seen.append(Busy(start_s=self._since_s, end_s=now_s, others=max(0.0, min(1.0, taken_s / capacity_s))))
        self._since_s, self._steal_s = now_s, steal_s

    def _look(self) -> float:
        """The seconds of processor that others' processes have used since the last look."""
        parents, told = dict[int, int](), dict[_Id, float]()
        for process in psutil.process_iter(["ppid", "create_time", "cpu_times"]):
            found = process.info
            if found["cpu_times"] is not None:
                parents[process.pid] = found["ppid"]
                used_s = found["cpu_times"].user + found["cpu_times"].system
                told[process.pid, found["create_time"]] = used_s
        self._ours |= {id_ for id_ in told if _descends(id_[0], self._roots, parents)}
        before, self._used_s = self._used_s, told
        return sum(used_s - before.get(id_, 0.0) for id_, used_s in told.items() if id_ not in self._ours)


class MemoryMachine:
    """Nothing is looked at: what is told is what was given. For trials in memory."""

    def __init__(self, busy: Sequence[Busy] = ()) -> None:
        self._busy = tuple(busy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def busy(self) -> Sequence[Busy]:
        return self._busy


def _descends(pid: int, ancestors: frozenset[int], parents: dict[int, int]) -> bool:
    passed = set[int]()
    while pid not in ancestors and pid in parents and pid not in passed:
        passed.add(pid)
        pid = parents[pid]
    return pid in ancestors


def _steal_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))
