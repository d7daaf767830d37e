"""What every implementation of ports.Fault promises: on inside its block, told with evidence, and off after it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from flask import Flask
from werkzeug.serving import make_server

from harness.errors import InputError
from harness.faults.memory import MemoryFault
from harness.faults.table import fault
from harness.git import patched
from harness.model.faults import DefectFault, HttpFault, UpstreamFault
from harness.model.source import Endpoints, SourceTree, Upstream
from harness.ports import Fault
from harness.services.loopback import free_port
from harness.services.ready import http_ready
from harness.services.supervisor import Supervisor
from harness.target.memory import MemoryTarget

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20.0
TREE = SourceTree(files={"app.py": "good\n"})
PATCH = "--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-good\n+bad\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, where it acts, and how to see from outside whether it does."""

    fault: Fault
    endpoints: Endpoints
    acts: Callable[[], bool]
    ends: bool = True  # a bad release stays: what heals it is a fix


@contextmanager
def memory(tmp_path: Path) -> Iterator[Case]:
    switches: list[bool] = [False]
    yield Case(MemoryFault(switches.append), Endpoints(url="memory://", upstreams={}), lambda: switches[-1])


@contextmanager
def http(tmp_path: Path) -> Iterator[Case]:
    """Acts: the route is asked within 0.3 s, in which it should be fifteen times."""
    asked: list[float] = []
    app = Flask(__name__)

    @app.post("/fault")
    def hurt() -> str:
        asked.append(time.monotonic())
        return "ouch"

    def acts() -> bool:
        before = len(asked)
        deadline = time.monotonic() + 0.3
        while len(asked) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(asked) > before

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        spec = HttpFault(action="http", request="POST /fault", rate=50)
        endpoints = Endpoints(url=f"http://127.0.0.1:{server.port}", upstreams={})
        yield Case(fault(spec, target=MemoryTarget(TREE), patched=none, waiting=nobody), endpoints, acts)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def upstream(tmp_path: Path) -> Iterator[Case]:
    """The real upstream. Acts: it fails every quote."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(port), "API_ADMIN_TOKEN": "token"}
    url = f"http://127.0.0.1:{port}"
    with Supervisor() as supervisor:
        command = [sys.executable, "-m", "mock_api"]
        child = supervisor.start("payments", command, env=env, cwd=tmp_path, log=tmp_path / "payments.log")
        http_ready(f"{url}/health", timeout_s=DEADLINE_S, child=child)
        spec = UpstreamFault(action="upstream", upstream="payments", mode="broken")
        endpoints = Endpoints(url="http://unused", upstreams={"payments": Upstream(url=url, admin_token="token")})
        yield Case(
            fault(spec, target=MemoryTarget(TREE), patched=none, waiting=nobody),
            endpoints,
            lambda: httpx.get(f"{url}/quote", timeout=DEADLINE_S, trust_env=False).is_error,
        )


@contextmanager
def defect(tmp_path: Path) -> Iterator[Case]:
    target = MemoryTarget(TREE)
    spec = DefectFault(action="defect", patch="bad.patch")
    bad = fault(spec, target=target, patched=lambda tree, name: patched(tree, PATCH), waiting=nobody)
    acts = lambda: target.source().files == {"app.py": "bad\n"}  # noqa: E731 - as short as it gets
    yield Case(bad, Endpoints(url="memory://", upstreams={}), acts, ends=False)


def nobody(event: str) -> int:
    raise AssertionError("this fault is not looked for in the database")


def none(tree: SourceTree, name: str) -> SourceTree:
    raise AssertionError("this fault has no patch")


@pytest.fixture(params=[memory, http, upstream, defect], ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with request.param(tmp_path) as made:
        yield made


def test_it_acts_inside_its_block_and_is_off_after_it(case: Case) -> None:
    assert case.fault.kind
    assert not case.acts()
    with case.fault.active(case.endpoints) as active:
        assert case.acts()
        result = active.check()
        assert result.passed and result.name.startswith("fault still on (") and result.evidence
    assert case.acts() is not case.ends


def test_it_is_off_also_when_the_block_raised(case: Case) -> None:
    with pytest.raises(ZeroDivisionError), case.fault.active(case.endpoints):
        assert case.acts()
        raise ZeroDivisionError
    assert case.acts() is not case.ends


def test_it_can_be_switched_on_again(case: Case) -> None:
    for _ in range(2 if case.ends else 1):
        with case.fault.active(case.endpoints) as active:
            assert case.acts() and active.check().passed
        assert case.acts() is not case.ends


# --- the one that stays ---


def test_a_bad_release_that_changes_nothing_is_no_fault() -> None:
    spec = DefectFault(action="defect", patch="bad.patch")
    unchanged = fault(spec, target=MemoryTarget(TREE), patched=lambda tree, name: tree, waiting=nobody)
    with unchanged.active(Endpoints(url="", upstreams={})) as active:
        assert not active.check().passed and "nothing" in active.check().evidence


def test_a_release_whose_patch_does_not_fit_is_the_users_mistake() -> None:
    spec = DefectFault(action="defect", patch="slow/bad.patch")
    target = MemoryTarget(SourceTree(files={"app.py": "other\n"}))
    bad = fault(spec, target=target, patched=lambda tree, name: patched(tree, PATCH), waiting=nobody)
    with (
        pytest.raises(InputError, match=r"slow/bad\.patch does not apply"),
        bad.active(Endpoints(url="", upstreams={})),
    ):
        pass
