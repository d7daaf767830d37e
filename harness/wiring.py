"""From a scenario and options to a world: the one place that names concrete classes."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.alerts.channels import channels, link
from harness.alerts.delivery import Alerts
from harness.catalogue import Place, choose_fixer, default_fixer
from harness.database import Database
from harness.errors import InputError
from harness.identity import identified, new_id
from harness.loading import LoadedScenario
from harness.model.place import EcsPlace
from harness.options import Options
from harness.reading import read
from harness.retrieval.base import KnowledgeBase, folder_of, load_base
from harness.retrievers import Shelf, answers_to, choose_retriever
from harness.services.containment import Containment, contained
from harness.services.supervisor import Child, Supervisor
from harness.settings import Settings
from harness.sinks.console import Console
from harness.sinks.fanout import FanOut
from harness.sinks.journal import Journal
from harness.sinks.late import LateSink
from harness.sinks.stream import Stream
from harness.sinks.tracking import LOG, tracking_command, tracking_env
from harness.target.project import Project
from harness.targets import Ground, way
from harness.trial.world import World
from harness.worlds import Made, world_of

logger = logging.getLogger(__name__)

_TRACKER_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """A world that is ready to run, and what follows its trial."""

    world: World
    folder: Path
    tracker: Child | None  # the process that feeds MLflow; None: not tracked
    fan_out: FanOut

    def finish(self) -> None:
        """Let the console and MLflow catch up with the last event. A tracker that is too slow is warned of."""
        self.fan_out.close()
        if self.tracker and (code := self.tracker.wait(_TRACKER_PATIENCE_S)) != 0:
            how = f"within {_TRACKER_PATIENCE_S:g} s" if code is None else f"(code {code})"
            logger.warning("MLflow did not take the trial %s; see %s", how, self.tracker.log)


@contextmanager
def wired(loaded: LoadedScenario, options: Options, settings: Settings, *, show: bool) -> Iterator[Wired]:
    """A real world for one trial. InputError before anything is started; all that is started ends with the block."""
    name, reason = (options.fixer, "chosen by --fixer") if options.fixer else default_fixer(settings, options.replay)
    containment = _containment(options, settings)
    trial_id = options.id or new_id(loaded, name)
    folder = options.results.resolve() / trial_id
    place = Place(results=options.results.resolve(), folder=folder, record=options.record, replay=options.replay)
    fixer = choose_fixer(name, loaded, place)
    called = channels() if options.alert else []
    base = _base(loaded, options, folder)
    database = Database(results=options.results.resolve(), logs=folder / "logs", settings=settings)
    seed = random.randrange(2**31) if options.seed is None else options.seed  # noqa: S311 - a seed is no secret
    shelf = Shelf(
        base=base, database=database.url, learns=options.learn, answers=partial(answers_to, loaded), seed=seed
    )
    retriever = choose_retriever(options.retriever, shelf)
    trial = identified(
        trial_id,
        loaded,
        fixer,
        retriever=options.retriever,
        seed=seed,
        isolation=containment.text,
        kb=base.snapshot if base else "",
        min_confidence=options.min_confidence,
    )
    seen_by_upstreams = {"API_FAULT_SEED": str(seed)}
    project = (
        Project(options.compose, log=folder / "logs" / "compose.log", env=seen_by_upstreams)
        if options.compose
        else None
    )
    try:
        folder.mkdir(parents=True)
        shutil.copyfile(loaded.file, folder / "scenario.yml")
    except OSError as error:
        raise InputError(
            f"cannot write to {options.results}: {error.strerror}", cure="choose another: --results"
        ) from None
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor())
        journal = stack.enter_context(Journal(folder))
        recorder = LateSink()
        console = [stack.enter_context(Console(folder))] if show else []
        stream = Stream(database.passed_on)
        alerts = stack.enter_context(Alerts(called, link()))
        ground = Ground(
            trial=trial,
            results=options.results.resolve(),
            logs=folder / "logs",
            supervisor=supervisor,
            containment=containment,
            databases=database.postgres,
            redis_url=settings.redis_url,
            project=project,
            ecs=read(options.ecs, EcsPlace)[0] if options.ecs else None,
        )
        there = way(loaded, ground)
        stack.enter_context(there.open)
        fan_out = stack.enter_context(FanOut([journal, recorder, *there.sinks], [*console, stream, alerts]))
        tracker = _tracker(supervisor, folder) if options.track else None
        made = Made(
            trial=trial,
            fixer=fixer,
            reason=reason,
            retriever=retriever,
            ground=ground,
            way=there,
            database=database,
            recorder=recorder,
            stream=stream,
            folder=folder,
        )
        world = world_of(loaded, options, settings, made, fan_out)
        yield Wired(world=world, folder=folder, tracker=tracker, fan_out=fan_out)


def _containment(options: Options, settings: Settings) -> Containment:
    if not options.distant:
        return contained(options.isolation, services=(settings.database_url, settings.redis_url))
    if options.isolation != "auto":
        cure = "let the compose file, or the task, say what its containers may: read_only, cap_drop, networks, user"
        raise InputError(f"--isolation {options.isolation} is for processes, not for containers", cure=cure)
    return Containment(containers=True)


def _base(loaded: LoadedScenario, options: Options, folder: Path) -> KnowledgeBase | None:
    """What is searched; None: nothing."""
    if options.retriever == "none" or loaded.kb is None:
        return None
    added = folder_of(options.results.resolve(), options.kb) if options.kb else None
    return load_base(loaded.kb, added, learned=added if added and options.learn else folder / "learned")


def _tracker(supervisor: Supervisor, folder: Path) -> Child:
    """MLflow takes seconds to import: it follows the journal from a process of its own."""
    env = tracking_env(folder.parent)
    return supervisor.start("tracker", tracking_command(folder), env=env, cwd=folder, log=folder / LOG)
