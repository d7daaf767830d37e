"""The shop as it is served: gunicorn with two workers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import APP, Services, environment, eventually
from provider import Provider

from harness.services.loopback import free_port
from harness.services.ready import http_ready
from harness.services.supervisor import Child, Supervisor

WORKERS = 2
RESPAWN_PAUSE_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    process: Child
    url: str
    folder: Path
    metrics: Path
    log: Path

    def get(self, path: str) -> httpx.Response:
        """On a connection of its own, so that either worker may answer."""
        return httpx.get(self.url + path, timeout=20, trust_env=False)

    def post(self, path: str) -> httpx.Response:
        return httpx.post(self.url + path, timeout=20, trust_env=False)


@pytest.fixture(scope="module")
def served(
    supervisor: Supervisor, services: Services, provider_process: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A copy of the shop, whose source a test may change."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(APP / "shop", folder / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(APP / "gunicorn.conf.py", folder)
    port, metrics = free_port(), folder / "metrics"
    env = environment(
        services,
        PORT=str(port),
        PAYMENTS_URL=provider_process.url,
        ENABLE_FAULT_INJECTION="true",
        PROMETHEUS_MULTIPROC_DIR=str(metrics),
        PYTHONPATH=str(folder),
        PYTHONDONTWRITEBYTECODE="1",
        DB_STATEMENT_TIMEOUT_MS="100",
        WEB_WORKERS=str(WORKERS),
        WEB_RESPAWN_PAUSE_S=str(RESPAWN_PAUSE_S),
    )
    log = folder / "gunicorn.log"
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "shop.wsgi:app"]
    process = supervisor.start("shop", command, env=env, cwd=folder, log=log)
    try:
        url = f"http://127.0.0.1:{port}"
        http_ready(f"{url}/health/ready", timeout_s=30, child=process)
        yield Served(process=process, url=url, folder=folder, metrics=metrics, log=log)
    finally:
        process.stop()


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not in\n{text}"
    return float(found[1])


def test_metrics_add_up_over_the_workers(served: Served) -> None:
    name = 'shop_request_seconds_count{route="GET /products",status="200"}'
    workers = 0
    while workers < WORKERS:  # a gauge's file appears when a worker answers for the first time
        served.get("/health/live")
        workers = len(list(served.metrics.glob("gauge_livesum_*.db")))
    for _ in range(20):
        assert served.get("/products").status_code == 200
    texts = [served.get("/metrics").text for _ in range(6)]
    assert {sample(text, name) for text in texts} == {20.0}
    assert sample(texts[0], "shop_requests_in_flight") == 1.0
    assert sample(texts[0], "shop_db_connections_in_use") == 0.0
    assert sample(texts[0], 'shop_breaker_state{state="closed"}') == 1.0
    assert sample(texts[0], 'shop_jobs{state="dead"}') >= 0.0


def test_the_log_is_json_lines_with_markers(served: Served) -> None:
    assert served.post("/test-fault/run").status_code == 500
    assert served.post("/test-fault/db-timeout").status_code == 504
    request_id = served.get("/nowhere").headers["X-Request-ID"]
    eventually(lambda: request_id in served.log.read_text(), "the log reaches the file")
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert all({"ts", "level", "logger", "message"} <= line.keys() for line in lines)
    marked = [line for line in lines if "marker" in line]
    assert [line["marker"] for line in marked] == ["FAULT_SQL_INJECTION_TEST", "FAULT_DB_TIMEOUT"]
    assert all(line["level"] == "ERROR" and "Traceback" in line["exception"] for line in marked)
    last = next(line for line in lines if line.get("request_id") == request_id)
    assert (last["route"], last["status"]) == ("unmatched", 404)
    assert last["duration_ms"] >= 0


def test_a_reload_serves_new_code_and_loses_no_request(served: Served) -> None:
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        while not stop.is_set():
            answer = served.get("/health/live")
            answers.append((answer.status_code, answer.text))

    def newest_is(word: str) -> bool:
        return bool(answers) and word in answers[-1][1]

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        for word in ("second", "third"):
            health = served.folder / "shop" / "health.py"
            health.write_text(re.sub(r'"status": "(live|second)"', f'"status": "{word}"', health.read_text()))
            served.process.signal(signal.SIGHUP)
            eventually(partial(newest_is, word), f"the code {word!r} is served")
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert {status for status, _ in answers} == {200}
    assert served.process.running()
    eventually(
        lambda: len(list(served.metrics.glob("gauge_livesum_*.db"))) <= WORKERS, "dead workers' gauges are removed"
    )
    assert sample(served.get("/metrics").text, "shop_requests_in_flight") == 1.0


def test_a_worker_that_was_killed_is_replaced_after_the_pause(served: Served) -> None:
    def pids() -> set[int]:
        return {child.pid for child in psutil.Process(served.process.pid).children()}

    eventually(lambda: len(pids()) == WORKERS, "whom a reload told to go has gone, and would not be replaced")
    before = pids()
    os.kill(min(before), signal.SIGKILL)
    killed = time.monotonic()
    eventually(lambda: len(pids() - before) == 1, "another one takes its place")
    assert time.monotonic() - killed >= RESPAWN_PAUSE_S
    assert served.get("/health/live").status_code == 200
    assert "was sent SIGKILL" in served.log.read_text()
