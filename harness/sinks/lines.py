"""Events as plain lines, for logs and for terminals that cannot animate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from harness.model.event import (
    AttemptEnded,
    BaselineHeld,
    ChecksRan,
    Deployed,
    Event,
    FailureLearnt,
    FaultBit,
    FaultInjected,
    FaultsChecked,
    FixProposed,
    FixRefused,
    FixWithdrawn,
    IncidentAnalyzed,
    IncidentCreated,
    IncidentResolved,
    MachineWatched,
    PhaseStarted,
    RolledBack,
    SignalSeen,
    TrialEnded,
    TrialFailed,
    TrialInterrupted,
    TrialStarted,
    WindowObserved,
)
from harness.model.fix import Cost, Fix
from harness.model.verdict import CheckResult, Outcome, Times, Verdict
from harness.model.window import Window
from harness.sinks.printable import one_line

NONE = "-"  # where a number would stand


def line(event: Event) -> str:
    """One event in one line, without the time it bears."""
    match event:
        case TrialStarted(trial=trial):
            return (
                f"trial {trial.id}: {one_line(event.title)}; fixer {trial.fixer} ({one_line(event.fixer_reason)}), "
                f"retriever {trial.retriever}, seed {trial.seed}"
            )
        case PhaseStarted():
            return f"phase {event.name}"
        case WindowObserved():
            return f"{'SLO held  ' if event.slo_held else 'SLO broken'} {_window(event.window)}"
        case BaselineHeld():
            return f"baseline held from {event.start_s:.1f} s to {event.end_s:.1f} s"
        case FaultInjected():
            return f"fault injected: {', '.join(event.faults) or 'none, this is a control'}"
        case SignalSeen(signal=signal):
            return f"signal: {signal.kind.replace('_', ' ')}: {one_line(signal.detail)}"
        case FaultBit():
            return f"the fault bites: {one_line(event.evidence)}"
        case IncidentCreated(incident=incident, signal=signal):
            return (
                f"incident {incident.id}: {one_line(incident.error_code)}, {one_line(incident.symptoms)} "
                f"({signal.kind}: {one_line(signal.detail)})"
            )
        case IncidentAnalyzed():
            found = ", ".join(f"{one_line(item.title, 60)} ({item.score:.2f})" for item in event.passages)
            failed = f"nothing could be looked up: {one_line(event.failed)}"
            return failed if event.failed else f"retrieved: {found or 'nothing'}"
        case FixProposed(fix=fix):
            return f"attempt {event.attempt} proposes: {one_line(fix.root_cause)} ({', '.join(facts(fix))})"
        case FixRefused():
            return f"attempt {event.attempt} refused by {one_line(event.rule)}: {one_line(event.reason)}"
        case Deployed(deployment=live):
            return f"attempt {event.attempt} deployed as {live.commit[:7]} in {live.seconds:.1f} s"
        case RolledBack(deployment=live):
            return f"attempt {event.attempt} rolled back to {live.commit[:7]}: {one_line(event.reason)}"
        case AttemptEnded(attempt=attempt):
            return f"attempt {attempt.number} {attempt.outcome.replace('_', ' ')}: {one_line(attempt.reason)}"
        case FailureLearnt():
            learnt = one_line(event.document_id)
            return f"attempt {event.attempt} learnt as what not to do: {learnt}"
        case IncidentResolved():
            learnt = f", learnt as {one_line(event.document_id)}" if event.document_id else ""
            return f"incident {event.incident_id} resolved{learnt}"
        case ChecksRan(results=results):
            return f"hidden checks {event.moment} the outage: {_passed(results)}"
        case FaultsChecked(results=results):
            return f"faults still on: {_passed(results)}"
        case FixWithdrawn():
            return f"the fix was taken away again: {one_line(event.harm) or 'no harm came back'}"
        case MachineWatched(busy=busy):
            return f"other work took {max(each.others for each in busy):.0%} at worst" if busy else "not looked at"
        case TrialFailed():
            return f"not to be measured: {one_line(event.reason)}"
        case TrialInterrupted():
            return f"interrupted: {one_line(event.reason)}"
        case TrialEnded(verdict=verdict):
            return f"{verdict.outcome}: {one_line(verdict.reason)}"
        case _:
            assert_never(event)


def _passed(results: Sequence[CheckResult]) -> str:
    return f"{sum(result.passed for result in results)} of {len(results)}"


def summary(verdict: Verdict, folder: Path | None) -> list[str]:
    """What follows the last line: checks, times, where to look next."""
    rows = [
        f"  {'passed' if check.passed else 'FAILED'}  {one_line(check.name)}: {one_line(check.evidence)}"
        for check in verdict.checks
    ]
    if verdict.outcome is not Outcome.INVALID:
        steps = ", ".join(f"{name} {took}" for name, took in durations(verdict.times))
        rows.append(f"  since the fault: {steps}")
    return rows + [f"  {what}: {where}" for what, where in directions(verdict, folder)]


def durations(times: Times) -> list[tuple[str, str]]:
    """Each step with its seconds. What was watched for in vain is shown as more than the time watched."""
    watched = f"> {times.censored_s:.1f} s" if times.censored_s is not None else NONE
    return [
        ("detect", _seconds(times.detect_s, NONE)),
        ("propose", _seconds(times.propose_s, NONE)),
        ("deploy", _seconds(times.deploy_s, NONE)),
        ("recover", _seconds(times.recover_s, watched)),
        ("confirm", _seconds(times.confirm_s, watched)),
    ]


def directions(verdict: Verdict, folder: Path | None) -> list[tuple[str, str]]:
    """Where to look next. ``folder`` is the trial's result folder; None: nothing was kept."""
    if folder is None:
        return []
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    rows = [("everything", str(folder))]
    if any(attempt.deployment and attempt.deployment.diff for attempt in verdict.attempts):
        rows.append(("the fix" if verdict.outcome is Outcome.HEALED else "last fix", str(folder / "fix.patch")))
    return [*rows, ("all trials", "harness ui")]


def facts(fix: Fix) -> list[str]:
    """What is known of a proposal beside its words."""
    stance = ["abstains"] if fix.abstains else [f"{len(fix.edits)} edit{'s' * (len(fix.edits) > 1)}"]
    if fix.confidence is not None:
        stance.append(f"confidence {fix.confidence:.0%}")
    return stance + costs(fix.cost)


def costs(cost: Cost) -> list[str]:
    """Time, tokens and money, as far as they are known."""
    known = [f"{cost.seconds:.1f} s"] if cost.seconds else []
    if cost.tokens_in or cost.tokens_out:
        known.append(f"{cost.tokens_in:,} + {cost.tokens_out:,} tokens")
    if cost.usd is not None:
        known.append(f"${cost.usd:.4f}")
    return known


def milliseconds(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f} ms"


def _seconds(value: float | None, missing: str) -> str:
    return missing if value is None else f"{value:.1f} s"


def _window(window: Window) -> str:
    rows: Sequence[str] = [
        f"{name} p95 {milliseconds(route.p95_ms)}, {route.bad} of {route.arrivals} bad"
        for name, route in window.routes.items()
    ]
    return "; ".join(rows) or "no traffic"
