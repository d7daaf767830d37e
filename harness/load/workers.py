"""One load from several processes: ``load.workers``, by Locust's own master and workers.

The process that was started becomes the master, and its forks become workers, as by Locust's ``--processes``. Locust's
master would hand out closed-loop users; here each worker knows its share of the one schedule, and two messages do:

    loaded                      a worker to the master: I can send
    begin  {origin, cookies}    the master to all workers, when all have loaded and it has logged in

Every arrival is due from the one origin, and every worker appends its lines to the one file, both of which bind them to
one machine: CLOCK_MONOTONIC is that machine's, and so is the file. A line is one write at the end of the file, so none
gets into another. After ``begin`` nothing rests on a message: whoever else reaches the port, as an app on trial may,
changes nothing. When a worker ends, all ends: what the others send is not the load that was told. One that hangs is
told by the arrivals that do not come (generator.py).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gevent
import gevent.event
import gevent.os
import gevent.socket
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from harness.load.plan import Plan
from harness.load.samplefile import SampleFile
from harness.load.schedule import Share
from harness.load.user import OpenLoopUser, keep_still

_HOST = "127.0.0.1"
_LEAD_S = 0.2  # from "begin" to the origin: time enough to hear it, and what was late all the same shows as lag


def run_shared(plan: Plan) -> str:
    """Loads the target by ``plan.load.workers`` processes, until SIGTERM or the plan's bound.

    Returns what went wrong ("": nothing), to the master and to each worker that ends by itself.
    """
    keep_still()  # also: pages that no collection writes to stay common to all
    over = gevent.event.AsyncResult()
    heard, held = os.pipe()  # nothing is ever said by it: it closes with the master
    for number in range(plan.load.workers):
        share = Share(worker=number, of=plan.load.workers)
        if gevent.os.fork_and_watch(partial(_tell_end, over, share)) == 0:
            os.close(held)
            gevent.spawn(_end_with, heard)
            return _work(plan, share)
    return _lead(plan, over)


def _lead(plan: Plan, over: gevent.event.AsyncResult[str]) -> str:
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, over.set, "")
    environment = Environment()
    runner = environment.create_master_runner(_HOST, plan.port)
    with _closing(runner):
        loaded: dict[int, str] = {}
        all_loaded = gevent.event.Event()

        def hear(msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's Message
            loaded[msg.data["worker"]] = msg.node_id
            if len(loaded) == plan.load.workers:
                all_loaded.set()

        def begin() -> None:
            samples = SampleFile(plan.samples)
            user = OpenLoopUser(environment, plan, samples, Share())
            if error := user.log_in():
                over.set(error)
                return
            all_loaded.wait()
            origin = time.monotonic() + _LEAD_S
            samples.ready(origin)
            for worker in loaded.values():
                runner.send_message("begin", {"origin": origin, "cookies": user.cookies}, worker)

        runner.register_message("loaded", hear)
        gevent.spawn(begin).link_exception(over)
        over.wait(plan.max_seconds)
        return str(over.get()) if over.ready() else ""


def _work(plan: Plan, share: Share) -> str:
    environment = Environment()
    runner = environment.create_worker_runner(_HOST, plan.port)
    with _closing(runner):
        user = OpenLoopUser(environment, plan, SampleFile(plan.samples), share)
        begun = gevent.event.AsyncResult()
        runner.register_message("begin", lambda msg, **_: begun.set(msg.data))
        keep_still()
        runner.send_message("loaded", {"worker": share.worker})
        begin = begun.get()
        user.take(begin["cookies"])
        load = gevent.spawn(user.send, begin["origin"])
        gevent.wait([load, user.broken], count=1)
        if user.broken.ready():
            user.broken.get()
        return str(load.get())


def _tell_end(over: gevent.event.AsyncResult[str], share: Share, watcher: Any) -> None:  # noqa: ANN401 - gevent's
    code = os.waitstatus_to_exitcode(watcher.rstatus)
    over.set(f"worker {share.worker + 1} of {share.of} ended with code {code}")


def _end_with(pipe: int) -> None:
    gevent.socket.wait_read(pipe)
    os._exit(1)


@contextmanager
def _closing(runner: MasterRunner | WorkerRunner) -> Iterator[None]:
    """What is not sent yet when the block is left is not waited for."""
    try:
        yield
    finally:
        runner.greenlet.kill()
        socket = runner.server if isinstance(runner, MasterRunner) else runner.client
        socket.close(linger=0)  # type: ignore[no-untyped-call]  # Locust's
