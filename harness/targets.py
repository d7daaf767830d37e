"""Targets by name: what runs the app under test, and how fixes get there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.aws.target import ecs_target
from harness.delivery.pipeline import Pipeline
from harness.delivery.target import DeliveredTarget, Delivery
from harness.errors import InputError
from harness.loading import LoadedScenario
from harness.model.delivery import GitDelivery
from harness.model.faults import HttpFault
from harness.model.fix import Attempt
from harness.model.incident import Incident
from harness.model.place import EcsPlace
from harness.model.verdict import Trial
from harness.ports import Sink, Target
from harness.services.containment import Containment
from harness.services.sandbox import Sandbox
from harness.services.supervisor import Supervisor
from harness.target.containers import ContainerSandbox, ContainerSurroundings
from harness.target.process import AppFiles, ProcessTarget
from harness.target.project import Project
from harness.target.surroundings import Databases, Surroundings, nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a target of this trial stands on."""

    trial: Trial
    results: Path
    logs: Path
    supervisor: Supervisor
    containment: Containment
    databases: Callable[[], Databases]
    redis_url: str | None
    project: Project | None = None  # the app runs in its containers
    ecs: EcsPlace | None = None  # the app runs there


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The app, and how fixes get to it."""

    app: Target  # where faults strike, and our own releases go
    waiting: Callable[[str], int]  # how many of the app's connections wait for this event of PostgreSQL now
    target: Target  # where fixes go
    delivery_s: float  # what a deployment may take longer than one by our own hand
    permit: Callable[[Incident, Attempt], None] | None = None  # see World
    sinks: tuple[Sink, ...] = ()
    open: AbstractContextManager[object]  # left once the verdict is known


def way(loaded: LoadedScenario, ground: Ground) -> Way:
    """As the scenario wants it: at once, or by a delivery."""
    app: Target
    if ground.ecs:
        app, waiting, own_s = _on_ecs(loaded, ground, ground.ecs), nobody, ground.ecs.within_s
    else:
        app = _processes(loaded, ground)
        waiting, own_s = app.waiting, 0.0
    made = partial(Way, app=app, waiting=waiting, delivery_s=own_s + loaded.spec.delivery_s)
    if loaded.spec.deploy is None:
        return made(target=app, open=nullcontext())
    spec, clone = _found_from(loaded.spec.deploy, loaded.file.parent), ground.logs.parent / "repository"
    pipeline = Pipeline(spec, supervisor=ground.supervisor, logs=ground.logs)
    delivery = Delivery(spec, trial=ground.trial.id, results=ground.results, folder=clone, pipeline=pipeline)
    return made(target=DeliveredTarget(app, delivery), permit=delivery.permit, sinks=(delivery,), open=delivery)


def _on_ecs(loaded: LoadedScenario, ground: Ground, place: EcsPlace) -> Target:
    """InputError where the scenario asks for what only a machine of ours could do."""
    spec = loaded.spec
    seen = any(isinstance(fault, HttpFault) and fault.seen for fault in spec.method)
    asked = {"target.connections": spec.target.connections, "target.memoryMb": spec.target.memory_mb, "seen": seen}
    if beyond := [name for name, value in asked.items() if value]:
        what = f"{loaded.file} has {' and '.join(beyond)}, which --target ecs cannot do"
        raise InputError(what, cure="leave it out of a copy of the scenario, and arrange it in the service's task")
    return ecs_target(_files(loaded), place, ground.supervisor)


def _files(loaded: LoadedScenario) -> AppFiles:
    return AppFiles(folder=loaded.app, manifest=loaded.manifest, defect=loaded.defect, env=loaded.spec.target.env)


def _processes(loaded: LoadedScenario, ground: Ground) -> ProcessTarget:
    spec, logs, supervisor = loaded.spec.target, ground.logs, ground.supervisor
    surroundings: Surroundings | ContainerSurroundings
    sandbox: Sandbox | None = None
    if project := ground.project:
        surroundings = ContainerSurroundings(project=project, supervisor=supervisor, connections=spec.connections)
        sandbox = ContainerSandbox(project, loaded.manifest)
    else:
        surroundings = Surroundings(
            supervisor=supervisor,
            databases=ground.databases,
            redis_url=ground.redis_url,
            logs=logs,
            seed=ground.trial.seed,
            connections=spec.connections,
        )
    return ProcessTarget(
        _files(loaded),
        supervisor=supervisor,
        surroundings=surroundings,
        logs=logs,
        containment=ground.containment,
        sandbox=sandbox,
        memory_mb=spec.memory_mb,
    )


def _found_from(spec: GitDelivery, folder: Path) -> GitDelivery:
    """A remote that is a folder is looked for from where the scenario lies."""
    elsewhere = "://" in spec.remote or ":" in spec.remote.partition("/")[0]
    return spec if elsewhere else spec.model_copy(update={"remote": str((folder / spec.remote).resolve())})
