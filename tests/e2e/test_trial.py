"""Whole trials through the command line: real app, real load, real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import yaml

from harness.model.event import Event, TrialEnded, TrialInterrupted
from harness.sinks.journal import read_events

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "scenarios"


def start(scenario: Path, results: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", "run", str(scenario), "--results", str(results), "--json", *words]
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.Popen(
        command, cwd=ROOT, env={**keyless, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 200.0) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def events(results: Path) -> list[Event]:
    (folder,) = (path.parent for path in results.glob("*/events.jsonl"))
    return list(read_events(folder))


@pytest.fixture
def shortened(tmp_path: Path) -> Iterator[Path]:
    """A scenario of its own: pool_exhaustion with less patience, written where a test may change it."""
    spec = yaml.safe_load((SCENARIOS / "pool_exhaustion.yml").read_text())
    spec["recovery"]["horizon"] = "8s"
    spec["checks"] = []
    del spec["cheats"]
    folder = ROOT / "scenarios" / f".test-{tmp_path.name}-{os.getpid()}"  # above it lie the app and kb/
    folder.mkdir()
    for key in ("reference", "defect"):
        source = SCENARIOS / "pool_exhaustion" / f"{key}.patch"
        (folder / source.name).write_text(source.read_text())
    spec["reference"], spec["target"]["defect"] = "reference.patch", "defect.patch"
    file = folder / "short.yml"
    file.write_text(yaml.safe_dump(spec))
    try:
        yield file
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def change(file: Path, **parts: object) -> None:
    spec = yaml.safe_load(file.read_text())
    for key, value in parts.items():
        spec[key] = {**spec[key], **value} if isinstance(value, dict) else value
    file.write_text(yaml.safe_dump(spec))


@pytest.mark.parametrize(
    ("scenario", "fixer"),
    [("pool_exhaustion", "playbook"), ("upstream_latency", "playbook"), ("malformed_sql", "reference")],
)
def test_a_good_fix_heals(scenario: str, fixer: str, tmp_path: Path) -> None:
    code, out, err = finish(start(SCENARIOS / f"{scenario}.yml", tmp_path, "--fixer", fixer, "--seed", "11"))
    verdict = json.loads(out)
    assert verdict["outcome"] == "HEALED", f"{verdict['reason']}\n{err}"
    assert code == 0
    assert all(check["passed"] for check in verdict["checks"])
    times = verdict["times"]
    assert 0 <= times["detect_s"] < times["propose_s"] < times["deploy_s"] <= times["recover_s"] < times["confirm_s"]
    assert times["censored_s"] is None
    (folder,) = (path.parent for path in tmp_path.glob("*/verdict.json"))
    for name in ("scenario.yml", "events.jsonl", "windows.jsonl", "fix.patch", "logs/web.log", "logs/samples.jsonl"):
        assert (folder / name).stat().st_size > 0, name
    assert list((folder / "learned").glob("*.md"))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        (status,) = database.execute("SELECT status FROM runs").fetchone()
        metrics = {key for (key,) in database.execute("SELECT DISTINCT key FROM metrics")}
    assert status == "FINISHED"
    assert {"healed", "time_to_recover_s", "error_budget_burned"} <= metrics


def test_doing_nothing_does_not_heal(shortened: Path, tmp_path: Path) -> None:
    code, out, _ = finish(start(shortened, tmp_path, "--fixer", "noop", "--no-track"))
    verdict = json.loads(out)
    assert (code, verdict["outcome"]) == (1, "NOT_HEALED")
    assert verdict["times"]["recover_s"] is None
    assert verdict["times"]["censored_s"] >= 8
    assert [attempt["outcome"] for attempt in verdict["attempts"]] == ["abstained"]


@pytest.mark.parametrize(
    ("parts", "env", "reason"),
    [
        ({}, {"DATABASE_URL": "postgresql://127.0.0.1:9/none"}, "DATABASE_URL"),
        ({"target": {"env": {"SECRET_KEY": "", "DB_POOL_SIZE": "many"}}}, {}, "DB_POOL_SIZE"),
        ({"load": {"login": {"request": "POST /no-such-login"}}}, {}, "login"),
        ({"slos": [{"name": "s", "routes": ["browse"], "latency": {"p95Ms": 0.01}, "objective": 0.9}]}, {}, "before"),
        (
            {
                "method": [{"action": "http", "request": "GET /health/live", "rate": 1}],
                "recovery": {"biteWithin": "4s"},
            },
            {},
            "held",
        ),
    ],
    ids=["no-postgres", "app-never-ready", "load-never-flows", "baseline-breached", "fault-does-not-bite"],
)
def test_what_cannot_be_measured_is_invalid(
    parts: dict[str, object], env: dict[str, str], reason: str, shortened: Path, tmp_path: Path
) -> None:
    change(shortened, **parts)
    code, out, err = finish(start(shortened, tmp_path, "--fixer", "reference", "--no-track", **env))
    verdict = json.loads(out)
    assert (code, verdict["outcome"]) == (3, "INVALID"), err
    assert reason in verdict["reason"]
    assert isinstance(events(tmp_path)[-1], TrialEnded)
    (folder,) = (path.parent for path in tmp_path.glob("*/verdict.json"))
    assert (folder / "logs").is_dir() or env


def when_load_flows(process: subprocess.Popen[str], results: Path, timeout_s: float = 60.0) -> list[psutil.Process]:
    """All processes of the trial, once requests are under way."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if any(path.stat().st_size > 10_000 for path in results.glob("*/logs/samples.jsonl")):
            own = psutil.Process(process.pid)
            return own.children(recursive=True)
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("no load within the time")


def all_gone(processes: list[psutil.Process], timeout_s: float = 20.0) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "cancelled"])
def test_an_interrupted_trial_cleans_up_and_closes_the_journal(
    how: signal.Signals, shortened: Path, tmp_path: Path
) -> None:
    process = start(shortened, tmp_path, "--fixer", "noop", "--no-track")
    children = when_load_flows(process, tmp_path)
    assert len(children) >= 8
    process.send_signal(how)
    code, out, _ = finish(process, timeout_s=60)
    assert (code, out) == (130, "")
    assert not all_gone(children)
    assert isinstance(events(tmp_path)[-1], TrialInterrupted)


def test_kill_9_leaves_no_child_and_the_next_trial_runs(shortened: Path, tmp_path: Path) -> None:
    process = start(shortened, tmp_path, "--fixer", "noop", "--no-track")
    children = when_load_flows(process, tmp_path)
    process.kill()
    finish(process)
    assert not all_gone(children)
    assert events(tmp_path)  # what was written is whole
    code, out, err = finish(start(shortened, tmp_path, "--fixer", "noop", "--no-track"))
    assert (code, json.loads(out)["outcome"]) == (1, "NOT_HEALED"), err
