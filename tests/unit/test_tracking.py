"""Trials in MLflow: one run and one trace each, whatever happens to the process that logs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import harness
from harness.errors import InputError
from harness.model.event import Event, TrialEnded
from harness.model.verdict import Outcome, Trial
from harness.sinks.journal import Journal, read_events
from harness.sinks.spans import Span, trial_span
from harness.sinks.terms import Beside
from harness.sinks.tracking import followed, opened, shown, tracking_command, tracking_env, tracking_uri
from tests import events as sample

if TYPE_CHECKING:  # MLflow takes seconds to import: the fixtures do it
    from mlflow.entities import Run, Trace
    from mlflow.tracking import MlflowClient

    from harness.sinks.tracker import Tracker

# MLflow and what it imports warn of themselves, and leave database connections to the garbage collector
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

WAIT_S = 120.0  # importing MLflow on a busy machine
ENV = {**os.environ, "PYTHONPATH": str(Path(harness.__file__).parent.parent)}


def written(root: Path, name: str, events: Callable[[Trial], list[Event]] = sample.healed) -> Path:
    """The result folder of a sample trial."""
    with Journal(root / name) as journal:
        for event in events(sample.trial(name)):
            journal(event)
    return root / name


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def tracker(root: Path) -> Iterator[Tracker]:
    before = dict(os.environ)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield opened(tracking_uri(root), root)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def client(tracker: Tracker, root: Path) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri(root))


def runs(client: MlflowClient, trial_id: str) -> list[Run]:
    experiment = client.get_experiment_by_name("creamandonion")
    assert experiment
    return list(client.search_runs([experiment.experiment_id], f"tags.trial_id = '{trial_id}'"))


def traces(client: MlflowClient, run: Run) -> list[Trace]:
    return list(client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id))


# --- runs


def test_a_healed_trial_is_one_finished_run(tracker: Tracker, client: MlflowClient, root: Path) -> None:
    run_id = tracker.log(list(read_events(written(root, "healed"))), root / "healed", Beside())
    (run,) = runs(client, "healed")
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert run.data.params == {
        "scenario": "pool_exhaustion",
        "scenario_hash": "9f" * 32,
        "fixer": "playbook",
        "model": "playbook-1",
        "retriever": "lexical",
        "kb": "",
        "seed": "7",
        "commit": "c391f1a",
    }
    assert run.data.tags["outcome"] == "HEALED"
    assert run.data.tags["scenario"] == "pool_exhaustion"
    metrics = run.data.metrics
    assert (metrics["healed"], metrics["confidence"], metrics["attempts"]) == (1.0, 0.86, 2.0)
    assert (metrics["time_to_detect_s"], metrics["time_to_confirm_s"], metrics["censored"]) == (1.4, 23.0, 0.0)
    assert (metrics["tokens_in"], metrics["cost_usd"]) == (9300.0, 0.01)
    assert run.info.end_time - run.info.start_time == 35_400


def test_each_route_has_a_series_with_the_time_of_its_windows(
    tracker: Tracker, client: MlflowClient, root: Path
) -> None:
    tracker.log(list(read_events(written(root, "series"))), root / "series", Beside())
    (run,) = runs(client, "series")
    history = client.get_metric_history(run.info.run_id, "p95_ms.checkout")
    assert [point.step for point in history] == list(range(34))
    assert [point.timestamp - run.info.start_time for point in history] == [1000 * (n + 1) for n in range(34)]
    assert history[9].value == sample.window(9, bad=True).routes["checkout"].p95_ms
    wrong = client.get_metric_history(run.info.run_id, "error_rate.checkout")
    assert wrong[0].value == 0.0
    assert wrong[9].value == pytest.approx(5 / 6)


def test_results_are_artifacts_but_for_what_is_huge_or_no_result(
    tracker: Tracker, client: MlflowClient, root: Path
) -> None:
    folder = written(root, "artifacts")
    (folder / "logs").mkdir()
    (folder / "logs" / "web.log").write_text("ERROR FAULT_DB_TIMEOUT\n")
    (folder / "samples.jsonl").write_bytes(b"x" * 5_000_001)
    (folder / "workspace").mkdir()
    (folder / "workspace" / "app.py").write_text("")
    tracker.log(list(read_events(folder)), folder, Beside())
    (run,) = runs(client, "artifacts")
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    patches = {"attempt-1.patch", "attempt-2.patch", "fix.patch"}
    assert names == {"events.jsonl", "windows.jsonl", "settled.jsonl", "verdict.json", "logs", *patches}
    assert [item.path for item in client.list_artifacts(run.info.run_id, "logs")] == ["logs/web.log"]


def test_the_trace_belongs_to_the_run_and_has_the_true_times(
    tracker: Tracker, client: MlflowClient, root: Path
) -> None:
    tracker.log(list(read_events(written(root, "traced"))), root / "traced", Beside())
    (run,) = runs(client, "traced")
    (trace,) = traces(client, run)
    spans = {span.name: span for span in trace.data.spans}
    assert {"trial", "incident", "attempt 1", "attempt 2", "retrieve", "propose", "deploy", "observe"} <= set(spans)
    start_ns = run.info.start_time * 1_000_000
    assert spans["trial"].start_time_ns == start_ns
    assert spans["trial"].end_time_ns == start_ns + 35_400_000_000
    assert spans["attempt 2"].parent_id == spans["trial"].span_id
    assert spans["attempt 1"].status.status_code == "ERROR"
    assert spans["attempt 2"].status.status_code == "OK"
    assert trace.info.token_usage == {"input_tokens": 9300, "output_tokens": 730, "total_tokens": 10030}


def test_what_is_not_known_is_absent_and_not_zero(tracker: Tracker, client: MlflowClient, root: Path) -> None:
    tracker.log(list(read_events(written(root, "not-healed", sample.not_healed))), root / "not-healed", Beside())
    (run,) = runs(client, "not-healed")
    assert run.data.metrics["healed"] == 0.0
    assert (run.data.metrics["censored"], run.data.metrics["censored_s"]) == (1.0, 60.0)
    assert "time_to_recover_s" not in run.data.metrics


def test_an_invalid_trial_is_scored_for_nobody(tracker: Tracker, client: MlflowClient, root: Path) -> None:
    tracker.log(list(read_events(written(root, "invalid", sample.invalid))), root / "invalid", Beside())
    (run,) = runs(client, "invalid")
    assert run.info.status == "FINISHED"
    assert run.data.tags["outcome"] == Outcome.INVALID
    assert "healed" not in run.data.metrics


def test_an_interrupted_trial_is_kept_as_such(tracker: Tracker, client: MlflowClient, root: Path) -> None:
    tracker.log(list(read_events(written(root, "interrupted", sample.interrupted))), root / "interrupted", Beside())
    (run,) = runs(client, "interrupted")
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "INTERRUPTED")
    assert len(client.get_metric_history(run.info.run_id, "p95_ms.browse")) == 10
    assert len(traces(client, run)) == 1


def test_logging_a_trial_again_adds_nothing(tracker: Tracker, client: MlflowClient, root: Path) -> None:
    events = list(read_events(written(root, "again")))
    first = tracker.log(events, root / "again", Beside())
    assert tracker.log(events, root / "again", Beside()) == first
    (run,) = runs(client, "again")
    assert len(traces(client, run)) == 1
    assert len(client.get_metric_history(first, "p95_ms.browse")) == 34


def test_a_run_that_was_cut_short_is_completed(tracker: Tracker, client: MlflowClient, root: Path) -> None:
    """What a killed process leaves: a run that still runs, with its numbers and perhaps its trace."""
    events = list(read_events(written(root, "cut")))
    run_id = tracker.log(events, root / "cut", Beside())
    client.update_run(run_id, status="RUNNING")
    assert tracker.log(events, root / "cut", Beside()) == run_id
    (run,) = runs(client, "cut")
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run_id, "p95_ms.browse")) == 34
    assert len(traces(client, run)) == 1


KILLED_WHILE_TRACING = """
import os, sys
from pathlib import Path
from harness.sinks import tracking
from harness.sinks.journal import read_events
from harness.sinks.terms import Beside
folder = Path(sys.argv[1])
tracker = tracking.opened(tracking.tracking_uri(folder.parent), folder.parent)
import mlflow
ends = []
def third_end_is_the_last(span):
    ends.append(span)
    if len(ends) == 3:
        os.kill(os.getpid(), 9)
