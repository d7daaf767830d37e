"""A project of Docker Compose: the containers of one trial, under a name of its own, and gone when it ends."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from harness.errors import InputError, ServiceUnavailable
from harness.services.ready import NotYet, wait_until
from harness.services.supervisor import Supervisor

_QUICK_S = 30.0
_UP_S = 300.0  # images may have to be fetched
_HEALTHY_S = 90.0
_SECRETS = "SECRETS"  # the variable by which a compose file finds them
_PASSED = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A port of a container, and where it is reached from this machine."""

    inside: int
    port: int  # of 127.0.0.1


class Project:
    """Needs Docker's engine and Compose, version 1 or 2. All methods raise ServiceUnavailable with what Docker said."""

    def __init__(self, file: Path, *, log: Path, env: Mapping[str, str]) -> None:
        """``env`` is what the file may ask for. InputError where Docker Compose is missing, or the file."""
        if not file.is_file():
            raise InputError(f"{file}: there is no such file", cure="name it: --target compose:FILE")
        self.name, self._log = f"trial-{secrets.token_hex(4)}", log
        self._words = [*compose_command(), "-p", self.name, "-f", str(file.resolve())]
        self.env = {key: os.environ[key] for key in _PASSED if key in os.environ} | dict(env)

    @contextmanager
    def running(self, services: Sequence[str], others: Sequence[str], supervisor: Supervisor) -> Iterator[None]:
        """The services are up and healthy. Of the ``others`` it is only seen that their images are there.

        Each secret that the file expects in the folder ``$SECRETS`` is made up. What the services have said is kept.
        """
        with TemporaryDirectory(prefix="secrets-") as folder, supervisor.ending(self._down()):
            self._folder = Path(folder)
            self.env[_SECRETS] = folder
            config = yaml.safe_load(self._compose("config", within_s=_QUICK_S))
            self._require_images(config["services"], [*services, *others])
            self._make_secrets(config.get("secrets") or {})
            try:
                self._compose("up", "-d", "--no-build", *services, within_s=_UP_S)
                for service in services:
                    self._await_healthy(service)
                yield
            finally:
                self._keep_logs()
                self._run(self._down(), within_s=_UP_S)

    def secret(self, name: str) -> str:
        """What was made up for it; ServiceUnavailable where the file knows none of this name."""
        try:
            return (self._folder / name).read_text(encoding="ascii")
        except FileNotFoundError:
            cure = f"declare it: secrets: {{{name}: {{file: ${{{_SECRETS}}}/{name}}}}}"
            raise ServiceUnavailable(f"the compose file has no secret {name}", cure=cure) from None

    def published(self, service: str) -> Published:
        """The one port that the service publishes."""
        ports: dict[str, list[dict[str, str]] | None] = self._inspected(service)["NetworkSettings"]["Ports"]
        found = [(inside, bound[0]["HostPort"]) for inside, bound in ports.items() if bound]
        if len(found) != 1:
            cure = 'give it one, such as ports: ["127.0.0.1::5432"]'
            raise ServiceUnavailable(f"the service {service} publishes {len(found)} ports", cure=cure)
        inside, port = found[0]
        return Published(inside=int(inside.partition("/")[0]), port=int(port))

    def run(self, service: str, container: str, options: Sequence[str], command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` in a new container of the service, which it removes in the end."""
        words = ["run", "--rm", "-T", "--no-deps", "--name", container, *options, service, *command]
        return [*self._words, *words]

    def process(self, container: str) -> int | None:
        """The number, on this machine, of the container's first process; None: it does not run."""
        done = _docker(["inspect", "--format", "{{.State.Pid}}", container], self.env)
        return int(done.stdout) or None if done.returncode == 0 else None

    def remove(self, container: str) -> None:
        """Killed, where it runs. Nothing happens where there is none."""
        _docker(["rm", "--force", "--volumes", container], self.env)

    def _require_images(self, known: Mapping[str, Mapping[str, Any]], services: Sequence[str]) -> None:
        """Building takes minutes: that is not for a trial to do."""
        for service in services:
            if service not in known:
                names = ", ".join(sorted(known))
                raise ServiceUnavailable(f"the compose file has no service {service}, only {names}", cure="add it")
            image = known[service].get("image", "")
            built = "build" in known[service]
            if built and _docker(["image", "inspect", image], self.env).returncode:
                cure = f"build it: {' '.join([*self._words[:-4], *self._words[-2:]])} build {service}"
                raise ServiceUnavailable(f"the service {service} has no image yet", cure=cure)

    def _make_secrets(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        for name, secret in wanted.items():
            path = Path(secret.get("file", ""))
            if path.parent == self._folder:
                path.write_text(secrets.token_urlsafe(24), encoding="ascii")
                path.chmod(0o644)  # the container's user reads it; the folder is closed to others
            elif not path.is_file():
                cure = f"put it into the folder that the variable {_SECRETS} names: a trial makes its own"
                raise ServiceUnavailable(f"the secret {name} of the compose file is not there: {path}", cure=cure)

    def _keep_logs(self) -> None:
        with suppress(ServiceUnavailable):
            said = self._compose("logs", "--no-color", "--timestamps", within_s=_QUICK_S)
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._log.write_text(said, encoding="utf-8")

    def _await_healthy(self, service: str) -> None:
        def healthy() -> bool:
            state = self._inspected(service)["State"]
            if not state["Running"]:
                raise ServiceUnavailable(f"the service {service} has ended", cure=self._look(service))
            status = state.get("Health", {}).get("Status", "healthy")
            if status != "healthy":
                raise NotYet(f"it is {status}")
            return True

        wait_until(healthy, timeout_s=_HEALTHY_S, what=f"the service {service}", cure=self._look(service))

    def _look(self, service: str) -> str:
        return f"see what it says: {' '.join(self._words)} up {service}"

    def _inspected(self, service: str) -> Any:  # noqa: ANN401 - what Docker tells
        container = self._compose("ps", "-q", service, within_s=_QUICK_S).strip()
        return json.loads(self._run(["docker", "inspect", container], within_s=_QUICK_S))[0]

    def _down(self) -> list[str]:
        return [*self._words, "down", "--volumes", "--remove-orphans", "--timeout", "0"]

    def _compose(self, *words: str, within_s: float) -> str:
        return self._run([*self._words, *words], within_s=within_s)

    def _run(self, command: Sequence[str], *, within_s: float) -> str:
        done = _ran(command, self.env, within_s)
        if done.returncode:
            said = done.stderr.strip()[-800:]
            raise ServiceUnavailable(f"`{' '.join(command)}`: {said}", cure="look at Docker: docker info")
        return done.stdout


def compose_command() -> list[str]:
    """Version 2 is a plug-in of Docker, version 1 a program of its own. InputError where something is missing."""
    if os.geteuid() != 0:
        cure = "run the harness as root, such as by sudo"
        raise InputError("--target compose signals processes in containers, which only root may", cure=cure)
    if shutil.which("docker") is None:
        raise InputError("--target compose needs Docker", cure="install Docker's engine and Compose")
    if _docker(["compose", "version"], os.environ).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise InputError("--target compose needs Docker Compose", cure="install the plug-in, or docker-compose")


def _docker(words: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return _ran(["docker", *words], env, _QUICK_S)


def _ran(command: Sequence[str], env: Mapping[str, str], within_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        cure = "look at Docker: docker info"
        raise ServiceUnavailable(f"`{' '.join(command)}` did not end within {within_s:g} s", cure=cure) from None
