"""Trials whose app runs on ECS: by ministack, which runs its tasks in a real engine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from harness.aws.clients import client
from harness.aws.logs import CloudWatchLog
from harness.aws.secrets import read_secrets
from harness.aws.target import EcsTarget, ecs_target
from harness.errors import FixRefused, InputError
from harness.loading import load_scenario
from harness.model.place import EcsPlace
from harness.reading import read
from harness.services.supervisor import Supervisor
from harness.target.process import AppFiles
from tests.containers.cloud import GROUP, Cloud, cloud
from tests.containers.conftest import ROOT, Engine

pytestmark = pytest.mark.timeout(900)
PATIENCE_S = 120.0
SLOWER = {
    "recovery": {"window": 2, "minRequests": 10, "observe": 40, "horizon": 240},
    "detection": {"markers": True, "burnRate": {"factor": 10, "long": 8, "short": 4}, "within": 60},
    "steadyState": {"warmup": 5, "hold": 10},
}


@pytest.fixture(scope="module")
def there(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(engine, tmp_path_factory.mktemp("cloud")) as made:
        yield made


@pytest.fixture(autouse=True)
def settings(there: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in there.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("harness.aws.target._HEALTH_S", 15.0)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A shipped one, with the patience that deployments of a cloud want, and fewer arrivals than its stand-in bears."""
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    (tmp_path / "target_app").symlink_to(ROOT / "target_app")
    file = tmp_path / "scenarios" / "malformed_sql.yml"
    told = yaml.safe_load(file.read_text())
    told["load"]["arrivals"]["rate"] = 12
    told["slos"] = [{**slo, "latency": {"p95Ms": 3000}} for slo in told["slos"]]
    for key, values in SLOWER.items():
        told[key] = {**told[key], **values}
    file.write_text(yaml.safe_dump(told))
    return file


@pytest.fixture
def place(there: Cloud, tmp_path: Path) -> Path:
    file = tmp_path / "staging.yml"
    file.write_text(yaml.safe_dump(there.place()))
    return file


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.3)


def run(there: Cloud, scenario: Path, place: Path, results: Path, *words: str) -> list[str]:
    command = [sys.executable, "-m", "harness", "run", str(scenario), "--target", f"ecs:{place}", "--no-track"]
    command += ["--retriever", "none"]
    return [*command, "--results", str(results), *words]


def test_a_fix_heals_on_ecs_and_the_service_is_given_back(
    there: Cloud, scenario: Path, place: Path, tmp_path: Path
) -> None:
    before = there.serves()
    command = run(there, scenario, place, tmp_path / "results", "--fixer", "reference", "--seed", "3", "--json")
    done = subprocess.run(command, env=there.env, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["outcome"] == "HEALED", f"{verdict['reason']}\n{done.stderr}"
    assert there.serves() == before
    (folder,) = (tmp_path / "results").glob("*-malformed_sql-*")
    assert "SQL" in (folder / "events.jsonl").read_text()  # from the log, by the live tail
    assert there.env["PAYMENTS_TOKEN"] not in "".join(
        path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()
    )


def test_kill_9_gives_the_service_back(there: Cloud, scenario: Path, place: Path, tmp_path: Path) -> None:
    before = there.serves()
    with (tmp_path / "log").open("wb") as log:
        command = run(there, scenario, place, tmp_path / "results", "--fixer", "noop")
        trial = subprocess.Popen(command, env=there.env, cwd=ROOT, stdout=log, stderr=log)
    try:
        until(lambda: there.serves() != before, "the trial's own revision")
    finally:
        trial.send_signal(signal.SIGKILL)
        trial.wait()
    until(lambda: there.serves() == before and there.settled(), "the service is as it was")


def target(scenario: Path, place: Path, supervisor: Supervisor) -> EcsTarget:
    loaded = load_scenario(scenario)
    files = AppFiles(folder=loaded.app, manifest=loaded.manifest, defect=loaded.defect, env={"GREETING": "hello"})
    return ecs_target(files, read(place, EcsPlace)[0], supervisor)


def test_it_keeps_what_every_target_promises(there: Cloud, scenario: Path, place: Path) -> None:
    with Supervisor() as supervisor, (app := target(scenario, place, supervisor)).running() as endpoints:
        tree, first = app.source(), there.serves()
        broken = tree.with_files({**tree.files, "shop/wsgi.py": "raise SystemExit('it does not start')\n"})
        with pytest.raises(FixRefused, match="did not get healthy") as raised:
            app.redeploy(broken, "It breaks")
        assert raised.value.rule == "canary"
        assert there.serves() == first and app.source().files == tree.files
        better = tree.with_files({**tree.files, "shop/new_module.py": "SAID = 'new'\n"})
        deployed = app.redeploy(better, "Better")
        assert "+SAID = 'new'" in deployed.diff and there.serves() != first
        assert app.source().files == better.files
        with urllib.request.urlopen(f"{endpoints.url}/health/ready", timeout=10) as answer:
            assert answer.status == 200
        back = app.rollback()
        assert "-SAID = 'new'" in back.diff and there.serves() == first
        assert app.source().files == tree.files
        assert any("ready" in line or "GET" in line for line in app.logs())
        names = [name for name, _ in app.exposed()]
        assert not [name for name in names if "ministack" in name]


def test_the_log_and_secrets_are_read(there: Cloud) -> None:
    log = CloudWatchLog(client("logs"), GROUP, streams="shop/web/")
    until(lambda: log.between(time.time() - 3600, time.time()), "the shop's lines are in the log")
    told = there.client("secretsmanager").create_secret(Name="cream/analyse", SecretString='{"slack": "hook"}')
    environ = {"SLACK_WEBHOOK_URL_SECRET": f"{told['ARN']}#slack", "PAYMENTS_CLIENT_SECRET": "no ARN"}
    assert read_secrets(environ) == ["SLACK_WEBHOOK_URL"]
    assert environ["SLACK_WEBHOOK_URL"] == "hook"


def test_a_container_that_the_task_does_not_have_is_told(there: Cloud, scenario: Path, place: Path) -> None:
    told = {**there.place(), "containers": ["shop"]}
    place.write_text(yaml.safe_dump(told))
    before = there.serves()
    with (
        Supervisor() as supervisor,
        pytest.raises(InputError, match="no container shop"),
        target(scenario, place, supervisor).running(),
    ):
        pass
    assert there.serves() == before


def test_a_missing_token_is_told(scenario: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYMENTS_TOKEN")
    with (
        Supervisor() as supervisor,
        pytest.raises(InputError, match="PAYMENTS_TOKEN is not set"),
        target(scenario, place, supervisor).running(),
    ):
        pass
