"""What an app stands on: its databases, its queue, and the upstreams that it calls."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from harness.model.app import AppManifest, UpstreamApp
from harness.model.source import Upstream
from harness.services.containment import on_this_machine
from harness.services.loopback import free_port
from harness.services.ready import http_ready
from harness.services.sandbox import with_interpreter
from harness.services.supervisor import Child, Supervisor
from harness.services.valkey import valkey_running

_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 0.5
_DEFAULT_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "http": 80, "https": 443}
_ROOT = Path(__file__).resolve().parents[2]  # where mock_api can be imported from, installed or not


class Database(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def own_role(self) -> bool: ...
    def waiting(self, event: str) -> int: ...


class Databases(Protocol):
    """The part of the PostgreSQL server that an app needs."""

    def app_database(self, name: str, connections: int | None) -> AbstractContextManager[Database]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is up: the variables that tell the app of it, and the upstreams by name."""

    env: Mapping[str, str]
    upstreams: Mapping[str, Upstream]
    waiting: Callable[[str], int]  # how many of the app's connections wait for an event of PostgreSQL now
    ports: Collection[int] | None  # of 127.0.0.1, by which the app reaches it all; None: some of it is elsewhere
    shared: str  # what the app has in common with others that it should have alone; empty: nothing
    wait_ready: Callable[[], None]  # until the upstreams answer; they boot while the app is prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """``databases`` is asked once the app starts: the server may come up after us. ``seed`` is for upstream draws."""

    supervisor: Supervisor
    databases: Callable[[], Databases]
    redis_url: str | None
    logs: Path
    seed: int
    connections: int | None = None  # what the app's database grants; None: all that there are

    @contextmanager
    def running(self, manifest: AppManifest) -> Iterator[Standing]:
        """All that the manifest asks for, fresh and empty; gone when left. ServiceUnavailable, TargetNotReady."""
        env: dict[str, str] = {}
        upstreams: dict[str, Upstream] = {}
        booting: dict[str, Child] = {}
        waiting: Callable[[str], int] = nobody
        shared: list[str] = []

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
                name = f"app_{secrets.token_hex(4)}"
                database = stack.enter_context(self.databases().app_database(name, self.connections))
                env[manifest.services.postgres], waiting = database.url, database.waiting
                if not database.own_role:
                    shared.append("the user of DATABASE_URL may not create one for the app")
            if manifest.services.redis:
                running = valkey_running(self.supervisor, log=self.logs / "valkey.log", external_url=self.redis_url)
                env[manifest.services.redis] = stack.enter_context(running)
            ports = _ports(env.values())
            if ports is None:
                shared.append("a service is not on this machine's loopback interface")
            if self.redis_url and manifest.services.redis:
                shared.append("REDIS_URL is a server that others use")
            yield Standing(
                env=env,
                upstreams=upstreams,
                waiting=waiting,
                ports=ports,
                shared="; ".join(shared),
                wait_ready=wait_ready,
            )

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


def nobody(event: str) -> int:
    """Of an app without a database."""
    return 0


def _ports(urls: Collection[str]) -> set[int] | None:
    """Those of 127.0.0.1; None where one of the services is elsewhere."""
    if not all(map(on_this_machine, urls)):
        return None
    return {parts.port or _DEFAULT_PORTS.get(parts.scheme.partition("+")[0], 0) for parts in map(urlsplit, urls)}
