"""A local AWS Lambda with one function, for demos and tests: no account, no cost, no network.

It speaks Invoke, so that boto3 can call it (``AWS_ENDPOINT_URL_LAMBDA``), and the Runtime API, from which AWS's own
runtime client ``awslambdaric`` takes the invocations, in a process of its own, as on Lambda
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). One invocation at a time; past its time the process is
killed, and the next invocation starts a new one. On 127.0.0.1 only. A signature is asked for, and not checked.
"""

from __future__ import annotations

import json
import queue
import re
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, cast

from harness.services.supervisor import Child, Supervisor

HANDLER: Final = "harness.aws.lambda_handler.handler"
FUNCTION: Final = "fixer"
MAX_REQUEST_BYTES: Final = {"RequestResponse": 6_291_456, "Event": 1_048_576}

_ARN: Final = f"arn:aws:lambda:eu-central-1:000000000000:function:{FUNCTION}"
_INVOKE: Final = re.compile(r"/2015-03-31/functions/(?P<name>[^/]+)/invocations")
_RUNTIME: Final = "/2018-06-01/runtime"
_DONE: Final = re.compile(rf"{_RUNTIME}/invocation/(?P<id>[^/]+)/(?P<how>response|error)")
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How an invocation is turned down before the function sees it."""

    status: int
    code: str
    message: str = "told to refuse"
    retry_after_s: int | None = None


@dataclass(slots=True, kw_only=True)
class Invocation:
    """``payload`` is the event; once ``ended`` is set, ``result`` is what came of it, ``failed``: an error object."""

    payload: bytes
    deadline_s: float = 0.0  # Unix time
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: bytes = b""
    failed: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def end(self, result: bytes, *, failed: bool) -> None:
        """The first outcome counts."""
        if not self.ended.is_set():
            self.result, self.failed = result, failed
            self.ended.set()


class Standin(ThreadingHTTPServer):
    """The running server. ``invocations`` holds all that were accepted so far, oldest first."""

    daemon_threads = True
    block_on_close = False  # the runtime waits for its next invocation without an end

    def __init__(self, timeout_s: float, refusals: Iterable[Refusal]) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.refusals = deque(refusals)
        self.invocations: list[Invocation] = []
        self.waiting: queue.Queue[Invocation | None] = queue.Queue()  # None: there will be no more
        self.init_error = b""
        self.start: Callable[[], Child] | None = None  # a new process of the function
        self._timeout_s = timeout_s
        self._child: Child | None = None
        self._one = threading.Lock()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def run(self, invocation: Invocation) -> None:
        """Have the function do it; returns when that has ended, one way or another."""
        with self._one:
            if self.start and (self._child is None or not self._child.running()):
                self.waiting = queue.Queue()  # a dead runtime may still stand in line at the old one
                self._child = self.start()
            invocation.deadline_s = time.time() + self._timeout_s
            self.waiting.put(invocation)
            while not invocation.ended.wait(_POLL_S):
                if self._child and not self._child.running():
                    exited = _error("Runtime.ExitError", f"RequestId: {invocation.id} Error: Runtime exited")
                    invocation.end(self.init_error or exited, failed=True)
                elif time.time() > invocation.deadline_s:
                    late = f"RequestId: {invocation.id} Error: Task timed out after {self._timeout_s:.2f} seconds"
                    invocation.end(_error("Sandbox.Timedout", late), failed=True)
                    if self._child:
                        self._child.stop()

    def handle_error(self, request: object, client_address: object) -> None:
        """A killed runtime and a client that gives up are part of the play; all else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed's own private type


@contextmanager
def running(
    *,
    env: Mapping[str, str],
    log: Path,
    handler: str = HANDLER,
    cwd: Path | None = None,
    timeout_s: float = 30.0,
    refusals: Iterable[Refusal] = (),
) -> Iterator[Standin]:
    """Serve. The function is ``handler``, imported from ``cwd``, with ``env`` as its environment."""
    with Standin(timeout_s, refusals) as server, Supervisor() as supervisor:
        given = {**env, "AWS_LAMBDA_RUNTIME_API": server.address, "AWS_LAMBDA_FUNCTION_NAME": FUNCTION}
        command = [sys.executable, "-m", "awslambdaric", handler]
        server.start = lambda: supervisor.start(
            "function", command, env=given, cwd=cwd or Path.cwd(), log=log, stop_timeout_s=0.0
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.waiting.put(None)
            server.shutdown()
            thread.join()


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60.0

    def do_GET(self) -> None:
        server = cast(Standin, self.server)
        if self.path != f"{_RUNTIME}/invocation/next":
            return self._give(404, b"")
        invocation = server.waiting.get()
        if invocation is None:
            self.close_connection = True
            return None
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(round(invocation.deadline_s * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": _ARN,
        }
        return self._give(200, invocation.payload, headers)

    def do_POST(self) -> None:
        server = cast(Standin, self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if done := _DONE.fullmatch(self.path):
            for invocation in server.invocations:
                if invocation.id == done["id"]:
                    invocation.end(body, failed=done["how"] == "error")
            self._give(202, b"{}")
        elif self.path == f"{_RUNTIME}/init/error":
            server.init_error = body
            self._give(202, b"{}")
        elif invoke := _INVOKE.fullmatch(self.path):
            self._invoke(server, invoke["name"], body)
        else:
            self._give(404, b"")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the invocations are recorded."""

    def _invoke(self, server: Standin, name: str, body: bytes) -> None:
        kind = self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if refusal := self._refusal(server, name, kind, body):
            headers = {"x-amzn-ErrorType": refusal.code}
            if refusal.retry_after_s is not None:
                headers["Retry-After"] = str(refusal.retry_after_s)
            return self._give(refusal.status, json.dumps({"Message": refusal.message}).encode(), headers)
        invocation = Invocation(payload=body)
        server.invocations.append(invocation)
        headers = {"x-amzn-RequestId": invocation.id, "X-Amz-Executed-Version": "$LATEST"}
        if kind == "Event":
            threading.Thread(target=server.run, args=(invocation,), daemon=True).start()
            return self._give(202, b"", headers)
        server.run(invocation)
        return self._give(
            200, invocation.result, {**headers, **({"X-Amz-Function-Error": "Unhandled"} if invocation.failed else {})}
        )

    def _refusal(self, server: Standin, name: str, kind: str, body: bytes) -> Refusal | None:
        if not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return Refusal(status=403, code="MissingAuthenticationTokenException")
        if kind not in MAX_REQUEST_BYTES:
            return Refusal(status=400, code="InvalidParameterValueException", message=f"no such type: {kind}")
        if len(body) > (most := MAX_REQUEST_BYTES[kind]):
            return Refusal(status=413, code="RequestTooLargeException", message=f"must be smaller than {most} bytes")
        if server.refusals:
            return server.refusals.popleft()
        if name.rpartition("%3A")[2] != FUNCTION:
            return Refusal(status=404, code="ResourceNotFoundException", message=f"Function not found: {name}")
        return None

    def _give(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
