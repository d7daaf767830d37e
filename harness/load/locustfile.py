"""The generator's own process: ``python -m harness.load.locustfile PLAN``.

Importing Locust patches the whole process, so nothing else may live in it, and only what runs in it (this, user.py and
workers.py) imports Locust. Locust's users are closed-loop: one that waits for a slow answer sends nothing, and so
measures nothing of what others would have suffered. Here one user sends every arrival at its intended start, from a
greenlet of its own, however slow the answers are; or several do, each its share, in a process each.

A user's own locustfile runs by Locust's command line, as its author wrote it; its ``request`` events are written down.
"""

from __future__ import annotations

import itertools
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path

import gevent
import gevent.event
from locust import events
from locust import main as locust_main
from locust.env import Environment

from harness.load.plan import Plan
from harness.load.samplefile import SampleFile
from harness.load.schedule import Share
from harness.load.user import OpenLoopUser, keep_still
from harness.load.workers import run_shared

_KILL_AFTER_S = 0.8  # of SIGTERM: a user's locustfile may take its time to stop; a trial doesn't wait for it


def run_open_loop(plan: Plan) -> str:
    """Loads the target until SIGTERM or the plan's bound. Returns what went wrong, if anything did."""
    stop = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    samples = SampleFile(plan.samples)
    user = OpenLoopUser(Environment(), plan, samples, Share())
    load = gevent.spawn(_logged_in_and_sent, user, samples)
    gevent.wait([load, stop, user.broken], timeout=plan.max_seconds, count=1)
    if user.broken.ready():
        user.broken.get()
    return str(load.get()) if load.ready() else ""


def _logged_in_and_sent(user: OpenLoopUser, samples: SampleFile) -> str:
    if error := user.log_in():
        return error
    keep_still()
    origin = time.monotonic()
    samples.ready(origin)
    return user.send(origin)


def run_locustfile(plan: Plan) -> None:
    """Runs the user's own locustfile with ``rate`` users: ``wait_time = constant_throughput(1)`` makes that a rate."""
    samples = SampleFile(plan.samples)
    numbers = itertools.count()

    def write(
        name: str, response_time: float | None, exception: object, start_time: float | None = None, **rest: object
    ) -> None:
        """A listener of Locust's ``request`` event, which comes when a request has ended."""
        now, number, took_s = time.monotonic(), next(numbers), (response_time or 0.0) / 1000
        due = now - took_s if start_time is None else now - (time.time() - start_time)
        samples.arrival("sent", number, name, due, 0.0)
        status = getattr(rest.get("response"), "status_code", 0) or 0
        samples.done(number, status, due + took_s, str(exception) if exception else "")

    events.request.add_listener(write)  # type: ignore[no-untyped-call]  # Locust's
    events.test_start.add_listener(lambda **_: samples.ready(time.monotonic()))  # type: ignore[no-untyped-call]  # Locust's
    gevent.signal_handler(signal.SIGTERM, lambda: gevent.spawn_later(_KILL_AFTER_S, os._exit, 0))
    users = min(math.ceil(plan.load.arrivals.rate), plan.load.arrivals.max_in_flight)
    sys.argv[1:] = ["-f", str(plan.locustfile), "--headless", "--host", plan.url, "--only-summary"]
    sys.argv += ["--users", str(users), "--spawn-rate", str(users), "--run-time", f"{math.ceil(plan.max_seconds)}s"]
    locust_main.main()  # type: ignore[no-untyped-call]  # Locust's


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # running out of files would look like a failing target
    plan = Plan.read(Path(sys.argv[1]))
    if plan.locustfile:
        run_locustfile(plan)
    elif error := run_shared(plan) if plan.load.workers > 1 else run_open_loop(plan):
        sys.exit(error)


if __name__ == "__main__":
    main()
