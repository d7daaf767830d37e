"""A deployment to ECS: a new revision of a service's task definition, and the wait until it serves or was taken back.

    python -m harness.aws.ecs --cluster creamandonion --service cream-task-service --image web=REGISTRY/REPOSITORY:TAG

What ECS does by itself, it is left to do: starting tasks, asking for their health, draining old ones, and the way back
by its circuit breaker. See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from harness.aws.errors import explained
from harness.errors import HarnessError, InputError, TargetNotReady

# what DescribeTaskDefinition tells, and RegisterTaskDefinition does not take
_TOLD = ["taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities", "registeredAt"]
_TOLD += ["registeredBy", "deregisteredAt", "deleteRequestedAt"]
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
        before = str(self._described()["taskDefinition"])
        revision = self._registered(before, images)
        tell(f"registered {_short(revision)}")
        started = time.monotonic()
        self._roll_out(revision, before, tell)
        return Rollout(revision=revision, before=before, seconds=time.monotonic() - started)

    def roll_back(self, to: str) -> None:
        """Serve this revision again. TargetNotReady where it does not get healthy either."""
        self._call("update_service", service=self._service, taskDefinition=to)
        self._await(to, lambda _: None)

    def _registered(self, before: str, images: Mapping[str, str]) -> str:
        known = self._ecs_call("describe_task_definition", taskDefinition=before)
        definition = {key: value for key, value in known["taskDefinition"].items() if key not in _TOLD}
        containers = definition["containerDefinitions"]
        names = [container["name"] for container in containers]
        if strangers := images.keys() - set(names):
            named, there = ", ".join(sorted(strangers)), ", ".join(names)
            raise InputError(f"the task has no container {named}", cure=f"it has {there}")
        for container in containers:
            container["image"] = images.get(container["name"], container["image"])
        made = self._ecs_call("register_task_definition", **definition)
        return str(made["taskDefinition"]["taskDefinitionArn"])

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
@click.option("--image", "images", multiple=True, required=True, metavar="CONTAINER=IMAGE", help="May be repeated.")
@click.option("--within", default=_PATIENCE_S, show_default=True, help="Seconds until it is taken back.")
def main(cluster: str, service: str, images: tuple[str, ...], within: float) -> None:
    """Deploy images to a service of ECS, and wait until they serve. Code 1: the revision before serves again.

    \b
    Example:
      python -m harness.aws.ecs --cluster creamandonion --service cream-task-service --image web=IMAGE
    """
    import boto3  # noqa: PLC0415 - an extra, and slow to import

    pairs = dict(image.partition("=")[::2] for image in images)
    try:
        if not all(pairs.values()):
            raise InputError(f"--image {' '.join(images)}: no image is named", cure="write it as CONTAINER=IMAGE")
        there = EcsService(boto3.client("ecs"), cluster, service, patience_s=within, poll_s=_POLL_S)
        done = there.deploy(pairs, click.echo)
    except HarnessError as error:
        click.echo(f"{error.message}\n{error.cure}", err=True)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    click.echo(f"{_short(done.revision)} serves since {done.seconds:.0f} s after its registration")


if __name__ == "__main__":
    main()
