"""Sweeps of real trials: killed in the middle and carried on, and on a machine that a Dask scheduler knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harness.experiment.results import TrialRow, rows
from harness.model.verdict import Outcome
from harness.services.loopback import free_port
from tests.e2e import tiny

pytestmark = pytest.mark.timeout(400)
PATIENCE_S = 150.0
ARMS = ["--fixer", "noop", "--fixer", "reference", "--retriever", "none", "--repeats", "1", "--no-track"]


def sweep(base: Path, results: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", "sweep", str(base / "slow_export.yml"), *ARMS, *words]
    return started([*command, "--results", str(results)])


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=tiny.ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.05)


def judged(found: list[TrialRow]) -> dict[str, list[Outcome]]:
    """Outcomes by arm, in order."""
    return {arm: [row.outcome for row in found if row.arm == arm] for arm in {row.arm for row in found}}


def require_right(found: list[TrialRow]) -> None:
    """No trial was run again that could be measured; what was measured came out as it must. The machine may be busy."""
    for arm, outcomes in judged(found).items():
        right = Outcome.HEALED if arm.startswith("reference") else Outcome.NOT_HEALED
        assert set(outcomes[:-1]) <= {Outcome.INVALID}, (arm, outcomes)
        assert outcomes[-1] in {right, Outcome.INVALID}, (arm, outcomes)


def test_kill_9_in_the_middle_runs_nothing_twice(tmp_path: Path) -> None:
    base, folder = tmp_path / "base", tmp_path / "results" / "sweep"
    tiny.make(base)
    first = sweep(base, tmp_path / "results")
    try:
        until(lambda: len(rows(folder)) >= 1, "the first trial has a row")
        until(
            lambda: any(_begun(each) and not _over(each) for each in folder.glob("*-slow_export-*")), "the next began"
        )
    finally:
        first.kill()
        first.communicate()
    before = rows(folder)
    until(lambda: not _others(folder), "all that the sweep had started is gone")
    again = started([sys.executable, "-m", "harness", "resume", str(folder), "--no-track"])
    told, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    found = rows(folder)
    assert found[: len(before)] == before
    assert len({row.trial for row in found}) == len(found)
    assert judged(found).keys() == {"noop@none", "reference@none"}
    require_right(found)
    tries = Counter(row.cell for row in found if row.measured)
    assert not tries or max(tries.values()) == 1
    assert "right" in told


def _begun(folder: Path) -> bool:
    return "TrialStarted" in (folder / "events.jsonl").read_text() if (folder / "events.jsonl").exists() else False


def _over(folder: Path) -> bool:
    return (folder / "verdict.json").exists()


def _others(folder: Path) -> list[int]:
    """Processes that were told of the sweep's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            found.append(process.pid)
    return found


@contextmanager
def dask(*words: str) -> Iterator[None]:
    process = started([str(Path(sys.executable).parent / "dask"), *words])
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_trials_run_on_a_machine_that_a_scheduler_knows(tmp_path: Path) -> None:
    base, results, port = tmp_path / "base", tmp_path / "results", free_port()
    tiny.make(base)
    address = f"tcp://127.0.0.1:{port}"
    quiet = ["--dashboard-address", "127.0.0.1:0"]
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(port), *quiet]
    worker = [
        "worker",
        address,
        "--host",
        "127.0.0.1",
        "--nthreads",
        "1",
        "--resources",
        "trial=1",
        "--no-nanny",
        *quiet,
    ]
    with dask(*scheduler), dask(*worker, "--local-directory", str(tmp_path)):
        process = sweep(base, results, "--scheduler", address)
        _, errors = process.communicate(timeout=300)
    assert process.returncode in (0, 3), errors
    found = rows(results / "sweep")
    assert judged(found).keys() == {"noop@none", "reference@none"}
    require_right(found)
