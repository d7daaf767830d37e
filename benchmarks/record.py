"""How long from a fault marker in the app's log to the incident's committed row?

A marker is appended to a log file; a loop that reads the file each ``--poll-ms`` sees it and emits IncidentCreated to
a Recorder; a second connection reads the row. Real PostgreSQL on this machine:

    python -m benchmarks.record --incidents 200
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from harness.model.event import IncidentCreated, TrialStarted
from harness.model.incident import Incident, Signal
from harness.model.verdict import Trial
from harness.services.postgres import Postgres, postgres_running
from harness.services.supervisor import Supervisor
from harness.sinks.recorder import Recorder

MARKER = "FAULT_DB_TIMEOUT"
_PATIENCE_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description="marker in a log -> committed row, p50 and p99")
    parser.add_argument("--incidents", type=int, default=200)
    parser.add_argument("--poll-ms", type=float, default=20.0, help="how often the log is read")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, services(Path(name)) as postgres:
        url = postgres.url(postgres.home)
        whole_ms, call_ms = measure(url, Path(name) / "app.log", given.incidents, given.poll_ms / 1000)
    for what, times in ((f"marker to row, log read each {given.poll_ms:g} ms", whole_ms), ("the sink alone", call_ms)):
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        print(f"{what}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, max {max(times):.1f} ms, n {len(times)}")


@contextmanager
def services(folder: Path) -> Iterator[Postgres]:
    with Supervisor() as supervisor, postgres_running(supervisor, data=folder / "data", log=folder / "log") as postgres:
        yield postgres


def measure(url: str, log: Path, incidents: int, poll_s: float) -> tuple[list[float], list[float]]:
    """Milliseconds from marker to row as another connection sees it, and of the sink's call alone."""
    whole_ms: list[float] = []
    call_ms: list[float] = []
    log.touch()
    stop = threading.Event()
    with Recorder(url) as recorder, psycopg.connect(url, autocommit=True) as reader:
        recorder(_started())
        tail = threading.Thread(target=_tail, args=(log, poll_s, recorder, call_ms, stop), daemon=True)
        tail.start()
        with log.open("a") as app:
            for number in range(incidents):
                time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - anywhere between two reads
                app.write(f"[2026-11-07 12:00:08 +0000] ERROR {MARKER} number={number}\n")
                app.flush()
                written_s = time.perf_counter()
                _await_row(reader, f"inc-{number}")
                whole_ms.append(1000 * (time.perf_counter() - written_s))
        stop.set()
        tail.join()
    return whole_ms, call_ms


def _tail(log: Path, poll_s: float, recorder: Recorder, call_ms: list[float], stop: threading.Event) -> None:
    seen = 0
    with log.open() as file:
        while not stop.wait(poll_s):
            for line in file.readlines():
                if MARKER in line:
                    started_s = time.perf_counter()
                    recorder(_created(seen, line))
                    call_ms.append(1000 * (time.perf_counter() - started_s))
                    seen += 1


def _await_row(reader: psycopg.Connection[tuple[int, ...]], incident_id: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if reader.execute("SELECT 1 FROM incident WHERE id = %s", [incident_id]).fetchone():
            return
        time.sleep(0.0005)
    raise TimeoutError(f"{incident_id} was not recorded within {_PATIENCE_S:g} s")


def _started() -> TrialStarted:
    trial = Trial(
        id="benchmark",
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


def _created(number: int, line: str) -> IncidentCreated:
    """As large as a real one: 60 lines of log, ten breadcrumbs."""
    incident = Incident(
        id=f"inc-{number}",
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
