"""bound_upstream_calls on several clients; the changed packages are run against an upstream that hangs and fails."""

from __future__ import annotations

import importlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from harness.fixing.remedies import REMEDIES
from harness.model.source import SourceTree

RULES = {"timeout_s": 0.3, "failures": 3, "cooldown_s": 600}
SHORT = RULES | {"cooldown_s": 0.2}
GENEROUS = RULES | {"timeout_s": 20}
Load = Callable[..., ModuleType]
_number = itertools.count()


class Upstream:
    """A server of threads. ``answer`` is its status, or None to hold every request until ``release`` is set."""

    def __init__(self) -> None:
        self.answer: int | None = 200
        self.hits = 0
        self.release = threading.Event()
        self.arrived = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.url = ""

    def status(self) -> int:
        with self._lock:
            self.hits += 1
        self.arrived.release()
        if self.answer is None:
            self.release.wait(timeout=60)
        return self.answer or 200


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    behaviour = Upstream()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                self.send_response(behaviour.status())
                self.send_header("Content-Length", "0")
                self.end_headers()
            except (BrokenPipeError, ConnectionResetError):
                pass  # the caller gave up, as it should

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    behaviour.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield behaviour
    behaviour.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def changed(
    files: Mapping[str, str], rules: Mapping[str, Any] = RULES, editable: tuple[str, ...] = ("**",)
) -> dict[str, str]:
    """The files after the remedy, which must be idempotent."""
    tree = SourceTree(files=files, editable=editable)
    after = dict(files)
    after.update((edit.path, edit.content) for edit in REMEDIES["bound_upstream_calls"](tree, rules))
    assert REMEDIES["bound_upstream_calls"](tree.with_files(after), rules) == []
    return after


def calls(source: str, editable: tuple[str, ...] = ("**",)) -> str:
    return changed({"app/__init__.py": "", "app/calls.py": source}, editable=editable)["app/calls.py"]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """A function that changes one module, writes the package to disk and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    packages: list[str] = []

    def load(source: str, rules: Mapping[str, Any] = RULES) -> ModuleType:
        package = f"upstream_user_{next(_number)}"
        packages.append(package)
        for path, text in changed({f"{package}/__init__.py": "", f"{package}/calls.py": source}, rules).items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(f"{package}.calls")

    yield load
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[name]


FUNCTION = """
import httpx

def charge(url):
    try:
        return httpx.post(f"{url}/charge", json={"n": 1}, timeout=None).status_code
    except httpx.HTTPError as error:
        return type(error).__name__
"""
OBJECT = """
from __future__ import annotations

import httpx


class Payments:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            timeout=None,
        )

    def charge(self) -> int | str:
        try:
            return self._client.post(
                "/charge",
                json={"n": 1},
            ).status_code
        except httpx.HTTPError as error:
            return type(error).__name__


def charge(url: str, payments: dict[str, Payments] = {}) -> int | str:
    return payments.setdefault(url, Payments(url)).charge()
"""
SEND = """
import httpx as web

client = web.Client(timeout=web.Timeout(None))

def _send(request: web.Request) -> web.Response:
    return client.send(request)

def charge(url):
    try:
        return _send(client.build_request("POST", url + "/charge", timeout=None)).status_code
    except web.HTTPError as error:
        return type(error).__name__
"""
INJECTED = """
from httpx import Client, HTTPError

def _post(client: Client | None, url):
    with client or Client(timeout=60) as http:
        return http.request("POST", url, timeout=90)

def charge(url):
    try:
        return _post(None, url).status_code
    except HTTPError as error:
        return type(error).__name__
