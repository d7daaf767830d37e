"""The fault that switches a dependency's mode."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flask import Flask
from werkzeug.serving import make_server

from harness.errors import ServiceUnavailable
from harness.faults.upstream import UpstreamMode
from harness.model.faults import UpstreamFault
from harness.model.source import Endpoints, Upstream
from harness.services.loopback import free_port
from harness.services.ready import http_ready
from harness.services.supervisor import Child, Supervisor

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, Child]]:
    folder, port = tmp_path_factory.mktemp("payments"), free_port()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(port), "API_ADMIN_TOKEN": "token"}
    with Supervisor() as supervisor:
        command = [sys.executable, "-m", "mock_api"]
        child = supervisor.start("payments", command, env=env, cwd=folder, log=folder / "payments.log")
        url = f"http://127.0.0.1:{port}"
        http_ready(f"{url}/health", timeout_s=DEADLINE_S, child=child)
        yield Upstream(url=url, admin_token="token"), child


def fault(mode: str, name: str = "payments") -> UpstreamMode:
    return UpstreamMode(UpstreamFault(action="upstream", upstream=name, mode=mode))


def endpoints(upstream: Upstream) -> Endpoints:
    return Endpoints(url="http://unused", upstreams={"payments": upstream})


def mode_of(upstream: Upstream) -> str:
    headers = {"Authorization": f"Bearer {upstream.admin_token}"}
    answer = httpx.get(f"{upstream.url}/admin/mode", headers=headers, timeout=DEADLINE_S, trust_env=False)
    return str(answer.raise_for_status().json()["mode"])


@pytest.mark.parametrize(
    ("mode", "spelt"), [("error", "error"), ("error, latency", "latency,error"), ("broken", "broken")]
)
def test_the_mode_is_switched_and_switched_back(payments: tuple[Upstream, Child], mode: str, spelt: str) -> None:
    upstream, _ = payments
    with fault(mode).active(endpoints(upstream)) as active:
        assert mode_of(upstream) == spelt
        result = active.check()
        assert result.passed and result.evidence == f"the upstream says that its mode is {spelt}"
        assert result.name == "fault still on (payments)"
    assert mode_of(upstream) == "healthy"


def test_a_mode_may_pass_by_itself(payments: tuple[Upstream, Child]) -> None:
    upstream, _ = payments
    spec = UpstreamFault.model_validate({"action": "upstream", "upstream": "payments", "mode": "error", "for": "50ms"})
    with UpstreamMode(spec).active(endpoints(upstream)):
        deadline = time.monotonic() + DEADLINE_S
        while mode_of(upstream) != "healthy":
            assert time.monotonic() < deadline, "it stays"
    assert mode_of(upstream) == "healthy"


def test_what_would_pass_much_later_ends_with_its_block(payments: tuple[Upstream, Child]) -> None:
    upstream, _ = payments
    spec = UpstreamFault.model_validate({"action": "upstream", "upstream": "payments", "mode": "error", "for": "1h"})
    threads = threading.active_count()
    with UpstreamMode(spec).active(endpoints(upstream)):
        assert mode_of(upstream) == "error"
    assert mode_of(upstream) == "healthy" and threading.active_count() == threads


def test_an_upstream_that_somebody_healed_is_told(payments: tuple[Upstream, Child]) -> None:
    upstream, _ = payments
    with fault("latency,error").active(endpoints(upstream)) as active:
        for mode in ("healthy", "latency"):
            with fault(mode).active(endpoints(upstream)):
                assert not active.check().passed
        assert "healthy" in active.check().evidence


def test_a_mode_that_it_does_not_know_and_a_wrong_token_are_told(payments: tuple[Upstream, Child]) -> None:
    upstream, _ = payments
    stranger = Upstream(url=upstream.url, admin_token="guessed")
    for mode, whom, status in (("sleepy", upstream, "400"), ("error", stranger, "401")):
        with pytest.raises(ServiceUnavailable, match=status) as caught, fault(mode).active(endpoints(whom)):
            pass
        assert "payments could not be switched" in caught.value.message and caught.value.cure
    assert mode_of(upstream) == "healthy"


def test_an_upstream_that_is_gone_is_told() -> None:
    gone = Upstream(url=f"http://127.0.0.1:{free_port()}", admin_token="token")
    with (
        pytest.raises(ServiceUnavailable, match="payments could not be switched"),
        fault("error").active(endpoints(gone)),
    ):
        pass


@pytest.mark.parametrize("answer", ["<html>welcome</html>", '"healthy"'])
def test_who_answers_in_another_language_is_told(answer: str) -> None:
    app = Flask(__name__)
    app.add_url_rule("/admin/mode", view_func=lambda: answer, methods=["GET", "PUT"])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    other = Upstream(url=f"http://127.0.0.1:{server.port}", admin_token="token")
    try:
        with pytest.raises(ServiceUnavailable, match="payments"), fault("error").active(endpoints(other)) as active:
            active.check()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
