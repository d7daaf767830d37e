"""The machine breaks under a trial: each time a typed outcome within a bound, nothing left running, nothing lost."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.incidents.database import engine
from harness.incidents.record import IncidentRecord
from harness.model.event import TrialEnded
from harness.model.verdict import Outcome
from harness.services.loopback import free_port
from harness.services.postgres import postgres_running
from harness.services.supervisor import Supervisor
from harness.sinks.journal import read_events, read_verdict
from tests.e2e import tiny

KILLS = int(os.environ.get("HARNESS_KILLS", "12"))  # the nightly run asks for a hundred
AT_ONCE = 3
WHOLE_S = 12.0  # about as long as the trial takes, so that kills hit all of it
BOUND_S = 60.0


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("tiny"))


def trial_of(results: Path) -> Path:
    (folder,) = (path.parent for path in results.glob("*/events.jsonl"))
    return folder


def in_phase(process: subprocess.Popen[str], results: Path, name: str) -> list[psutil.Process]:
    """All processes of the trial, once its journal says that the phase has begun."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        if any(f'"name":"{name}"' in path.read_text() for path in results.glob("*/events.jsonl")):
            return psutil.Process(process.pid).children(recursive=True)
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError(f"no phase {name} within {BOUND_S:g} s")


def still_alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=20.0)
    return [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def writers(results: Path) -> Iterator[int]:
    """Processes whose output goes to a file of these results."""
    for process in psutil.process_iter():
        try:
            output = Path(f"/proc/{process.pid}/fd/1").readlink()
        except OSError:
            continue
        if output.is_relative_to(results) and process.status() != psutil.STATUS_ZOMBIE:
            yield process.pid


# --- kill -9 anywhere ---


def killed(scenario: Path, results: Path, after_s: float) -> list[psutil.Process]:
    """Start a trial and kill the harness after so long; the processes that it had just then."""
    process = tiny.start(scenario, results, "--fixer", "reference", "--no-track")
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGSTOP)  # so that it starts nothing between the look and the kill
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.communicate()
    return family


def resumed(results: Path) -> str:
    command = [sys.executable, "-m", "harness", "resume", "--results", str(results), "--no-track"]
    done = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_kill(scenario: Path, results: Path, after_s: float) -> str:
    """One kill and what must hold after it; the outcome, empty where the trial had not begun."""
    family = killed(scenario, results, after_s)
    assert not still_alive(family), f"left running after a kill at {after_s:.2f} s"
    assert not list(writers(results))
    resumed(results)
    folders = [path.parent for path in results.glob("*/events.jsonl")]
    assert len(folders) <= 1
    verdict = read_verdict(folders[0]) if folders else None
    if verdict is None:
        return ""
    assert isinstance(list(read_events(folders[0]))[-1], TrialEnded)
    assert "nothing in" in resumed(results), "the second time there is nothing to do"
    with Supervisor() as supervisor:
        data, log = results / "postgres", results / "look.log"
        with postgres_running(supervisor, data=data, log=log, external_url=None) as postgres:
            database = engine(postgres.url(postgres.home))
            with Session(database) as session:
                rows = session.scalars(select(IncidentRecord)).all()
                assert len(rows) == ("IncidentCreated" in (folders[0] / "events.jsonl").read_text())
                for row in rows:
                    assert row.outcome == str(verdict.outcome) and len(row.attempts) == len(verdict.attempts)
            database.dispose()
    return str(verdict.outcome)


def test_kill_9_anywhere_leaves_no_process_no_half_row_and_a_verdict(scenario: Path, tmp_path: Path) -> None:
    draw = random.Random(11)
    points = [draw.uniform(0.3, WHOLE_S) for _ in range(KILLS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(
            pool.map(lambda pair: check_kill(scenario, tmp_path / f"{pair[0]:03}", pair[1]), enumerate(points))
        )
    assert set(outcomes) <= {"", Outcome.INVALID, Outcome.HEALED}
    assert outcomes.count(Outcome.INVALID) > KILLS // 3, "the kills have missed the trials"


# --- what the trial stands on dies ---


@pytest.mark.parametrize(
    ("phase", "outcome"), [("baseline", Outcome.INVALID), ("observe", Outcome.NOT_HEALED)], ids=["before", "after"]
)
def test_a_dead_generator_is_told_within_a_bound(phase: str, outcome: Outcome, scenario: Path, tmp_path: Path) -> None:
    process = tiny.start(scenario, tmp_path, "--fixer", "reference", "--no-track")
    family = in_phase(process, tmp_path, phase)
    (load,) = (each for each in family if any("locustfile" in word for word in each.cmdline()))
    load.kill()
    out, err = process.communicate(timeout=BOUND_S)
    verdict = json.loads(out)
    assert (verdict["outcome"], process.returncode) == (outcome, outcome.exit_code), err
    assert "the load generator ended" in verdict["reason"] and not still_alive(family)


def test_a_dead_postgresql_makes_the_trial_invalid_within_a_bound(scenario: Path, tmp_path: Path) -> None:
    process = tiny.start(scenario, tmp_path, "--fixer", "reference", "--no-track")
    family = in_phase(process, tmp_path, "baseline")
    server = next(each for each in family if each.name() == "postgres")
    server.kill()
    out, err = process.communicate(timeout=BOUND_S)
    verdict = json.loads(out)
    assert (verdict["outcome"], process.returncode) == (Outcome.INVALID, 3), err
    assert "PostgreSQL" in verdict["reason"] and not still_alive(family)
    assert "INVALID" in (trial_of(tmp_path) / "verdict.json").read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        assert not os.environ.get("CI"), "a full disk cannot be tried: run as root, where mount -t tmpfs works"
        pytest.skip("needs root, and a system on which mount -t tmpfs works")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_running(scenario: Path, small_disk: Path) -> None:
    process = tiny.start(scenario, small_disk, "--fixer", "reference", "--no-track")
    family = in_phase(process, small_disk, "baseline")
    with (small_disk / "ballast").open("wb") as ballast:
        try:
            while True:
                ballast.write(b"x" * 65536)
                ballast.flush()
        except OSError:
            pass  # full
    out, err = process.communicate(timeout=BOUND_S)
    assert process.returncode == 3, err
    assert "Traceback" not in err and "No space left" in err, err
    assert out == "" and not still_alive(family)
    (small_disk / "ballast").unlink()
    assert "INVALID" in resumed(small_disk), "once there is room again, the trial gets its verdict"


# --- a sink that is not needed for the verdict fails ---


def test_mlflow_that_is_away_costs_no_verdict_and_is_caught_up(scenario: Path, tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    process = tiny.start(scenario, tmp_path, "--fixer", "reference", MLFLOW_TRACKING_URI=away)
    out, err = process.communicate(timeout=BOUND_S)
    assert json.loads(out)["outcome"] == Outcome.HEALED and process.returncode == 0
    assert "MLflow did not take the trial" in err
    folder = trial_of(tmp_path)
    assert not (folder / "mlflow-run").exists()
    command = [sys.executable, "-m", "harness", "resume", "--results", str(tmp_path)]
    subprocess.run(command, cwd=tiny.ROOT, check=True, capture_output=True, timeout=2 * BOUND_S)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        runs = database.execute("SELECT run_uuid, status FROM runs").fetchall()
    assert runs == [((folder / "mlflow-run").read_text().split()[0], "FINISHED")]
