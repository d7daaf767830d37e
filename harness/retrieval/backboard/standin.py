"""A local server that speaks Backboard's API, for demos and tests: no key, no cost, no network.

The real SDK talks to it. It remembers and searches what it is given (`Store`), and can be told to misbehave:
``running([quota(), lost(path="memories")])``, or ``python -m harness.retrieval.backboard.standin --misdeed quota``.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from harness.retrieval.backboard.misdeeds import NAMED, Misdeed, detail
from harness.retrieval.backboard.store import Json, Store

MAX_REQUEST_BYTES: Final = 20_000_000
READ_FILES: Final = (".md", ".markdown", ".txt", ".json", ".jsonl", ".csv", ".pdf", ".py", ".sql", ".html", ".xml")

_ID: Final = r"([0-9a-f-]{36})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent, without its credentials."""

    method: str
    path: str
    body: Json


class Standin(ThreadingHTTPServer):
    """The running server. ``requests`` holds what was received so far, oldest first."""

    daemon_threads = True
    block_on_close = False  # a hanging request must not hold up the end

    def __init__(self, misdeeds: Iterable[Misdeed], store: Store, key: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Exchange)
        self.store, self.key = store, key
        self.misdeeds = list(misdeeds)
        self.requests: list[Request] = []
        self.ending = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api"

    def answer(self, request: Request, query: Mapping[str, str]) -> tuple[Misdeed | None, int, Any]:
        """What spoils the answer, its status and its JSON."""
        with self.store.lock:
            self.requests.append(request)
            spoilt = next((one for one in self.misdeeds if one.befalls(request.method, request.path)), None)
            return (
                (spoilt, 0, None) if spoilt and not spoilt.done else (spoilt, *_carried_out(self.store, request, query))
            )

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up waiting are part of the play; all else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed's own private type


