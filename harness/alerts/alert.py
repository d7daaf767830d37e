"""What people on call are told of an incident, gathered from the events of its trial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from harness.model.event import (
    Deployed,
    Event,
    FixProposed,
    IncidentAnalyzed,
    IncidentCreated,
    IncidentResolved,
    RolledBack,
    TrialEnded,
    TrialInterrupted,
    TrialStarted,
)
from harness.model.incident import Incident, Passage

Kind = Literal["created", "analyzed", "deployed", "resolved", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """``kind``: what has just happened; ``closed``: the trial is over, and the incident is not resolved."""

    kind: Kind
    trial_id: str
    scenario: str
    fixer: str
    incident: Incident
    signal: str
    passages: tuple[Passage, ...] = ()
    root_cause: str = ""
    remediation: str = ""
    confidence: float | None = None
    commit: str = ""  # of the fix that is live
    outcome: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """The same for all that is told of one incident."""
        return f"{self.trial_id}/{self.incident.id}"


class Gathering:
    """Takes the events of one trial in order, and tells what each is worth being told."""

    def __init__(self) -> None:
        self._started: TrialStarted | None = None
        self._alert: Alert | None = None

    def after(self, event: Event) -> Iterator[Alert]:
        if isinstance(event, TrialStarted):
            self._started = event
        elif isinstance(event, IncidentCreated) and self._started:
            trial, signal = self._started.trial, f"{event.signal.kind.replace('_', ' ')}: {event.signal.detail}"
            self._alert = Alert(
                kind="created",
                trial_id=trial.id,
                scenario=trial.scenario,
                fixer=trial.fixer,
                incident=event.incident,
                signal=signal,
            )
            yield self._alert
        elif self._alert:
            known = self._alert
            self._alert = _with(known, event)
            if self._alert.kind != known.kind and not (known.kind == "resolved" and self._alert.kind == "closed"):
                yield self._alert


def _with(alert: Alert, event: Event) -> Alert:
    match event:
        case IncidentAnalyzed() if alert.kind == "created":
            return replace(alert, kind="analyzed", passages=event.passages)
        case FixProposed(fix=fix):
            told = replace(alert, root_cause=fix.root_cause, remediation=fix.remediation)
            return replace(told, confidence=fix.confidence)
        case Deployed():
            return replace(alert, kind="deployed", commit=event.deployment.commit)
        case RolledBack():
            return replace(alert, commit="")
        case TrialInterrupted():
            return replace(alert, kind="closed", outcome="interrupted", reason=event.reason)
        case IncidentResolved():
            return replace(alert, kind="resolved")
        case TrialEnded(verdict=verdict):
            return replace(alert, kind="closed", outcome=str(verdict.outcome), reason=verdict.reason)
        case _:
            return alert
