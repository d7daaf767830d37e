"""From what was seen to a verdict. Pure: the same facts give the same verdict, today and from an old journal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.model.fix import Attempt, Cost
from harness.model.incident import Signal
from harness.model.scenario import Scenario
from harness.model.verdict import CheckResult, Outcome, Phase, Times, Trial, Verdict
from harness.model.window import Window
from harness.trial import slo

_LAG_LIMIT_MS = 100.0  # a generator that sends later than this is not believed ...
_LAG_SHARE = 0.1  # ... when it does so in more than this share of windows
RELAPSE_WINDOWS = 2  # bad windows in a row after the recovery: not recovered


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a verdict rests on. Times are seconds since the trial began."""

    trial: Trial
    phases: tuple[Phase, ...]
    windows: tuple[Window, ...]  # as decided live, from the first to the last
    baseline: tuple[Window, ...]
    injected_s: float
    bit: str  # the evidence that the fault bit
    signals: tuple[Signal, ...]
    attempts: tuple[Attempt, ...]
    recovered: tuple[Window, Window] | None  # first and last window of the good run
    faults: tuple[CheckResult, ...]  # was each fault still on at the end?
    functional: tuple[CheckResult, ...]  # the hidden checks
    ended_s: float


def judge(scenario: Scenario, facts: Facts) -> Verdict:
    checks = _checks(scenario, facts)
    outcome, reason = _outcome(facts, checks)
    proposals = [attempt.fix for attempt in facts.attempts if attempt.fix]
    live = [attempt.fix for attempt in facts.attempts if attempt.fix and attempt.deployment]
    decisive = (live or proposals)[-1] if proposals else None
    suffered = [window for window in facts.windows if window.end_s > facts.injected_s]
    return Verdict(
        trial=facts.trial,
        outcome=outcome,
        reason=reason,
        checks=checks,
        phases=facts.phases,
        times=_times(facts, healed=outcome is Outcome.HEALED),
        signals=tuple(sorted(facts.signals, key=lambda signal: signal.at_s)),
        attempts=facts.attempts,
        confidence=decisive.confidence if decisive else None,
        error_budget_burned=slo.budget_burned(scenario.slos, suffered),
        cost=sum((fix.cost for fix in proposals), Cost()),
    )


def invalid(trial: Trial, reason: str, *, phases: tuple[Phase, ...] = ()) -> Verdict:
    """The verdict of a trial that could not be measured."""
    return Verdict(trial=trial, outcome=Outcome.INVALID, reason=reason, phases=phases)


def _outcome(facts: Facts, checks: tuple[CheckResult, ...]) -> tuple[Outcome, str]:
    failed = {check.name: check for check in checks if not check.passed}
    touched = any(attempt.deployment for attempt in facts.attempts)
    # once its code has run, a fixer answers for what goes wrong: it must not be able to void its own failures
    for name in ("load was honest", *(() if touched else (fault.name for fault in facts.faults))):
        if name in failed:
            return Outcome.INVALID, f"{name}: no: {failed[name].evidence}"
    if facts.recovered and not touched:
        return Outcome.INVALID, "the outage ended by itself: nothing was deployed, and nothing can be judged"
    if not facts.signals:
        return Outcome.NOT_DETECTED, "the fault bit, and neither marker nor burn rate told of it"
    if failed:
        last = facts.attempts[-1].reason.splitlines()[0] if facts.attempts and facts.attempts[-1].reason else ""
        first = next(iter(failed.values()))
        why = f"{first.name}: no: {first.evidence}"
        return Outcome.NOT_HEALED, f"{why}; {last}" if first.name == "recovered" and last else why
    return Outcome.HEALED, "recovered under the fault that is still on, and every check holds"


def _checks(scenario: Scenario, facts: Facts) -> tuple[CheckResult, ...]:
    return (
        _load_was_honest(scenario, facts),
        CheckResult(name="baseline held", passed=bool(facts.baseline), evidence=_span(facts.baseline)),
        CheckResult(name="fault bit", passed=bool(facts.bit), evidence=facts.bit),
        *facts.faults,
        _detected(facts),
        _recovered(scenario, facts),
        _kept_throughput(scenario, facts),
        _no_relapse(scenario, facts),
        *facts.functional,
    )


