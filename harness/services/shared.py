"""PostgreSQL and Valkey that stay up between trials: who shows incidents as they come has started them.

Their address stands in ``services.json`` of the results folder, for the eyes of its owner, while somebody holds the
lock beside it. A trial with these results then starts no server of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import ServiceUnavailable
from harness.services.containment import on_this_machine
from harness.services.machine import Machine, MemoryMachine
from harness.services.pgdata import in_use
from harness.services.postgres import Postgres, postgres_running
from harness.services.supervisor import Supervisor
from harness.services.valkey import valkey_running
from harness.settings import Settings

_FILE, _LOCK = "services.json", "services.lock"
_DATA = "postgres"  # the folder of the data: whoever runs a server on it holds its lock
_TRIAL, _DASHBOARD = "trial", "dashboard"  # locks of those who use a server that others run
_POLL_S = 0.5
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """``redis_url`` is None where there is none to be had. ``processes`` work for trials, though none started them."""

    database_url: str
    redis_url: str | None
    processes: tuple[int, ...]


@contextmanager
def shared_running(supervisor: Supervisor, results: Path, logs: Path, settings: Settings) -> Iterator[Shared]:
    """Up while the block runs. Trials are told of it, unless the database is elsewhere: then they have to be told of
    that, too. ServiceUnavailable, also while a trial with these results runs on a server of its own."""
    results.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_alone(results))
        data, log = results / (_DASHBOARD if settings.database_url else _DATA), logs / "postgres.log"
        server = postgres_running(supervisor, data=data, log=log, external_url=settings.database_url)
        postgres = stack.enter_context(server)
        redis_url: str | None = None
        valkey = valkey_running(supervisor, log=logs / "valkey.log", external_url=settings.redis_url)
        with suppress(ServiceUnavailable) if settings.redis_url is None else ExitStack():
            redis_url = stack.enter_context(valkey)
        pids = tuple(child.pid for child in supervisor.children)
        shared = Shared(database_url=postgres.url(postgres.home), redis_url=redis_url, processes=pids)
        if not settings.database_url:
            stack.enter_context(_told(results, shared))
        yield shared


def trial_uses(results: Path) -> bool:
    """Whether a trial is at work on a server that others run."""
    return in_use(results / _TRIAL)


def await_trial(results: Path, tell: Callable[[str], None]) -> None:
    """Until no trial with these results runs on a server of its own."""
    waiting = False
    while in_use(results / _DATA) and shared_services(results) is None:
        if not waiting:
            tell("a trial runs with these results: waiting for its end")
        waiting = True
        time.sleep(_POLL_S)


def shared_services(results: Path) -> Shared | None:
    """What is up for trials with these results; None: nothing is."""
    try:
        with (results / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        with suppress(FileNotFoundError):  # it is just being taken down
            told = json.loads((results / _FILE).read_bytes())
            return Shared(**{**told, "processes": tuple(told["processes"])})
    return None  # who held it is gone


@contextmanager
def trial_postgres(supervisor: Supervisor, results: Path, log: Path, settings: Settings) -> Iterator[Postgres]:
    """The server for one trial, or for its record: elsewhere, shared, or its own. One at a time for each folder."""
    shared = None if settings.database_url else shared_services(results)
    url = shared.database_url if shared else settings.database_url
    server = postgres_running(
        supervisor, data=results / (_TRIAL if url else _DATA), log=log, external_url=url, shared=shared is not None
    )
    with server as postgres:
        yield postgres


def watched_machine(results: Path, settings: Settings, now: Callable[[], float]) -> Machine | MemoryMachine:
    """Where a service that was not started by us runs here, its work for the app can't be told from that of others."""
    given = [url for url in (settings.database_url, settings.redis_url) if url]
    if any(map(on_this_machine, given)):
        return MemoryMachine()
    shared = shared_services(results)
    return Machine(now, roots=[os.getpid(), *(shared.processes if shared else ())])


@contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Held by one at a time. Who looks whether it is held holds it for a moment, too."""
    deadline_s = time.monotonic() + _PATIENCE_S
    with (results / _LOCK).open("ab") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    cure = "end that one, or use --results DIR"
                    raise ServiceUnavailable(f"another dashboard runs with {results}", cure=cure) from None
                time.sleep(0.05)
        (results / _FILE).unlink(missing_ok=True)  # of one that was killed
        yield


@contextmanager
def _told(results: Path, shared: Shared) -> Iterator[None]:
    """Call it with the lock held."""
    path = results / _FILE
    passing = path.with_name(f".{_FILE}.{os.getpid()}")
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(asdict(shared), file)
    passing.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
