"""An app in containers of Docker Compose: its services, and a container for each of its processes."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from harness.model.app import AppManifest
from harness.model.source import Upstream
from harness.services.postgres import Postgres
from harness.services.reaper import descendants, parent_of
from harness.services.sandbox import Launch, Launched, Role
from harness.services.supervisor import Child, Supervisor
from harness.services.unprivileged import open_to_readers
from harness.target.project import Project
from harness.target.surroundings import Standing, nobody

WEB, POSTGRES, REDIS = "web", "postgres", "redis"  # the names that their services have in a compose file
_HOSTS_OWN = ("PATH", "HOME", "LANG", "TZ")
_INIT = ("docker-init", "tini")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSurroundings:
    """What an app stands on, from the project: services by the names above, and one for each upstream."""

    project: Project
    supervisor: Supervisor
    connections: int | None = None  # what the app's database grants; None: all that there are

    @contextmanager
    def running(self, manifest: AppManifest) -> Iterator[Standing]:
        """All that the manifest asks for, fresh and empty; gone when left. ServiceUnavailable."""
        project, upstreams = self.project, [upstream.name for upstream in manifest.upstreams]
        wanted = [*upstreams]
        wanted += [POSTGRES] if manifest.services.postgres else []
        wanted += [REDIS] if manifest.services.redis else []
        own = [WEB, *(worker.name for worker in manifest.workers)]
        env: dict[str, str] = {}
        reached: dict[str, Upstream] = {}
        waiting = nobody
        with ExitStack() as stack:
            stack.enter_context(project.running(wanted, own, self.supervisor))
            for upstream in manifest.upstreams:
                port = project.published(upstream.name)
                token = project.secret(f"{upstream.name}_admin_token")
                reached[upstream.name] = Upstream(url=f"http://127.0.0.1:{port.port}", admin_token=token)
                env[upstream.env] = f"http://{upstream.name}:{port.inside}"
            if manifest.services.postgres:
                port = project.published(POSTGRES)
                password = project.secret("postgres_password")
                url = f"postgresql://postgres:{password}@127.0.0.1:{port.port}/postgres"
                server = Postgres(server_url=url, home="postgres")
                database = stack.enter_context(server.app_database(f"app_{secrets.token_hex(4)}", self.connections))
                env[manifest.services.postgres], waiting = _from_inside(database.url, port.inside), database.waiting
            if manifest.services.redis:
                env[manifest.services.redis] = f"redis://{REDIS}:{project.published(REDIS).inside}/0"
            yield Standing(env=env, upstreams=reached, waiting=waiting, ports=None, shared="", wait_ready=lambda: None)


class ContainerSandbox:
    """Implements `Sandbox`: each process in a new container of its service, whose file says what it may.

    The app's folder is mounted at /app, read-only. What has no service of its own runs as the web service does.
    """

    def __init__(self, project: Project, manifest: AppManifest) -> None:
        self._project, self._services = project, {worker.name for worker in manifest.workers}
        self._numbers = itertools.count(1)

    def admit(self, role: Role, folder: Path, tmp: Path) -> None:
        open_to_readers(folder)
        tmp.parent.chmod(0o711)  # who knows a name in there may pass
        tmp.chmod(0o1777)  # the image's user is nobody that this machine knows

    def launched(self, launch: Launch) -> Launched:
        container = f"{self._project.name}-{launch.name}-{next(self._numbers)}"
        options = ["--volume", f"{launch.folder}:/app:ro", "--volume", f"{launch.tmp}:{launch.tmp}"]
        options += ["--workdir", "/app"]
        options += ["--publish", f"127.0.0.1:{launch.port}:{launch.port}"] if launch.port else []
        options += ["-e", f"HOME={launch.tmp}"]
        for name in sorted(launch.env.keys() - set(_HOSTS_OWN)):
            options += ["-e", name]  # the value is taken from Compose's own environment, where ps does not show it
        service = launch.name if launch.name in self._services else WEB
        return Launched(
            command=self._project.run(service, container, options, launch.command),
            env={**launch.env, **self._project.env},
            program=_Program(self._project, container).find,
            after=partial(self._project.remove, container),
        )

    def clear(self, role: Role) -> None:
        """Each container goes with its process."""

    def end_strays(self, children: Iterable[Child]) -> None:
        """In a container with an init process: what is the init's child, but not the program."""
        for child in children:
            first, program = _first(child.program), child.program
            if first is not None:
                kept = {program, *(process.pid for process in descendants(program))}
                for process in descendants(first):
                    if process.pid not in kept:
                        with suppress(ProcessLookupError, PermissionError):
                            os.kill(process.pid, signal.SIGKILL)


class _Program:
    """Who is to be signalled in a container: its first process, or what an init process has begun with."""

    def __init__(self, project: Project, container: str) -> None:
        self._project, self._container = project, container
        self._found: int | None = None

    def find(self, _client: int) -> int | None:
        if self._found is None:
            first = self._project.process(self._container)
            if first is not None and _name(first) in _INIT:
                begun = [process.pid for process in descendants(first)]
                first = min(begun, default=None)
            self._found = first
        return self._found


def _first(program: int) -> int | None:
    """The init process of the container in which the program runs; None: it has none."""
    parent = parent_of(program)
    return parent if _name(parent) in _INIT else None


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _from_inside(url: str, port: int) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{POSTGRES}:{port}").geturl()
