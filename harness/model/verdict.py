"""How a trial ended, with the evidence for every statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.fix import Attempt, Cost
from harness.model.incident import Signal


class Outcome(StrEnum):
    HEALED = "HEALED"
    NOT_HEALED = "NOT_HEALED"
    NOT_DETECTED = "NOT_DETECTED"
    FALSE_ALARM = "FALSE_ALARM"
    INVALID = "INVALID"  # could not be measured: never scored for or against a fixer

    @property
    def exit_code(self) -> int:
        return {Outcome.HEALED: 0, Outcome.INVALID: 3}.get(self, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One thing that had to hold. ``evidence`` is what was seen, in words and numbers."""

    name: str
    passed: bool
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A named stretch of the trial, in seconds since it began."""

    name: str
    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Durations in seconds from the injection of the fault; None: it did not happen.

    ``recover_s`` is the start of the first of N good windows in a row, ``confirm_s`` the end of the last of
    them. Never recovered: ``censored_s`` is how long we watched (right-censored), else None.
    """

    detect_s: float | None = None
    propose_s: float | None = None
    deploy_s: float | None = None
    recover_s: float | None = None
    confirm_s: float | None = None
    censored_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Which trial it was: all that is needed to run it again."""

    id: str
    scenario: str
    scenario_hash: str  # sha256 of the scenario file and all that it names
    fixer: str
    model: str
    retriever: str
    seed: int
    commit: str  # of the harness, with "-dirty" where the tree has changes
    started_at: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    trial: Trial
    outcome: Outcome
    reason: str
    checks: tuple[CheckResult, ...] = ()
    phases: tuple[Phase, ...] = ()
    times: Times = field(default_factory=Times)
    signals: tuple[Signal, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    confidence: float | None = None  # of the last fix that went live, else of the last proposal
    error_budget_burned: float = 0.0  # bad arrivals from injection on, over what the objective allows in that time
    cost: Cost = field(default_factory=Cost)
