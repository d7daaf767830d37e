"""The generator's own process, and the only place that imports Locust: ``python -m harness.load.locustfile PLAN``.

Importing Locust patches the whole process, so nothing else may live in it. Locust's users are closed-loop: one that
waits for a slow answer sends nothing, and so measures nothing of what others would have suffered. Here one user sends
every arrival at its intended start, from a greenlet of its own, however slow the answers are.

A user's own locustfile runs by Locust's command line, as its author wrote it; its ``request`` events are written down.
"""

from __future__ import annotations

import gc
import itertools
import json
import math
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
import gevent.event
from locust import FastHttpUser, events
from locust import main as locust_main
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, LocustBadStatusCode
from locust.env import Environment

from harness.load.connections import Connections
from harness.load.plan import Plan
from harness.load.schedule import Arrival, Call, fill, schedule
from harness.model.requests import Expect

_KILL_AFTER_S = 0.8  # of SIGTERM: a user's locustfile may take its time to stop; a trial doesn't wait for it


class SampleFile:
    """The lines described in samples.py, each on its way to the reader when its call returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)  # one write a line, and no wait for a flush

    def ready(self, at: float) -> None:
        self._write({"k": "ready", "at": at})

    def arrival(self, kind: str, number: int, route: str, due: float, lag: float) -> None:
        self._write({"k": kind, "n": number, "route": route, "due": due, "lag": lag})

    def done(self, number: int, status: int, end: float, error: str) -> None:
        self._write({"k": "done", "n": number, "status": status, "right": not error, "end": end, "error": error})

    def _write(self, line: Mapping[str, object]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


class OpenLoopUser(FastHttpUser):
    """All users of the target in one: a dispatcher, and a greenlet for each request in flight."""

    abstract = True  # never to be picked up by Locust's command line

    def __init__(self, environment: Environment, plan: Plan, samples: SampleFile) -> None:
        arrivals = plan.load.arrivals
        self.host = plan.url
        self.client_pool = Connections(
            concurrency=arrivals.max_in_flight,
            connection_timeout=arrivals.timeout_s,
            network_timeout=arrivals.timeout_s,
        )
        super().__init__(environment)
        self._plan = plan
        self._samples = samples
        self._expect = {route.name: route.expect for route in plan.load.routes}
        self._in_flight = 0
        self.broken = gevent.event.AsyncResult()

    def load(self) -> str:
        """Sends arrivals until it is killed. Returns only when the login fails, with the reason."""
        if error := self._log_in():
            return error
        gc.collect()
        gc.freeze()  # a full collection takes 50 ms over all that Locust brings: longer than a request may be late
        origin = time.monotonic()
        self._samples.ready(origin)
        for arrival in schedule(self._plan.load, self._plan.seed):
            due = origin + arrival.offset_s
            gevent.sleep(max(0.0, due - time.monotonic()))
            if self._in_flight < self._plan.load.arrivals.max_in_flight:
                self._in_flight += 1
                # a mistake of ours ends the load: it must not pass for one of the target
                gevent.spawn(self._send, arrival, due).link_exception(self.broken)
            else:
                lag = time.monotonic() - due
                self._samples.arrival("dropped", arrival.number, arrival.route, due, lag)
        return "the schedule ended"

    def _send(self, arrival: Arrival, due: float) -> None:
        try:
            self._samples.arrival("sent", arrival.number, arrival.route, due, time.monotonic() - due)
            status, error = self._request(arrival.route, arrival.call, self._expect[arrival.route])
            self._samples.done(arrival.number, status, time.monotonic(), error)
        finally:
            self._in_flight -= 1

    def _request(self, name: str, call: Call, expect: Expect) -> tuple[int, str]:
        """The status (0: no answer) and what was wrong with the answer ("": nothing). Never waits past the time-out."""
        # Redirects are followed as a browser would, unless the redirect is the expected answer.
        # Locust's allow_redirects is no way to say so: it changes a setting that all requests in flight share.
        redirects = 0 if any(300 <= status < 400 for status in expect.status) else self.max_redirects
        timeout = gevent.Timeout(self._plan.load.arrivals.timeout_s)
        too_late = f"no answer within {timeout.seconds:g} s"
        try:
            with (
                timeout,
                self.client.request(
                    call.method,
                    call.path,
                    name=name,
                    json=call.json_body,
                    headers={"Accept-Encoding": "gzip, deflate", **call.headers},  # Locust's default asks for more
                    max_redirects=redirects,
                    catch_response=True,
                ) as response,
            ):
                error = _mistake(response, expect) if timeout.pending else too_late
                if error:
                    response.failure(error)
                else:
                    response.success()
                return int(response.status_code), error
        except gevent.Timeout:
            return 0, too_late
        except (*FAILURE_EXCEPTIONS, ValueError) as problem:  # ValueError: an answer in an unknown encoding
            return 0, f"no answer: {problem!r}"

    def _log_in(self) -> str:
        login = self._plan.load.login
        if login is None:
            return ""
        call = fill(login, self._plan.load.variables, random.Random(f"{self._plan.seed}/login"))  # noqa: S311 - no secret
        _, error = self._request("login", call, Expect(status=tuple(range(200, 300))))
        return f"the login {login.request!r} at {self._plan.url} failed: {error}" if error else ""


def _mistake(response: Any, expect: Expect) -> str:  # noqa: ANN401 - Locust publishes no types
    broken = response.request_meta["exception"]
    if broken is not None and not isinstance(broken, LocustBadStatusCode):  # no answer, or a part of one
        return f"no answer: {broken}"
    if response.status_code not in expect.status:
        return f"status {response.status_code}"
    if expect.contains is not None and expect.contains.encode() not in response.content:
        return f"the answer lacks {expect.contains!r}"
    return ""


def run_open_loop(plan: Plan) -> str:
    """Loads the target until SIGTERM or the plan's bound. Returns what went wrong, if anything did."""
    stop = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    user = OpenLoopUser(Environment(), plan, SampleFile(plan.samples))
    load = gevent.spawn(user.load)
    gevent.wait([load, stop, user.broken], timeout=plan.max_seconds, count=1)
    if user.broken.ready():
        user.broken.get()
    return str(load.get()) if load.ready() else ""


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
    elif error := run_open_loop(plan):
        sys.exit(error)


if __name__ == "__main__":
    main()
