"""Trials into MLflow, from a process of its own: ``python -m harness.sinks.tracking RESULT_FOLDER``.

Importing MLflow takes seconds of CPU time that the trial needs, so the import runs at idle priority while the
journal is followed. This module itself imports nothing of it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, InputError
from harness.model.event import Event, TrialEnded, TrialStarted
from harness.sinks.journal import EVENTS, VERDICT, event_of, read_events, write_atomically

if TYPE_CHECKING:
    from harness.sinks.tracker import Tracker

logger = logging.getLogger(__name__)

TRACKED, LOG = "mlflow-run", "logs/mlflow.log"  # in the trial's folder: its run's id; what we say
_POLL_S = 0.1
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # a server that is away is caught up with later, by `harness resume`: seven tries would take two minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def tracking_uri(results_root: Path) -> str:
    """Where runs go: MLFLOW_TRACKING_URI, else a database file in the folder of all results.

    A relative path in the variable is taken from the working directory.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not given:
        return f"sqlite:///{results_root.resolve()}/mlflow.db"
    if given.startswith("sqlite:///"):
        return f"sqlite:///{Path(given.removeprefix('sqlite:///')).absolute()}"
    return given if ":" in given else Path(given).absolute().as_uri()


def tracking_command(folder: Path) -> list[str]:
    """The command that follows a trial's journal to its end while the caller lives, logs the trial and exits."""
    folder = folder.resolve()
    words = ["--follow", "--uri", tracking_uri(folder.parent), str(folder)]
    return [sys.executable, "-P", "-m", "harness.sinks.tracking", *words]


def tracking_env() -> dict[str, str]:
    """Our environment without any model's key; the harness is found also where it is not installed."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return env | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.sinks.tracking", description=__doc__)
    parser.add_argument("folder", type=Path, help="the result folder of a trial, or of a sweep")
    parser.add_argument("--sweep", metavar="KEY", help="log all trials in the folder, as children of a run of this key")
    parser.add_argument("--follow", action="store_true", help="wait for the trial's end, or for the parent's")
    parser.add_argument("--uri", help="of the MLflow server or database")
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    folder: Path = given.folder.resolve()
    uri = given.uri or tracking_uri(folder.parent)
    if given.sweep:
        return _told(folder, lambda: _track_all(folder, uri, given.sweep))
    stop = threading.Event()
    if given.follow:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())  # the harness leaves: log what there is
    else:
        stop.set()
    return _told(folder, lambda: _track(folder, uri, stop))


def _told(folder: Path, work: Callable[[], int]) -> int:
    """The process's code. What goes wrong is told in the log."""
    try:
        return work()
    except HarnessError as error:
        logger.error("%s", error)  # noqa: TRY400 - it says where and what to do; a traceback would hide that
        return error.exit_code
    except Exception:
        logger.exception("trial %s was not logged", folder.name)  # the process's edge
        return 1


def _track_all(folder: Path, uri: str, key: str) -> int:
    """The trials of a sweep that have ended and are not logged yet. Progress goes to standard output."""
    tracker = opened(uri, folder.parent)
    parent = tracker.parent(key, folder.name, sorted(folder.glob("*.json*")))
    todo = [each.parent for each in sorted(folder.glob(f"*/{VERDICT}")) if not (each.parent / TRACKED).exists()]
    for number, trial in enumerate(todo, start=1):
        run_id = tracker.log(list(read_events(trial)), trial, parent)
        write_atomically(trial / TRACKED, f"{run_id}\n".encode())
        print(f"\rMLflow: {number} of {len(todo)} trials", end="" if number < len(todo) else "\n", flush=True)
    return 0


def _track(folder: Path, uri: str, stop: threading.Event) -> int:
    opening = Opening(uri, folder.parent)
    opening.start()
    events = list(followed(folder, stop))
    if not any(isinstance(event, TrialStarted) for event in events):
        raise InputError(f"{folder} holds no trial that has started", cure="name the result folder of a trial")
    awake()
    run_id = opening.result().log(events, folder)
    write_atomically(folder / TRACKED, f"{run_id}\n".encode())
    logger.info("trial %s is run %s at %s", folder.name, run_id, uri)
    return 0


class Opening(threading.Thread):
    """Imports MLflow and opens its database in a thread of idle priority.

    On Linux each thread has its own priority. To lower it needs no right, to raise it again does (sched(7)):
    so the thread that writes the run later is one that was never lowered.
    """

    def __init__(self, uri: str, results_root: Path) -> None:
        super().__init__(name="opening-mlflow", daemon=True)
        self._uri, self._results_root = uri, results_root
        self._tracker: Tracker | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        idle()
        try:
            self._tracker = opened(self._uri, self._results_root)
        except Exception as error:  # the edge of a thread: handed to who waits for the result
            self._error = error

    def result(self) -> Tracker:
        """Waits for it. Raises what went wrong there."""
        self.join()
        if self._error:
            raise self._error
        assert self._tracker is not None
        return self._tracker


def opened(uri: str, results_root: Path) -> Tracker:
    """MLflow, imported and connected. Its own exceptions where that fails."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    from harness.sinks.tracker import Tracker  # noqa: PLC0415 - it imports MLflow: seconds

    return Tracker(uri, results_root)


def idle() -> None:
    """Let this thread run only when nobody else wants the processor."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
        os.nice(19)


def awake() -> None:
    """All threads back to normal priority, where that is permitted: root may, others need RLIMIT_NICE."""
    for task in Path("/proc/self/task").glob("[0-9]*"):
        with suppress(AttributeError, OSError):
            os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))


def followed(folder: Path, stop: threading.Event) -> Iterator[Event]:
    """Events as they are journaled, until the trial's last, or until ``stop`` is set or the parent has died.

    What stands in the journal when it stops is still read to its end.
    """
    path, parent = folder / EVENTS, os.getppid()
    if not path.is_file():
        raise InputError(f"{folder} holds no {EVENTS}", cure="name the result folder of a trial")
    number, torn = 0, b""
    with path.open("rb") as file:
        while True:
            last = stop.is_set() or os.getppid() != parent
            lines = (torn + file.read()).splitlines(keepends=True)
            torn = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
            for line in lines:
                number += 1
                event = event_of(line, f"{path}:{number}")
                yield event
                if isinstance(event, TrialEnded):
                    return
            if last:
                return
            stop.wait(_POLL_S)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # all is written; MLflow's own threads, which may be idle ones, would be waited for
