"""The images, the services of docker-compose.yml, and trials whose app runs in them: by a real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.loading import load_scenario
from harness.services.sandbox import Launch
from harness.services.supervisor import Supervisor
from harness.target.containers import ContainerSandbox
from harness.target.project import Project
from tests.containers.conftest import ROOT, Engine

pytestmark = pytest.mark.timeout(900)
SHOP, PROVIDER, HARNESS = (f"creamandonion/{name}:dev" for name in ("shop", "mock_api", "harness"))
PATIENCE_S = 90.0
NO_WAY_OUT = """
import socket
for address in (("192.0.2.1", 443), ("1.1.1.1", 53)):
    try:
        socket.create_connection(address, timeout=2)
    except OSError:
        continue
    raise SystemExit(f"connected to {address}")
"""
LEAVES_ONE_BEHIND = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1000"])
    os._exit(0)
os.wait()
print("left", flush=True)
time.sleep(1000)
"""


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    engine: Engine
    project: str
    secrets: dict[str, str]

    def container(self, service: str) -> str:
        return self.engine.compose("-p", self.project, "ps", "-q", service).strip()

    def port(self, service: str, inside: int) -> str:
        return self.engine.compose("-p", self.project, "port", service, str(inside)).strip()

    def get(self, service: str, inside: int, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.port(service, inside)}{path}", timeout=10) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def up(engine: Engine, secrets_folder: Path) -> Iterator[Up]:
    """All services, as `docker-compose up` starts them; on ports of their own choice."""
    ports = {"WEB_PORT": "0", "DASHBOARD_PORT": "0", "MLFLOW_PORT": "0"}
    engine = Engine(env={**engine.env, **ports, "SECRETS": str(secrets_folder)})
    project = f"test-{os.getpid()}"
    try:
        engine.compose("-p", project, "up", "-d", "--no-build")
        secrets = {path.name: path.read_text() for path in secrets_folder.iterdir()}
        found = Up(engine=engine, project=project, secrets=secrets)
        for service in ("web", "dashboard", "mlflow", "payments", "postgres", "redis"):
            look = ("inspect", "--format", "{{.State.Health.Status}}", found.container(service))
            until(lambda look=look: engine.docker(*look).strip() == "healthy", f"{service} is healthy")
        yield found
    finally:
        engine.compose("-p", project, "down", "--volumes", "--remove-orphans", "--timeout", "0", check=False)


@pytest.mark.parametrize("image", [SHOP, PROVIDER, HARNESS])
def test_an_image_holds_what_runs_and_no_tools_to_build(engine: Engine, image: str) -> None:
    (told,) = json.loads(engine.docker("image", "inspect", image))
    assert told["Config"]["User"] == "10001:10001"
    script = "for tool in uv pip gcc cc make node npm; do command -v $tool && exit 1; done; exit 0"
    assert not engine.docker("run", "--rm", "--entrypoint", "sh", image, "-c", script)
    if image != HARNESS:
        assert told["Config"]["Healthcheck"]["Test"][0] == "CMD"
        assert told["Size"] <= 200_000_000, f"{told['Size'] / 1e6:.0f} MB"


def test_the_shop_sells(up: Up) -> None:
    assert json.loads(up.get("web", 8000, "/health/ready"))["status"] == "ready"
    assert len(json.loads(up.get("web", 8000, "/products?page=1"))["products"]) > 0


def test_the_dashboard_asks_who_comes_and_mlflow_keeps_its_runs_in_postgresql(up: Up) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        up.get("dashboard", 5002, "/developer/incidents")
    assert up.get("mlflow", 5000, "/health") == "OK"
    tables = ("psql", "-h", "/tmp", "-U", "postgres", "-d", "mlflow", "-Atc", r"\dt runs")
    assert "runs" in up.engine.docker("exec", up.container("postgres"), *tables)


def test_mlflow_keeps_files_of_runs_in_its_volume(up: Up, tmp_path: Path) -> None:
    """By MLflow's own client: the server runs as a user that a new volume need not be writable for."""
    from mlflow import artifacts
    from mlflow.tracking import MlflowClient

    uri, name = f"http://{up.port('mlflow', 5000)}", "attempt-1.patch"
    client = MlflowClient(uri)
    run_id = client.create_run(client.create_experiment("files")).info.run_id
    client.log_text(run_id, "a patch", name)
    found = artifacts.download_artifacts(run_id=run_id, artifact_path=name, dst_path=str(tmp_path), tracking_uri=uri)
    assert Path(found).read_text() == "a patch"
    up.engine.docker("exec", up.container("mlflow"), "sh", "-c", "find /mlflow -name attempt-1.patch | grep -q .")


