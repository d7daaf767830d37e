"""What a verdict rests on, gathered from the trial's events. Pure: a live trial and an old journal give the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.model.busy import Busy
from harness.model.event import (
    AttemptEnded,
    BaselineHeld,
    ChecksRan,
    Event,
    FaultBit,
    FaultInjected,
    FaultsChecked,
    FixWithdrawn,
    MachineWatched,
    PhaseStarted,
    SignalSeen,
    TrialFailed,
    TrialInterrupted,
    TrialStarted,
    WindowObserved,
)
from harness.model.fix import Attempt
from harness.model.incident import Signal
from harness.model.verdict import CheckResult, Moment, Phase, Trial
from harness.model.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Times are seconds since the trial began. What has not come to pass is None or empty."""

    trial: Trial
    phases: tuple[Phase, ...] = ()
    windows: tuple[Window, ...] = ()  # as decided live, from the first to the last
    baseline: tuple[Window, ...] = ()
    injected_s: float | None = None
    bit: str = ""  # the evidence that the fault bit
    signals: tuple[Signal, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    faults: tuple[CheckResult, ...] = ()  # was each fault still on at the end?
    functional: tuple[tuple[Moment, CheckResult], ...] = ()  # the hidden checks
    withdrawn: str | None = None  # what broke once the fix was taken away; empty: nothing did
    busy: tuple[Busy, ...] = ()  # what other work took of the machine; empty: it was not looked at
    failure: str = ""  # why it could not be measured
    interrupted: str = ""  # who or what ended the trial before its time
    ended_s: float

    def began(self, phase: str) -> float | None:
        """When the phase began for the first time."""
        return next((each.start_s for each in self.phases if each.name == phase), None)

    @property
    def fix_ran_s(self) -> float | None:
        """From when on code of a fix may have run, as a canary or live: then the fixer answers for what goes wrong."""
        return self.began("deploy")

    def checked(self, moment: Moment) -> tuple[CheckResult, ...]:
        return tuple(result for when, result in self.functional if when == moment)


def gathered(events: Iterable[Event], *, ended_s: float) -> Facts:
    """The facts that the events tell, in whatever order windows and other events come. The first tells the trial."""
    facts: Facts | None = None
    windows: list[Window] = []
    phases: list[PhaseStarted] = []
    baseline: BaselineHeld | None = None
    for event in events:
        match event:
            case TrialStarted():
                facts = Facts(trial=event.trial, ended_s=ended_s)
            case WindowObserved():
                windows.append(event.window)
            case PhaseStarted():
                phases.append(event)
            case BaselineHeld():
                baseline = event
            case _ if facts:
                facts = _told(facts, event)
    if facts is None:
        raise ValueError("no TrialStarted among the events")
    windows.sort(key=lambda window: window.start_s)
    return replace(
        facts,
        trial=replace(facts.trial, model=_model(facts.attempts) or facts.trial.model),
        phases=_phases(phases, ended_s),
        windows=tuple(windows),
        baseline=tuple(each for each in windows if baseline and baseline.start_s <= each.start_s < baseline.end_s),
    )


def _told(facts: Facts, event: Event) -> Facts:
    match event:
        case FaultInjected():
            return replace(facts, injected_s=event.injected_s)
        case FaultBit():
            return replace(facts, bit=event.evidence)
        case SignalSeen():
            return replace(facts, signals=(*facts.signals, event.signal))
        case AttemptEnded():
            return replace(facts, attempts=(*facts.attempts, event.attempt))
        case FaultsChecked():
            return replace(facts, faults=_both(facts.faults, event.results))
        case ChecksRan():
            return replace(facts, functional=(*facts.functional, *((event.moment, each) for each in event.results)))
        case FixWithdrawn():
            return replace(facts, withdrawn=event.harm)
        case MachineWatched():
            return replace(facts, busy=event.busy)
        case TrialFailed():
            return replace(facts, failure=event.reason)
        case TrialInterrupted():
            return replace(facts, interrupted=event.reason)
        case _:
            return facts


def _both(before: tuple[CheckResult, ...], now: tuple[CheckResult, ...]) -> tuple[CheckResult, ...]:
    """Looked at twice: the first that was off tells, else the later one."""
    off = {result.name: result for result in reversed(before) if not result.passed}
    return tuple(off.get(result.name, result) for result in now)


def _phases(started: list[PhaseStarted], ended_s: float) -> tuple[Phase, ...]:
    """Each phase ends where the next begins, the last one with the trial."""
    ends = [each.at_s for each in started[1:]] + [ended_s]
    pairs = zip(started, ends, strict=False)
    return tuple(Phase(name=each.name, start_s=each.at_s, end_s=end) for each, end in pairs)


def _model(attempts: tuple[Attempt, ...]) -> str:
    return next((attempt.fix.model for attempt in reversed(attempts) if attempt.fix and attempt.fix.model), "")
