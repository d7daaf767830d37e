"""What an app stands on: its databases, its queue, and the upstreams that it calls."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.model.app import AppManifest, Command, UpstreamApp
from harness.model.source import Upstream
from harness.services.ready import http_ready
from harness.services.supervisor import Child, Supervisor, free_port
from harness.services.valkey import valkey_running

_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 0.5
_ROOT = Path(__file__).resolve().parents[2]  # where mock_api can be imported from, installed or not


class Databases(Protocol):
    """The part of the PostgreSQL server that an app needs."""

    def url(self, database: str) -> str: ...
    def create_database(self, name: str) -> None: ...
    def drop_database(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is up: the variables that tell the app of it, and the upstreams by name."""

    env: Mapping[str, str]
    upstreams: Mapping[str, Upstream]
    wait_ready: Callable[[], None]  # until the upstreams answer; they boot while the app is prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """``databases`` is asked once the app starts: the server may come up after us. ``seed`` is for upstream draws."""

    supervisor: Supervisor
    databases: Callable[[], Databases]
    redis_url: str | None
    logs: Path
    seed: int

    @contextmanager
    def running(self, manifest: AppManifest) -> Iterator[Standing]:
        """All that the manifest asks for, fresh and empty; gone when left. ServiceUnavailable, TargetNotReady."""
        env: dict[str, str] = {}
        upstreams: dict[str, Upstream] = {}
        booting: dict[str, Child] = {}

        def wait_ready() -> None:
            for url, child in booting.items():
                http_ready(f"{url}/health", timeout_s=_READY_TIMEOUT_S, child=child)

        with ExitStack() as stack:
            for upstream in manifest.upstreams:
                child, reached = self._upstream(upstream)
                stack.callback(child.stop)
                booting[reached.url] = child
                upstreams[upstream.name] = reached
                env[upstream.env] = reached.url
            if manifest.services.postgres:
                env[manifest.services.postgres] = self._database(stack)
            if manifest.services.redis:
                running = valkey_running(self.supervisor, log=self.logs / "valkey.log", external_url=self.redis_url)
                env[manifest.services.redis] = stack.enter_context(running)
            yield Standing(env=env, upstreams=upstreams, wait_ready=wait_ready)

    def _database(self, stack: ExitStack) -> str:
        databases, name = self.databases(), f"app_{secrets.token_hex(4)}"
        databases.create_database(name)
        stack.callback(databases.drop_database, name)
        return databases.url(name)

    def _upstream(self, upstream: UpstreamApp) -> tuple[Child, Upstream]:
        port, token = free_port(), secrets.token_urlsafe(16)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(_ROOT),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "API_ADMIN_TOKEN": token,
            "API_FAULT_SEED": str(self.seed),
        }
        child = self.supervisor.start(
            upstream.name,
            with_interpreter(("python", "-m", upstream.module)),
            env=env,
            cwd=self.logs,
            log=self.logs / f"{upstream.name}.log",
            stop_timeout_s=_STOP_TIMEOUT_S,
        )
        return child, Upstream(url=f"http://127.0.0.1:{port}", admin_token=token)


def with_interpreter(command: Command) -> list[str]:
    """A first word ``python`` is the harness' own interpreter."""
    return [sys.executable if number == 0 and word == "python" else word for number, word in enumerate(command)]