@contextmanager
def running(
    misdeeds: Iterable[Misdeed] = (), *, store: Store | None = None, key: str = "", port: int = 0
) -> Iterator[Standin]:
    """Serve on 127.0.0.1, port 0 for a free one; only ``key`` is let in, any where it is empty. OSError: port taken."""
    with Standin(misdeeds, store or Store(), key, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()


def _carried_out(store: Store, request: Request, query: Mapping[str, str]) -> tuple[int, Any]:
    for method, route, action in _ROUTES:
        if method == request.method and (match := re.fullmatch(route, request.path)):
            try:
                return 200, action(store, *match.groups(), request.body, query)
            except _Unfit as error:
                return error.args
            except KeyError as error:
                asked = str(error).strip("'") in match.groups()
                return (404, {"detail": "Not found"}) if asked else (422, {"detail": [{"msg": f"{error} is missing"}]})
    return 404, {"detail": "Not Found"}


class _Unfit(Exception):
    """Status and body of a refusal."""


def _upload(store: Store, assistant: str, body: Json, _query: Mapping[str, str]) -> Json:
    name, content = body["file"]
    if not name.endswith(READ_FILES):
        raise _Unfit(400, {"detail": "File type is not supported"})
    return store.upload(assistant, name, content)


def _search(store: Store, assistant: str, body: Json, _query: Mapping[str, str]) -> Json:
    if not 1 <= body["limit"] <= 50 or not body["query"]:
        raise _Unfit(422, {"detail": [{"loc": ["body", "limit"], "msg": "1 to 50", "type": "value_error"}]})
    return store.search(assistant, body["query"], body["limit"])


def _listed(store: Store, _body: Json, query: Mapping[str, str]) -> list[Json]:
    return store.list_assistants(query.get("name"), int(query.get("skip", 0)), int(query.get("limit", 100)))


def _memories(store: Store, assistant: str, _body: Json, query: Mapping[str, str]) -> Json:
    page_asked = query.get("page")
    return store.list_memories(assistant, int(page_asked) if page_asked else None, int(query.get("page_size", 25)))


_Action = Callable[..., Any]
_ROUTES: Final[Sequence[tuple[str, str, _Action]]] = (
    ("GET", "/assistants", _listed),
    ("POST", "/assistants", lambda store, body, _: store.create_assistant(body)),
    ("GET", f"/assistants/{_ID}", lambda store, name, *_: store.assistants[name]),
    ("PUT", f"/assistants/{_ID}", lambda store, name, body, _: store.update_assistant(name, body)),
    ("DELETE", f"/assistants/{_ID}", lambda store, name, *_: store.delete_assistant(name)),
    ("GET", f"/assistants/{_ID}/memories", _memories),
    ("POST", f"/assistants/{_ID}/memories", lambda store, name, body, _: store.add_memory(name, body)),
    ("POST", f"/assistants/{_ID}/memories/search", _search),
    ("PUT", f"/assistants/{_ID}/memories/{_ID}", lambda store, one, it, body, _: store.update_memory(one, it, body)),
    ("DELETE", f"/assistants/{_ID}/memories/{_ID}", lambda store, one, it, *_: store.delete_memory(one, it)),
    ("GET", f"/assistants/{_ID}/documents", lambda store, name, *_: store.list_documents(name)),
    ("POST", f"/assistants/{_ID}/documents", _upload),
    ("GET", f"/documents/{_ID}/status", lambda store, name, *_: store.document_status(name)),
    ("DELETE", f"/documents/{_ID}", lambda store, name, *_: store.delete_document(name)),
    ("POST", f"/assistants/{_ID}/threads", lambda store, name, *_: store.create_thread(name)),
    ("POST", "/threads/messages", lambda store, body, _: store.add_message(body)),
    ("GET", f"/threads/{_ID}", lambda store, name, *_: store.get_thread(name)),
    ("DELETE", f"/threads/{_ID}", lambda store, name, *_: store.delete_thread(name)),
)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60.0
    disable_nagle_algorithm = True  # header and body are written apart: each answer would wait 40 ms

    def _serve(self) -> None:
        server, parts = cast(Standin, self.server), urlsplit(self.path)
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
            self.close_connection = True
            return self._give(413, detail("Too large"), {})
        sent = self.rfile.read(int(length))
        key = self.headers.get("X-API-Key")
        if not key or server.key not in ("", key):
            return self._give(401, detail("Invalid or missing API key"), {})
        try:
            request = Request(method=self.command, path=parts.path.removeprefix("/api"), body=self._body(sent))
        except (ValueError, LookupError):
            return self._give(422, detail("The body cannot be read"), {})
        spoilt, status, value = server.answer(request, dict(parse_qsl(parts.query)))
        if spoilt is None:
            return self._give(status, json.dumps(value).encode(), {})
        if spoilt.manner == "answer":
            return self._give(spoilt.status, spoilt.body, spoilt.headers)
        if spoilt.manner == "hang":
            server.ending.wait()
        self.close_connection = True
        with suppress(OSError):  # the client may have gone
            self.connection.shutdown(socket.SHUT_RDWR)
        return None

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the requests are recorded."""

    def _body(self, sent: bytes) -> Json:
        """A JSON object, or the fields of a form; of a file its name and text. ValueError, LookupError: neither."""
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + sent)
            parts = [part for part in form.walk() if not part.is_multipart()]
            return {str(part.get_param("name", header="content-disposition")): _field(part) for part in parts}
        if kind.startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(sent.decode()))
        value = json.loads(sent or b"{}")
        if not isinstance(value, dict):
            raise ValueError("no object")
        return value

    def _give(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _field(part: Message) -> object:
    text = cast(bytes, part.get_payload(decode=True)).decode()
    return (part.get_filename(), text) if part.get_filename() else text


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; prints the address and how to point the retriever at it."""
    parser = argparse.ArgumentParser(prog="python -m harness.retrieval.backboard.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--misdeed", action="append", default=[], choices=NAMED, help="once each, in this order")
    options = parser.parse_args(arguments)
    misdeeds = [NAMED[name]() for name in options.misdeed]
    with running(misdeeds, port=options.port) as server, suppress(KeyboardInterrupt):
        print(f"BACKBOARD_BASE_URL={server.url} BACKBOARD_API_KEY=any", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
