"""The app as local processes: a web server under a supervisor, redeployed by HUP, with services of its own."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.errors import FixRefused, MeasurementError, ServiceUnavailable, TargetNotReady
from harness.git import GitFailed
from harness.model.app import AppManifest, Command
from harness.model.source import Deployment, Endpoints, SourceTree
from harness.redaction import secrets_in
from harness.services.containment import Containment, contained
from harness.services.ready import http_ready, wait_until
from harness.services.sandbox import Role, sandboxed
from harness.services.supervisor import Child, Supervisor, free_port
from harness.target.logs import LogTail
from harness.target.oom import MemoryLimit
from harness.target.surroundings import Surroundings, with_interpreter
from harness.target.workspace import Workspace

_READY_TIMEOUT_S = 20.0
_PREPARE_TIMEOUT_S = 60.0
_CANARY_MIGRATION_TIMEOUT_S = 20.0  # together with the canary's start, within what the trial allows a deployment
_FORK_TIMEOUT_S = 2.0  # all workers of a release are forked in milliseconds; one may want fewer than the last had
_LOG_LINES = 80
_STOP_TIMEOUT_S = 0.5  # who is stopped serves nobody any more; what it holds, the database takes back


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
        surroundings: Surroundings,
        logs: Path,
        ready_timeout_s: float = _READY_TIMEOUT_S,
        containment: Containment | None = None,
        memory_mb: int | None = None,
    ) -> None:
        """``containment`` None: as much as this machine has. A web process over ``memory_mb`` is killed."""
        self._memory_mb, self._limit = memory_mb, ExitStack()
        self._containment = containment or contained()
        self._app, self._manifest, self._ready_timeout_s = app, app.manifest, ready_timeout_s
        self._supervisor, self._surroundings, self._logs = supervisor, surroundings, logs
        self._tail = LogTail([logs / f"{name}.log" for name in ("web", *(w.name for w in self._manifest.workers))])
        self._secret = secrets.token_urlsafe(32)  # one for all releases: users stay logged in
        self._processes: dict[str, Child] = {}
        self._deployments = self._canaries = 0
        self._size = 0  # web workers

    @property
    def isolation(self) -> str:
        """By what the app is kept apart from the machine, such as "user+bwrap+landlock+nft"; "none"."""
        return self._containment.text

    @contextmanager
    def running(self) -> Iterator[Endpoints]:
        """Prepare and start the app. TargetNotReady with the end of its log when it never gets healthy."""
        with ExitStack() as stack:
            self._folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="app-", ignore_cleanup_errors=True))
            )
            self._workspace = Workspace(self._folder / "workspace", self._manifest)
            self._workspace.create(self._app.folder, self._app.defect)
            standing = stack.enter_context(self._surroundings.running(self._manifest))
            self._service_env, self._waiting = standing.env, standing.waiting
            self._port = free_port()
            if self._containment.strict and standing.shared:
                cure = "use services of this machine, or --isolation auto"
                raise ServiceUnavailable(f"the isolation is not strict: {standing.shared}", cure=cure)
            ports = None if standing.ports is None else {*standing.ports, self._port}
            self._sandbox = stack.enter_context(sandboxed(self._containment, self._supervisor, ports))
            self._url = f"http://127.0.0.1:{self._port}"
            self._env = self._environment(self._port, "live")
            for step in (*self._manifest.migrate, *self._manifest.prepare):
                self._run(step, self._workspace.folder, self._env, "live")
            standing.wait_ready()
            stack.callback(self._stop_processes)
            self._restart_all()
            self._await_health(self._processes["web"], self._port)
            tokens = {upstream.admin_token for upstream in standing.upstreams.values()}
            secrets = secrets_in(self._env) | {self._secret} | tokens
            yield Endpoints(url=self._url, upstreams=standing.upstreams, secrets=secrets)

    def source(self) -> SourceTree:
        return self._workspace.source()

    def release(self, tree: SourceTree) -> Deployment:
        """Our own release, the good one or the bad: live at once, and the new beginning of history."""
        started = time.monotonic()
        self._workspace.rewrite(tree)
        for step in self._manifest.migrate:
            self._run(step, self._workspace.folder, self._env, "live")
        self._reload()
        return self._deployed(started, diff="")

    def redeploy(self, tree: SourceTree, message: str) -> Deployment:
        """Branch, commit, canary, merge, HUP. FixRefused (rule "canary") when the canary does not get healthy."""
        started = time.monotonic()
        branch, checkout = f"fix-{self._deployments + 1}", self._folder / "canary"
        try:
            self._workspace.branch(tree, branch, message, checkout)
            self._try_canary(checkout)
            diff = self._workspace.merge(branch)
        except MeasurementError as error:
            raise FixRefused(
                f"the canary did not get healthy: {error.message}",
                rule="canary",
                cure="the patched app must start and answer its health check",
            ) from None
        except GitFailed as error:
            cure = "the app must leave its own source alone"
            raise FixRefused(f"the fix cannot be merged: {error}", rule="merge", cure=cure) from None
        finally:
            self._workspace.drop(checkout)
        try:
            self._reload()
        except MeasurementError as error:  # it booted as a canary and dies for real: that is the fix's fault
            self._workspace.revert()
            self._restart_all()
            raise FixRefused(
                f"the app died when the fix went live: {error.message}", rule="live", cure="keep the app running"
            ) from None
        return self._deployed(started, diff=diff)

    def rollback(self) -> Deployment:
        started = time.monotonic()
        diff = self._workspace.revert()
        try:
            self._reload()
        except TargetNotReady:  # the release that is taken back has killed the server, or kills it now
            self._restart_all()
        return self._deployed(started, diff=diff)

    def logs(self) -> Sequence[str]:
        return self._tail.read()

    def waiting(self, event: str) -> int:
        """How many of the app's connections wait for this event of PostgreSQL now."""
        return self._waiting(event)

    def exposed(self) -> Iterator[tuple[str, bytes]]:
        return self._workspace.exposed()

    def _tmp(self, role: Role) -> Path:
        """A private folder, the only one to which the app may write."""
        tmp = self._folder / f"tmp-{role}"
        tmp.mkdir(exist_ok=True)
        return tmp

    def _environment(self, port: int, role: Role) -> dict[str, str]:
        """All that the app gets to see of ours. ``{tmp}`` in a value is its folder, ``{secret}`` is random."""
        tmp = self._tmp(role)
        values = {**self._manifest.env, **self._app.env}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            **({"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}),
            "LANG": "C.UTF-8",
            "HOME": str(tmp),
            "TMPDIR": str(tmp),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # a stale .pyc of the same second and size would serve the old code
            **{n: v.replace("{tmp}", str(tmp)).replace("{secret}", self._secret) for n, v in values.items()},
            **self._service_env,
            self._manifest.port: str(port),
        }

    def _start(self, name: str, command: Command, folder: Path, env: Mapping[str, str], role: Role) -> Child:
        tmp = self._tmp(role)
        self._sandbox.admit(role, folder, tmp)
        return self._supervisor.start(
            name,
            self._sandbox.command(role, with_interpreter(command), folder, tmp),
            env=env,
            cwd=folder,
            log=self._logs / f"{name}.log",
            stop_timeout_s=_STOP_TIMEOUT_S,
            program=self._sandbox.program,
        )

    def _run(
        self, command: Command, folder: Path, env: Mapping[str, str], role: Role, timeout_s: float = _PREPARE_TIMEOUT_S
    ) -> None:
        """One step of preparation, to its end. TargetNotReady when it fails."""
        child = self._start("prepare", command, folder, env, role)
        try:
            code = child.wait(timeout_s)
        finally:
            child.stop()
        if code != 0:
            what = "did not end in time" if code is None else f"ended with code {code}"
            raise TargetNotReady(f"`{' '.join(command)}` {what}:\n{child.tail()}", cure=f"read {child.log}")

    def _try_canary(self, checkout: Path) -> None:
        """Boot the candidate on a port of its own, where no user comes, and ask for its health."""
        port = free_port()
        env = self._environment(port, "canary")
        self._canaries += 1
        with ExitStack() as stack:
            stack.callback(self._sandbox.clear, "canary")
            for step in self._manifest.migrate:
                self._run(step, checkout, env, "canary", _CANARY_MIGRATION_TIMEOUT_S)
            child = self._start(f"canary-{self._canaries}", self._manifest.web.command, checkout, env, "canary")
            stack.callback(child.stop)
            self._await_health(child, port)

    def _await_health(self, child: Child, port: int) -> None:
        try:
            http_ready(f"http://127.0.0.1:{port}{self._manifest.health}", timeout_s=self._ready_timeout_s, child=child)
        except TargetNotReady as error:  # the cause stands before what each worker and the master say as they go
            first, *_ = error.message.splitlines()
            raise TargetNotReady(f"{first}\n{child.tail(_LOG_LINES)}", cure=error.cure) from None

    def _reload(self) -> None:
        """HUP, and wait until workers with the new code are there; old ones take no more, and finish what they have.

        Not for health: what goes live here may be a bad release, or the old one again in the middle of an outage.
        TargetNotReady when the server has died, or dies of it.
        """
        web = self._processes["web"]
        self._sandbox.admit("live", self._workspace.folder, self._tmp("live"))
        old = _children(web)
        self._size = self._size or len(old)  # before the first reload, no worker of an older release still drains
        started = time.monotonic()
        web.signal(signal.SIGHUP)

        def replaced() -> bool:
            new = len(_children(web) - old)
            return new >= self._size or (new > 0 and time.monotonic() - started > _FORK_TIMEOUT_S)

        wait_until(replaced, timeout_s=self._ready_timeout_s, what="the new release", child=web, error=TargetNotReady)
        self._restart_workers()
        self._sandbox.end_strays(self._processes.values())

    def _restart_all(self) -> None:
        """Server and workers. In the middle of an outage nobody waits for health: the windows tell."""
        self._stop_processes()
        self._restart("web", self._manifest.web.command)
        self._restart_workers()

    def _restart_workers(self) -> None:
        for worker in self._manifest.workers:
            self._restart(worker.name, worker.command)

    def _restart(self, name: str, command: Command) -> None:
        if running := self._processes.get(name):
            running.stop()
        child = self._processes[name] = self._start(name, command, self._workspace.folder, self._env, "live")
        if name == "web" and self._memory_mb:
            self._limit.close()
            self._limit.enter_context(MemoryLimit.enforced(child.program, self._memory_mb, child.log))

    def _stop_processes(self) -> None:
        """Users first, then those who work behind them; what is shared ends with the supervisor."""
        self._limit.close()
        for child in self._processes.values():
            child.stop()
        self._sandbox.clear("live")

    def _deployed(self, started: float, diff: str) -> Deployment:
        self._deployments += 1
        return Deployment(
            number=self._deployments, commit=self._workspace.head(), seconds=time.monotonic() - started, diff=diff
        )


def _children(parent: Child) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(parent.program).children()}
    except psutil.NoSuchProcess:
        return set()
