"""All users of the target in one. Part of the generator's own process: importing Locust patches it."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Mapping, Sequence
from http.cookiejar import Cookie
from typing import Any

import gevent
import gevent.event
from locust import FastHttpUser
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, LocustBadStatusCode
from locust.env import Environment

from harness.load.connections import Connections
from harness.load.plan import Plan
from harness.load.samplefile import SampleFile
from harness.load.schedule import Arrival, Call, Share, fill
from harness.model.requests import Expect


class OpenLoopUser(FastHttpUser):
    """A dispatcher of its share of the arrivals, and a greenlet for each request in flight."""

    abstract = True  # never to be picked up by Locust's command line

    def __init__(self, environment: Environment, plan: Plan, samples: SampleFile, share: Share) -> None:
        arrivals = plan.load.arrivals
        self._most_in_flight = share.part_of(arrivals.max_in_flight)
        self.host = plan.url
        self.client_pool = Connections(
            concurrency=self._most_in_flight,
            connection_timeout=arrivals.timeout_s,
            network_timeout=arrivals.timeout_s,
        )
        super().__init__(environment)
        self._plan = plan
        self._samples = samples
        self._share = share
        self._expect = {route.name: route.expect for route in plan.load.routes}
        self._in_flight = 0
        self.broken = gevent.event.AsyncResult()

    def log_in(self) -> str:
        """Sends the login, if there is one, and keeps its cookies. Returns what went wrong ("": nothing)."""
        login = self._plan.load.login
        if login is None:
            return ""
        call = fill(login, self._plan.load.variables, random.Random(f"{self._plan.seed}/login"))  # noqa: S311 - no secret
        _, error = self._request("login", call, Expect(status=tuple(range(200, 300))))
        return f"the login {login.request!r} at {self._plan.url} failed: {error}" if error else ""

    @property
    def cookies(self) -> list[dict[str, Any]]:
        """As plain values, for another process's user to ``take``."""
        return [vars(cookie) for cookie in self.client.cookiejar]

    def take(self, cookies: Sequence[Mapping[str, Any]]) -> None:
        for cookie in cookies:
            fields = dict(cookie)
            self.client.cookiejar.set_cookie(Cookie(rest=fields.pop("_rest"), **fields))

    def send(self, origin: float) -> str:
        """Sends its arrivals, due since ``origin`` in CLOCK_MONOTONIC seconds, until it is killed."""
        for arrival in self._share.arrivals(self._plan.load, self._plan.seed):
            due = origin + arrival.offset_s
            gevent.sleep(max(0.0, due - time.monotonic()))
            if self._in_flight < self._most_in_flight:
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


def _mistake(response: Any, expect: Expect) -> str:  # noqa: ANN401 - Locust publishes no types
    broken = response.request_meta["exception"]
    if broken is not None and not isinstance(broken, LocustBadStatusCode):  # no answer, or a part of one
        return f"no answer: {broken}"
    if response.status_code not in expect.status:
        return f"status {response.status_code}"
    if expect.contains is not None and expect.contains.encode() not in response.content:
        return f"the answer lacks {expect.contains!r}"
    return ""


def keep_still() -> None:
    """Leaves all that Locust brings out of full collections: over it, one takes longer than a request may be late."""
    gc.collect()
    gc.freeze()
