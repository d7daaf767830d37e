"""From a scenario and options to a world: the one place that names concrete classes."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.alerts.channels import channels, link
from harness.alerts.delivery import Alerts
from harness.catalogue import Place, cheats, choose_fixer, default_fixer
from harness.checks.folder import FolderCheck
from harness.database import Database
from harness.errors import InputError
from harness.faults.table import Patcher, fault
from harness.fixing.guard import apply
from harness.fixing.review import review
from harness.git import GitFailed, patched
from harness.identity import identified, new_id, utc_now
from harness.leaks.needles import Needles
from harness.leaks.scan import leaked
from harness.load.generator import LocustLoad
from harness.loading import LoadedScenario
from harness.model.scenario import Scenario
from harness.model.source import SourceTree
from harness.model.verdict import Trial
from harness.ports import Fixer, Retriever, Sink
from harness.redaction import secrets_in
from harness.retrieval.base import KnowledgeBase, folder_of, load_base
from harness.retrievers import Shelf, answers_to, choose_retriever
from harness.services.containment import Containment, Isolation, contained
from harness.services.machine import MemoryMachine
from harness.services.shared import watched_machine
from harness.services.supervisor import Child, Supervisor
from harness.settings import Settings
from harness.sinks.console import Console
from harness.sinks.fanout import FanOut
from harness.sinks.journal import Journal
from harness.sinks.late import LateSink
from harness.sinks.stream import Stream
from harness.sinks.tracking import LOG, tracking_command, tracking_env
from harness.targets import Ground, Way, way
from harness.trial.clock import TrialClock
from harness.trial.world import World

logger = logging.getLogger(__name__)

_TRACKER_PATIENCE_S = 60.0
_LOAD_MARGIN_S = 600.0  # deployments, rollbacks, checks: what has no length of its own in a scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line decides about a trial."""

    results: Path
    fixer: str | None = None
    retriever: str = "lexical"
    seed: int | None = None
    kb: str | None = None  # a named knowledge base: what was learnt before is searched too
    min_confidence: float | None = None  # instead of the scenario's own
    learn: bool = False  # what this trial teaches goes there
    record: bool = True  # exchanges with a model
    replay: Path | None = None  # the folder of an earlier trial: its exchanges answer
    track: bool = True
    alert: bool = False  # people on call, where the environment says
    withdraw: bool = False
    isolation: Isolation = "auto"
    compose: Path | None = None  # a compose file: the app runs in its containers


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
    trial_id = new_id(loaded, name)
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
            compose=options.compose,
        )
        there = way(loaded, ground)
        stack.enter_context(there.open)
        fan_out = stack.enter_context(FanOut([journal, recorder, *there.sinks], [*console, stream, alerts]))
        tracker = _tracker(supervisor, folder) if options.track else None
        made = _Made(
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
        world = _world(loaded, options, settings, made, fan_out)
        yield Wired(world=world, folder=folder, tracker=tracker, fan_out=fan_out)


def _containment(options: Options, settings: Settings) -> Containment:
    if options.compose is None:
        return contained(options.isolation, services=(settings.database_url, settings.redis_url))
    if options.isolation != "auto":
        cure = "let the compose file say what its services may: read_only, cap_drop, networks, user"
        raise InputError(f"--isolation {options.isolation} is for processes, and the target is compose", cure=cure)
    return Containment(containers=True)


def _base(loaded: LoadedScenario, options: Options, folder: Path) -> KnowledgeBase | None:
    """What is searched; None: nothing."""
    if options.retriever == "none" or loaded.kb is None:
        return None
    added = folder_of(options.results.resolve(), options.kb) if options.kb else None
    return load_base(loaded.kb, added, learned=added if added and options.learn else folder / "learned")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What a world is made of, as far as it was made."""

    trial: Trial
    fixer: Fixer
    reason: str  # why it is this fixer
    retriever: Retriever
    ground: Ground
    way: Way
    database: Database
    recorder: LateSink
    stream: Stream
    folder: Path


def _world(loaded: LoadedScenario, options: Options, settings: Settings, made: _Made, emit: Sink) -> World:
    spec, clock, logs, supervisor = loaded.spec, TrialClock(), made.ground.logs, made.ground.supervisor
    watched = options.results.resolve(), settings
    load = LocustLoad(
        spec.load,
        thresholds_ms=spec.thresholds_ms(),
        window_s=spec.recovery.window_s,
        seed=made.trial.seed,
        folder=logs,
        supervisor=supervisor,
        clock_origin=clock.origin_s,
        max_s=_longest_s(spec),
        scenario_folder=loaded.file.parent,
    )
    return World(
        trial=made.trial,
        scenario=spec,
        clock=clock,
        services=partial(made.database.running, supervisor, made.recorder, made.stream),
        machine=MemoryMachine if options.compose else partial(watched_machine, *watched, clock.now),
        target=made.way.target,
        load=load,
        faults=tuple(
            fault(one, target=made.way.app, patched=_patcher(loaded), waiting=made.way.app.waiting)
            for one in spec.method
        ),
        retriever=made.retriever,
        fixer=made.fixer,
        fixer_reason=made.reason,
        guard=apply,
        review=review,
        permit=made.way.permit,
        withdraw=options.withdraw,
        secrets=secrets_in(os.environ),
        leaks=partial(leaked, needles=_needles(loaded)),
        keep=partial(_keep, made.folder),
        checks=tuple(
            FolderCheck(path, supervisor=supervisor, log=logs / "checks.log", memory=logs / f"checks-{number}")
            for number, path in enumerate(loaded.checks, start=1)
        ),
        emit=emit,
        utc_now=utc_now,
    )


def _needles(loaded: LoadedScenario) -> Needles:
    try:
        return Needles.of(loaded, cheats=cheats(loaded))
    except GitFailed as error:
        cure = "make them anew: git diff --relative in the app's folder, against what runs before"
        raise InputError(f"a patch of {loaded.file} does not fit the app: {error}", cure=cure) from None


def _keep(folder: Path, number: int, prompt: str) -> None:
    """What is sent to a model, for its owner's eyes only."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(folder / f"prompt-{number}.md", flags, 0o600), "wb") as file:
        file.write(prompt.encode(errors="replace"))


def _longest_s(spec: Scenario) -> float:
    """Longer than any trial of the scenario: by then the generator ends by itself, come what may."""
    steady, recovery = spec.steady_state, spec.recovery
    before = steady.warmup_s + 3 * steady.hold_s + max((fault.at_s for fault in spec.method), default=0.0)
    outage = recovery.bite_within_s + spec.detection.within_s + spec.detection.gather_s + recovery.horizon_s
    deliveries = (2 * spec.budget.attempts + 1) * spec.delivery_s
    return before + outage + recovery.observe_s + deliveries + _LOAD_MARGIN_S


def _patcher(loaded: LoadedScenario) -> Patcher:
    def patch(tree: SourceTree, name: str) -> SourceTree:
        return patched(tree, loaded.path(name).read_bytes().decode(errors="replace"))

    return patch


def _tracker(supervisor: Supervisor, folder: Path) -> Child:
    """MLflow takes seconds to import: it follows the journal from a process of its own."""
    return supervisor.start("tracker", tracking_command(folder), env=tracking_env(), cwd=folder, log=folder / LOG)
