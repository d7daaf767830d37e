"""An app on ECS: each release is an image and a revision of a service's task, and ECS brings it to where users are."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx

from harness.aws.clients import client
from harness.aws.ecs import EcsService
from harness.aws.images import Images
from harness.aws.logs import LiveTail
from harness.errors import FixRefused, InputError, TargetNotReady
from harness.model.app import Command
from harness.model.place import EcsPlace
from harness.model.source import Deployment, Endpoints, SourceTree, Upstream
from harness.services.ready import NotYet, wait_until
from harness.services.supervisor import Supervisor
from harness.settings import secret
from harness.target.process import AppFiles
from harness.target.workspace import Workspace

_HEALTH_S, _ANSWER_S = 60.0, 5.0


class EcsTarget:
    """Implements ``ports.Target``. The service is taken over for a trial, and given back also after ``kill -9``."""

    def __init__(
        self,
        app: AppFiles,
        place: EcsPlace,
        *,
        service: EcsService,
        images: Images,
        tail: LiveTail,
        supervisor: Supervisor,
    ) -> None:
        self._app, self._manifest, self._place = app, app.manifest, place
        self._service, self._images, self._tail, self._supervisor = service, images, tail, supervisor
        self._revisions: list[str] = []  # what has served, in order

    @contextmanager
    def running(self) -> Iterator[Endpoints]:
        """The app as the scenario wants it serves. InputError where the place does not fit the app; TargetNotReady."""
        upstreams = self._upstreams()
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="app-")))
            self._workspace = Workspace(self._folder / "workspace", self._manifest)
            self._workspace.create(self._app.folder, self._app.defect)
            before, self._base = self._service.serves(), self._base_image()
            stack.enter_context(self._supervisor.ending(self._way_back(before)))
            stack.callback(self._service.roll_back, before)
            stack.enter_context(self._tail)
            self._serve(self._workspace.folder, prepare=self._manifest.prepare)
            self._await_health()
            yield Endpoints(
                url=self._place.url.rstrip("/"),
                upstreams=upstreams,
                secrets=frozenset(each.admin_token for each in upstreams.values()),
            )

    def source(self) -> SourceTree:
        return self._workspace.source()

    def release(self, tree: SourceTree) -> Deployment:
        """Our own release, the good one or the bad: nobody waits for the health of that."""
        started = time.monotonic()
        self._workspace.rewrite(tree)
        self._serve(self._workspace.folder)
        return self._deployed(started, diff="")

    def redeploy(self, tree: SourceTree, message: str) -> Deployment:
        """FixRefused (rule "canary") where its tasks do not get healthy: the revision before serves then."""
        started = time.monotonic()
        branch, checkout = f"fix-{len(self._revisions)}", self._folder / "candidate"
        try:
            self._workspace.branch(tree, branch, message, checkout)
            self._serve(checkout)
            self._require_health()
            diff = self._workspace.merge(branch)
        except TargetNotReady as error:
            cure = "the patched app must start and answer its health check"
            raise FixRefused(f"the fix did not get healthy: {error.message}", rule="canary", cure=cure) from None
        finally:
            self._workspace.drop(checkout)
        return self._deployed(started, diff=diff)

    def rollback(self) -> Deployment:
        """To the revision that served before; no image is built."""
        started = time.monotonic()
        before = self._revisions[-2]
        self._service.roll_back(before)
        self._revisions.append(before)
        return self._deployed(started, diff=self._workspace.revert())

    def logs(self) -> Sequence[str]:
        return self._tail.new()

    def exposed(self) -> Iterator[tuple[str, bytes]]:
        return self._workspace.exposed()

    def _serve(self, folder: Path, prepare: Sequence[Command] = ()) -> None:
        """An image of the folder, a revision, its migrations, and the roll-out."""
        image = self._images.push(self._base, folder, f"trial-{secrets.token_hex(6)}")
        revision = self._service.register(dict.fromkeys(self._place.containers, image), self._app.env)
        for step in (*self._manifest.migrate, *prepare):
            self._service.run(revision, self._place.containers[0], step)
        self._service.roll_out(revision)
        self._revisions.append(revision)

    def _require_health(self) -> None:
        """TargetNotReady where users get no answer from what ECS holds to be steady; the one before serves then."""
        try:
            self._await_health()
        except TargetNotReady:
            self._service.roll_back(self._revisions[-2])
            self._revisions.pop()
            raise

    def _await_health(self) -> None:
        url = f"{self._place.url.rstrip('/')}{self._manifest.health}"
        wait_until(lambda: _answers(url), timeout_s=_HEALTH_S, what=url, error=TargetNotReady)

    def _base_image(self) -> str:
        """That of the first container. InputError where ours could not take its place."""
        there = self._service.containers()
        for name in self._place.containers:
            if name not in there:
                raise InputError(f"the task has no container {name}", cure=f"it has {', '.join(there)}")
            if folder := there[name].get("workingDirectory"):
                cure = "leave it out of the task, and let the image say where its program starts"
                raise InputError(f"the container {name} starts in {folder}, whatever its image says", cure=cure)
        return str(there[self._place.containers[0]]["image"])

    def _upstreams(self) -> dict[str, Upstream]:
        known, wanted = self._place.upstreams, [upstream.name for upstream in self._manifest.upstreams]
        if missing := [name for name in wanted if name not in known]:
            raise InputError(f"the place tells nothing of {', '.join(missing)}", cure="add it below upstreams:")
        return {name: Upstream(url=known[name].url, admin_token=_token(known[name].token)) for name in wanted}

    def _way_back(self, revision: str) -> list[str]:
        """What is run when the harness is killed."""
        region = ["--region", self._place.region] if self._place.region else []
        where = ["--cluster", self._place.cluster, "--service", self._place.service]
        return [sys.executable, "-m", "harness.aws.ecs", *where, *region, "--revision", revision]

    def _deployed(self, started: float, diff: str) -> Deployment:
        number, commit = len(self._revisions) - 1, self._workspace.head()
        return Deployment(number=number, commit=commit, seconds=time.monotonic() - started, diff=diff)


def ecs_target(app: AppFiles, place: EcsPlace, supervisor: Supervisor) -> EcsTarget:
    """InputError where boto3, Docker or a region is missing."""
    region = place.region
    return EcsTarget(
        app,
        place,
        service=EcsService(client("ecs", region), place.cluster, place.service, patience_s=place.within_s),
        images=Images(client("ecr", region), place.repository),
        tail=LiveTail(client("logs", region), place.log, streams=place.streams),
        supervisor=supervisor,
    )


def _answers(url: str) -> bool:
    try:
        status = httpx.get(url, timeout=_ANSWER_S).status_code
    except httpx.HTTPError as error:
        raise NotYet(f"{type(error).__name__}: {error}") from error
    if status != HTTPStatus.OK:
        raise NotYet(f"it answers {status}")
    return True


def _token(variable: str) -> str:
    if value := secret(os.environ, variable):
        return value
    raise InputError(f"{variable} is not set", cure="set it, or NAME_FILE, or NAME_SECRET to its ARN")