"""
STYLES = pytest.mark.parametrize(
    "source", [FUNCTION, OBJECT, SEND, INJECTED], ids=["function", "object", "send", "with"]
)


@STYLES
def test_calls_that_hang_are_cut_and_then_not_made(loaded: Load, upstream: Upstream, source: str) -> None:
    module = loaded(source)
    upstream.answer = None
    outcomes = [module.charge(upstream.url) for _ in range(8)]
    assert outcomes == ["ReadTimeout"] * 3 + ["CallRefused"] * 5
    assert upstream.hits == 3


@STYLES
def test_answers_of_500_are_returned_and_counted(loaded: Load, upstream: Upstream, source: str) -> None:
    module = loaded(source, GENEROUS)
    upstream.answer = 500
    assert [module.charge(upstream.url) for _ in range(6)] == [500] * 3 + ["CallRefused"] * 3
    assert upstream.hits == 3


def test_only_failures_in_a_row_count(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION, GENEROUS)
    outcomes = []
    for upstream.answer in [500, 500, 200, 500, 500, 404, 500, 500, 302, 500, 500, 500, 200]:
        outcomes.append(module.charge(upstream.url))
    assert outcomes == [500, 500, 200, 500, 500, 404, 500, 500, 302, 500, 500, 500, "CallRefused"]


def test_refused_connections_count(loaded: Load) -> None:
    module = loaded(FUNCTION, GENEROUS)
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    url = f"http://127.0.0.1:{closed.server_address[1]}"
    closed.server_close()
    assert [module.charge(url) for _ in range(5)] == ["ConnectError"] * 3 + ["CallRefused"] * 2


def test_errors_that_are_not_the_upstreams_do_not_count(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION, GENEROUS)
    assert {module.charge("ftp://nowhere") for _ in range(5)} == {"UnsupportedProtocol"}
    assert module.charge(upstream.url) == 200


def forget_arrivals(upstream: Upstream) -> None:
    while upstream.arrived.acquire(blocking=False):
        pass


def wait_until_open(module: ModuleType, upstream: Upstream) -> None:
    upstream.answer = 500
    while module.charge(upstream.url) != "CallRefused":
        pass


def test_one_probe_at_a_time_goes_through_and_closes_the_circuit(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION, GENEROUS | {"cooldown_s": 0.2})
    wait_until_open(module, upstream)
    hits = upstream.hits
    forget_arrivals(upstream)
    upstream.answer = None
    with ThreadPoolExecutor(8) as pool:
        futures = []
        while not upstream.arrived.acquire(timeout=0.02):  # until the cooldown is over, and a probe is held
            futures.append(pool.submit(module.charge, upstream.url))
        later = [pool.submit(module.charge, upstream.url) for _ in range(50)]
        assert [future.result() for future in later] == ["CallRefused"] * 50
        assert upstream.hits == hits + 1
        upstream.release.set()
        outcomes = [future.result() for future in futures]
    assert sorted(map(str, outcomes)) == ["200"] + ["CallRefused"] * (len(outcomes) - 1)
    upstream.answer = 200
    assert [module.charge(upstream.url) for _ in range(3)] == [200] * 3


def test_of_many_at_once_after_the_cooldown_one_is_the_probe(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION, GENEROUS | {"cooldown_s": 0.0})
    upstream.answer = 500
    for _ in range(3):
        module.charge(upstream.url)
    forget_arrivals(upstream)
    hits, upstream.answer = upstream.hits, None
    start = threading.Barrier(16)

    def charge() -> object:
        start.wait()
        outcome = module.charge(upstream.url)
        if outcome == "CallRefused":
            refused.release()
        return outcome

    refused = threading.Semaphore(0)
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(charge) for _ in range(16)]
        for _ in range(15):  # the probe is held by the server until all the others have been refused
            assert refused.acquire(timeout=30)
        assert upstream.arrived.acquire(timeout=30)
        assert upstream.hits == hits + 1
        upstream.release.set()
        assert sorted(str(future.result()) for future in futures) == ["200"] + ["CallRefused"] * 15


def test_a_probe_that_fails_starts_the_cooldown_again(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION, GENEROUS | {"cooldown_s": 0.0})
    upstream.answer = 500
    assert [module.charge(upstream.url) for _ in range(6)] == [500] * 6  # without a cooldown each call is a probe
    sys.modules[module.__name__.replace("calls", "upstream_guard")].COOLDOWN_S = 600.0  # type: ignore[attr-defined]
    assert module.charge(upstream.url) == "CallRefused"


def test_the_lock_is_not_held_during_a_call(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION, GENEROUS)
    upstream.answer = None
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(module.charge, upstream.url) for _ in range(4)]
        for _ in range(4):
            assert upstream.arrived.acquire(timeout=30)  # all four are in the server at once
        upstream.release.set()
        assert [future.result() for future in futures] == [200] * 4


def test_a_call_that_began_before_the_circuit_opened_does_not_close_it(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION, GENEROUS)
    upstream.answer = None
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(module.charge, upstream.url)
        assert upstream.arrived.acquire(timeout=30)
        wait_until_open(module, upstream)
        upstream.answer = 200
        upstream.release.set()
        assert early.result() == 200
    assert module.charge(upstream.url) == "CallRefused"


def test_each_function_has_its_own_circuit(loaded: Load, upstream: Upstream) -> None:
    module = loaded(FUNCTION + FUNCTION.replace("def charge", "def refund"), GENEROUS)
    wait_until_open(module, upstream)
    upstream.answer = 200
    assert module.refund(upstream.url) == 200


@STYLES
def test_one_address_does_not_stop_calls_of_another(loaded: Load, upstream: Upstream, source: str) -> None:
    module = loaded(source, GENEROUS)
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    closed.server_close()
    dead = f"http://127.0.0.1:{closed.server_address[1]}"
    assert [module.charge(dead) for _ in range(4)] == ["ConnectError"] * 3 + ["CallRefused"]
    assert module.charge(upstream.url) == 200


TENACITY = """
import httpx
from tenacity import retry, stop_after_attempt, wait_fixed

