"""Where the trials of a sweep run: on this machine, or on all that a Dask scheduler knows.

One trial at a time on each, unless it was measured that this one bears more.

See https://distributed.dask.org/en/stable/resources.html: a worker that may run trials was started with
``--resources trial=1``, in a checkout of the same version.
"""

from __future__ import annotations

import fcntl
import io
import logging
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, MeasurementError
from harness.experiment.lanes import Lane, lane_folder
from harness.experiment.plan import Cell
from harness.loading import load_scenario

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster

SLOT = "trial"
_CONNECT_S = 20.0
_LOOK_S = 2.0  # after so long it is asked anew how many machines there are
_MOST_BYTES = 50_000_000  # of a trial's folder that is fetched from another machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One trial, as a machine is told. Paths count from where its harness runs; ``mark`` is a file of the sweep's.

    ``lane`` is a number from 1 where trials run side by side, each in a folder of its own in ``results``; 0: alone.
    """

    cell: Cell
    id: str
    scenario: str
    scenario_hash: str
    results: str
    mark: str
    lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """``packed`` is the trial's folder as a tar file, where it is on another machine."""

    verdict: dict[str, Any]
    wall_s: float
    packed: bytes = b""


class Machines:
    """An open Dask client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def slots(self) -> int:
        """How many trials may run at once just now: workers join and leave."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["resources"].get(SLOT, 0)) for worker in workers)

    def begin(self, order: Order) -> Future[Done]:
        """``run`` on a machine that is free, or becomes free."""
        return self._client.submit(run, order, key=order.id, resources={SLOT: 1}, retries=0, pure=False)

    def ended(self, running: Sequence[Future[Done]]) -> list[Future[Done]]:
        """All that have ended; waits a moment for the first, and may come back without one."""
        from distributed import wait  # noqa: PLC0415 - takes a second to import

        with self._client.as_current(), suppress(TimeoutError):
            return list(wait(running, _LOOK_S, "FIRST_COMPLETED").done)  # type: ignore[no-untyped-call] # of Dask
        return []

    def stop(self) -> None:
        """Trials that run are interrupted, and say so in their journals."""
        with suppress(Exception):  # a scheduler that is gone has nothing to stop
            self._client.run(stop_all)


@contextmanager
def machines(scheduler: str | None, slots: int = 1) -> Iterator[Machines]:
    """Those that the ``scheduler`` knows; without one this machine, with ``slots``. InputError where none answers."""
    from distributed import Client  # noqa: PLC0415 - takes a second to import

    if scheduler:
        try:
            client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call] # same
        except (OSError, ValueError) as error:
            cure = "start it: dask scheduler; its address is tcp://HOST:8786"
            raise InputError(f"no scheduler answers at {scheduler}: {error}", cure=cure) from None
        with client:
            yield Machines(client)
        return
    with _here(slots) as local, Client(local, set_as_default=False) as client:  # type: ignore[no-untyped-call] # the same
        yield Machines(client)


@contextmanager
def _here(slots: int) -> Iterator[SpecCluster]:
    """Scheduler and one worker as threads of this process. Nobody else can reach them."""
    import dask  # noqa: PLC0415 - the same
    from distributed import Scheduler, SpecCluster, Worker  # noqa: PLC0415 - the same

    silent: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
    shared = {"protocol": "inproc", "dashboard": False, "dashboard_address": "127.0.0.1:0"}  # it listens anyway
    options = {**shared, "nthreads": slots, "resources": {SLOT: slots}, "memory_limit": 0}
    one = {"cls": Worker, "options": options}  # not one for each slot: trials are told to stop once a worker
    with dask.config.set(silent):
        cluster = SpecCluster(  # type: ignore[no-untyped-call] # the same
            scheduler={"cls": Scheduler, "options": {**shared, "port": 0}},
            workers={0: one},
            worker=one,
            silence_logs=logging.CRITICAL,
        )
        with cluster:
            yield cluster


_running: dict[str, Lane] = {}
_lock = threading.Lock()


def run(order: Order) -> Done:
    """On the machine that is to do it. MeasurementError where its checkout has another scenario, or gave no verdict."""
    try:
        loaded = load_scenario(Path(order.scenario))
    except InputError as error:
        raise MeasurementError(f"here, {error.message}", cure=error.cure) from None
    if loaded.hash != order.scenario_hash:
        cure = "check the same commit out on every machine"
        raise MeasurementError(f"here, {order.scenario} is another version of the scenario", cure=cure)
    results, cell = Path(order.results), order.cell
    lane = Lane(results=lane_folder(results, order.lane))
    words = [order.scenario, "--fixer", cell.arm.fixer, "--retriever", cell.arm.retriever, "--seed", str(cell.seed)]
    with _lock:
        _running[order.id] = lane
    try:
        with _turn(results, alone=not order.lane), _brought(lane.results / order.id, results):
            started = time.monotonic()
            ran = lane.run(*words, "--id", order.id, "--no-track")
    finally:
        with _lock:
            del _running[order.id]
    elsewhere = not Path(order.mark).exists()
    packed = _packed(results / order.id) if elsewhere else b""
    return Done(verdict=ran.verdict, wall_s=time.monotonic() - started, packed=packed)


@contextmanager
def _turn(results: Path, *, alone: bool) -> Iterator[None]:
    """Two workers on one machine take turns: trials side by side would be measured by one another.

    Not ``alone`` are those of one worker, where that was measured.
    """
    results.mkdir(parents=True, exist_ok=True)
    with (results / ".machine.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@contextmanager
def _brought(trial: Path, results: Path) -> Iterator[None]:
    """The trial's folder lies in ``results`` once its process has ended, however that ended."""
    try:
        yield
    finally:
        bring(trial, results)


def bring(trial: Path, results: Path) -> Path:
    """The folder of a trial that has ended, out of its lane into ``results``, where it may be already."""
    there = results / trial.name
    if trial != there and trial.exists():
        trial.rename(there)
    return there


def stop_all() -> None:
    """On each machine."""
    with _lock:
        lanes = list(_running.values())
    for lane in lanes:
        lane.stop()


def _packed(folder: Path) -> bytes:
    """The folder, without what is too large: journals first."""
    made, left = io.BytesIO(), _MOST_BYTES
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: len(path.parts))
        for path in files:
            if path.stat().st_size <= left and not path.is_symlink():
                left -= path.stat().st_size
                tar.add(path, path.relative_to(folder.parent))
    return made.getvalue()


def unpack(packed: bytes, results: Path) -> None:
    """What came from another machine; no name leads out of ``results``."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        tar.extractall(results, filter="data")
