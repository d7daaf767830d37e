"""The fault that is a request, sent again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

from harness.faults.trigger import HttpTrigger
from harness.model.faults import HttpFault
from harness.model.source import Endpoints
from harness.services.loopback import free_port

DEADLINE_S = 20.0


@dataclass
class Site:
    """Answers the trigger as it is told; ``status`` may be changed while it runs."""

    status: int = 500
    asked: list[tuple[str, object]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    held: bool = False
    endpoints: Endpoints = field(init=False)

    def answer(self) -> ResponseReturnValue:
        self.asked.append((request.full_path, request.get_json(silent=True)))
        if self.held:
            self.released.wait(DEADLINE_S)
        return "", self.status

    def wait_for(self, count: int) -> None:
        wanted = len(self.asked) + count
        until(lambda: len(self.asked) >= wanted)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, "still not so after the deadline"
        time.sleep(0.01)


@pytest.fixture
def site() -> Iterator[Site]:
    with served() as made:
        yield made


@contextmanager
def served() -> Iterator[Site]:
    site, app = Site(), Flask(__name__)
    app.add_url_rule("/fault", view_func=site.answer, methods=["POST"])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    site.endpoints = Endpoints(url=f"http://127.0.0.1:{server.port}", upstreams={})
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def trigger(
    rate: float = 50,
    request: str = "POST /fault?n=1",
    waiting: Callable[[str], int] = lambda event: 0,
    **others: object,
) -> HttpTrigger:
    spec = HttpFault.model_validate({"action": "http", "request": request, "rate": rate, **others})
    return HttpTrigger(spec, waiting)


def test_it_sends_the_request_with_its_body_at_its_rate(site: Site) -> None:
    with trigger(rate=100, json={"size": 3}).active(site.endpoints):
        started = time.monotonic()
        site.wait_for(50)
        seconds = time.monotonic() - started
    assert set(map(repr, site.asked)) == {repr(("/fault?n=1", {"size": 3}))}
    assert seconds > 0.4, "no faster than it should"


def test_each_request_comes_by_a_connection_of_its_own_and_so_to_any_of_the_workers() -> None:
    ports: list[int] = []

    class KeepsConnections(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            ports.append(self.client_address[1])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), KeepsConnections) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with trigger(rate=50).active(Endpoints(url=f"http://127.0.0.1:{server.server_port}", upstreams={})):
            until(lambda: len(ports) >= 10)
        server.shutdown()
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("status", [200, 302, 400, 429, 500, 503])
def test_whatever_the_route_answers_the_fault_is_on(site: Site, status: int) -> None:
    site.status = status
    with trigger().active(site.endpoints) as active:
        site.wait_for(5)
        until(lambda: str(status) in active.check().evidence)
        result = active.check()
    assert result.passed and f"x {status}" in result.evidence
    assert result.name == "fault still on (POST /fault?n=1)"


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
def test_a_route_that_was_removed_or_barred_is_no_fault_however_well_it_worked_before(site: Site, status: int) -> None:
    with trigger(rate=100).active(site.endpoints) as active:
        site.wait_for(30)
        assert active.check().passed
        site.status = status
        until(lambda: not active.check().passed)
        assert f"x {status}" in active.check().evidence


def test_a_request_that_is_still_waiting_counts_as_on_and_the_rest_are_sent_all_the_same(site: Site) -> None:
    site.held = True
    with trigger(rate=200).active(site.endpoints) as active:
        until(lambda: len(site.asked) >= 64)
        until(lambda: "not sent" in active.check().evidence)
        result = active.check()
        assert result.passed and "64 x no answer yet" in result.evidence
        assert len(site.asked) == 64, "no more are in flight at once"
        site.released.set()
        site.wait_for(10)


def test_a_dead_app_is_told(site: Site) -> None:
    with trigger().active(Endpoints(url=f"http://127.0.0.1:{free_port()}", upstreams={})) as active:
        until(lambda: "ConnectError" in active.check().evidence)


def test_a_rare_trigger_is_believed_between_two_of_its_requests(site: Site) -> None:
    """At one in five seconds, what was sent last is older than the usual three."""
    with trigger(rate=0.2).active(site.endpoints) as active:
        until(lambda: bool(site.asked))
        assert "in the last 10 s: " in active.check().evidence and active.check().passed


def test_looking_while_answers_come_in_is_safe(site: Site) -> None:
    with trigger(rate=200).active(site.endpoints) as active:
        end = time.monotonic() + 0.5
        looks = 0
        while time.monotonic() < end:
            active.check()
            looks += 1
    assert looks > 20


def test_after_the_block_nothing_more_is_sent(site: Site) -> None:
    with trigger(rate=200).active(site.endpoints):
        site.wait_for(20)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("fault")])
    sent = len(site.asked)
    site.status = 200
    time.sleep(0.1)  # twenty more would have come by now
    assert len(site.asked) == sent


def test_leaving_does_not_wait_for_answers(site: Site) -> None:
    site.held = True
    with trigger(rate=100).active(site.endpoints):
        site.wait_for(5)
        started = time.monotonic()
    assert time.monotonic() - started < DEADLINE_S / 4, "the site holds them for longer"


def test_a_trigger_that_shows_in_the_database_is_believed_only_while_it_is_seen_there(site: Site) -> None:
    """Answers can be made up; which connections wait for what is PostgreSQL's own word."""
    asked: list[str] = []
    sleeping = 3

    def waiting(event: str) -> int:
        asked.append(event)
        return sleeping

    with trigger(waiting=waiting, seen="PgSleep").active(site.endpoints) as active:
        until(lambda: active.check().passed)
        assert "connections in PgSleep in " in active.check().evidence
        sleeping = 0
        until(lambda: not active.check().passed)
        assert " x 500" in active.check().evidence, "the route goes on answering"
    assert set(asked) == {"PgSleep"}