class Unavailable(Exception): ...

@retry(stop=stop_after_attempt(6), wait=wait_fixed(%s), reraise=True)
def charge(url):
    try:
        return httpx.get(url).status_code
    except httpx.HTTPError as error:
        raise Unavailable(type(error).__name__) from error
"""
LOOP = """
import time
import httpx

def charge(url):
    for attempt in range(6):
        try:
            return httpx.get(url).status_code
        except httpx.HTTPError as error:
            last = error
            time.sleep(%s)
    return type(last).__name__
"""


@pytest.mark.parametrize("source", [TENACITY, TENACITY.replace("stop=stop_after_attempt(6), ", ""), LOOP])
def test_nobody_waits_to_retry_a_call_that_is_refused(loaded: Load, upstream: Upstream, source: str) -> None:
    module = loaded(source % 3600)
    guard = sys.modules[module.__name__.replace("calls", "upstream_guard")]
    address = upstream.url.removeprefix("http://").encode()
    circuit = guard._circuits.setdefault(("charge", address), guard.Circuit())  # type: ignore[attr-defined]
    for _ in range(3):
        circuit.record(True, probe=False)
    outcome: list[str] = []

    def charge() -> None:
        try:
            outcome.append(module.charge(upstream.url))
        except module.Unavailable as error:
            outcome.append(str(error))

    thread = threading.Thread(target=charge, daemon=True)
    thread.start()
    thread.join(timeout=60)  # an hour if it waited
    assert outcome == ["CallRefused"]
    assert upstream.hits == 0


@pytest.mark.parametrize("source", [TENACITY, LOOP])
def test_retries_go_on_until_the_circuit_opens(loaded: Load, upstream: Upstream, source: str) -> None:
    module = loaded(source % 0)
    upstream.answer = None
    if source is TENACITY:
        with pytest.raises(module.Unavailable, match="CallRefused"):
            module.charge(upstream.url)
    else:
        assert module.charge(upstream.url) == "CallRefused"
    assert upstream.hits == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("httpx.get(url, timeout=0.2)", "httpx.get(url, timeout=0.2)"),
        ("httpx.get(url, timeout=30)", "httpx.get(url, timeout=0.3)"),
        ("httpx.get(url, timeout=SHORT)", "httpx.get(url, timeout=SHORT)"),
        ("httpx.get(url, timeout=LONG)", "httpx.get(url, timeout=0.3)"),
        ("httpx.get(url, timeout=limit)", "httpx.get(url, timeout=upstream_guard.at_most(limit))"),
        (
            "httpx.get(url, timeout=httpx.Timeout(0.2, connect=0.1))",
            "httpx.get(url, timeout=httpx.Timeout(0.2, connect=0.1))",
        ),
        ("httpx.get(url, timeout=httpx.Timeout(9, connect=0.1))", "httpx.get(url, timeout=0.3)"),
        ("httpx.get(url, **options)", 'httpx.get(url, **{**options, "timeout": 0.3})'),
        ("client.get(url, timeout=None)", "client.get(url, timeout=0.3)"),
        ("client.get(url)", "client.get(url)"),
        ("self.web.post(url)", "self.web.post(url)"),
        ("self.made_here().put(url)", "self.made_here().put(url)"),
        ("httpx.Client(timeout=0).get(url)", "httpx.Client(timeout=0.3).get(url)"),
    ],
)
def test_the_timeout_and_the_guard_of_one_call(before: str, after: str) -> None:
    source = """
import httpx
SHORT: float = 0.1
LONG = 9.0

class Api:
    def __init__(self, web: httpx.Client | None = None):
        self.web = web

    def made_here(self) -> httpx.Client: ...

    def ask(self, url, limit, options, client):
        return {call}
