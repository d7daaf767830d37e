"""The loop: retrieve, propose, guard, deploy, observe; again, told why it failed, until healed or out of budget."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from harness.errors import FixerError, FixRefused, MeasurementError
from harness.model.confidence import combined, of_passages
from harness.model.event import (
    AttemptEnded,
    Deployed,
    FixProposed,
    RolledBack,
)
from harness.model.event import FixRefused as FixWasRefused
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident
from harness.model.source import SourceTree
from harness.model.window import Window
from harness.redaction import redacted
from harness.trial.proposal import AnswerLeaked, lost, proposed, retrieved
from harness.trial.watch import Watch

_DEPLOY_TIMEOUT_S = 120.0  # more than a canary and a reload may take together: what they wait for, they say themselves
_PERMIT_TIMEOUT_S = 60.0
_WORSE_WINDOWS = 3  # as many in a row ...
_WORSE_BY = 0.2  # ... with so much larger a share of bad requests than before: rolled back at once


def heal(watch: Watch, incident: Incident, *, deadline_s: float) -> list[Attempt]:
    """Attempts in order. The last one recovered, or the budget or the horizon is used up, or the fixer abstained."""
    attempts: list[Attempt] = []
    clock = watch.world.clock
    secrets = watch.world.secrets | watch.secrets
    broken_since_s = watch.bit_s if watch.bit_s is not None else clock.now()  # what runs since then is broken
    budget = watch.world.scenario.budget
    while len(attempts) < budget.attempts and clock.now() < deadline_s and not _spent(attempts, budget.fixer_usd):
        attempt = _attempt(watch, incident, attempts, broken_since_s, deadline_s)
        attempt = replace(attempt, reason=redacted(attempt.reason, secrets))  # a canary's log goes into the next prompt
        attempts.append(attempt)
        watch.world.emit(AttemptEnded(at_s=clock.now(), incident_id=incident.id, attempt=attempt))
        if attempt.outcome in ("recovered", "abstained") or attempt.rule == "control":
            break
        broken_since_s = clock.now() if attempt.deployment else broken_since_s
    return attempts


def _spent(attempts: list[Attempt], limit_usd: float | None) -> bool:
    """Whether the proposals so far have cost all that they may, as far as prices are known."""
    cost = sum(attempt.cost.usd or 0.0 for attempt in attempts)
    return limit_usd is not None and cost >= limit_usd


def _attempt(
    watch: Watch, incident: Incident, earlier: list[Attempt], broken_since_s: float, deadline_s: float
) -> Attempt:
    """One turn. Whatever the fixer does wrong ends the turn, never the trial."""
    world, number = watch.world, len(earlier) + 1
    attempt = Attempt(number=number, outcome="failed", reason="", started_s=world.clock.now())
    watch.phase("analyse")
    incident = watch.describe(incident.id, incident.detected_at)  # the evidence grows while the outage lasts
    passages, failed = retrieved(watch, incident)
    attempt = replace(attempt, passages=passages, retrieval_failed=failed)
    watch.phase("propose")
    tree = world.target.source()
    try:
        fix = proposed(watch, incident, passages, earlier, deadline_s)
    except AnswerLeaked as error:
        return _refused(watch, incident, replace(attempt, reason=str(error)), rule="leak")
    except FixerError as error:
        return _refused(watch, incident, replace(attempt, reason=str(error), lost=lost(error)), rule="proposal")
    near = of_passages(passages)
    sure = combined(fix.confidence, near)
    attempt = replace(attempt, fix=fix, proposed_s=world.clock.now())
    attempt = replace(attempt, retriever_confidence=near, combined_confidence=sure)
    world.emit(FixProposed(at_s=world.clock.now(), incident_id=incident.id, attempt=number, fix=fix))
    if fix.abstains:
        return replace(attempt, outcome="abstained", reason=fix.root_cause)
    if reason := _unsure(sure, world.trial.min_confidence):
        return _refused(watch, incident, replace(attempt, outcome="abstained", reason=reason), rule="low-confidence")
    if world.scenario.metadata.control:
        return replace(attempt, outcome="refused", reason="nothing is there to be mended", rule="control")
    try:
        patched = world.guard(tree, fix)
    except FixRefused as error:
        attempt = replace(attempt, outcome="refused", reason=str(error))
        return _refused(watch, incident, attempt, rule=f"guard.{error.rule}")
    attempt = replace(attempt, flags=world.review(tree, patched))
    if veto := next((flag for flag in attempt.flags if flag.severity == "veto"), None):
        reason = f"{veto.path}:{veto.line}: {veto.message}"
        return _refused(watch, incident, replace(attempt, outcome="vetoed", reason=reason), rule=f"review.{veto.rule}")
    try:
        if world.permit:
            leave = partial(world.permit, incident, attempt)
            watch.must(leave, timeout_s=_PERMIT_TIMEOUT_S, what="the leave to deploy")
    except FixRefused as error:
        attempt = replace(attempt, outcome="refused", reason=str(error))
        return _refused(watch, incident, attempt, rule=f"policy.{error.rule}")
    _require_still_broken(watch, broken_since_s)
    return _deploy(watch, incident, attempt, patched)


def _deploy(watch: Watch, incident: Incident, attempt: Attempt, tree: SourceTree) -> Attempt:
    world, before = watch.world, _bad_share(watch.windows[-_WORSE_WINDOWS:])
    message, timeout_s = _message(incident, attempt), _DEPLOY_TIMEOUT_S + world.delivery_s
    watch.phase("deploy")
    try:
        deployment = watch.must(
            partial(world.target.redeploy, tree, message), timeout_s=timeout_s, what="the deployment"
        )
    except FixerError as error:
        reason = str(error)
        return _refused(watch, incident, replace(attempt, outcome="canary_failed", reason=reason), rule="canary")
    attempt = replace(attempt, deployment=deployment, deployed_s=world.clock.now())
    world.emit(Deployed(at_s=world.clock.now(), incident_id=incident.id, attempt=attempt.number, deployment=deployment))
    return _observe(watch, incident, attempt, before=before)


def _observe(watch: Watch, incident: Incident, attempt: Attempt, *, before: float) -> Attempt:
    """Recovered, or rolled back: when patience ends, or at once when it got worse than ``before``, a share of bad."""
    world, recovery = watch.world, watch.world.scenario.recovery
    since_s = world.clock.now()
    watch.phase("observe")

    def recovered() -> bool:
        return watch.good_run_since(since_s) is not None

    def worse() -> bool:
        later = [window for window in watch.windows if window.start_s >= since_s]
        return len(later) >= _WORSE_WINDOWS and _bad_share(later[-_WORSE_WINDOWS:]) > before + _WORSE_BY

    watch.until(lambda: recovered() or worse(), recovery.observe_s)
    if recovered():
        return replace(attempt, outcome="recovered", reason=f"{recovery.consecutive} good windows in a row")
    reason = _what_is_still_wrong(watch, since_s) + (", more than before" if worse() else "")
    watch.phase("rollback")
    timeout_s = _DEPLOY_TIMEOUT_S + world.delivery_s
    back = watch.must(world.target.rollback, timeout_s=timeout_s, what="the rollback")
    at_s, number = world.clock.now(), attempt.number
    world.emit(RolledBack(at_s=at_s, incident_id=incident.id, attempt=number, deployment=back, reason=reason))
    return replace(attempt, outcome="not_recovered", reason=reason)


def _bad_share(windows: list[Window]) -> float:
    arrivals = sum(window.arrivals for window in windows)
    return sum(window.bad for window in windows) / arrivals if arrivals else 1.0


def _require_still_broken(watch: Watch, since_s: float) -> None:
    """A fix deployed into an outage that has ended by itself would be credited with nothing it did."""
    if watch.good_run_since(since_s) is not None:
        raise MeasurementError(
            "the outage ended by itself before the fix was deployed",
            cure="make the fault stronger, or its effect lasting: a fix cannot be judged on a healthy app",
        )


def _what_is_still_wrong(watch: Watch, since_s: float) -> str:
    later = [window for window in watch.windows if window.start_s >= since_s]
    arrivals, bad = sum(window.arrivals for window in later), sum(window.bad for window in later)
    return f"deployed, but not recovered: {bad} of {arrivals} requests since were slow or wrong"


def _unsure(sure: float | None, least: float | None) -> str:
    """Why a proposal is not even tried; empty: it is."""
    if least is None or (sure is not None and sure >= least):
        return ""
    told = "none was stated" if sure is None else f"{sure:.0%}"
    return f"the confidence is too low to deploy: {told}, and {least:.0%} is demanded"


def _refused(watch: Watch, incident: Incident, attempt: Attempt, *, rule: str) -> Attempt:
    watch.world.emit(
        FixWasRefused(
            at_s=watch.world.clock.now(),
            incident_id=incident.id,
            attempt=attempt.number,
            rule=rule,
            reason=attempt.reason,
        )
    )
    return replace(attempt, rule=rule)


def _message(incident: Incident, attempt: Attempt) -> str:
    """Of the commit: one line for people, then trailers as git knows them. Of the fixer's words only that line."""
    sure = attempt.combined_confidence
    warnings = sum(flag.severity == "warning" for flag in attempt.flags)
    return (
        f"Attempt {attempt.number}: {_headline(attempt.fix)}\n\n"
        f"Incident: {incident.id}\nAttempt: {attempt.number}\n"
        f"Confidence: {'not stated' if sure is None else f'{sure:.2f}'}\n"
        f"Verdict-so-far: guard and review passed with {warnings} warnings, not seen live yet"
    )


def _headline(fix: Fix | None) -> str:
    lines = (fix.remediation or fix.root_cause).strip().splitlines() if fix else []
    return "".join(filter(str.isprintable, lines[0]))[:72] if lines else "a fix"
