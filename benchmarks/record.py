"""How long from a fault marker in the app's log to the incident's committed row, and does an analysis delay it?

A process of its own, in the app's place, appends a marker to a log file and looks for the row by a connection of its
own. A trial's watch reads the log as often as it does in a trial, and emits IncidentCreated to a Recorder: alone, and
while a fixer is at work beside it, as `Watch.during` has it. A fixer that waits for an answer, as one does that asks a
model, is told apart from one that computes in Python, with which the watch has to share the interpreter. Rounds
alternate, so that what else the machine does falls on all alike. Real PostgreSQL on this machine, three minutes:

    python -m benchmarks.record
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Final, TextIO, cast

import psycopg

from harness.model.event import IncidentCreated, TrialStarted
from harness.model.incident import Incident, Signal
from harness.model.verdict import Trial
from harness.model.window import Window
from harness.services.postgres import Postgres, postgres_running
from harness.services.supervisor import Supervisor
from harness.sinks.recorder import Recorder
from harness.trial.clock import TrialClock
from harness.trial.watch import Watch
from harness.trial.world import World

MARKER = "FAULT_DB_TIMEOUT"
_PATIENCE_S = 30.0
_MARGIN_S = 2.0  # before the fixer's end: what was written last is recorded while it is still at work


def main() -> None:
    parser = argparse.ArgumentParser(description="marker in a log -> committed row, p50 and p99, with a fixer at work")
    parser.add_argument("--fixer-s", type=float, default=30.0, help="how long the fixer takes, and each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="of three measurements each")
    given = parser.parse_args()
    took: dict[str, Took] = defaultdict(Took)
    with (
        tempfile.TemporaryDirectory() as name,
        services(Path(name)) as postgres,
        ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as apps,
    ):
        apps.submit(time.sleep, 0).result()  # it is up
        for number in range(given.rounds):
            for kind, fixer in FIXERS.items():
                log = Path(name) / f"{number}-{len(took)}-{kind}.log"
                measured = Measurement(postgres.url(postgres.home), log, apps, f"{number}-{kind}")
                once = measured.run(fixer, given.fixer_s)
                print(f"round {number + 1}, {kind}: p50 {{:.1f}} ms, p99 {{:.1f}} ms".format(*_p50_p99(once.whole_ms)))
                took[kind].add(once)
    report(took)


def _waits(seconds: float) -> None:
    time.sleep(seconds)


def _computes(seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        sum(math.sqrt(number) for number in range(1000))


Fixer = Callable[[float], None]
FIXERS: Final[Mapping[str, Fixer | None]] = {
    "no fixer": None,
    "a fixer that waits": _waits,
    "a fixer that computes in Python": _computes,
}


@dataclass(slots=True)
class Took:
    """Milliseconds from marker to row as another process sees it, and of the sink's call alone."""

    whole_ms: list[float] = field(default_factory=list)
    call_ms: list[float] = field(default_factory=list)

    def add(self, other: Took) -> None:
        self.whole_ms += other.whole_ms
        self.call_ms += other.call_ms


def report(took: Mapping[str, Took]) -> None:
    base: tuple[float, float] | None = None
    for kind, times in took.items():
        p50, p99 = _p50_p99(times.whole_ms)
        base = base or (p50, p99)
        ratios = f"times that without: p50 {p50 / base[0]:.2f}, p99 {p99 / base[1]:.2f}"
        print(f"{kind}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, n {len(times.whole_ms)}; {ratios}")
        sink_p50, sink_p99 = _p50_p99(times.call_ms)
        print(f"  the sink alone: p50 {sink_p50:.1f} ms, p99 {sink_p99:.1f} ms, max {max(times.call_ms):.1f} ms")


def _p50_p99(times_ms: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times_ms, n=100, method="inclusive")
    return cuts[49], cuts[98]


@contextmanager
def services(folder: Path) -> Iterator[Postgres]:
    with Supervisor() as supervisor, postgres_running(supervisor, data=folder / "data", log=folder / "log") as postgres:
        yield postgres


