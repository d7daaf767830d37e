"""What happened, in the past tense: a union tagged by ``type``. ``at_s`` counts seconds since the trial began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.model.busy import Busy
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage, Signal
from harness.model.source import Deployment
from harness.model.verdict import CheckResult, Moment, Trial, Verdict
from harness.model.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    at_s: float
    trial: Trial
    title: str
    fixer_reason: str  # why this fixer
    horizon_s: float
    thresholds_ms: dict[str, float]  # the latency threshold of each route that an SLO covers
    type: Literal["TrialStarted"] = "TrialStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted:
    at_s: float
    name: str
    type: Literal["PhaseStarted"] = "PhaseStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowObserved:
    at_s: float
    window: Window
    slo_held: bool
    type: Literal["WindowObserved"] = "WindowObserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineHeld:
    """The SLOs held without a break in the windows that begin in [start_s, end_s)."""

    at_s: float
    start_s: float
    end_s: float
    type: Literal["BaselineHeld"] = "BaselineHeld"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInjected:
    at_s: float
    injected_s: float  # when the first one was switched on; ``at_s``: when the last one was
    faults: tuple[str, ...]
    type: Literal["FaultInjected"] = "FaultInjected"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSeen:
    """The first of its kind."""

    at_s: float
    signal: Signal
    type: Literal["SignalSeen"] = "SignalSeen"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentCreated:
    at_s: float
    incident: Incident
    signal: Signal
    commit: str  # what ran when it broke
    type: Literal["IncidentCreated"] = "IncidentCreated"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultBit:
    """The SLOs are seen to break while the fault is on."""

    at_s: float
    evidence: str
    type: Literal["FaultBit"] = "FaultBit"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentAnalyzed:
    """Retrieval is done for one attempt."""

    at_s: float
    incident_id: str
    query: str
    passages: tuple[Passage, ...]
    failed: str = ""  # why nothing could be looked up
    type: Literal["IncidentAnalyzed"] = "IncidentAnalyzed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixProposed:
    at_s: float
    incident_id: str
    attempt: int
    fix: Fix
    type: Literal["FixProposed"] = "FixProposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRefused:
    """By the guard, the review or the canary, or because the fixer failed: ``rule`` says which."""

    at_s: float
    incident_id: str
    attempt: int
    rule: str
    reason: str
    type: Literal["FixRefused"] = "FixRefused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    at_s: float
    incident_id: str
    attempt: int
    deployment: Deployment
    type: Literal["Deployed"] = "Deployed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    at_s: float
    incident_id: str
    attempt: int
    deployment: Deployment
    reason: str
    type: Literal["RolledBack"] = "RolledBack"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    at_s: float
    incident_id: str
    attempt: Attempt
    type: Literal["AttemptEnded"] = "AttemptEnded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksRan:
    """The hidden checks, at one moment."""

    at_s: float
    moment: Moment
    results: tuple[CheckResult, ...]
    type: Literal["ChecksRan"] = "ChecksRan"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultsChecked:
    """Is each fault still on, now that all is over?"""

    at_s: float
    results: tuple[CheckResult, ...]
    type: Literal["FaultsChecked"] = "FaultsChecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixWithdrawn:
    """The fix was taken away again, to see whether the harm comes back."""

    at_s: float
    harm: str  # what broke then; empty: nothing did
    type: Literal["FixWithdrawn"] = "FixWithdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineWatched:
    """How busy other work kept the machine while the trial was measured; empty: it was not looked at."""

    at_s: float
    busy: tuple[Busy, ...]
    type: Literal["MachineWatched"] = "MachineWatched"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentResolved:
    """The checks have passed: the trial is healed, and what was learnt is indexed under ``document_id``."""

    at_s: float
    incident_id: str
    document_id: str
    type: Literal["IncidentResolved"] = "IncidentResolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLearnt:
    """A fix that was rolled back is indexed under ``document_id``, as what not to do."""

    at_s: float
    incident_id: str
    attempt: int
    document_id: str
    type: Literal["FailureLearnt"] = "FailureLearnt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailed:
    """It could not be measured: the trial is INVALID."""

    at_s: float
    reason: str
    type: Literal["TrialFailed"] = "TrialFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialInterrupted:
    at_s: float
    reason: str
    type: Literal["TrialInterrupted"] = "TrialInterrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """The last event of a trial. ``windows`` are final: every request has ended or was given up."""

    at_s: float
    verdict: Verdict
    windows: tuple[Window, ...]
    type: Literal["TrialEnded"] = "TrialEnded"


Event = (
    TrialStarted
    | PhaseStarted
    | WindowObserved
    | BaselineHeld
    | FaultInjected
    | FaultBit
    | SignalSeen
    | IncidentCreated
    | IncidentAnalyzed
    | FixProposed
    | FixRefused
    | Deployed
    | RolledBack
    | AttemptEnded
    | ChecksRan
    | FaultsChecked
    | FixWithdrawn
    | MachineWatched
    | FailureLearnt
    | IncidentResolved
    | TrialFailed
    | TrialInterrupted
    | TrialEnded
)
