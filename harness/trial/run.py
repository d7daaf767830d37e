"""One straight line: from a running target to a verdict."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain

from harness.errors import HarnessError, MeasurementError
from harness.model.event import (
    ChecksRan,
    Event,
    FailureLearnt,
    FaultsChecked,
    FixWithdrawn,
    IncidentResolved,
    MachineWatched,
    TrialEnded,
    TrialFailed,
    TrialInterrupted,
    TrialStarted,
)
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident
from harness.model.source import Endpoints
from harness.model.verdict import CheckResult, Moment, Outcome, Verdict
from harness.model.window import Window
from harness.ports import ActiveFault, Sink
from harness.trial.criteria import RELAPSE_WINDOWS
from harness.trial.facts import gathered
from harness.trial.heal import heal
from harness.trial.judge import judge
from harness.trial.outage import degraded_and_detected, inject, reported, what_breaks
from harness.trial.steady import steady
from harness.trial.watch import Watch
from harness.trial.world import World

logger = logging.getLogger(__name__)

_CHECKS_TIMEOUT_S = 120.0
_ROLLBACK_TIMEOUT_S = 120.0


def run_trial(world: World) -> Verdict:
    """Run one trial. The last event carries the verdict; a machine's failure gives INVALID, Ctrl-C is raised on."""
    events: list[Event] = []
    world = replace(world, emit=_kept(events, world))
    scenario, watch = world.scenario, Watch(world)
    settled: list[Window] = []
    incident: Incident | None = None
    with ExitStack() as services:
        try:
            world.emit(_started(world))  # in here, since whoever interrupts at once is told of in the journal, too
            watch.phase("setup")
            services.enter_context(world.services())
            world.retriever.prepare()
            incident = _trial(watch, settled)
        except (MeasurementError, KeyboardInterrupt) as error:
            if _was_interrupted(error):
                world.emit(TrialInterrupted(at_s=world.clock.now(), reason="interrupted by the user"))
                raise KeyboardInterrupt from error
            world.emit(TrialFailed(at_s=world.clock.now(), reason=str(error)))
        ended_s = world.clock.now()
        verdict = judge(scenario, gathered(events, ended_s=ended_s))
        _learn(world, verdict, incident)
        world.emit(TrialEnded(at_s=ended_s, verdict=verdict, windows=tuple(settled)))
    return verdict


def _started(world: World) -> TrialStarted:
    scenario = world.scenario
    return TrialStarted(
        at_s=world.clock.now(),
        trial=world.trial,
        title=scenario.metadata.title,
        fixer_reason=world.fixer_reason,
        horizon_s=scenario.recovery.horizon_s,
        thresholds_ms=scenario.thresholds_ms(),
    )


def _kept(events: list[Event], world: World) -> Sink:
    """Events are kept, for the judge, and told."""

    def emit(event: Event) -> None:
        events.append(event)
        world.emit(event)

    return emit


def _trial(watch: Watch, settled: list[Window]) -> Incident | None:
    """Everything between services up and services down. ``settled`` gets the final windows, however it ends."""
    world = watch.world
    with ExitStack() as stack:
        endpoints = stack.enter_context(world.target.running())
        watch.secrets = endpoints.secrets
        stack.callback(lambda: settled.extend(watch.settled()))  # once the load has ended
        watch.watching(stack.enter_context(world.load.running(endpoints)))
        machine = stack.enter_context(world.machine())
        try:
            incident = _measure(watch, stack, endpoints)
        except BaseException:
            watch.phase("abandon")  # whoever reads the journal must not take it for a whole measurement
            raise
        finally:
            world.emit(MachineWatched(at_s=world.clock.now(), busy=tuple(machine.busy())))
        watch.phase("teardown")
        return incident


def _measure(watch: Watch, stack: ExitStack, endpoints: Endpoints) -> Incident | None:
    world, control = watch.world, watch.world.scenario.metadata.control
    steady(watch)
    _require_sound(_checked(watch, endpoints, "before"))
    watch.phase("inject")
    commit = world.target.source().commit
    injected_s, faults = inject(watch, stack, endpoints)
    watch.phase("degrade")
    noticed = reported if control else degraded_and_detected
    incident = noticed(watch, injected_s, commit)
    attempts: list[Attempt] = []
    if incident:
        incident, attempts = _healed_or_horizon(watch, incident, endpoints)
    if not control:
        _look(world, faults)
    if attempts and attempts[-1].outcome == "recovered":
        seen = len(watch.windows)
        _checked(watch, endpoints, "after")
        watch.until(lambda: len(watch.windows) >= seen + RELAPSE_WINDOWS, _CHECKS_TIMEOUT_S)  # a relapse needs time
        _look(world, faults)  # again: what was seen before may have been the last of the old release
        if world.withdraw:
            _withdraw(watch)
    return incident


def _look(world: World, faults: Sequence[ActiveFault]) -> None:
    """Is each fault still on?"""
    still_on = tuple(fault.check() for fault in faults)
    world.emit(FaultsChecked(at_s=world.clock.now(), results=still_on))


