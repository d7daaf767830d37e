"""A request that hurts, sent again and again whatever the answers: open loop, like the users' load."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from harness.model.faults import HttpFault
from harness.model.requests import request_parts
from harness.model.source import Endpoints
from harness.model.verdict import CheckResult

_IN_FLIGHT = 64
_TIMEOUT_S = 10.0
_RECENT_S = 3.0  # less than any recovery takes: what the release before a fix answered does not count
_GONE = frozenset({401, 403, 404, 405, 410})  # the route was removed or barred: the fault is not on, it was deleted


_LOOK_S = 0.1
_SEEN_SHARE = 0.2  # of the looks at the database: less is a trigger that only pretends


class HttpTrigger:
    """Implements ``ports.Fault`` by sending ``spec.request`` at ``spec.rate`` a second.

    ``waiting`` tells how many of the app's connections wait for an event of PostgreSQL now, as PostgreSQL sees it.
    """

    def __init__(self, spec: HttpFault, waiting: Callable[[str], int]) -> None:
        self.kind = f"http {spec.request}"
        self._spec, self._waiting = spec, waiting

    @contextmanager
    def active(self, endpoints: Endpoints) -> Iterator[_Sending]:
        sending = _Sending(self._spec, endpoints.url, self._waiting)
        sending.start()
        try:
            yield sending
        finally:
            sending.stop()


@dataclass(slots=True)
class _Shot:
    sent_s: float
    answer: int | str = "no answer yet"


class _Sending:
    def __init__(self, spec: HttpFault, url: str, waiting: Callable[[str], int]) -> None:
        self._spec, self._url, self._waiting = spec, url, waiting
        self._method, self._path = request_parts(spec.request)
        self._stopping = threading.Event()
        self._shots: deque[_Shot] = deque(maxlen=1000)
        self._recent_s = max(_RECENT_S, 2 / spec.rate)
        self._looks: deque[tuple[float, int]] = deque(maxlen=1000)
        self._threads = [threading.Thread(target=self._send_all, name="fault-trigger", daemon=True)]
        if spec.seen:
            self._threads.append(threading.Thread(target=self._look_on, args=(spec.seen,), daemon=True))
        self._slots = threading.BoundedSemaphore(_IN_FLIGHT)
        self._pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="fault")
        # each is another visitor's: kept connections would lead all of them to the same one of the app's workers
        limits = httpx.Limits(max_connections=_IN_FLIGHT, max_keepalive_connections=0)
        self._client = httpx.Client(timeout=_TIMEOUT_S, limits=limits, trust_env=False)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)
        # what is in flight ends with its answer, its time-out or the app; to close the client before would hang it
        threading.Thread(target=self._close, name="fault-end", daemon=True).start()

    def _close(self) -> None:
        self._pool.shutdown()
        self._client.close()

    def check(self) -> CheckResult:
        """On: what was sent in the last seconds reached the route, whatever came of it, a time-out included.

        Where the fault shows in the database, it must be seen there too: an answer alone can be made up.
        """
        since_s = time.monotonic() - self._recent_s
        recent = [shot.answer for shot in tuple(self._shots) if shot.sent_s >= since_s]  # others append meanwhile
        counts = ", ".join(f"{recent.count(what)} x {what}" for what in sorted(set(recent), key=str)) or "none"
        seen, told = self._seen_since(since_s)
        return CheckResult(
            name=f"fault still on ({self._spec.request})",
            passed=bool(recent) and _GONE.isdisjoint(recent) and seen,
            evidence=f"answers to what was sent in the last {self._recent_s:g} s: {counts}{told}",
        )

    def _seen_since(self, since_s: float) -> tuple[bool, str]:
        if not self._spec.seen:
            return True, ""
        looks = [count for at_s, count in tuple(self._looks) if at_s >= since_s]
        found = sum(count > 0 for count in looks)
        told = f"; the database had connections in {self._spec.seen} in {found} of {len(looks)} looks"
        return bool(looks) and found >= _SEEN_SHARE * len(looks), told

    def _look_on(self, event: str) -> None:
        while not self._stopping.wait(_LOOK_S):
            self._looks.append((time.monotonic(), self._waiting(event)))

    def _send_all(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due += 1.0 / self._spec.rate
            shot = _Shot(time.monotonic())
            self._shots.append(shot)
            if self._slots.acquire(blocking=False):
                self._pool.submit(self._send, shot)
            else:
                shot.answer = f"not sent, {_IN_FLIGHT} wait for an answer"  # the app is drowned already

    def _send(self, shot: _Shot) -> None:
        try:
            answer = self._client.request(
                self._method, self._url + self._path, json=self._spec.json_body, headers=self._spec.headers
            )
            shot.answer = answer.status_code
        except httpx.HTTPError as error:
            shot.answer = type(error).__name__
        finally:
            self._slots.release()
