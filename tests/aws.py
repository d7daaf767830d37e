"""A server that speaks the protocol of AWS's JSON services, for AWS's own client."""

from __future__ import annotations

import json
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any] | bytes]]
"""From an operation and what it was given to a status and a body; bytes are a stream of events."""


@contextmanager
def served(service: str, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """boto3's client of the service, such as ``ECS``, speaks to ``answer``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, told = answer(operation, given)
            streamed = isinstance(told, bytes)
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            kind = "vnd.amazon.eventstream" if streamed else "x-amz-json-1.1"
            self.send_header("Content-Type", f"application/{kind}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings = {
            f"AWS_ENDPOINT_URL_{service}": f"http://127.0.0.1:{server.server_port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_MAX_ATTEMPTS": "1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield
        server.shutdown()


def event_stream(events: Iterable[tuple[str, dict[str, Any]]]) -> bytes:
    """Events by kind, as AWS frames them: https://smithy.io/2.0/aws/amazon-eventstream.html."""
    return b"".join(_frame({":message-type": "event", ":event-type": kind}, body) for kind, body in events)


def _frame(headers: dict[str, str], body: dict[str, Any]) -> bytes:
    text = 7  # the type of a header's value
    packed = b"".join(
        struct.pack(f"!B{len(name)}sBH{len(value)}s", len(name), name.encode(), text, len(value), value.encode())
        for name, value in headers.items()
    )
    payload = json.dumps(body).encode()
    prelude = struct.pack("!II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack("!I", zlib.crc32(message))
