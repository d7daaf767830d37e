"""How a trial ended, with the evidence for every statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from harness.model.fix import Attempt, Cost
from harness.model.incident import Signal


class Outcome(StrEnum):
    HEALED = "HEALED"
    LEFT_ALONE = "LEFT_ALONE"  # a control: nothing was to be mended, and nobody tried to
    NOT_HEALED = "NOT_HEALED"
    NOT_DETECTED = "NOT_DETECTED"
    FALSE_ALARM = "FALSE_ALARM"  # a control: somebody mended what was not broken
    INVALID = "INVALID"  # could not be measured: never scored for or against a fixer

    @property
    def exit_code(self) -> int:
        return {Outcome.HEALED: 0, Outcome.LEFT_ALONE: 0, Outcome.INVALID: 3}.get(self, 1)


Moment = Literal["before", "during", "after"]  # of the outage: when a hidden check is run


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
    isolation: str = ""  # how the app is kept apart from the machine
    min_confidence: float | None = None  # under it, a proposal counts as an abstention
    kb: str = ""  # the knowledge base, by name and a hash of all its documents; empty: nothing was searched


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficacy:
    """Whether the fault mattered: the share of bad arrivals with it and without it.

    ``cohens_h`` is 2 asin(sqrt(outage)) - 2 asin(sqrt(baseline)), an effect size that does not depend on how many
    arrived (J. Cohen, Statistical Power Analysis, 1988, ch. 6): 0.2 small, 0.5 medium, 0.8 large, pi the most.
    """

    baseline_bad: float
    outage_bad: float  # from the injection until code of a fix ran, or to the end
    cohens_h: float
    ended_by_itself: bool = False  # it passed without a fix
    harm_returned: bool | None = None  # once the fix was withdrawn; None: that was not tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    trial: Trial
    outcome: Outcome
    reason: str
    rule: str = ""  # what decided, for machines: recovered, guard.path, review.removed-route, check.NAME ...
    judge: str = ""  # the version of the rules that decided
    efficacy: Efficacy | None = None  # None: it did not come to an outage
    checks: tuple[CheckResult, ...] = ()
    phases: tuple[Phase, ...] = ()
    times: Times = field(default_factory=Times)
    signals: tuple[Signal, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    confidence: float | None = None  # the fixer's, of the last fix that went live, else of the last proposal
    retriever_confidence: float | None = None  # of the same attempt
    combined_confidence: float | None = None
    error_budget_burned: float = 0.0  # times as fast as allowed: the worst objective's, from injection on
    cost: Cost = field(default_factory=Cost)