def _span(windows: tuple[Window, ...]) -> str:
    right, arrivals = sum(window.right for window in windows), sum(window.arrivals for window in windows)
    return f"{right} of {arrivals} right in {len(windows)} windows"


def _load_was_honest(scenario: Scenario, facts: Facts) -> CheckResult:
    """Up to the first deployment: afterwards it is the fix that may have taken the processor."""
    deployed_s = min((each.deployed_s for each in facts.attempts if each.deployed_s is not None), default=math.inf)
    windows = [window for window in facts.windows if window.end_s <= deployed_s]
    late = sum(window.lag_p99_ms > _LAG_LIMIT_MS for window in windows)
    worst = max((window.lag_p99_ms for window in windows), default=0.0)
    kind = "; closed loop: a stalled app was asked less" if scenario.load.locustfile else ""
    return CheckResult(
        name="load was honest",
        passed=bool(windows) and late <= _LAG_SHARE * len(windows),
        evidence=f"{late} of {len(windows)} windows sent over {_LAG_LIMIT_MS:g} ms late, worst {worst:.0f} ms{kind}",
    )


def _detected(facts: Facts) -> CheckResult:
    seen = [f"{signal.kind.replace('_', ' ')} at +{signal.at_s - facts.injected_s:.1f} s" for signal in facts.signals]
    return CheckResult(name="detected", passed=bool(seen), evidence=", ".join(seen) or "no signal")


def _recovered(scenario: Scenario, facts: Facts) -> CheckResult:
    recovery = scenario.recovery
    wanted = f"{recovery.consecutive} good windows in a row of {recovery.window_s:g} s"
    if facts.recovered and facts.attempts and facts.attempts[-1].outcome == "recovered":
        first, last = facts.recovered
        evidence = f"{wanted} from +{first.start_s - facts.injected_s:.1f} s to +{last.end_s - facts.injected_s:.1f} s"
        return CheckResult(name="recovered", passed=True, evidence=evidence)
    itself = " after a fix; it recovered without one" if facts.recovered else ""
    return CheckResult(name="recovered", passed=False, evidence=f"no {wanted}{itself}")


def _kept_throughput(scenario: Scenario, facts: Facts) -> CheckResult:
    """The share of arrivals answered right, in the good run against the baseline."""
    held = _within(facts)
    before, after = _right_share(facts.baseline), _right_share(held)
    return CheckResult(
        name="throughput kept",
        passed=bool(held) and after >= scenario.recovery.min_throughput_ratio * before,
        evidence=f"{after:.1%} of arrivals answered right, {before:.1%} in the baseline",
    )


def _no_relapse(scenario: Scenario, facts: Facts) -> CheckResult:
    name = "no relapse"
    if not facts.recovered:
        return CheckResult(name=name, passed=False, evidence="there was no recovery to relapse from")
    later = [window for window in facts.windows if window.start_s >= facts.recovered[1].end_s]
    bad = [bool(slo.broken(scenario.slos, window)) for window in later]
    relapsed = any(all(bad[start : start + RELAPSE_WINDOWS]) for start in range(len(bad) - RELAPSE_WINDOWS + 1))
    evidence = f"{sum(bad)} of {len(bad)} windows after the recovery broke an SLO"
    return CheckResult(name=name, passed=bool(later) and not relapsed, evidence=evidence)


def _within(facts: Facts) -> tuple[Window, ...]:
    if not facts.recovered:
        return ()
    first, last = facts.recovered
    return tuple(window for window in facts.windows if first.start_s <= window.start_s <= last.start_s)


def _right_share(windows: tuple[Window, ...]) -> float:
    arrivals = sum(window.arrivals for window in windows)
    return sum(window.right for window in windows) / arrivals if arrivals else 0.0


def _times(facts: Facts, *, healed: bool) -> Times:
    def since_injection(at_s: float | None) -> float | None:
        return None if at_s is None else at_s - facts.injected_s

    last = facts.attempts[-1] if facts.attempts else None
    return Times(
        detect_s=since_injection(min((signal.at_s for signal in facts.signals), default=None)),
        propose_s=since_injection(last.proposed_s if last else None),
        deploy_s=since_injection(last.deployed_s if last else None),
        recover_s=since_injection(facts.recovered[0].start_s) if healed and facts.recovered else None,
        confirm_s=since_injection(facts.recovered[1].end_s) if healed and facts.recovered else None,
        censored_s=None if healed else since_injection(facts.ended_s),
    )
