"""A cloud on this machine: ministack (https://ministack.org) answers for AWS, and runs tasks in a real Docker engine.

It has an environment of its own, pinned in ministack.txt: what it needs does not go with what we need.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from harness.services.loopback import free_port
from tests.containers.conftest import Engine

HERE = Path(__file__).parent
CLUSTER, SERVICE, GROUP, BALANCER = "creamandonion", "shop-staging", "/ecs/shop-staging", "shop"
TOKEN = "of-the-payment-provider"
_PASSWORD = "of-a-database-for-one-test"
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A service of ECS that runs the shop behind a load balancer, and what the shop stands on."""

    engine: Engine
    env: Mapping[str, str]  # by which AWS's clients find it
    port: int
    payments: str
    containers: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/_alb/{BALANCER}"

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 publishes no types
        return boto3.client(
            service,
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            region_name=self.env["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
        )

    def serves(self) -> str:
        """The revision that the service is to run, such as shop:3."""
        (service,) = self.client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"]
        return str(service["taskDefinition"]).rpartition("/")[2]

    def settled(self) -> bool:
        """Whether one deployment is left, which is complete."""
        (service,) = self.client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"]
        return [each["rolloutState"] for each in service["deployments"]] == ["COMPLETED"]

    def place(self) -> dict[str, object]:
        return {
            "cluster": CLUSTER,
            "service": SERVICE,
            "containers": ["web"],
            "repository": f"127.0.0.1:{self.port}/shop",
            "url": self.url,
            "upstreams": {"payments": {"url": self.payments, "token": "PAYMENTS_TOKEN"}},
            "log": GROUP,
            "within": "2m",
        }


@contextmanager
def cloud(engine: Engine, folder: Path) -> Iterator[Cloud]:
    """Up, with the shop serving. Its images are those of docker-compose.yml."""
    port = free_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    env = {**engine.env, **keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "PAYMENTS_TOKEN": TOKEN}
    containers: list[str] = []
    with _ministack(folder, env, port):
        try:
            addresses = _stood_on(engine, folder, containers)
            payments = f"http://{addresses['payments']}:5001"
            made = Cloud(engine=engine, env=env, port=port, payments=payments, containers=containers)
            _migrate(engine, addresses)
            _create(made, addresses)
            yield made
        finally:
            ours = engine.docker("ps", "-aq", "--filter", "name=ministack-ecs").split()
            engine.docker("rm", "--force", "--volumes", *containers, *ours, check=False)


@contextmanager
def _ministack(folder: Path, env: Mapping[str, str], port: int) -> Iterator[None]:
    place, uv = folder / "ministack", Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place], check=True)
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "-r", HERE / "ministack.txt"]
    subprocess.run(install, env={**os.environ, "VIRTUAL_ENV": str(place)}, check=True)
    own = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "TMPDIR": str(folder)}
    with (folder / "ministack.log").open("wb") as log:
        command = [place / "bin" / "python", "-m", "ministack"]
        process = subprocess.Popen(command, env={**env, **own}, stdout=log, stderr=log, cwd=folder)
    try:
        _until_answers(f"http://127.0.0.1:{port}/_ministack/health", process, folder / "ministack.log")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _until_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            told = log.read_text(errors="replace")[-2000:]
            assert process.poll() is None and time.monotonic() < deadline, told
            time.sleep(0.2)


def _stood_on(engine: Engine, folder: Path, containers: list[str]) -> dict[str, str]:
    """PostgreSQL, Valkey and the payment provider, in containers of their own, with the addresses they have."""
    secret = folder / "password"
    secret.write_text(_PASSWORD)
    secret.chmod(0o644)
    file = ["-v", f"{secret}:/run/password:ro", "-e", "POSTGRES_PASSWORD_FILE=/run/password"]
    wanted = {
        "postgres": [*file, "pgvector/pgvector:pg18"],
        "redis": ["valkey/valkey:9-alpine"],
        "payments": ["-e", f"API_ADMIN_TOKEN={TOKEN}", "creamandonion/mock_api:dev"],
    }
    addresses = {}
    for name, words in wanted.items():
        container = engine.docker("run", "--detach", *words).strip()
        containers.append(container)
        look = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        addresses[name] = engine.docker("inspect", "--format", look, container).strip()
    return addresses


def _migrate(engine: Engine, addresses: Mapping[str, str]) -> None:
    """As a deployment of the shop would have done it before the service was there. PostgreSQL may still be booting."""
    env = [word for name, value in _settings(addresses).items() for word in ("-e", f"{name}={value}")]
    steps = "alembic upgrade head && python -m shop.seed"
    script = f"for try in $(seq 60); do alembic current >/dev/null 2>&1 && break; sleep 0.5; done; {steps}"
    engine.docker("run", "--rm", *env, "creamandonion/shop:dev", "sh", "-c", script)


def _create(there: Cloud, addresses: Mapping[str, str]) -> None:
    """Cluster, log group, registry, load balancer, task and service, as an account would have them."""
    there.client("logs").create_log_group(logGroupName=GROUP)
    there.client("ecr").create_repository(repositoryName="shop")
    balancing = there.client("elbv2")
    balancer = balancing.create_load_balancer(Name=BALANCER, Subnets=["subnet-1"])["LoadBalancers"][0]
    target = {"Protocol": "HTTP", "Port": 8000, "TargetType": "ip", "VpcId": "vpc-1"}
    group = balancing.create_target_group(Name="shop", HealthCheckPath="/health/ready", **target)["TargetGroups"][0]
    forward = [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]
    balancing.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=there.port, DefaultActions=forward
    )
    ecs = there.client("ecs")
    ecs.create_cluster(clusterName=CLUSTER)
    ecs.register_task_definition(
        family="shop",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="512",
        memory="1024",
        containerDefinitions=[_web(addresses)],
    )
    ecs.create_service(
        cluster=CLUSTER,
        serviceName=SERVICE,
        taskDefinition="shop",
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}},
        deploymentConfiguration={
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
        },
        loadBalancers=[{"targetGroupArn": group["TargetGroupArn"], "containerName": "web", "containerPort": 8000}],
    )
    deadline = time.monotonic() + _PATIENCE_S
    while not there.settled() or not _ready(there.url):
        told = ecs.describe_services(cluster=CLUSTER, services=[SERVICE])["services"]
        assert time.monotonic() < deadline, json.dumps(told, default=str)
        time.sleep(0.5)


def _settings(addresses: Mapping[str, str]) -> dict[str, str]:
    """Of the shop, in each of its tasks."""
    return {
        "DATABASE_URL": f"postgresql://postgres:{_PASSWORD}@{addresses['postgres']}:5432/postgres",
        "REDIS_URL": f"redis://{addresses['redis']}:6379/0",
        "PAYMENTS_URL": f"http://{addresses['payments']}:5001",
        "SECRET_KEY": "for-one-test-on-this-machine-only",
        "ENABLE_FAULT_INJECTION": "true",
        "PORT": "8000",
        "GUNICORN_CMD_ARGS": "--bind=0.0.0.0:8000",
    }


def _web(addresses: Mapping[str, str]) -> dict[str, object]:
    ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=3)"
    options = {"awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "shop"}
    return {
        "name": "web",
        "image": "creamandonion/shop:dev",
        "essential": True,
        "portMappings": [{"containerPort": 8000}],
        "environment": [{"name": name, "value": value} for name, value in _settings(addresses).items()],
        "healthCheck": {"command": ["CMD", "python", "-c", ask], "interval": 5, "retries": 3, "startPeriod": 20},
        "logConfiguration": {"logDriver": "awslogs", "options": options},
    }


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