def _learn(world: World, verdict: Verdict, incident: Incident | None) -> None:
    """Once all is taken down: a teardown that fails makes the trial INVALID, and then nothing was learnt."""
    if incident is None or verdict.outcome is Outcome.INVALID:
        return
    for attempt in verdict.attempts:
        try:
            _learn_from(world, incident, attempt, healed=verdict.outcome is Outcome.HEALED)
        except (OSError, HarnessError) as error:  # of a sink: the verdict comes all the same
            logger.warning("what attempt %d taught could not be told: %s", attempt.number, error)


def _learn_from(world: World, incident: Incident, attempt: Attempt, *, healed: bool) -> None:
    """What recovered and then fell to a hidden check teaches nothing: a word of why would give the check away."""
    if attempt.fix and attempt.outcome == "not_recovered":
        document = _learnt(world, incident, attempt.fix, failed=attempt.reason)
        if document:
            told = FailureLearnt(
                at_s=world.clock.now(), incident_id=incident.id, attempt=attempt.number, document_id=document
            )
            world.emit(told)
    elif attempt.fix and attempt.outcome == "recovered" and healed:
        document = _learnt(world, incident, attempt.fix)
        world.emit(IncidentResolved(at_s=world.clock.now(), incident_id=incident.id, document_id=document))


def _learnt(world: World, incident: Incident, fix: Fix, failed: str = "") -> str:
    """The id of what was learnt; empty where nothing could be. A retriever may be anybody's code."""
    try:
        return world.retriever.learn(incident, fix, failed=failed)
    except Exception as error:  # whatever it is, the verdict stands
        logger.warning("what was seen could not be learnt: %s: %s", type(error).__name__, error)
        return ""


def _was_interrupted(error: BaseException | None) -> bool:
    """By Ctrl-C, also where the teardown that followed it failed with an error of its own."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _healed_or_horizon(watch: Watch, incident: Incident, endpoints: Endpoints) -> tuple[Incident, list[Attempt]]:
    """The incident with its evidence, and the attempts. Where none recovered, it is watched up to the horizon."""
    clock, scenario = watch.world.clock, watch.world.scenario
    deadline_s = clock.now() + scenario.recovery.horizon_s
    watch.phase("gather")
    asked = [  # aside: costs the fixer no time; side by side: done before it answers
        watch.aside(partial(check.run, endpoints, watch.world.trial.seed, "during"), what="checks")
        for check in watch.world.checks
    ]
    watch.until(lambda: False, scenario.detection.gather_s)
    incident = watch.describe(incident.id, incident.detected_at)
    attempts = heal(watch, incident, deadline_s=deadline_s)
    told = [watch.must(future.result, timeout_s=_CHECKS_TIMEOUT_S, what="checks") for future in asked]
    watch.world.emit(ChecksRan(at_s=clock.now(), moment="during", results=tuple(chain.from_iterable(told))))
    if not attempts or attempts[-1].outcome != "recovered":
        watch.phase("watch")
        given_up_s = clock.now()
        watch.until(lambda: watch.good_run_since(given_up_s) is not None, max(0.0, deadline_s - given_up_s))
    return incident, attempts


def _checked(watch: Watch, endpoints: Endpoints, moment: Moment) -> tuple[CheckResult, ...]:
    """What the hidden checks say at this moment; load and log are watched meanwhile."""
    if moment == "before":
        watch.phase("probe")
    else:
        watch.phase("checks")
    results = watch.must(partial(_ask, watch.world, endpoints, moment), timeout_s=_CHECKS_TIMEOUT_S, what="checks")
    watch.world.emit(ChecksRan(at_s=watch.world.clock.now(), moment=moment, results=results))
    return results


def _ask(world: World, endpoints: Endpoints, moment: Moment) -> tuple[CheckResult, ...]:
    return tuple(result for check in world.checks for result in check.run(endpoints, world.trial.seed, moment))


def _require_sound(results: tuple[CheckResult, ...]) -> None:
    """A check that a healthy app does not pass says nothing about a fix."""
    if failed := [result for result in results if not result.passed]:
        raise MeasurementError(
            f"a hidden check failed before the fault: {failed[0].name}: {failed[0].evidence}",
            cure="mend the check, or the app; see logs/checks.log in the result folder",
        )


def _withdraw(watch: Watch) -> None:
    """Take the fix away while the fault is on: the harm must come back, else the fault was no longer there."""
    world = watch.world
    watch.phase("withdraw")
    timeout_s = _ROLLBACK_TIMEOUT_S + world.delivery_s
    watch.must(world.target.rollback, timeout_s=timeout_s, what="the withdrawal of the fix")
    since_s = world.clock.now()
    watch.until(lambda: bool(what_breaks(watch, since_s)), world.scenario.recovery.bite_within_s)
    world.emit(FixWithdrawn(at_s=world.clock.now(), harm=what_breaks(watch, since_s)))
