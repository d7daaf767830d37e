"""The server beneath the stand-ins: it records requests and gives each answer once, in order, then the last again."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, cast

MAX_REQUEST_BYTES: Final = 20_000_000
KEY: Final = "<the key>"  # in an answer's body: there the server puts the key that it was given
PAGE: Final = b"<!doctype html><title>Sign in to the network</title>"
_SECRET_HEADERS: Final = frozenset({"x-goog-api-key", "authorization"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response, or a way of not giving one."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    manner: Literal["whole", "cut", "hang", "drop"] = "whole"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent, without its credentials."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What differs between the stand-ins. ``key`` takes the credentials out of the headers; empty: none was given."""

    route: re.Pattern[str]
    needs: str  # a key that a request's body must have
    key: Callable[[Mapping[str, str]], str]
    keyless: bool  # whether it answers without one
    error: Callable[[int, str], Answer]
    silence: Answer  # where it was told no answer


class Standin(ThreadingHTTPServer):
    """The running server. ``requests`` holds what was received so far, oldest first."""

    daemon_threads = True
    block_on_close = False  # a hanging request must not hold up the end

    def __init__(self, dialect: Dialect, answers: Iterable[Answer], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Exchange)
        self.dialect = dialect
        self.requests: list[Request] = []
        self.ending = threading.Event()
        self._answers = deque(answers)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, request: Request) -> Answer:
        """Record the request and choose its answer."""
        with self._lock:
            self.requests.append(request)
            if not self._answers:
                return self.dialect.silence
            return self._answers[0] if len(self._answers) == 1 else self._answers.popleft()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up waiting are part of the play; all else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed's own private type


@contextmanager
def running(dialect: Dialect, answers: Iterable[Answer] = (), *, port: int = 0) -> Iterator[Standin]:
    """Serve on 127.0.0.1, port 0 for a free one. OSError when the port is taken."""
    with Standin(dialect, answers, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()


def as_json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content_type = {"Content-Type": "application/json; charset=UTF-8"}
    return Answer(body=json.dumps(body).encode(), status=status, headers={**content_type, **(headers or {})})


def page(status: int = 200) -> Answer:
    """An HTML page, as a proxy in between sends it."""
    return Answer(body=PAGE, status=status, headers={"Content-Type": "text/html"})


def hang() -> Answer:
    """No answer until the server ends."""
    return Answer(manner="hang")


def drop() -> Answer:
    """The connection is closed without a word."""
    return Answer(manner="drop")


def cut(whole: Answer) -> Answer:
    """The connection is closed half-way through the body."""
    return Answer(body=whole.body, headers=whole.headers, manner="cut")


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60.0

    def do_POST(self) -> None:
        server = cast(Standin, self.server)
        received = self._received(server.dialect)
        self._give(server.take(received) if isinstance(received, Request) else received, server)

    def do_GET(self) -> None:
        server = cast(Standin, self.server)
        self._give(server.dialect.error(404, "Only POST is served."), server)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the requests are recorded."""

    def _headers(self) -> dict[str, str]:
        return {key.lower(): value for key, value in self.headers.items()}

    def _received(self, dialect: Dialect) -> Request | Answer:
        """The request, or the answer to one that is wrong; then the connection ends, the body maybe unread."""
        path, length = self.path.partition("?")[0], self.headers.get("Content-Length", "")
        self.close_connection = True
        if not dialect.route.fullmatch(path):
            return dialect.error(404, f"Only POST {dialect.route.pattern} is served.")
        if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
            return dialect.error(400, "A Content-Length within the limit is required.")
        headers = self._headers()
        if not dialect.keyless and not dialect.key(headers):
            return dialect.error(403, "A key is required.")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not body.get(dialect.needs):
            return dialect.error(400, "Invalid JSON payload received.")
        self.close_connection = False
        shown = {key: value for key, value in headers.items() if key not in _SECRET_HEADERS}
        return Request(path=path, headers=shown, body=body)

    def _give(self, given: Answer, server: Standin) -> None:
        if given.manner == "hang":
            server.ending.wait()
        if given.manner in ("hang", "drop"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = given.body.replace(KEY.encode(), server.dialect.key(self._headers()).encode())
        self.send_response(given.status)
        for key, value in given.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut_off = given.manner == "cut"
        self.wfile.write(body[: len(body) // 2] if cut_off else body)
        self.close_connection = self.close_connection or cut_off
