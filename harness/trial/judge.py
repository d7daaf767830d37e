"""From what was seen to a verdict. Pure: the same facts give the same verdict, today and from an old journal."""

from __future__ import annotations

from typing import Final

from harness.model.fix import Cost
from harness.model.scenario import Scenario
from harness.model.verdict import CheckResult, Efficacy, Outcome, Times, Verdict
from harness.trial import criteria, slo
from harness.trial.criteria import Run
from harness.trial.facts import Facts

JUDGE: Final = "5"  # of the rules below: raised whenever the same facts may get another verdict

Decision = tuple[Outcome, str, str]  # with its rule, for machines, and its reason, for people


def judge(scenario: Scenario, facts: Facts) -> Verdict:
    """The verdict, INVALID where the trial could not be measured."""
    run = criteria.good_run(scenario, facts)
    effect = criteria.efficacy(facts, run)
    checks: tuple[CheckResult, ...] = ()
    if facts.interrupted:
        outcome, rule, reason = Outcome.INVALID, "interrupted", facts.interrupted
    elif facts.failure:
        outcome, rule, reason = _of_failure(facts)
    elif scenario.metadata.control:
        checks = _control_checks(scenario, facts, run)
        outcome, rule, reason = _of_control(facts, checks)
    else:
        checks = _checks(scenario, facts, run, effect)
        outcome, rule, reason = _of_outage(facts, checks, run)
    proposed = [attempt for attempt in facts.attempts if attempt.fix]
    live = [attempt for attempt in proposed if attempt.deployment]
    decisive = (live or proposed)[-1] if proposed else None
    began_s = facts.injected_s
    suffered = [] if began_s is None else [window for window in facts.windows if window.end_s > began_s]
    return Verdict(
        trial=facts.trial,
        outcome=outcome,
        reason=reason,
        rule=rule,
        judge=JUDGE,
        efficacy=effect,
        checks=checks,
        phases=facts.phases,
        times=_times(facts, run if outcome is Outcome.HEALED else None),
        signals=tuple(sorted(facts.signals, key=lambda signal: signal.at_s)),
        attempts=facts.attempts,
        confidence=decisive.fix.confidence if decisive and decisive.fix else None,
        retriever_confidence=decisive.retriever_confidence if decisive else None,
        combined_confidence=decisive.combined_confidence if decisive else None,
        error_budget_burned=slo.budget_burned(scenario.slos, suffered),
        cost=sum((attempt.cost for attempt in facts.attempts), Cost()),
    )


def _checks(scenario: Scenario, facts: Facts, run: Run | None, effect: Efficacy | None) -> tuple[CheckResult, ...]:
    return (
        criteria.machine_was_free(facts),
        criteria.load_was_honest(scenario, facts),
        criteria.baseline_held(facts),
        criteria.fault_bit(facts, effect),
        *facts.faults,
        criteria.detected(facts),
        criteria.review_passed(facts),
        criteria.recovered(scenario, facts, run),
        criteria.throughput_kept(scenario, facts, run),
        criteria.no_relapse(scenario, facts, run),
        *criteria.not_inferior(scenario, facts, run),
        *facts.checked("after"),
        *criteria.harm_returned(facts),
    )


def _control_checks(scenario: Scenario, facts: Facts, run: Run | None) -> tuple[CheckResult, ...]:
    return (
        criteria.machine_was_free(facts),
        criteria.load_was_honest(scenario, facts),
        criteria.baseline_held(facts),
        criteria.detected(facts),
        criteria.detector_kept_quiet(scenario, facts),
        criteria.nothing_mended(facts),
        criteria.ended_by_itself(run),
    )


def _of_failure(facts: Facts) -> Decision:
    if not (free := criteria.machine_was_free(facts)).passed:
        return Outcome.INVALID, _slug(free.name), f"{facts.failure}; {_told(free)}"
    if facts.fix_ran_s is None:
        return Outcome.INVALID, "not-measured", facts.failure
    why = f"code of a fix had run, and from then on it could not be measured: {facts.failure}"
    return Outcome.NOT_HEALED, "not-measured-after-the-fix", why


def _of_outage(facts: Facts, checks: tuple[CheckResult, ...], run: Run | None) -> Decision:
    failed = {check.name: check for check in checks if not check.passed}
    touched = facts.fix_ran_s is not None
    # once its code has run, a fixer answers for what goes wrong: it must not be able to void its own failures
    voids = [
        "machine was free",
        "load was honest",
        "baseline held",
        "fault bit",
        *(() if touched else (each.name for each in facts.faults)),
    ]
    for name in (*voids, "harm returns without the fix"):
        if name in failed:
            return Outcome.INVALID, _slug(name), _told(failed[name])
    if run and not touched:
        why = "the outage ended by itself: nothing was deployed, and nothing can be judged"
        return Outcome.INVALID, "ended-by-itself", why
    if not facts.signals:
        return Outcome.NOT_DETECTED, "not-detected", "the fault bit, and neither marker nor burn rate told of it"
    if failed:
        return _not_healed(facts, next(iter(failed.values())))
    return Outcome.HEALED, "recovered", "recovered under the fault that is still on, and every check holds"


def _not_healed(facts: Facts, first: CheckResult) -> Decision:
    """By the first check that failed; where nothing recovered, by what became of the last attempt."""
    last = facts.attempts[-1] if facts.attempts else None
    if first.name == "recovered":
        rule = last.rule or last.outcome.replace("_", "-") if last else "not-recovered"
        why = last.reason.splitlines()[0] if last and last.reason else ""
        return Outcome.NOT_HEALED, rule, f"{_told(first)}; {why}" if why else _told(first)
    if first.name == "review" and last:
        vetoes = [flag.rule for flag in last.flags if flag.severity == "veto"]
        return Outcome.NOT_HEALED, f"review.{vetoes[0]}", _told(first)
    hidden = first in facts.checked("after")
    return Outcome.NOT_HEALED, f"check.{_slug(first.name)}" if hidden else _slug(first.name), _told(first)


def _of_control(facts: Facts, checks: tuple[CheckResult, ...]) -> Decision:
    failed = {check.name: check for check in checks if not check.passed}
    for name in ("machine was free", "load was honest", "baseline held", "ended by itself"):
        if name in failed:
            return Outcome.INVALID, _slug(name), _told(failed[name])
    for name in ("detector kept quiet", "nothing was mended"):
        if name in failed:
            return Outcome.FALSE_ALARM, _slug(name), _told(failed[name])
    if not facts.signals:
        return Outcome.NOT_DETECTED, "not-detected", "nobody was asked: neither a signal nor a page came"
    return Outcome.LEFT_ALONE, "left-alone", "nothing was there to be mended, and nobody tried to"


def _told(check: CheckResult) -> str:
    return f"{check.name}: no: {check.evidence}"


def _slug(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in name).split()
    return "-".join(words).lower()


def _times(facts: Facts, run: Run | None) -> Times:
    """``run``: the good run of a healed trial."""
    began_s = facts.injected_s
    if began_s is None:
        return Times()

    def since_injection(at_s: float | None) -> float | None:
        return None if at_s is None else at_s - began_s

    last = facts.attempts[-1] if facts.attempts else None
    ended_s = facts.began("teardown") or facts.ended_s
    return Times(
        detect_s=since_injection(min((signal.at_s for signal in facts.signals), default=None)),
        propose_s=since_injection(last.proposed_s if last else None),
        deploy_s=since_injection(last.deployed_s if last else None),
        recover_s=since_injection(run[0].start_s) if run else None,
        confirm_s=since_injection(run[1].end_s) if run else None,
        censored_s=None if run else since_injection(ended_s),
    )
