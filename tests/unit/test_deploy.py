"""What is shipped for AWS: the task as the design has it, by AWS's own rules, and roles that may do little."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import botocore.session  # type: ignore[import-untyped] # it publishes no types
import pytest

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "deploy" / "terraform"
QUERIES = sorted((ROOT / "deploy" / "aws" / "insights").glob("*.query"))
EVERYTHING = {
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "ecs:RegisterTaskDefinition",
}  # know no narrower
LANGUAGE = {
    "fields",
    "filter",
    "stats",
    "sort",
    "limit",
    "ispresent",
    "count",
    "sum",
    "pct",
    "bin",
    "by",
    "as",
    "asc",
    "desc",
    "and",
}
SECRET = re.compile(r"arn:aws:secretsmanager:us-east-1:\d{12}:secret:cream/([a-z-]+):([a-z_]+)::")


def task() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "deploy/aws/task-definition.json").read_text(encoding="utf-8"))
    return found


def container(name: str) -> dict[str, Any]:
    return next(each for each in task()["containerDefinitions"] if each["name"] == name)


def test_aws_s_own_client_takes_the_task() -> None:
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    report = botocore.validate.ParamValidator().validate(task(), shape)
    assert not report.has_errors(), report.generate_report()


def test_the_task_is_the_one_of_the_design() -> None:
    whole = task()
    assert (whole["networkMode"], whole["cpu"], whole["memory"]) == ("awsvpc", "512", "3072")
    assert whole["requiresCompatibilities"] == ["FARGATE"]
    ports = {each["name"]: each["portMappings"][0]["containerPort"] for each in whole["containerDefinitions"]}
    assert ports == {"web": 8000, "postgres": 5432, "mock-api": 5001}
    health = container("postgres")["healthCheck"]
    assert (health["command"], health["interval"], health["retries"]) == (["CMD", "pg_isready", "-U", "hello"], 10, 5)
    for each in whole["containerDefinitions"]:
        assert each["essential"] and each["healthCheck"] and each["stopTimeout"]
        assert each["logConfiguration"]["options"]["awslogs-group"] == "/ecs/cream-task"


@pytest.mark.parametrize("name", ["web", "mock-api"])
def test_our_containers_have_no_rights_to_lose(name: str) -> None:
    ours = container(name)
    assert ours["readonlyRootFilesystem"] and not ours["user"].startswith("0")
    assert ours["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}


def test_no_secret_stands_in_the_file() -> None:
    given: dict[str, set[str]] = {}
    for each in task()["containerDefinitions"]:
        for secret in each["secrets"]:
            found = SECRET.fullmatch(secret["valueFrom"])
            assert found, secret
            given.setdefault(found[1], set()).add(secret["name"])
        assert not [
            known
            for known in each["environment"]
            if re.search("SECRET|PASSWORD|TOKEN|KEY|URL$", known["name"])
            if known["name"] != "PAYMENTS_URL"
        ]
    assert given == {
        "web": {"SECRET_KEY", "DATABASE_URL"},
        "postgres": {"POSTGRES_PASSWORD"},
        "mock-api": {"API_ADMIN_TOKEN"},
    }
    secrets = (TERRAFORM / "secrets.tf").read_text(encoding="utf-8")
    assert set(re.findall(r'"([a-z-]+)"', secrets.partition("toset([")[2].partition("]")[0])) == {*given, "analyse"}


def test_faults_cannot_be_injected_in_production() -> None:
    environment = {each["name"]: each["value"] for each in container("web")["environment"]}
    assert environment["ENABLE_FAULT_INJECTION"] == "false" and environment["COOKIE_SECURE"] == "true"


def test_the_app_knows_every_setting_that_it_gets() -> None:
    known = (ROOT / "target_app/shop/settings.py").read_text() + (ROOT / "target_app/gunicorn.conf.py").read_text()
    named = [each["name"] for part in ("environment", "secrets") for each in container("web")[part]]
    unknown = {name for name in named if name.lower() not in known and name not in known}
    assert unknown == {"GUNICORN_CMD_ARGS"}  # gunicorn's own


def statements() -> list[tuple[str, list[str], list[str]]]:
    """The file, actions and resources of each statement of a policy."""
    found = []
    for file in sorted(TERRAFORM.glob("*.tf")):
        for block in re.findall(r"\n  statement \{\n(.*?)\n  \}\n", file.read_text(encoding="utf-8"), re.DOTALL):
            actions = re.findall(r'"([\w:*-]+)"', block.partition("actions")[2].partition("]")[0])
            resources = block.partition("resources")[2].partition("\n")[0]
            found.append((file.name, actions, [resources.strip(" =")] if resources else []))
    return found


def test_roles_may_do_what_is_named_and_no_more() -> None:
    policies = statements()
    assert len(policies) >= 10
    for file, actions, resources in policies:
        assert actions and not [action for action in actions if "*" in action], file
        if resources and '"*"' in resources[0]:
            assert set(actions) <= EVERYTHING, (file, actions)


@pytest.mark.parametrize("file", QUERIES, ids=lambda file: file.stem)
def test_queries_ask_for_fields_that_the_app_writes(file: Path) -> None:
    comment, *lines = file.read_text(encoding="utf-8").splitlines()
    logs = (ROOT / "target_app/shop/logs.py").read_text(encoding="utf-8")
    written = set(re.findall(r'"(\w+)"', logs))
    words = re.findall(r"(?<![@\w])[a-z]\w*", re.sub(r'"[^"]*"|\bas \w+', "", "\n".join(lines)))
    named_here = set(re.findall(r"\bas (\w+)", "\n".join(lines)))
    assert comment.startswith("# ") and set(words) - LANGUAGE - named_here <= written
    assert set(words) & written


@pytest.mark.skipif(shutil.which("terraform") is None, reason="install terraform to check the format of its files")
def test_the_files_are_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(TERRAFORM)],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TF_CLI_CONFIG_FILE": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
