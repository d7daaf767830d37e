"""A deployment to ECS: a new revision of a service's task definition, and the wait until it serves or was taken back.

    python -m harness.aws.ecs --cluster creamandonion --service cream-task-service --image web=REGISTRY/REPOSITORY:TAG
    python -m harness.aws.ecs --cluster creamandonion --service cream-task-service --revision cream-task:7

What ECS does by itself, it is left to do: starting tasks, asking for their health, draining old ones, and the way back
by its circuit breaker. See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from harness.aws.clients import client
from harness.aws.errors import explained
from harness.errors import HarnessError, InputError, ServiceUnavailable, TargetNotReady

# what DescribeTaskDefinition tells, and RegisterTaskDefinition does not take
_TOLD = ["taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities", "registeredAt"]
_TOLD += ["registeredBy", "deregisteredAt", "deleteRequestedAt"]
_WHERE = ["launchType", "capacityProviderStrategy", "platformVersion", "networkConfiguration"]  # of a service's tasks
_PATIENCE_S = 900.0
_POLL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A revision that serves, and the one before it. Both are ARNs."""

    revision: str
    before: str
    seconds: float


class EcsService:
    """One service. ``client`` is boto3's of ECS. What AWS refuses is ServiceUnavailable, with AWS's words."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 publishes no types
        cluster: str,
        service: str,
        *,
        patience_s: float = _PATIENCE_S,
        poll_s: float = _POLL_S,
    ) -> None:
        self._ecs, self._cluster, self._service = client, cluster, service
        self._patience_s, self._poll_s = patience_s, poll_s

    def deploy(self, images: Mapping[str, str], tell: Callable[[str], None] = lambda _: None) -> Rollout:
        """The present revision with these images, by container. Returns when all of its tasks are healthy.

        TargetNotReady where ECS took it back, or where it did not get healthy in time and was taken back by us: the
        revision before serves again then. InputError where the task has no container of such a name.
        """
        revision = self.register(images)
        tell(f"registered {_short(revision)}")
        return self.roll_out(revision, tell)

    def serves(self) -> str:
        """The revision that the service is to run."""
        return str(self._described()["taskDefinition"])

    def containers(self) -> dict[str, dict[str, Any]]:
        """Those of the revision that the service is to run, by name, as ECS describes them."""
        return {container["name"]: container for container in self._definition()["containerDefinitions"]}

    def register(self, images: Mapping[str, str], env: Mapping[str, str] | None = None) -> str:
        """A new revision, which serves nobody yet; ``env`` is set in the containers that get an image. InputError."""
        definition = self._definition()
        containers = definition["containerDefinitions"]
        names = [container["name"] for container in containers]
        if strangers := images.keys() - set(names):
            named, there = ", ".join(sorted(strangers)), ", ".join(names)
            raise InputError(f"the task has no container {named}", cure=f"it has {there}")
        for container in containers:
            if container["name"] in images:
                container["image"] = images[container["name"]]
                known = {pair["name"]: pair["value"] for pair in container.get("environment", ())} | dict(env or {})
                container["environment"] = [{"name": name, "value": value} for name, value in known.items()]
        made = self._ecs_call("register_task_definition", **definition)
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def roll_out(self, revision: str, tell: Callable[[str], None] = lambda _: None) -> Rollout:
        """Serve this revision, an ARN or FAMILY:NUMBER; see `deploy`."""
        before, started = self.serves(), time.monotonic()
        known = self._ecs_call("describe_task_definition", taskDefinition=revision)["taskDefinition"]
        revision = str(known["taskDefinitionArn"])
        self._roll_out(revision, before, tell)
        return Rollout(revision=revision, before=before, seconds=time.monotonic() - started)

    def roll_back(self, to: str) -> None:
        """Serve this revision again. TargetNotReady where it does not get healthy either."""
        self._call("update_service", service=self._service, taskDefinition=to)
        self._await(to, lambda _: None)

    def run(self, revision: str, container: str, command: Sequence[str]) -> None:
        """One task beside the service, where its tasks run, whose container runs the command instead of its own.

        TargetNotReady where it does not end with 0, or not in time.
        """
        service = self._described()
        given = {key: service[key] for key in _WHERE if service.get(key)}
        overrides = {"containerOverrides": [{"name": container, "command": [*command]}]}
        told = self._call("run_task", taskDefinition=revision, overrides=overrides, **given)
        if not told["tasks"]:
            reason = (told["failures"] or [{}])[0].get("reason", "it does not say why")
            raise ServiceUnavailable(f"ECS cannot start {revision}: {reason}", cure="see what the task needs")
        self._await_end(told["tasks"][0]["taskArn"], container, command)

    def _await_end(self, task: str, container: str, command: Sequence[str]) -> None:
        deadline, what = time.monotonic() + self._patience_s, f"`{' '.join(command)}` in the container {container}"
        cure = f"its log says why: the task is {_short(task)}"
        while (found := self._call("describe_tasks", tasks=[task])["tasks"]) and found[0]["lastStatus"] != "STOPPED":
            if time.monotonic() >= deadline:
                self._call("stop_task", task=task, reason="it did not end in time")
                raise TargetNotReady(f"{what} did not end within {self._patience_s:g} s", cure=cure)
            time.sleep(self._poll_s)
        containers = found[0]["containers"] if found else []
        ended: dict[str, Any] = next((each for each in containers if each["name"] == container), {})
        if (code := ended.get("exitCode")) != 0:
            reason = ended.get("reason") or (found[0].get("stoppedReason", "") if found else "it is gone")
            how = f"ended with {code}" if code is not None else "never ran"
            raise TargetNotReady(f"{what} {how}: {reason}".rstrip(": "), cure=cure)

    def _definition(self) -> dict[str, Any]:
        """Of what the service is to run, as RegisterTaskDefinition takes it."""
        known = self._ecs_call("describe_task_definition", taskDefinition=self.serves())
        return {key: value for key, value in known["taskDefinition"].items() if key not in _TOLD}

    def _roll_out(self, revision: str, before: str, tell: Callable[[str], None]) -> None:
        self._call("update_service", service=self._service, taskDefinition=revision)
        try:
            self._await(revision, tell)
        except _TooSlow as error:
            tell(f"{error.message}: back to {_short(before)}")
            self.roll_back(before)
            raise TargetNotReady(f"{error.message}; {_short(before)} serves again", cure=error.cure) from None

    def _await(self, revision: str, tell: Callable[[str], None]) -> None:
        deadline, last = time.monotonic() + self._patience_s, ""
        while True:
            deployments = self._described()["deployments"]
            ours = next((each for each in deployments if each["taskDefinition"] == revision), None)
            state = ours.get("rolloutState", "IN_PROGRESS") if ours else "FAILED"  # it is not told at once
            why = ours.get("rolloutStateReason", "") if ours else "its deployment is gone"
            counts = f", {ours['runningCount']} of {ours['desiredCount']} tasks run" if ours else ""
            if (now := f"{_short(revision)}: {state}{counts}") != last:
                tell(now)
                last = now
            if state == "COMPLETED":
                return
            cure = f"aws ecs describe-services --cluster {self._cluster} --services {self._service}: its events say why"
            if state == "FAILED":
                raise TargetNotReady(f"ECS took {_short(revision)} back: {why}", cure=cure)
            if time.monotonic() >= deadline:
                message = f"{_short(revision)} did not get healthy within {self._patience_s:g} s{counts}"
                raise _TooSlow(message, cure=cure)
            time.sleep(self._poll_s)

    def _described(self) -> dict[str, Any]:
        told = self._call("describe_services", services=[self._service])
        if not told["services"] or told["services"][0]["status"] != "ACTIVE":
            raise InputError(
                f"there is no service {self._service} in the cluster {self._cluster}", cure="apply deploy/terraform"
            )
        found: dict[str, Any] = told["services"][0]
        return found

    def _call(self, name: str, **given: object) -> dict[str, Any]:
        return self._ecs_call(name, cluster=self._cluster, **given)

    def _ecs_call(self, name: str, **given: object) -> dict[str, Any]:
        with explained(f"ECS, {name}"):
            told: dict[str, Any] = getattr(self._ecs, name)(**given)
        return told


class _TooSlow(TargetNotReady):
    """Neither done nor taken back."""


def _short(revision: str) -> str:
    return revision.rpartition("/")[2]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cluster", required=True)
@click.option("--service", required=True)
@click.option("--image", "images", multiple=True, metavar="CONTAINER=IMAGE", help="May be repeated.")
@click.option("--revision", help="Serve this one, which is there already, instead.")
@click.option("--region", help="Unset: as the environment says.")
@click.option("--within", default=_PATIENCE_S, show_default=True, help="Seconds until it is taken back.")
def main(
    cluster: str, service: str, images: tuple[str, ...], revision: str | None, region: str | None, within: float
) -> None:
    """Deploy images to a service of ECS, and wait until they serve. Code 1: the revision before serves again.

    \b
    Examples:
      python -m harness.aws.ecs --cluster creamandonion --service cream-task-service --image web=IMAGE
      python -m harness.aws.ecs --cluster creamandonion --service cream-task-service --revision cream-task:7
    """
    pairs = dict(image.partition("=")[::2] for image in images)
    try:
        if bool(pairs) == bool(revision):
            raise InputError("say what is to serve", cure="give --image, or --revision")
        if not all(pairs.values()):
            raise InputError(f"--image {' '.join(images)}: no image is named", cure="write it as CONTAINER=IMAGE")
        there = EcsService(client("ecs", region), cluster, service, patience_s=within, poll_s=_POLL_S)
        done = there.roll_out(revision, click.echo) if revision else there.deploy(pairs, click.echo)
    except HarnessError as error:
        click.echo(f"{error.message}\n{error.cure}", err=True)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    click.echo(f"{_short(done.revision)} serves, after {done.seconds:.0f} s")


if __name__ == "__main__":
    main()
