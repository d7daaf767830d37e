"""A payment provider over real HTTP that does what the test says."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4


class Provider(ThreadingHTTPServer):
    """First it gives ``answers``, each a (status, body, headers); then, and by default, it is healthy."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reset()

    def reset(self) -> None:
        self.broken = False
        self.answers: list[tuple[int, object, dict[str, str]]] = []
        self.asked_at: list[float] = []
        self.charges: Counter[str] = Counter()  # requests by order
        self.keys: dict[str, str] = {}
        self.tokens: list[str] = []  # given out
        self.refused: set[str] = set()
        self.unauthorized = 0  # requests
        self.token_life_s = 3600.0
        self.token_answers: list[tuple[int, object, dict[str, str]]] = []
        self._go, self._go_tokens = threading.Event(), threading.Event()
        self.release()

    def hold(self) -> None:
        """Whoever asks for anything but a token waits for `release` from now on."""
        self._go.clear()

    def hold_tokens(self) -> None:
        """Whoever asks for a token waits for `release` from now on."""
        self._go_tokens.clear()

    def release(self) -> None:
        self._go.set()
        self._go_tokens.set()

    def answer(self, order: dict[str, object] | None, key: str) -> tuple[int, object, dict[str, str]]:
        self.asked_at.append(time.monotonic())
        if order:
            self.charges[str(order["order_id"])] += 1
            self.keys[str(order["order_id"])] = key
        self._go.wait(10)
        if self.answers:
            return self.answers.pop(0)
        if self.broken:
            return 500, {"error": "upstream_failure"}, {}
        if order is None:
            return 200, {"ok": True}, {}
        if order["amount_cents"] == 666:
            return 402, {"error": "card_declined"}, {}
        return 200, {**order, "charge_id": f"ch_{order['order_id']}", "status": "succeeded"}, {}

    def token(self) -> tuple[int, object, dict[str, str]]:
        self.tokens.append(uuid4().hex)
        self._go_tokens.wait(10)
        if self.token_answers:
            return self.token_answers.pop(0)
        return 200, {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": self.token_life_s}, {}

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Provider]:
        with cls() as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()


class _Exchange(BaseHTTPRequestHandler):
    server: Provider
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            self._send(*self.server.token())
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") in {"", *self.server.refused}:
            self.server.unauthorized += 1
            self._send(401, {"error": "invalid_token"}, {})
        else:
            self._reply(json.loads(body))

    def _reply(self, order: dict[str, object] | None) -> None:
        self._send(*self.server.answer(order, self.headers.get("Idempotency-Key", "")))

    def _send(self, status: int, body: object, headers: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):  # the client gave up, as a time limit demands
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass
