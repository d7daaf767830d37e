"""Trials side by side: each in a process of its own, in a lane, which is a folder of results with its PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import MeasurementError

Work = TypeVar("Work")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    verdict: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """``run`` runs one trial in ``results``; ``stop`` interrupts it, and whatever is run later."""

    results: Path
    _running: list[subprocess.Popen[str]] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, *arguments: str) -> Ran:
        """`harness run` with these arguments. MeasurementError where it gave no verdict."""
        command = [sys.executable, "-P", "-m", "harness", "run", *arguments, "--results", str(self.results), "--json"]
        started = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            self._running[:] = [process]
            if self._stopped.is_set():
                process.send_signal(signal.SIGINT)
            told, errors = process.communicate()
        try:
            return Ran(verdict=dict(json.loads(told)), seconds=time.monotonic() - started)
        except ValueError:
            raise MeasurementError(f"no verdict:\n{errors[-2000:]}") from None

    def stop(self) -> None:
        self._stopped.set()
        for process in self._running:
            process.send_signal(signal.SIGINT)  # it says that it was interrupted, and cleans up


def side_by_side(
    trials: deque[Work], results: Path, jobs: int, do: Callable[[Work, Lane], Made]
) -> Iterator[tuple[Work, Future[Made]]]:
    """Each trial with what became of it, as they end. Trials may be added meanwhile. Ctrl-C ends those that run."""
    with lanes(results, jobs) as (free, pool):
        running: dict[Future[Made], tuple[Work, Lane]] = {}
        while trials or running:
            while trials and free:
                trial, lane = trials.popleft(), free.popleft()
                running[pool.submit(do, trial, lane)] = trial, lane
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                trial, lane = running.pop(future)
                free.append(lane)
                yield trial, future


@contextmanager
def lanes(results: Path, jobs: int) -> Iterator[tuple[deque[Lane], ThreadPoolExecutor]]:
    """So many, and a thread for each. What runs when the block is left is interrupted, and awaited."""
    numbers = [0] if jobs == 1 else range(1, jobs + 1)
    made = [Lane(results=lane_folder(results, number)) for number in numbers]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield deque(made), pool
        finally:
            for lane in made:
                lane.stop()


def lane_folder(results: Path, number: int) -> Path:
    """Of the lane with that number, from 1; 0: there is only one, which is ``results`` itself."""
    return results / f"lane-{number}" if number else results
