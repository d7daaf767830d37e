"""The app's processes: a web server that HUP reloads, workers, and whatever else is run of the app to its end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil

from harness.errors import TargetNotReady
from harness.model.app import AppManifest, Command
from harness.services.ready import http_ready, wait_until
from harness.services.sandbox import Launch, Role, Sandbox
from harness.services.supervisor import Child, Supervisor
from harness.target.oom import MemoryLimit

_FORK_TIMEOUT_S = 2.0  # all workers of a release are forked in milliseconds; one may want fewer than the last had
_LOG_LINES = 80
_STOP_TIMEOUT_S = 0.5  # who is stopped serves nobody any more; what it holds, the database takes back

Environment = Mapping[str, str]


class Processes:
    """All in the sandbox, with their output in ``logs``. ``tmp`` gives the folder to which a role may write."""

    def __init__(
        self,
        manifest: AppManifest,
        *,
        supervisor: Supervisor,
        sandbox: Sandbox,
        tmp: Callable[[Role], Path],
        logs: Path,
        ready_timeout_s: float,
        memory_mb: int | None,
    ) -> None:
        """A web process over ``memory_mb`` is killed."""
        self._manifest, self._ready_timeout_s = manifest, ready_timeout_s
        self._supervisor, self._sandbox, self._tmp, self._logs = supervisor, sandbox, tmp, logs
        self._memory_mb, self._limit = memory_mb, ExitStack()
        self._running: dict[str, Child] = {}
        self._size = 0  # web workers
        self._canaries = 0

    def run(self, command: Command, folder: Path, env: Environment, role: Role, timeout_s: float) -> None:
        """One step of preparation, to its end. TargetNotReady when it fails."""
        child = self._start("prepare", command, folder, env, role)
        try:
            code = child.wait(timeout_s)
        finally:
            child.stop()
        if code != 0:
            what = "did not end in time" if code is None else f"ended with code {code}"
            raise TargetNotReady(f"`{' '.join(command)}` {what}:\n{child.tail()}", cure=f"read {child.log}")

    def require_healthy(self, folder: Path, env: Environment, port: int) -> None:
        """Boot the code in ``folder`` as a canary, on a port where no user comes. TargetNotReady when it stays ill."""
        self._canaries += 1
        child = self._start(f"canary-{self._canaries}", self._manifest.web.command, folder, env, "canary", port)
        try:
            self._await_health(child, port)
        finally:
            child.stop()

    def restart(self, folder: Path, env: Environment) -> None:
        """Server and workers. In the middle of an outage nobody waits for health: the windows tell."""
        self.stop()
        self._restart("web", self._manifest.web.command, folder, env)
        self._restart_workers(folder, env)

    def await_health(self, port: int) -> None:
        """TargetNotReady with the end of the server's log when it never gets healthy."""
        self._await_health(self._running["web"], port)

    def reload(self, folder: Path, env: Environment) -> None:
        """HUP, and wait until workers with the new code are there; old ones take no more, and finish what they have.

        Not for health: what goes live here may be a bad release, or the old one again in the middle of an outage.
        TargetNotReady when the server has died, or dies of it.
        """
        web = self._running["web"]
        self._sandbox.admit("live", folder, self._tmp("live"))
        old = _children(web)
        self._size = self._size or len(old)  # before the first reload, no worker of an older release still drains
        started = time.monotonic()
        web.signal(signal.SIGHUP)

        def replaced() -> bool:
            new = len(_children(web) - old)
            return new >= self._size or (new > 0 and time.monotonic() - started > _FORK_TIMEOUT_S)

        wait_until(replaced, timeout_s=self._ready_timeout_s, what="the new release", child=web, error=TargetNotReady)
        self._restart_workers(folder, env)
        self._sandbox.end_strays(self._running.values())

    def stop(self) -> None:
        """Users first, then those who work behind them; what is shared ends with the supervisor."""
        self._limit.close()
        for child in self._running.values():
            child.stop()
        self._sandbox.clear("live")

    def _restart_workers(self, folder: Path, env: Environment) -> None:
        for worker in self._manifest.workers:
            self._restart(worker.name, worker.command, folder, env)

    def _restart(self, name: str, command: Command, folder: Path, env: Environment) -> None:
        if running := self._running.get(name):
            running.stop()
        port = int(env[self._manifest.port]) if name == "web" else None
        child = self._running[name] = self._start(name, command, folder, env, "live", port)
        if name == "web" and self._memory_mb:
            self._limit.close()
            self._limit.enter_context(MemoryLimit.enforced(lambda: child.program, self._memory_mb, child.log))

    def _start(
        self, name: str, command: Command, folder: Path, env: Environment, role: Role, port: int | None = None
    ) -> Child:
        tmp = self._tmp(role)
        self._sandbox.admit(role, folder, tmp)
        launched = self._sandbox.launched(
            Launch(name=name, role=role, command=command, folder=folder, tmp=tmp, env=env, port=port)
        )
        return self._supervisor.start(
            name,
            launched.command,
            env=launched.env,
            cwd=folder,
            log=self._logs / f"{name}.log",
            stop_timeout_s=_STOP_TIMEOUT_S,
            program=launched.program,
            after=launched.after,
        )

    def _await_health(self, child: Child, port: int) -> None:
        try:
            http_ready(f"http://127.0.0.1:{port}{self._manifest.health}", timeout_s=self._ready_timeout_s, child=child)
        except TargetNotReady as error:  # the cause stands before what each worker and the master say as they go
            first, *_ = error.message.splitlines()
            raise TargetNotReady(f"{first}\n{child.tail(_LOG_LINES)}", cure=error.cure) from None


def _children(parent: Child) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(parent.program).children()}
    except psutil.NoSuchProcess:
        return set()