mlflow.tracing.configure(span_processors=[third_end_is_the_last])
tracker.log(list(read_events(folder)), folder, Beside())
"""


def test_a_trace_that_was_cut_short_is_replaced(tracker: Tracker, client: MlflowClient, root: Path) -> None:
    folder = written(root, "cut-trace")
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_TRACING, str(folder)], env=ENV, check=False)
    assert killed.returncode == -signal.SIGKILL
    (run,) = runs(client, "cut-trace")
    assert run.info.status == "RUNNING"
    everywhere = [run.info.experiment_id]
    unfinished = {trace.info.trace_id for trace in client.search_traces(locations=everywhere, max_results=100)}
    tracker.log(list(read_events(folder)), folder, Beside())
    (run,) = runs(client, "cut-trace")
    (trace,) = traces(client, run)
    assert run.info.status == "FINISHED"
    assert len(trace.data.spans) == 14
    left = client.search_traces(locations=everywhere, max_results=100)
    assert "IN_PROGRESS" not in {one.info.state for one in left}
    assert len(left) == len(unfinished), "the unfinished trace stayed beside the new one"


# --- the process


def test_the_process_follows_a_live_trial_and_logs_it(client: MlflowClient, root: Path) -> None:
    folder = root / "live"
    *before, ended = sample.healed(sample.trial("live"))
    with Journal(folder) as journal:
        process = subprocess.Popen(tracking_command(folder), env=ENV, cwd=folder, stdin=subprocess.DEVNULL)
        for event in before:
            journal(event)
        assert process.poll() is None
        assert runs(client, "live") == []
        journal(ended)
    assert process.wait(WAIT_S) == 0
    (run,) = runs(client, "live")
    assert run.info.status == "FINISHED"


def test_the_process_logs_what_there_is_when_it_is_told_to_end(client: MlflowClient, root: Path) -> None:
    folder = root / "told"
    with Journal(folder) as journal:
        for event in sample.until_detected(sample.trial("told")):
            journal(event)
        process = subprocess.Popen(tracking_command(folder), env=ENV, cwd=folder, stdin=subprocess.DEVNULL)
        await_idle_thread(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    (run,) = runs(client, "told")
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "INTERRUPTED")


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_the_import_gives_way_to_the_trial_while_the_writer_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "idle"
    with Journal(folder) as journal:
        journal(sample.started())
        process = subprocess.Popen(tracking_command(folder), env=ENV, cwd=folder, stdin=subprocess.DEVNULL)
        try:
            await_idle_thread(process.pid)
            assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER  # its first thread, which will write
        finally:
            process.kill()
            process.wait()


def await_idle_thread(pid: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        tasks = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
        if any(os.sched_getscheduler(task) == os.SCHED_IDLE for task in tasks):
            return
        time.sleep(0.01)
    pytest.fail("no thread became idle")


@pytest.mark.parametrize("module", ["harness.sinks.tracking", "harness.sinks.spans", "harness.sinks.views"])
def test_the_harness_itself_does_not_import_mlflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENV, check=False).returncode == 0


def test_a_folder_without_a_trial_is_told_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.sinks.tracking", str(tmp_path)]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == InputError.exit_code
    assert "no events.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


# --- following a journal


def test_following_stops_at_the_end_of_the_trial(tmp_path: Path) -> None:
    folder = written(tmp_path, "whole")
    assert list(followed(folder, threading.Event())) == list(read_events(folder))


def test_following_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    folder = written(tmp_path, "parts")
    whole = (folder / "events.jsonl").read_bytes()
    (folder / "events.jsonl").write_bytes(whole[:100])
    got: list[Event] = []
    follower = threading.Thread(target=lambda: got.extend(followed(folder, threading.Event())))
    follower.start()
    with (folder / "events.jsonl").open("ab", buffering=0) as file:
        for start in range(100, len(whole), 5000):
            file.write(whole[start : start + 5000])
            time.sleep(0.02)  # so that some reads see half a line
    follower.join(WAIT_S)
    assert isinstance(got[-1], TrialEnded)
    assert len(got) == len(whole.splitlines())


def test_following_reads_what_is_there_when_it_is_stopped(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for event in sample.until_detected():
            journal(event)
    stop = threading.Event()
    stop.set()
    assert list(followed(tmp_path, stop)) == list(read_events(tmp_path))


# --- the parts that are pure


def test_spans_follow_one_another_inside_their_parents() -> None:
    def check(span: Span) -> None:
        assert span.start_s <= span.end_s
        at_s = span.start_s
        for child in span.children:
            assert at_s <= child.start_s <= child.end_s <= span.end_s
            at_s = child.end_s
            check(child)

    for events in (sample.healed(), sample.not_healed(), sample.invalid(), sample.interrupted()):
        check(trial_span(events))


def test_the_steps_of_an_attempt_are_told_apart() -> None:
    root = trial_span(sample.not_healed())
    assert [child.name for child in root.children] == ["incident", "attempt 1", "attempt 2"]
    _, first, second = root.children
    assert [step.name for step in first.children] == ["retrieve", "propose", "guard", "deploy", "observe"]
    assert [(step.name, step.failed) for step in second.children] == [
        ("retrieve", False),
        ("propose", False),
        ("guard", True),
    ]


def test_an_attempt_that_was_cut_off_is_still_shown() -> None:
    events = sample.healed()
    cut = next(n for n, event in enumerate(events) if event.type == "FixProposed") + 1
    *_, last = trial_span(events[:cut]).children
    assert (last.name, last.failed, [step.name for step in last.children]) == (
        "attempt 1",
        True,
        ["retrieve", "propose"],
    )


def test_a_password_stands_on_no_command_line_and_in_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql+psycopg://harness:s3cret@127.0.0.1/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert "s3cret" not in " ".join(tracking_command(tmp_path))
    assert tracking_env(tmp_path)["MLFLOW_TRACKING_URI"] == uri
    assert shown(uri) == "postgresql+psycopg://127.0.0.1/mlflow"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs.db")
    assert tracking_env(tmp_path / "elsewhere")["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/runs.db"


def test_where_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path / "results") == f"sqlite:///{tmp_path}/results/mlflow.db"
    for given, meant in {
        "http://127.0.0.1:5000": "http://127.0.0.1:5000",
        "sqlite:///runs.db": f"sqlite:///{tmp_path}/runs.db",
        "sqlite:////var/runs.db": "sqlite:////var/runs.db",
        "mlruns": f"file://{tmp_path}/mlruns",
    }.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert tracking_uri(tmp_path / "results") == meant
