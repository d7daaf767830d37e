"""The app as local processes: a web server under a supervisor, redeployed by HUP, with services of its own."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from harness.errors import FixRefused, MeasurementError, TargetNotReady
from harness.model.app import AppManifest, Command, WorkerProcess
from harness.model.source import Deployment, Endpoints, SourceTree, Upstream
from harness.services.ready import http_ready, wait_until
from harness.services.supervisor import Child, Supervisor, free_port
from harness.services.valkey import valkey_running
from harness.target.logs import LogTail
from harness.target.workspace import Workspace

_READY_TIMEOUT_S = 20.0
_PREPARE_TIMEOUT_S = 60.0
_ROOT = Path(__file__).resolve().parents[2]  # where mock_api can be imported from, installed or not


class Databases(Protocol):
    """The part of the PostgreSQL server that a target needs."""

    def url(self, database: str) -> str: ...
    def create_database(self, name: str) -> None: ...
    def drop_database(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFiles:
    """Where an app comes from: its folder, its manifest, the patch that makes it weak, extra settings."""

    folder: Path
    manifest: AppManifest
    defect: Path | None = None
    env: Mapping[str, str]


class ProcessTarget:
    """Implements ``ports.Target``. Everything that is started ends with ``running``, also after a crash."""

    def __init__(
        self,
        app: AppFiles,
        *,
        supervisor: Supervisor,
        databases: Callable[[], Databases],  # asked once the target starts: the server may come up after us
        redis_url: str | None,
        logs: Path,
        seed: int,
    ) -> None:
        self._app, self._manifest = app, app.manifest
        self._supervisor, self._databases, self._redis_url = supervisor, databases, redis_url
        self._logs, self._seed = logs, seed
        self._tail = LogTail([logs / f"{name}.log" for name in ("web", *(w.name for w in self._manifest.workers))])
        self._workers: dict[str, Child] = {}
        self._secret = secrets.token_urlsafe(32)  # one for all releases: users stay logged in
        self._deployments = 0

    @contextmanager
    def running(self) -> Iterator[Endpoints]:
        """Prepare and start the app. TargetNotReady with the end of its log when it never gets healthy."""
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="app-")))
            self._workspace = Workspace(self._folder / "workspace", self._manifest)
            self._workspace.create(self._app.folder, self._app.defect)
            self._service_env = self._start_services(stack)
            upstreams = {up.name: self._start_upstream(up.name, up.module, up.env) for up in self._manifest.upstreams}
            self._port = free_port()
            self._url = f"http://127.0.0.1:{self._port}"
            self._env = self._environment(self._port, "live")
            for step in (*self._manifest.migrate, *self._manifest.prepare):
                self._run(step, self._workspace.folder, self._env)
            self._web = self._start("web", self._manifest.web.command, self._workspace.folder, self._env)
            stack.callback(self._stop_processes)
            http_ready(self._url + self._manifest.health, timeout_s=_READY_TIMEOUT_S, child=self._web)
            self._restart_workers()
            yield Endpoints(url=self._url, upstreams=upstreams)

    def source(self) -> SourceTree:
        return self._workspace.source()

    def release(self, tree: SourceTree) -> Deployment:
        """Our own release, the good one or the bad: live at once, and the new beginning of history."""
        started = time.monotonic()
        self._workspace.rewrite(tree)
        self._reload()
        return self._deployed(started, diff="")

    def redeploy(self, tree: SourceTree, message: str) -> Deployment:
        """Branch, commit, canary, merge, HUP. FixRefused (rule "canary") when the canary does not get healthy."""
        started = time.monotonic()
        branch, checkout = f"fix-{self._deployments + 1}", self._folder / "canary"
        self._workspace.branch(tree, branch, message, checkout)
        try:
            self._try_canary(checkout)
        except MeasurementError as error:
            raise FixRefused(
                f"the canary did not get healthy: {error.message}",
                rule="canary",
                cure="the patched app must start and answer its health check",
            ) from None
        finally:
            self._workspace.drop(checkout)
        diff = self._workspace.merge(branch)
        self._reload()
        return self._deployed(started, diff=diff)

    def rollback(self) -> Deployment:
        started = time.monotonic()
        diff = self._workspace.revert()
        self._reload()
        return self._deployed(started, diff=diff)

    def logs(self) -> Sequence[str]:
        return self._tail.read()

    def _start_services(self, stack: ExitStack) -> dict[str, str]:
        env: dict[str, str] = {}
        services = self._manifest.services
        if services.postgres:
            name = f"app_{secrets.token_hex(4)}"
            databases = self._databases()
            databases.create_database(name)
            stack.callback(databases.drop_database, name)
            env[services.postgres] = databases.url(name)
        if services.redis:
            running = valkey_running(self._supervisor, log=self._logs / "valkey.log", external_url=self._redis_url)
            env[services.redis] = stack.enter_context(running)
        return env

    def _start_upstream(self, name: str, module: str, variable: str) -> Upstream:
        port, token = free_port(), secrets.token_urlsafe(16)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(_ROOT),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "API_ADMIN_TOKEN": token,
            "API_FAULT_SEED": str(self._seed),
        }
        child = self._start(name, ("python", "-m", module), self._folder, env)
        url = f"http://127.0.0.1:{port}"
        http_ready(f"{url}/health", timeout_s=_READY_TIMEOUT_S, child=child)
        self._service_env[variable] = url
        return Upstream(url=url, admin_token=token)

    def _environment(self, port: int, role: str) -> dict[str, str]:
        """All that the app gets to see of ours. ``{tmp}`` in a value is a private folder, ``{secret}`` is random."""
        tmp = self._folder / role
        tmp.mkdir(exist_ok=True)
        values = {**self._manifest.env, **self._app.env}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TMPDIR": str(tmp),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # a stale .pyc of the same second and size would serve the old code
            **{n: v.replace("{tmp}", str(tmp)).replace("{secret}", self._secret) for n, v in values.items()},
            **self._service_env,
            self._manifest.port: str(port),
        }

    def _start(self, name: str, command: Command, folder: Path, env: Mapping[str, str]) -> Child:
        return self._supervisor.start(
            name, _with_interpreter(command), env=env, cwd=folder, log=self._logs / f"{name}.log"
        )

    def _run(self, command: Command, folder: Path, env: Mapping[str, str]) -> None:
        """One step of preparation, to its end. TargetNotReady when it fails."""
        child = self._start("prepare", command, folder, env)
        try:
            code = child.wait(_PREPARE_TIMEOUT_S)
        finally:
            child.stop()
        if code != 0:
            what = "did not end in time" if code is None else f"ended with code {code}"
            raise TargetNotReady(f"`{' '.join(command)}` {what}:\n{child.tail()}", cure=f"read {child.log}")

    def _try_canary(self, checkout: Path) -> None:
        """Boot the candidate on a port of its own, where no user comes, and ask for its health."""
        port = free_port()
        env = self._environment(port, "canary")
        for step in self._manifest.migrate:
            self._run(step, checkout, env)
        child = self._start("canary", self._manifest.web.command, checkout, env)
        try:
            http_ready(f"http://127.0.0.1:{port}{self._manifest.health}", timeout_s=_READY_TIMEOUT_S, child=child)
        finally:
            child.stop()

    def _reload(self) -> None:
        """HUP, and wait until only workers with the new code take connections; old ones may still finish theirs."""
        old = self._worker_pids()
        self._web.signal(signal.SIGHUP)
        wait_until(
            lambda: len(self._worker_pids() - old) >= len(old),
            timeout_s=_READY_TIMEOUT_S,
            what="the new release",
            child=self._web,
            error=TargetNotReady,
        )
        http_ready(self._url + self._manifest.health, timeout_s=_READY_TIMEOUT_S, child=self._web)
        self._restart_workers()

    def _worker_pids(self) -> set[int]:
        try:
            return {child.pid for child in psutil.Process(self._web.pid).children()}
        except psutil.NoSuchProcess:
            return set()

    def _restart_workers(self) -> None:
        for worker in self._manifest.workers:
            self._restart(worker)

    def _restart(self, worker: WorkerProcess) -> None:
        if running := self._workers.get(worker.name):
            running.stop()
        self._workers[worker.name] = self._start(worker.name, worker.command, self._workspace.folder, self._env)

    def _stop_processes(self) -> None:
        """Users first, then those who work behind them; what is shared ends with the supervisor."""
        for child in (self._web, *self._workers.values()):
            child.stop()

    def _deployed(self, started: float, diff: str) -> Deployment:
        self._deployments += 1
        return Deployment(
            number=self._deployments, commit=self._workspace.head(), seconds=time.monotonic() - started, diff=diff
        )


def _with_interpreter(command: Command) -> list[str]:
    return [sys.executable if number == 0 and word == "python" else word for number, word in enumerate(command)]