@dataclass(frozen=True, slots=True)
class Measurement:
    """One, of a database, a log file, the process that writes it, and a name of its own."""

    url: str
    log: Path
    apps: ProcessPoolExecutor
    name: str

    def run(self, fixer: Fixer | None, seconds: float) -> Took:
        """As many incidents as come in ``seconds``, with the fixer at work for all that time."""
        self.log.touch()
        with Recorder(self.url) as recorder, self.log.open() as lines:
            recorder(_started(self.name))
            watch = LogWatch(lines, recorder, self.name)
            app = self.apps.submit(write_and_look, self.url, self.log, self.name, seconds - _MARGIN_S)
            if fixer is None:
                _require(watch.until(app.done, seconds + _PATIENCE_S), app)
            else:
                watch.during(lambda: fixer(seconds), timeout_s=seconds + _PATIENCE_S, what="the fixer")
            return Took(app.result(timeout=_PATIENCE_S), watch.call_ms)


def _require(ended: bool, app: Future[list[float]]) -> None:
    if not ended:
        app.cancel()
        raise TimeoutError("the writer of the log did not end")


class LogWatch(Watch):
    """The watch of a trial, with no traffic: what it sees in the log becomes an incident at once."""

    def __init__(self, log: TextIO, recorder: Recorder, name: str) -> None:
        super().__init__(cast(World, SimpleNamespace(clock=TrialClock())))  # waiting asks for the clock alone
        self.call_ms: list[float] = []
        self._log, self._recorder, self._name = log, recorder, name

    def pump(self, wait_s: float = 0.02) -> Window | None:
        for line in self._log.readlines():
            if MARKER in line:
                started_s = time.perf_counter()
                self._recorder(_created(f"{self._name}-{len(self.call_ms)}", line))
                self.call_ms.append(1000 * (time.perf_counter() - started_s))
        time.sleep(wait_s)
        return None


def write_and_look(url: str, log: Path, name: str, seconds: float) -> list[float]:
    """In a process of its own: markers, and for each the milliseconds until its row was there."""
    took_ms: list[float] = []
    ends_s = time.monotonic() + seconds
    with psycopg.connect(url, autocommit=True) as reader, log.open("a") as app:
        while time.monotonic() < ends_s:
            time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - anywhere between two reads
            app.write(f"[2026-11-07 12:00:08 +0000] ERROR {MARKER} number={len(took_ms)}\n")
            app.flush()
            written_s = time.perf_counter()
            _await_row(reader, f"{name}-{len(took_ms)}")
            took_ms.append(1000 * (time.perf_counter() - written_s))
    return took_ms


def _await_row(reader: psycopg.Connection[tuple[int, ...]], incident_id: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if reader.execute("SELECT 1 FROM incident WHERE id = %s", [incident_id]).fetchone():
            return
        time.sleep(0.0005)
    raise TimeoutError(f"{incident_id} was not recorded within {_PATIENCE_S:g} s")


def _started(name: str) -> TrialStarted:
    trial = Trial(
        id=f"benchmark-{name}",
        scenario="record",
        scenario_hash="",
        fixer="noop",
        model="",
        retriever="none",
        seed=0,
        commit="",
        started_at=datetime.now(UTC).isoformat(),
    )
    return TrialStarted(at_s=0.0, trial=trial, title="", fixer_reason="", horizon_s=60.0, thresholds_ms={})


def _created(incident_id: str, line: str) -> IncidentCreated:
    """As large as a real one: 60 lines of log, ten breadcrumbs."""
    incident = Incident(
        id=incident_id,
        error_code=MARKER,
        symptoms="checkout answers 500 after 3 s; 92 % of arrivals get no right answer",
        breadcrumbs=tuple(f"12:00:0{n}.0 QueuePool limit of size 3 overflow 0 reached" for n in range(10)),
        logs=(line,) * 60,
        window=None,
        detected_at=datetime.now(UTC).isoformat(),
    )
    signal = Signal(kind="marker", at_s=8.0, detail=MARKER)
    return IncidentCreated(at_s=8.0, incident=incident, signal=signal, commit="0beef00")


if __name__ == "__main__":
    main()
