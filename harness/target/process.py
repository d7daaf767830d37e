"""The app as local processes: a web server under a supervisor, redeployed by HUP, with services of its own."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import FixRefused, MeasurementError, ServiceUnavailable, TargetNotReady
from harness.git import GitFailed
from harness.model.app import AppManifest, Command
from harness.model.source import Deployment, Endpoints, SourceTree
from harness.redaction import secrets_in
from harness.services.containment import Containment, contained
from harness.services.loopback import free_port
from harness.services.sandbox import Role, Sandbox, sandboxed
from harness.services.supervisor import Supervisor
from harness.target.logs import LogTail
from harness.target.processes import Processes
from harness.target.surroundings import Standing
from harness.target.workspace import Workspace

_READY_TIMEOUT_S = 20.0
_PREPARE_TIMEOUT_S = 60.0
_CANARY_MIGRATION_TIMEOUT_S = 20.0  # together with the canary's start, within what the trial allows a deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFiles:
    """Where an app comes from: its folder, its manifest, the patch that makes it weak, extra settings."""

    folder: Path
    manifest: AppManifest
    defect: Path | None = None
    env: Mapping[str, str]


class Surroundings(Protocol):
    def running(self, manifest: AppManifest) -> AbstractContextManager[Standing]: ...


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
        sandbox: Sandbox | None = None,
        memory_mb: int | None = None,
    ) -> None:
        """``containment`` None: as much as this machine has. A web process over ``memory_mb`` is killed.

        ``sandbox`` None: processes of this machine, kept apart by the containment.
        """
        self._memory_mb, self._containment = memory_mb, containment or contained()
        self._app, self._manifest, self._ready_timeout_s = app, app.manifest, ready_timeout_s
        self._supervisor, self._surroundings, self._logs = supervisor, surroundings, logs
        self._given = sandbox
        self._tail = LogTail([logs / f"{name}.log" for name in ("web", *(w.name for w in self._manifest.workers))])
        self._secret = secrets.token_urlsafe(32)  # one for all releases: users stay logged in
        self._deployments = 0

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
            self._sandbox = self._given or stack.enter_context(sandboxed(self._containment, self._supervisor, ports))
            self._env = self._environment(self._port, "live")
            self._processes = Processes(
                self._manifest,
                supervisor=self._supervisor,
                sandbox=self._sandbox,
                tmp=self._tmp,
                logs=self._logs,
                ready_timeout_s=self._ready_timeout_s,
                memory_mb=self._memory_mb,
            )
            self._prepare(*self._manifest.migrate, *self._manifest.prepare)
            standing.wait_ready()
            stack.callback(self._processes.stop)
            self._processes.restart(self._workspace.folder, self._env)
            self._processes.await_health(self._port)
            tokens = {upstream.admin_token for upstream in standing.upstreams.values()}
            secrets = secrets_in(self._env) | {self._secret} | tokens
            yield Endpoints(url=f"http://127.0.0.1:{self._port}", upstreams=standing.upstreams, secrets=secrets)

    def source(self) -> SourceTree:
        return self._workspace.source()

    def release(self, tree: SourceTree) -> Deployment:
        """Our own release, the good one or the bad: live at once, and the new beginning of history."""
        started = time.monotonic()
        self._workspace.rewrite(tree)
        self._prepare(*self._manifest.migrate)
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
            self._processes.restart(self._workspace.folder, self._env)
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
            self._processes.restart(self._workspace.folder, self._env)
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

    def _prepare(self, *steps: Command) -> None:
        for step in steps:
            self._processes.run(step, self._workspace.folder, self._env, "live", _PREPARE_TIMEOUT_S)

    def _reload(self) -> None:
        self._processes.reload(self._workspace.folder, self._env)

    def _try_canary(self, checkout: Path) -> None:
        """Boot the candidate on a port of its own, where no user comes, and ask for its health."""
        port = free_port()
        env = self._environment(port, "canary")
        with ExitStack() as stack:
            stack.callback(self._sandbox.clear, "canary")
            for step in self._manifest.migrate:
                self._processes.run(step, checkout, env, "canary", _CANARY_MIGRATION_TIMEOUT_S)
            self._processes.require_healthy(checkout, env, port)

    def _deployed(self, started: float, diff: str) -> Deployment:
        self._deployments += 1
        return Deployment(
            number=self._deployments, commit=self._workspace.head(), seconds=time.monotonic() - started, diff=diff
        )
