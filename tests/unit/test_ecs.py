"""Deployments to ECS: AWS's own client against a stand-in that speaks its protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from harness.aws.ecs import EcsService, main
from harness.errors import InputError, ServiceUnavailable, TargetNotReady
from tests.aws import served

ROOT = Path(__file__).resolve().parents[2]
TASK = json.loads((ROOT / "deploy/aws/task-definition.json").read_text(encoding="utf-8"))
ARN = "arn:aws:ecs:us-east-1:000000000000:task-definition/cream-task"
WHERE = {"launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}
CLUSTER, SERVICE = "creamandonion", "cream-task-service"


@dataclass
class Ecs:
    """One service. ``fate`` is what becomes of a deployment, by the image of its first container."""

    fate: Callable[[str], str] = lambda _: "COMPLETED"
    revisions: dict[str, dict[str, Any]] = field(default_factory=lambda: {f"{ARN}:1": {**TASK, "revision": 1}})
    serves: str = f"{ARN}:1"
    failed: str = ""
    looks: int = 0  # at the present deployment
    refused: str = ""  # the operation that is not allowed
    exit_code: int | None = 0  # of a task that is run by itself; None: it goes on
    started: list[dict[str, Any]] = field(default_factory=list)
    full: bool = False  # there is no room for another task
    asked: list[str] = field(default_factory=list)

    def answer(self, operation: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(operation)
        if operation == self.refused:
            return 400, {"__type": "AccessDeniedException", "message": "not authorized to perform it"}
        handlers = {
            "DescribeServices": self.services,
            "DescribeTaskDefinition": self.definition,
            "RegisterTaskDefinition": self.register,
            "UpdateService": self.update,
            "RunTask": self.run,
            "DescribeTasks": self.tasks,
            "StopTask": lambda _: {"task": {}},
        }
        return 200, handlers[operation](given)

    def services(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["services"] != [SERVICE] or given["cluster"] != CLUSTER:
            return {"services": [], "failures": [{"reason": "MISSING"}]}
        self.looks += 1
        image = self.revisions[self.serves]["containerDefinitions"][0]["image"]
        state = "IN_PROGRESS" if self.looks < 3 else self.fate(image)
        if state == "FAILED":
            self.failed, self.serves, self.looks = self.serves, f"{ARN}:1", 9
        deployments = [self.deployment("PRIMARY", self.serves, state if state != "FAILED" else "IN_PROGRESS")]
        if self.failed:
            deployments.append(self.deployment("ACTIVE", self.failed, "FAILED"))
        service = {"serviceName": SERVICE, "status": "ACTIVE", "taskDefinition": self.serves, **WHERE}
        return {"services": [{**service, "deployments": deployments}], "failures": []}

    def deployment(self, status: str, revision: str, state: str) -> dict[str, Any]:
        why = "ECS deployment circuit breaker: tasks failed to start." if state == "FAILED" else ""
        counts = {"runningCount": int(state == "COMPLETED"), "desiredCount": 1}
        told = {"rolloutState": state, "rolloutStateReason": why}
        return {"id": "ecs-svc/1", "status": status, "taskDefinition": revision, **told, **counts}

    def definition(self, given: dict[str, Any]) -> dict[str, Any]:
        told = {"taskDefinitionArn": given["taskDefinition"], "status": "ACTIVE", "compatibilities": ["FARGATE"]}
        arn = given["taskDefinition"]
        arn = arn if arn.startswith("arn:") else f"{ARN}:{arn.partition(':')[2]}"
        return {"taskDefinition": {**self.revisions[arn], **told, "taskDefinitionArn": arn}}

    def register(self, given: dict[str, Any]) -> dict[str, Any]:
        arn = f"{ARN}:{len(self.revisions) + 1}"
        self.revisions[arn] = given
        return {"taskDefinition": {**given, "taskDefinitionArn": arn}}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        self.serves, self.looks, self.failed = given["taskDefinition"], 0, ""
        return {"service": {"serviceName": given["service"]}}

    def run(self, given: dict[str, Any]) -> dict[str, Any]:
        self.started.append(given)
        if self.full:
            return {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}
        return {"tasks": [{"taskArn": "arn:aws:ecs:us-east-1:000000000000:task/creamandonion/0a1b"}], "failures": []}

    def tasks(self, given: dict[str, Any]) -> dict[str, Any]:
        self.looks += 1
        if self.exit_code is None or self.looks % 3:
            return {"tasks": [{"lastStatus": "RUNNING", "containers": []}]}
        containers = [{"name": "postgres"}, {"name": "web", "exitCode": self.exit_code}]
        return {"tasks": [{"lastStatus": "STOPPED", "stoppedReason": "it exited", "containers": containers}]}


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecs]:
    stand_in = Ecs()
    with served("ECS", stand_in.answer, monkeypatch):
        yield stand_in


def service(name: str = SERVICE, patience_s: float = 20.0) -> EcsService:
    return EcsService(boto3.client("ecs"), CLUSTER, name, patience_s=patience_s, poll_s=0.01)


def images(revision: dict[str, Any]) -> dict[str, str]:
    return {container["name"]: container["image"] for container in revision["containerDefinitions"]}


def test_a_new_image_serves_in_a_revision_that_is_else_the_same(ecs: Ecs) -> None:
    told: list[str] = []
    done = service().deploy({"web": "registry/shop:2"}, told.append)
    assert (done.before, done.revision, ecs.serves) == (f"{ARN}:1", f"{ARN}:2", f"{ARN}:2")
    new = ecs.revisions[f"{ARN}:2"]
    assert images(new) == {**images(TASK), "web": "registry/shop:2"}
    assert {**new, "containerDefinitions": []} == {**TASK, "containerDefinitions": []}
    assert told[0] == "registered cream-task:2"
    assert told[-1] == "cream-task:2: COMPLETED, 1 of 1 tasks run"


def test_what_the_circuit_breaker_took_back_is_told_with_its_reason(ecs: Ecs) -> None:
    ecs.fate = lambda image: "FAILED" if image == "bad" else "COMPLETED"
    with pytest.raises(TargetNotReady, match=r"ECS took cream-task:2 back: ECS deployment circuit breaker"):
        service().deploy({"web": "bad"})
    assert ecs.serves == f"{ARN}:1"


def test_what_never_gets_healthy_is_taken_back_by_us(ecs: Ecs) -> None:
    ecs.fate = lambda image: "IN_PROGRESS" if image == "slow" else "COMPLETED"
    with pytest.raises(TargetNotReady, match=r"cream-task:2 did not get healthy .*; cream-task:1 serves again"):
        service(patience_s=0.2).deploy({"web": "slow"})
    assert ecs.serves == f"{ARN}:1"
    assert ecs.asked.count("UpdateService") == 2


def test_the_way_back_is_a_deployment_too(ecs: Ecs) -> None:
    done = service().deploy({"web": "registry/shop:2"})
    service().roll_back(done.before)
    assert ecs.serves == f"{ARN}:1"


def test_variables_are_set_where_an_image_is(ecs: Ecs) -> None:
    service().register({"web": "x"}, {"PORT": "9000", "POOL_SIZE": "2"})
    web, postgres, *_ = ecs.revisions[f"{ARN}:2"]["containerDefinitions"]
    env = {pair["name"]: pair["value"] for pair in web["environment"]}
    assert (env["PORT"], env["POOL_SIZE"], env["COOKIE_SECURE"]) == ("9000", "2", "true")
    assert postgres == {each["name"]: each for each in TASK["containerDefinitions"]}["postgres"]
    assert ecs.serves == f"{ARN}:1"


def test_a_command_is_run_where_the_service_runs(ecs: Ecs) -> None:
    service().run(f"{ARN}:1", "web", ["alembic", "upgrade", "head"])
    overrides = {"containerOverrides": [{"name": "web", "command": ["alembic", "upgrade", "head"]}]}
    (started,) = ecs.started
    assert started.pop("clientToken")
    assert started == {"cluster": CLUSTER, "taskDefinition": f"{ARN}:1", "overrides": overrides, **WHERE}


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [(3, "ended with 3: it exited"), (None, "did not end within 0.2 s")],
)
def test_a_command_that_fails_is_told(ecs: Ecs, exit_code: int | None, said: str) -> None:
    ecs.exit_code = exit_code
    with pytest.raises(TargetNotReady, match=rf"`alembic` in the container web {said}"):
        service(patience_s=0.2).run(f"{ARN}:1", "web", ["alembic"])
    assert ("StopTask" in ecs.asked) is (exit_code is None)


def test_a_command_for_which_there_is_no_room_is_told(ecs: Ecs) -> None:
    ecs.full = True
    with pytest.raises(ServiceUnavailable, match="RESOURCE:MEMORY"):
        service().run(f"{ARN}:1", "web", ["alembic"])


def test_an_unknown_container_changes_nothing(ecs: Ecs) -> None:
    with pytest.raises(InputError, match="no container shop") as raised:
        service().deploy({"shop": "x"})
    assert "web, postgres, mock-api" in raised.value.cure
    assert not {"RegisterTaskDefinition", "UpdateService"} & set(ecs.asked)


def test_an_unknown_service_is_told(ecs: Ecs) -> None:
    with pytest.raises(InputError, match="no service other"):
        service("other").deploy({"web": "x"})


@pytest.mark.parametrize("operation", ["DescribeServices", "RegisterTaskDefinition", "UpdateService"])
def test_what_aws_refuses_is_told_in_its_words(ecs: Ecs, operation: str) -> None:
    ecs.refused = operation
    with pytest.raises(ServiceUnavailable, match=r"AccessDeniedException.*not authorized"):
        service().deploy({"web": "x"})
    assert ecs.serves == f"{ARN}:1"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--image", "web=registry/shop:2"], 0, "cream-task:2 serves"),
        (["--revision", "cream-task:1"], 0, "cream-task:1 serves"),
        (["--image", "web"], 2, "no image is named"),
        ([], 2, "give --image, or --revision"),
        (["--image", "shop=x"], 2, "no container shop"),
    ],
)
def test_by_the_command_line(ecs: Ecs, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str) -> None:
    monkeypatch.setattr("harness.aws.ecs._POLL_S", 0.01)
    done = CliRunner().invoke(main, ["--cluster", CLUSTER, "--service", SERVICE, *words])
    assert done.exit_code == code, done.output
    assert said in done.output


def test_it_needs_no_more_than_the_pipeline_installs() -> None:
    look = "import sys, harness.aws.ecs; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if not name.startswith("_")}
    assert ours - set(sys.stdlib_module_names) <= {"harness", "click", "sitecustomize", "distutils"}
