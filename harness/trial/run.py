"""One straight line: from a running target to a verdict."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from harness.errors import HarnessError, MeasurementError
from harness.model.event import IncidentResolved, TrialEnded, TrialInterrupted, TrialStarted
from harness.model.fix import Attempt
from harness.model.incident import Incident
from harness.model.source import Endpoints
from harness.model.verdict import CheckResult, Outcome, Verdict
from harness.model.window import Window
from harness.trial.heal import heal
from harness.trial.judge import RELAPSE_WINDOWS, Facts, invalid, judge
from harness.trial.outage import degraded_and_detected, inject
from harness.trial.steady import steady
from harness.trial.watch import Watch
from harness.trial.world import World

logger = logging.getLogger(__name__)

_CHECKS_TIMEOUT_S = 120.0


def run_trial(world: World) -> Verdict:
    """Run one trial. The last event carries the verdict; a machine's failure gives INVALID, Ctrl-C is raised on."""
    scenario, watch = world.scenario, Watch(world)
    world.emit(
        TrialStarted(
            at_s=world.clock.now(),
            trial=world.trial,
            title=scenario.metadata.title,
            fixer_reason=world.fixer_reason,
            horizon_s=scenario.recovery.horizon_s,
            thresholds_ms=scenario.thresholds_ms(),
        )
    )
    windows: list[Window] = []
    with ExitStack() as services:
        try:
            watch.phase("setup")
            services.enter_context(world.services())
            verdict, incident = _trial(watch, windows)
            _learn(world, verdict, incident)
        except (MeasurementError, KeyboardInterrupt) as error:
            if _was_interrupted(error):
                world.emit(TrialInterrupted(at_s=world.clock.now(), reason="interrupted by the user"))
                raise KeyboardInterrupt from error
            verdict = invalid(world.trial, str(error))
        verdict = replace(verdict, phases=watch.phases())
        world.emit(TrialEnded(at_s=world.clock.now(), verdict=verdict, windows=tuple(windows)))
    return verdict


def _trial(watch: Watch, windows: list[Window]) -> tuple[Verdict, Incident | None]:
    """Everything between services up and services down. ``windows`` gets the final ones, however it ends."""
    world = watch.world
    with ExitStack() as stack:
        endpoints = stack.enter_context(world.target.running())
        stack.callback(lambda: windows.extend(watch.settled()))  # once the load has ended
        watch.watching(stack.enter_context(world.load.running(endpoints)))
        try:
            return _measure(watch, stack, endpoints)
        finally:
            watch.phase("teardown")


def _measure(watch: Watch, stack: ExitStack, endpoints: Endpoints) -> tuple[Verdict, Incident | None]:
    world, clock = watch.world, watch.world.clock
    baseline = steady(watch)
    watch.phase("inject")
    commit = world.target.source().commit
    injected_s, faults = inject(watch, stack, endpoints)
    watch.phase("degrade")
    incident, bit = degraded_and_detected(watch, injected_s, commit)
    attempts: list[Attempt] = []
    functional: tuple[CheckResult, ...] = ()
    recovered = None
    if incident:
        incident, attempts, recovered = _healed_or_horizon(watch, incident)
    still_on = tuple(fault.check() for fault in faults)  # before the checks, which may take a fault away
    if attempts and attempts[-1].outcome == "recovered":
        watch.phase("checks")
        functional = _functional(watch, endpoints)
    facts = Facts(
        trial=replace(world.trial, model=_model(attempts) or world.trial.model),
        phases=watch.phases(),
        windows=tuple(watch.windows),
        baseline=baseline,
        injected_s=injected_s,
        bit=bit,
        signals=tuple(watch.signals.values()),
        attempts=tuple(attempts),
        recovered=recovered,
        faults=still_on,
        functional=functional,
        ended_s=clock.now(),
    )
    return judge(world.scenario, facts), incident


def _learn(world: World, verdict: Verdict, incident: Incident | None) -> None:
    """Once all is taken down: a teardown that fails makes the trial INVALID, and then nothing was learnt."""
    fix = verdict.attempts[-1].fix if verdict.attempts else None
    if incident and fix and verdict.outcome is Outcome.HEALED:
        try:
            document = world.retriever.learn(incident, fix)
            world.emit(IncidentResolved(at_s=world.clock.now(), incident_id=incident.id, document_id=document))
        except (OSError, HarnessError) as error:
            logger.warning("what was healed could not be learnt: %s", error)  # it is healed all the same


def _was_interrupted(error: BaseException | None) -> bool:
    """By Ctrl-C, also where the teardown that followed it failed with an error of its own."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _healed_or_horizon(
    watch: Watch, incident: Incident
) -> tuple[Incident, list[Attempt], tuple[Window, Window] | None]:
    """The incident with its evidence, the attempts, and the good run: after a fix, or by itself before the horizon."""
    clock, scenario = watch.world.clock, watch.world.scenario
    deadline_s = clock.now() + scenario.recovery.horizon_s
    watch.phase("gather")
    watch.until(lambda: False, scenario.detection.gather_s)
    incident = watch.describe(incident.id, incident.detected_at)
    attempts = heal(watch, incident, deadline_s=deadline_s)
    last = attempts[-1] if attempts else None
    if last and last.outcome == "recovered" and last.deployed_s is not None:
        return incident, attempts, watch.good_run_since(last.deployed_s)
    watch.phase("watch")
    given_up_s = clock.now()
    watch.until(lambda: watch.good_run_since(given_up_s) is not None, max(0.0, deadline_s - given_up_s))
    return incident, attempts, watch.good_run_since(given_up_s)


def _functional(watch: Watch, endpoints: Endpoints) -> tuple[CheckResult, ...]:
    world = watch.world
    results: list[CheckResult] = []
    seen = len(watch.windows)
    for check in world.checks:
        work = partial(check.run, endpoints, world.trial.seed)
        results += watch.must(work, timeout_s=_CHECKS_TIMEOUT_S, what=check.name)
    watch.until(lambda: len(watch.windows) >= seen + RELAPSE_WINDOWS, _CHECKS_TIMEOUT_S)  # a relapse needs time to show
    return tuple(results)


def _model(attempts: list[Attempt]) -> str:
    return next((attempt.fix.model for attempt in reversed(attempts) if attempt.fix and attempt.fix.model), "")
