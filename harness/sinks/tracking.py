"""Trials into MLflow, from a process of its own: ``python -m harness.sinks.tracking RESULT_FOLDER``.

Importing MLflow takes seconds of CPU time that the trial needs, so the import runs at idle priority while the
journal is followed. This module itself imports nothing of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
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
from harness.sinks.terms import TERMS, beside

if TYPE_CHECKING:
    from harness.sinks.tracker import Tracker

logger = logging.getLogger(__name__)

TRACKED, LOG = "mlflow-run", "logs/mlflow.log"  # in the trial's folder: its run's id and our terms; what we say
_POLL_S = 0.1
_LOGIN = re.compile(r"://[^/@\s]*@")
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
    return [sys.executable, "-P", "-m", "harness.sinks.tracking", "--follow", str(folder.resolve())]


def tracking_env(results_root: Path) -> dict[str, str]:
    """Our environment without any model's key; the harness is found also where it is not installed.

    Where runs go stands in it, and on no command line, which anybody on the machine can read: it may hold a password.
    """
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    found = str(Path(__file__).resolve().parents[2])
    return env | {"PYTHONPATH": found, "MLFLOW_TRACKING_URI": tracking_uri(results_root)}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.sinks.tracking", description=__doc__)
    parser.add_argument("folder", type=Path, help="the result folder of a trial, or of a sweep")
    parser.add_argument("--sweep", metavar="KEY", help="log all trials in the folder, as children of a run of this key")
    parser.add_argument("--rows", type=Path, help="of a sweep, JSON lines: log these trials alone, as it calls them")
    parser.add_argument("--follow", action="store_true", help="wait for the trial's end, or for the parent's")
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    folder: Path = given.folder.resolve()
    uri = tracking_uri(folder.parent)
    if given.sweep:
        return _told(folder, lambda: _track_all(folder, uri, given.sweep, given.rows))
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


def _track_all(folder: Path, uri: str, key: str, rows: Path | None) -> int:
    """The trials of a sweep that have ended and are not logged yet. Progress goes to standard output."""
    known = _rows(rows) if rows else {path.parent.name: {} for path in folder.glob(f"*/{VERDICT}")}
    tracker = opened(uri, folder.parent)
    parent = tracker.parent(key, folder.name, sorted(folder.glob("*.json*")))
    ended = [path.parent for path in sorted(folder.glob(f"*/{VERDICT}")) if path.parent.name in known]
    todo = [trial for trial in ended if not is_tracked(trial)]
    for number, trial in enumerate(todo, start=1):
        run_id = tracker.log(list(read_events(trial)), trial, beside(trial, known[trial.name]), parent)
        _keep(trial, run_id)
        print(f"\rMLflow: {number} of {len(todo)} trials", end="" if number < len(todo) else "\n", flush=True)
    return 0


def _rows(file: Path) -> dict[str, dict[str, object]]:
    """By trial. A last line that a crash cut short is no row, and no file holds none."""
    whole = file.read_bytes() if file.is_file() else b""
    lines = [line for line in whole.splitlines(keepends=True) if line.endswith(b"\n")]
    return {str(row["trial"]): row for row in map(json.loads, lines)}


def _track(folder: Path, uri: str, stop: threading.Event) -> int:
    opening = Opening(uri, folder.parent)
    opening.start()
    events = list(followed(folder, stop))
    if not any(isinstance(event, TrialStarted) for event in events):
        raise InputError(f"{folder} holds no trial that has started", cure="name the result folder of a trial")
    awake()
    run_id = opening.result().log(events, folder, beside(folder))
    _keep(folder, run_id)
    logger.info("trial %s is run %s at %s", folder.name, run_id, shown(uri))
    return 0


def is_tracked(trial: Path) -> bool:
    """Whether the trial in the folder is logged, in today's terms."""
    kept = trial / TRACKED
    return kept.is_file() and kept.read_text().split()[1:] == [TERMS]


def _keep(trial: Path, run_id: str) -> None:
    write_atomically(trial / TRACKED, f"{run_id} {TERMS}\n".encode())


def shown(uri: str) -> str:
    """The address without what only its owner may know."""
    return _LOGIN.sub("://", uri)


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
    quiet()
    from harness.sinks.tracker import Tracker  # noqa: PLC0415 - it imports MLflow: seconds

    return Tracker(uri, results_root)


def quiet() -> None:
    """To be called before MLflow is imported: it then keeps to itself, and gives up soon where a server is away."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


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
