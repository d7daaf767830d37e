"""The kernel's OOM killer, played: what outgrows its memory is killed, and the app's log says so."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_LOOK_EVERY_S = 0.2
_MB = 1_000_000


class MemoryLimit:
    """Made by `enforced`. A cgroup would do it as well, where one may be made; this needs no right but to kill."""

    def __init__(self, pid: Callable[[], int], limit_mb: int, log: Path) -> None:
        self._pid, self._limit_bytes, self._log = pid, limit_mb * _MB, log
        self._stopping = threading.Event()
        self.killed = 0

    @classmethod
    @contextmanager
    def enforced(cls, pid: Callable[[], int], limit_mb: int, log: Path) -> Iterator[MemoryLimit]:
        """Each process of a family with more than ``limit_mb`` (10^6 bytes) resident gets SIGKILL.

        The family is the process that ``pid`` finds, its children and theirs, as they are at each look. Pages that they
        share count for each of them. Ends with the block; a family that is gone is not looked for again.
        """
        limit = cls(pid, limit_mb, log)
        thread = threading.Thread(target=limit._enforce, name="memory-limit", daemon=True)
        thread.start()
        try:
            yield limit
        finally:
            limit._stopping.set()
            thread.join()

    def _enforce(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            eldest = psutil.Process(self._pid())
            while not self._stopping.wait(_LOOK_EVERY_S):
                if (found := self._pid()) != eldest.pid:  # a container takes its time to come up
                    eldest = psutil.Process(found)
                for process in [*eldest.children(recursive=True), eldest]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        self._look_at(process)

    def _look_at(self, process: psutil.Process) -> None:
        memory = process.memory_info()
        if memory.rss > self._limit_bytes:
            line = _kernel_line(process, memory.vms, memory.rss, memory.shared)
            with self._log.open("ab") as log:  # the app appends to it too: one write a line
                log.write(f"{line}\n".encode())
            process.kill()
            self.killed += 1


def _kernel_line(process: psutil.Process, vms: int, rss: int, shared: int) -> str:
    """In the words of Linux, `__oom_kill_process` in mm/oom_kill.c."""
    sizes = f"total-vm:{vms >> 10}kB, anon-rss:{rss - shared >> 10}kB, file-rss:{shared >> 10}kB, shmem-rss:0kB"
    return f"Out of memory: Killed process {process.pid} ({process.name()}) {sizes}, UID:{process.uids().real}"