def test_no_secret_is_in_an_image_or_a_container_s_configuration_or_a_log(up: Up) -> None:
    containers = up.engine.compose("-p", up.project, "ps", "-q").split()
    told = up.engine.docker("inspect", *containers) + up.engine.compose("-p", up.project, "logs", "--no-color")
    told += "".join(up.engine.docker("history", "--no-trunc", image) for image in (SHOP, PROVIDER, HARNESS))
    assert not [name for name, value in up.secrets.items() if value in told]


@pytest.mark.parametrize("service", ["web", "worker"])
def test_what_runs_code_of_a_model_has_no_way_out_and_writes_nowhere(up: Up, service: str) -> None:
    container = up.container(service)
    up.engine.docker("exec", container, "python", "-c", NO_WAY_OUT)
    writes = "for place in /app /opt/venv /usr /etc; do touch $place/x 2>/dev/null && exit 1; done; exit 0"
    up.engine.docker("exec", container, "sh", "-c", writes)
    assert up.engine.docker("exec", container, "id", "-u").strip() == "10001"


def test_a_fix_heals_in_containers_and_nothing_is_left(engine: Engine, tmp_path: Path) -> None:
    words = ["run", "scenarios/pool_exhaustion.yml", "--target", "compose", "--fixer", "reference", "--seed", "3"]
    command = [sys.executable, "-m", "harness", *words, "--results", str(tmp_path), "--no-track", "--json"]
    done = subprocess.run(command, env=engine.env, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    verdict = json.loads(done.stdout)
    assert verdict["outcome"] == "HEALED", f"{verdict['reason']}\n{done.stderr}"
    assert verdict["trial"]["isolation"] == "containers"
    (folder,) = tmp_path.glob("*-pool_exhaustion-*")
    assert "database system is ready" in (folder / "logs" / "compose.log").read_text()
    assert not engine.left("trial-")


def test_kill_9_leaves_no_container(engine: Engine, tmp_path: Path) -> None:
    words = ["run", "scenarios/pool_exhaustion.yml", "--target", "compose", "--fixer", "noop", "--no-track"]
    command = [sys.executable, "-m", "harness", *words, "--results", str(tmp_path)]
    with (tmp_path / "log").open("wb") as log:
        trial = subprocess.Popen(command, env=engine.env, cwd=ROOT, stdout=log, stderr=log)
    try:
        until(lambda: any("-web-" in name for name in engine.left("trial-")), "the shop's container")
    finally:
        trial.send_signal(signal.SIGKILL)
        trial.wait()
    until(lambda: not engine.left("trial-"), "all containers are gone")


def test_what_a_release_leaves_behind_ends_with_the_next(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    folder, tmp = tmp_path / "app", tmp_path / "tmp"
    folder.mkdir()
    tmp.mkdir()
    project = Project(ROOT / "docker-compose.yml", log=tmp_path / "compose.log", env={})
    sandbox = ContainerSandbox(project, load_scenario(ROOT / "scenarios/pool_exhaustion.yml").manifest)
    with Supervisor() as supervisor, project.running([], [], supervisor):
        sandbox.admit("live", folder, tmp)
        command = ["python", "-c", LEAVES_ONE_BEHIND]
        launch = Launch(name="web", role="live", command=command, folder=folder, tmp=tmp, env={"TMPDIR": str(tmp)})
        launched = sandbox.launched(launch)
        child = supervisor.start(
            "web",
            launched.command,
            env=launched.env,
            cwd=folder,
            log=tmp_path / "log",
            program=launched.program,
            after=launched.after,
        )
        until(lambda: "left" in child.tail(), "the program has left somebody behind")
        (container,) = engine.left(project.name + "-web")
        assert "sleep" in engine.docker("top", container)
        sandbox.end_strays([child])
        assert "sleep" not in engine.docker("top", container)
        assert child.running() and Path(f"/proc/{child.program}").exists()
        child.stop()
        assert not engine.left(project.name + "-web")
    assert not engine.left(project.name)
