"""A Docker engine with images of our own: the machine's where CI has one, else Debian's, started for these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers.standins import make_all

ROOT = Path(__file__).resolve().parents[2]
BUILT = ["web", "payments", "dashboard"]
_START_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    env: Mapping[str, str]

    def docker(self, *words: str, check: bool = True) -> str:
        return self._run(["docker", *words], check)

    def compose(self, *words: str, check: bool = True) -> str:
        known = self._run(["docker", "compose", "version"], False)
        return self._run([*(["docker", "compose"] if known else ["docker-compose"]), *words], check)

    def left(self, prefix: str) -> list[str]:
        """Names of containers, networks and volumes that begin so."""
        kinds = [("ps", "-a", "{{.Names}}"), ("network", "ls", "{{.Name}}"), ("volume", "ls", "{{.Name}}")]
        found = [name for *words, form in kinds for name in self.docker(*words, "--format", form).split()]
        return [name for name in found if name.startswith(prefix)]

    def _run(self, command: list[str], check: bool) -> str:
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
        if check:
            assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout if done.returncode == 0 else ""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The images of docker-compose.yml are built. Missing parts are a failure in CI, and elsewhere a skip."""
    with _engine() as found:
        found.compose("build", *BUILT)
        yield found


@contextmanager
def _engine() -> Iterator[Engine]:
    here = Engine(env=dict(os.environ))
    if here.docker("info", check=False):
        if "CI" not in os.environ:
            pytest.skip("a Docker engine runs here: with CI=1 these tests build and run images in it")
        yield here
        return
    wanted = ["docker", "dockerd", "docker-compose", "debootstrap", "iptables", "node"]
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        told = f"needs root and {', '.join(wanted)}; missing: {', '.join(missing) or 'root'}"
        told += " (apt-get install docker.io docker-compose debootstrap iptables nodejs npm)"
        pytest.fail(told) if "CI" in os.environ else pytest.skip(told)
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    try:
        with _started(folder) as started:
            make_all(folder, started.env)
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _started(folder: Path) -> Iterator[Engine]:
    env = {**os.environ, "DOCKER_HOST": f"unix://{folder}/socket"}
    options = ["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
    with (folder / "log").open("wb") as log:
        command = ["dockerd", "-H", env["DOCKER_HOST"], *map(str, options)]
        daemon = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        engine, deadline = Engine(env=env), time.monotonic() + _START_S
        while not engine.docker("info", check=False):
            log_end = (folder / "log").read_text(errors="replace")[-2000:]
            assert daemon.poll() is None and time.monotonic() < deadline, f"dockerd does not come up: {log_end}"
            time.sleep(0.2)
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)


@pytest.fixture(scope="session")
def secrets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run([ROOT / "deploy/docker/make-secrets", folder], check=True)
    return folder