"""
    send, arguments = after.rsplit("(url", 1)
    guarded = f'upstream_guard.guarded("Api.ask", {send}, url{arguments}'
    expected = source.format(call=guarded).replace("import httpx\n", "import httpx\n\nfrom . import upstream_guard\n")
    assert calls(source.format(call=before)) == expected


@pytest.mark.parametrize(
    "line",
    [
        "redis.get('key')",
        "app.test_client().get('/')",
        "settings.get('key', timeout=None)",
        "session.get(Order, 1)",
        "httpx.codes.get('x')",
        "make().get('x')",
    ],
)
def test_what_is_no_http_call_is_left_alone(line: str) -> None:
    source = f"import httpx\nimport redis\n\ndef ask(app, settings, session, make):\n    return {line}\n"
    assert calls(source) == source


def test_a_name_that_holds_another_kind_of_client_is_left_alone() -> None:
    source = "import httpx\nimport redis\n\nclient = redis.Redis()\n\ndef ask():\n    return client.get('key')\n"
    assert calls(source) == source


def test_asynchronous_and_streamed_calls_get_the_limit_only() -> None:
    source = """
import httpx

async def ask(url):
    async with httpx.AsyncClient(timeout=None) as client:
        return await client.get(url, timeout=None)

def wait(url, http: httpx.AsyncClient):
    return asyncio.run(http.get(url))

def read(url):
    with httpx.stream("GET", url) as response:
        return response.read()
"""
    assert calls(source) == source.replace("timeout=None", "timeout=0.3").replace("url) as r", "url, timeout=0.3) as r")


def test_where_no_file_may_be_added_calls_get_the_limit_only() -> None:
    after = changed({"app/calls.py": FUNCTION}, editable=("app/calls.py",))
    assert after == {"app/calls.py": FUNCTION.replace("timeout=None", "timeout=0.3")}


def test_a_client_made_in_one_module_is_known_in_another() -> None:
    files = {
        "shop/__init__.py": "",
        "shop/web.py": "import httpx\n\ndef made() -> httpx.Client:\n    return httpx.Client()\n",
        "shop/api/__init__.py": "",
        "shop/api/pay.py": "import httpx\nfrom shop.web import made\n\ndef pay():\n    return made().post('/')\n",
    }
    after = changed(files)
    assert "httpx.Client(timeout=0.3)" in after["shop/web.py"]
    assert 'guarded("pay", made().post, ' in after["shop/api/pay.py"]
    assert set(after) - set(files) == {"shop/api/upstream_guard.py"}
    assert "from . import upstream_guard\n" in after["shop/api/pay.py"]


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"pay.py": FUNCTION}, "import upstream_guard"),
        ({"service/pay.py": FUNCTION}, "import upstream_guard"),
        ({"src/shop/__init__.py": "", "src/shop/pay.py": FUNCTION}, "from . import upstream_guard"),
        (
            {"shop/pay.py": FUNCTION.replace("\n\ndef", "\n\nfrom .x import y\n\ndef", 1)},
            "from . import upstream_guard",
        ),
        ({"shop/pay.py": FUNCTION, "wsgi.py": "from shop.pay import charge\n"}, "from shop import upstream_guard"),
        (
            {"a/shop/__init__.py": "", "a/shop/pay.py": FUNCTION, "main.py": "import a.shop.pay\n"},
            "from a.shop import upstream_guard",
        ),
    ],
)
def test_the_guard_is_imported_as_its_neighbours_are(files: dict[str, str], line: str) -> None:
    after = changed(files)
    path = next(path for path in files if path.endswith("pay.py"))
    assert f"import httpx\n\n{line}\n" in after[path]
    assert path.replace("pay.py", "upstream_guard.py") in after


def test_the_parameters_are_written_into_the_guard() -> None:
    guard: dict[str, Any] = {"__name__": "guard"}
    exec(changed({"pay.py": FUNCTION}, {"timeout_s": 2, "failures": 7, "cooldown_s": 11})["upstream_guard.py"], guard)
    assert (guard["TIMEOUT_S"], guard["FAILURES"], guard["COOLDOWN_S"]) == (2.0, 7, 11.0)
    assert guard["at_most"](None) == httpx.Timeout(2.0)
    assert guard["at_most"](60) == httpx.Timeout(2.0)
    assert guard["at_most"](0.5) == httpx.Timeout(0.5)
    assert guard["at_most"](httpx.Timeout(1, read=None)) == httpx.Timeout(1, read=2.0)
    assert guard["at_most"](httpx.USE_CLIENT_DEFAULT) == httpx.Timeout(2.0)


def test_tenacity_without_arguments() -> None:
    after = calls("import httpx\nfrom tenacity import retry\n\n@retry\ndef ask():\n    return httpx.get('http://a')\n")
    assert "@retry(stop=upstream_guard.was_refused)\ndef ask" in after


def test_a_file_of_that_name_is_not_overwritten() -> None:
    after = changed({"pay.py": FUNCTION, "upstream_guard.py": "mine = 1\n"})
    assert after["upstream_guard.py"] == "mine = 1\n"
    assert "import upstream_circuits\n" in after["pay.py"]
