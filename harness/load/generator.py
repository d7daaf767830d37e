"""Load from Locust, in a process of its own, which starts others where the load has several workers."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import harness
from harness.errors import InputError, LoadNotFlowing
from harness.load.plan import Plan
from harness.load.samples import Samples
from harness.load.schedule import offsets
from harness.model.scenario import LoadSpec
from harness.model.source import Endpoints
from harness.model.window import Window
from harness.services.loopback import free_port
from harness.services.ready import wait_until
from harness.services.supervisor import Child, Supervisor

_READY_S = 30.0
_POLL_S = 0.01
_HANGS_S = 10.0  # late is what is sent after all, and what its lag tells of; after so long it is not believed to come


class LocustLoad:
    """Implements ports.Load. ``clock_origin`` is the time.monotonic() at which the trial began.

    ``folder`` gets load-plan.json, samples.jsonl and load.log. The load ends by itself ``max_s`` after its start.
    Raises InputError when the locustfile, looked up in ``scenario_folder``, is missing.
    """

    def __init__(
        self,
        spec: LoadSpec,
        *,
        thresholds_ms: Mapping[str, float],
        window_s: float,
        seed: int,
        folder: Path,
        supervisor: Supervisor,
        clock_origin: float,
        max_s: float,
        scenario_folder: Path,
    ) -> None:
        self._locustfile = (scenario_folder / spec.locustfile).resolve() if spec.locustfile else None
        if self._locustfile and not self._locustfile.is_file():
            raise InputError(
                f"the locustfile {self._locustfile} does not exist",
                cure="load.locustfile is looked up beside the scenario file",
            )
        self._spec = spec
        self._thresholds_ms = thresholds_ms
        self._window_s = window_s
        self._seed = seed
        self._folder = folder.resolve()
        self._supervisor = supervisor
        self._origin = clock_origin
        self._max_s = max_s

    @contextmanager
    def running(self, endpoints: Endpoints) -> Iterator[LocustTraffic]:
        """Starts the generator and waits until load flows. LoadNotFlowing when it ends or is not ready in 30 s."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "samples.jsonl"
        path.write_bytes(b"")
        with path.open("rb") as file:
            child = self._start(endpoints.url.rstrip("/"), path)
            traffic = LocustTraffic(child, file, self._samples(), self._origin)
            try:
                wait_until(
                    traffic.flows, timeout_s=_READY_S, what="the load generator", child=child, error=LoadNotFlowing
                )
                yield traffic
            finally:
                traffic.stop()

    def _start(self, url: str, samples: Path) -> Child:
        plan = Plan(
            url=url,
            load=self._spec,
            seed=self._seed,
            samples=samples,
            max_seconds=self._max_s,
            locustfile=self._locustfile,
            port=free_port() if self._spec.workers > 1 else 0,
        )
        path = self._folder / "load-plan.json"
        plan.write(path)
        return self._supervisor.start(
            "load",
            # -P: the folder that it runs in must not shadow a module of Python's
            [sys.executable, "-P", "-m", "harness.load.locustfile", str(path)],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": str(Path(harness.__file__).parent.parent),  # also where the harness is not installed
                "PYTHONUNBUFFERED": "1",
            },
            cwd=self._folder,
            log=self._folder / "load.log",
        )

    def _samples(self) -> Samples:
        return Samples(
            window_s=self._window_s,
            origin=self._origin,
            thresholds_ms=self._thresholds_ms,
            routes=[route.name for route in self._spec.routes] or list(self._thresholds_ms),
            expected=() if self._locustfile else offsets(self._spec.arrivals, self._seed),
        )


class LocustTraffic:
    """Implements ports.Traffic: follows the generator's file as it grows."""

    def __init__(self, child: Child, file: BinaryIO, samples: Samples, origin: float) -> None:
        self._child = child
        self._file = file
        self._samples = samples
        self._origin = origin
        self._waiting: deque[Window] = deque()
        self._stopped_at_s: float | None = None
        self._overdue_s = 0.0  # as of the last reading

    def observe(self, wait_s: float) -> Window | None:
        """The next decided window; None when there is none after ``wait_s``. LoadNotFlowing when the load has ended."""
        deadline = time.monotonic() + wait_s
        while not self._waiting:
            self._require_sound()
            self._waiting.extend(self._samples.decided(self._read()))
            left_s = deadline - time.monotonic()
            if self._waiting or left_s <= 0:
                break
            time.sleep(min(_POLL_S, left_s))
        self._require_sound()
        return self._waiting.popleft() if self._waiting else None

    def settled(self) -> Sequence[Window]:
        """All windows decided so far, with what has become of late requests; after the end, as it was at the end."""
        return self._samples.settled(self._read())

    def flows(self) -> bool:
        """Whether load has begun."""
        self._read()
        return self._samples.start_s is not None

    def stop(self) -> None:
        """Stops the generator and reads what is left. What ended while it stopped does not count."""
        stopped_at_s = self._read()
        self._child.stop()
        self._read()
        self._stopped_at_s = stopped_at_s

    def _read(self) -> float:
        """Takes all new lines. Returns the trial time as of before: what ended by then has been read."""
        if self._stopped_at_s is not None:
            return self._stopped_at_s
        now_s = time.monotonic() - self._origin
        self._samples.feed(self._file.read())
        self._overdue_s = self._samples.overdue_s(now_s)
        return now_s

    def _require_sound(self) -> None:
        if not self._child.running():
            raise LoadNotFlowing(
                f"the load generator ended with code {self._child.returncode}\n{self._child.tail(20)}",
                cure=f"its whole log is {self._child.log}",
            )
        if self._samples.garbage:
            raise LoadNotFlowing(
                f"{self._samples.garbage} lines of the generator cannot be understood: what happened is not known",
                cure="let nobody else write to samples.jsonl; a locustfile may print, but not there",
            )
        if self._overdue_s > _HANGS_S:
            raise LoadNotFlowing(
                f"the load generator has not sent what was due {self._overdue_s:.1f} s ago: a process of it hangs",
                cure=f"its log is {self._child.log}; was it stopped, or is the machine out of memory?",
            )
