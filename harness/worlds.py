"""The world of one trial: each seam with what stands behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.catalogue import cheats
from harness.checks.folder import FolderCheck
from harness.database import Database
from harness.errors import InputError
from harness.faults.table import Patcher, fault
from harness.fixing.guard import apply
from harness.fixing.review import review
from harness.git import GitFailed, patched
from harness.identity import utc_now
from harness.leaks.needles import Needles
from harness.leaks.scan import leaked
from harness.load.generator import LocustLoad
from harness.loading import LoadedScenario
from harness.model.scenario import Scenario
from harness.model.source import SourceTree
from harness.model.verdict import Trial
from harness.options import Options
from harness.ports import Fixer, Retriever, Sink
from harness.redaction import secrets_in
from harness.services.machine import MemoryMachine
from harness.services.shared import watched_machine
from harness.settings import Settings
from harness.sinks.journal import write_atomically
from harness.sinks.late import LateSink
from harness.sinks.stream import Stream
from harness.targets import Ground, Way
from harness.trial.clock import TrialClock
from harness.trial.world import World

_LOAD_MARGIN_S = 600.0  # deployments, rollbacks, checks: what has no length of its own in a scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
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


def world_of(loaded: LoadedScenario, options: Options, settings: Settings, made: Made, emit: Sink) -> World:
    """All that a trial is made of, behind its seams."""
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
        max_s=_longest_s(spec, made.way.delivery_s),
        scenario_folder=loaded.file.parent,
    )
    return World(
        trial=made.trial,
        scenario=spec,
        clock=clock,
        services=partial(made.database.running, supervisor, made.recorder, made.stream),
        machine=MemoryMachine if options.distant else partial(watched_machine, *watched, clock.now),
        target=made.way.target,
        load=load,
        faults=tuple(
            fault(one, target=made.way.app, patched=_patcher(loaded), waiting=made.way.waiting) for one in spec.method
        ),
        retriever=made.retriever,
        fixer=made.fixer,
        fixer_reason=made.reason,
        guard=apply,
        review=review,
        permit=made.way.permit,
        delivery_s=made.way.delivery_s,
        withdraw=options.withdraw,
        secrets=secrets_in(os.environ),
        leaks=partial(leaked, needles=_needles(loaded)),
        keep=partial(_keep, made.folder, made.fixer),
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


def _keep(folder: Path, fixer: Fixer, number: int, prompt: str) -> None:
    """What is sent to a model, for its owner's eyes only; and what it was made of, where the fixer says so."""
    match getattr(fixer, "template", None):
        case (str(name), str(text)) if name.endswith(".jinja") and Path(name).name == name:
            write_atomically(folder / name, text.encode(errors="replace"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(folder / f"prompt-{number}.md", flags, 0o600), "wb") as file:
        file.write(prompt.encode(errors="replace"))


def _longest_s(spec: Scenario, delivery_s: float) -> float:
    """Longer than any trial of the scenario: by then the generator ends by itself, come what may."""
    steady, recovery = spec.steady_state, spec.recovery
    before = steady.warmup_s + 3 * steady.hold_s + max((fault.at_s for fault in spec.method), default=0.0)
    outage = recovery.bite_within_s + spec.detection.within_s + spec.detection.gather_s + recovery.horizon_s
    deliveries = (2 * spec.budget.attempts + 2) * delivery_s
    return before + outage + recovery.observe_s + deliveries + _LOAD_MARGIN_S


def _patcher(loaded: LoadedScenario) -> Patcher:
    def patch(tree: SourceTree, name: str) -> SourceTree:
        return patched(tree, loaded.path(name).read_bytes().decode(errors="replace"))

    return patch
