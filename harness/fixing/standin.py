"""A local server that speaks Gemini's ``generateContent``, for demos and tests: no key, no cost, no network.

The real SDK talks to it. It is told what to answer, by ``python -m harness.fixing.standin --answer quota``
or by ``running([quota(), answer(fix)])``; it gives each answer once, in order, and repeats the last one.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal, cast

MAX_REQUEST_BYTES: Final = 20_000_000
TOKENS: Final = {"promptTokenCount": 1200, "candidatesTokenCount": 300, "thoughtsTokenCount": 150}

_ROUTE: Final = re.compile(r"/v1(?:beta)?/models/(?P<model>[\w.-]+):generateContent")
_SECRET_HEADERS: Final = frozenset({"x-goog-api-key", "authorization"})
_ABSTENTION: Final = {
    "root_cause": "the stand-in was told no answer",
    "remediation": "",
    "edits": [],
    "verification": [],
    "confidence": 0.0,
    "abstain": True,
}


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


def answer(reply: Mapping[str, Any] | str, *, finish: str = "STOP", model: str = "stand-in-001") -> Answer:
    """The model says this: an object, sent as JSON text, or a text as it is."""
    text = reply if isinstance(reply, str) else json.dumps(reply)
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish, "index": 0}
    return _json({"candidates": [candidate], "usageMetadata": TOKENS, "modelVersion": model})


def blocked(reason: str = "PROHIBITED_CONTENT") -> Answer:
    """The prompt is refused: no candidate."""
    return _json({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 1200}})


def quota(retry_after_s: int | None = 1) -> Answer:
    """429, with ``Retry-After`` where given."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", headers=headers)


def error(
    code: int, status: str, message: str, *, details: Sequence[object] = (), headers: Mapping[str, str] | None = None
) -> Answer:
    """An error as Google words it."""
    body = {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
    return _json(body, status=code, headers=headers or {})


def page(status: int = 200) -> Answer:
    """An HTML page, as a proxy in between sends it."""
    body = b"<!doctype html><title>Sign in to the network</title>"
    return Answer(body=body, status=status, headers={"Content-Type": "text/html"})


def hang() -> Answer:
    """No answer until the server ends."""
    return Answer(manner="hang")


def drop() -> Answer:
    """The connection is closed without a word."""
    return Answer(manner="drop")


def cut() -> Answer:
    """The connection is closed half-way through the body."""
    whole = answer(_ABSTENTION)
    return Answer(body=whole.body, headers=whole.headers, manner="cut")


NAMED: Final[Mapping[str, Callable[[], Answer]]] = {
    "abstain": lambda: answer(_ABSTENTION),
    "broken": lambda: answer('{"root_cause": 7}'),
    "blocked": blocked,
    "quota": quota,
    "unavailable": lambda: error(503, "UNAVAILABLE", "The model is overloaded."),
    "page": page,
    "hang": hang,
    "drop": drop,
    "cut": cut,
}


class Standin(ThreadingHTTPServer):
    """The running server. ``requests`` holds what was received so far, oldest first."""

    daemon_threads = True
    block_on_close = False  # a hanging request must not hold up the end

    def __init__(self, answers: Iterable[Answer], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Exchange)
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
                return answer(_ABSTENTION)
            return self._answers[0] if len(self._answers) == 1 else self._answers.popleft()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up waiting are part of the play; all else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed's own private type


@contextmanager
def running(answers: Iterable[Answer] = (), *, port: int = 0) -> Iterator[Standin]:
    """Serve on 127.0.0.1, port 0 for a free one. OSError when the port is taken."""
    with Standin(answers, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60.0

    def do_POST(self) -> None:
        server = cast(Standin, self.server)
        received = self._received()
        self._give(server.take(received) if isinstance(received, Request) else received, server)

    def do_GET(self) -> None:
        self._give(_NOT_FOUND, cast(Standin, self.server))

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the requests are recorded."""

    def _received(self) -> Request | Answer:
        """The request, or Google's answer to one that is wrong; then the connection ends, the body maybe unread."""
        path, length = self.path.partition("?")[0], self.headers.get("Content-Length", "")
        self.close_connection = True
        if not _ROUTE.fullmatch(path):
            return _NOT_FOUND
        if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
            return error(400, "INVALID_ARGUMENT", "A Content-Length within the limit is required.")
        if not self.headers.get("x-goog-api-key"):
            return error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            body = None
        if not isinstance(body, dict) or not body.get("contents"):
            return error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        self.close_connection = False
        headers = {key.lower(): value for key, value in self.headers.items() if key.lower() not in _SECRET_HEADERS}
        return Request(path=path, headers=headers, body=body)

    def _give(self, given: Answer, server: Standin) -> None:
        if given.manner == "hang":
            server.ending.wait()
        if given.manner in ("hang", "drop"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(given.status)
        for key, value in given.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(given.body)))
        self.end_headers()
        cut_off = given.manner == "cut"
        self.wfile.write(given.body[: len(given.body) // 2] if cut_off else given.body)
        self.close_connection = self.close_connection or cut_off


def _json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content_type = {"Content-Type": "application/json; charset=UTF-8"}
    return Answer(body=json.dumps(body).encode(), status=status, headers={**content_type, **(headers or {})})


_NOT_FOUND: Final = error(404, "NOT_FOUND", "Only POST /v1beta/models/<model>:generateContent is served.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; prints the address and how to point the fixer at it."""
    parser = argparse.ArgumentParser(prog="python -m harness.fixing.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    known = ", ".join(NAMED)
    parser.add_argument("--answer", action="append", default=[], help=f"a JSON file with a reply, or one of: {known}")
    options = parser.parse_args(arguments)
    answers = [NAMED[name]() if name in NAMED else answer(_read(parser, Path(name))) for name in options.answer]
    with running(answers, port=options.port) as server:
        print(f"GOOGLE_GEMINI_BASE_URL={server.url} GEMINI_API_KEY=any", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _read(parser: argparse.ArgumentParser, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        parser.error(f"{file}: {problem}")


if __name__ == "__main__":
    main()
