"""The loop: retrieve, propose, guard, deploy, observe; again, told why it failed, until healed or out of budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

from pydantic import TypeAdapter, ValidationError

from harness.errors import FixerError, FixRefused, MeasurementError, ProposalFailed
from harness.leaks.offer import offered
from harness.model.confidence import combined, of_passages
from harness.model.event import (
    AttemptEnded,
    Deployed,
    FixProposed,
    IncidentAnalyzed,
    RolledBack,
)
from harness.model.event import FixRefused as FixWasRefused
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree
from harness.model.window import Window
from harness.ports import Fixer
from harness.redaction import redacted
from harness.trial.watch import Watch

logger = logging.getLogger(__name__)
_FIX = TypeAdapter(Fix)

_PASSAGES = 5
_DEPLOY_TIMEOUT_S = 120.0  # more than a canary and a reload may take together: what they wait for, they say themselves
_RETRIEVE_TIMEOUT_S = 30.0
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
    cost = sum((attempt.fix.cost.usd or 0.0) for attempt in attempts if attempt.fix)
    return limit_usd is not None and cost >= limit_usd


def _attempt(
    watch: Watch, incident: Incident, earlier: list[Attempt], broken_since_s: float, deadline_s: float
) -> Attempt:
    """One turn. Whatever the fixer does wrong ends the turn, never the trial."""
    world, number = watch.world, len(earlier) + 1
    attempt = Attempt(number=number, outcome="failed", reason="", started_s=world.clock.now())
    watch.phase("analyse")
    incident = watch.describe(incident.id, incident.detected_at)  # the evidence grows while the outage lasts
    passages = _retrieve(watch, incident)
    attempt = replace(attempt, passages=passages)
    watch.phase("propose")
    tree = world.target.source()
    try:
        if leak := _leak(watch, number, incident, passages, tree, earlier):
            return _refused(watch, incident, replace(attempt, reason=leak), rule="leak")
        work = partial(_asked, world.fixer, incident, passages, tree, tuple(earlier))
        fix = _propose(watch, work, deadline_s)
    except FixerError as error:
        return _refused(watch, incident, replace(attempt, reason=str(error)), rule="proposal")
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
    _require_still_broken(watch, broken_since_s)
    return _deploy(watch, incident, attempt, patched)


def _leak(
    watch: Watch,
    number: int,
    incident: Incident,
    passages: tuple[Passage, ...],
    tree: SourceTree,
    earlier: list[Attempt],
) -> str:
    """Where the answer stands in what the fixer is about to get; empty: nowhere. What is sent is kept.

    MeasurementError where it leaked, unless code of a fix has run, live or as a canary: that can print what it likes.
    """
    world = watch.world
    prompt = _prompt(world.fixer, incident, passages, tree, tuple(earlier))
    if prompt:
        world.keep(number, prompt)
    leaks = world.leaks(offered(incident, passages, tree, earlier, prompt=prompt, exposed=world.target.exposed()))
    what = "; ".join(map(str, leaks[:3]))
    if what and not any(attempt.deployment or attempt.rule == "canary" for attempt in earlier):
        raise MeasurementError(f"the answer leaked: {what}", cure="rename it, or take it out of what is shown")
    return f"leaked after a fix ran: {what}" if what else ""


def _prompt(fixer: Fixer, *given: object) -> str:
    """The exact text that the fixer will send; empty where it sends none, or cannot say so."""
    say = getattr(fixer, "prompt", None)
    try:
        return str(say(*given)) if say else ""
    except Exception as error:  # anybody's code, as below
        raise ProposalFailed(f"the fixer's prompt crashed: {type(error).__name__}: {error}") from error


def _retrieve(watch: Watch, incident: Incident) -> tuple[Passage, ...]:
    retriever = watch.world.retriever
    passages = watch.must(
        lambda: tuple(retriever.retrieve(incident, _PASSAGES)), timeout_s=_RETRIEVE_TIMEOUT_S, what="retrieval"
    )
    query = retriever.query(incident)
    watch.world.emit(
        IncidentAnalyzed(at_s=watch.world.clock.now(), incident_id=incident.id, query=query, passages=passages)
    )
    return passages


def _propose(watch: Watch, work: Callable[[], Fix], deadline_s: float) -> Fix:
    clock, budget = watch.world.clock, watch.world.scenario.budget
    started_s = clock.now()
    try:
        fix = watch.during(work, timeout_s=min(budget.fixer_s, deadline_s - started_s), what="the fixer")
    except TimeoutError as error:
        cure = "answer sooner, or raise budget.fixer or recovery.horizon"
        raise ProposalFailed(str(error) or "the fixer timed out", cure=cure) from None
    return replace(fix, cost=replace(fix.cost, seconds=clock.now() - started_s))


def _asked(
    fixer: Fixer, incident: Incident, passages: tuple[Passage, ...], tree: SourceTree, earlier: tuple[Attempt, ...]
) -> Fix:
    """The fixer's answer. It may be anybody's code: what it raises, or returns that is no fix, is a failed proposal."""
    try:
        return _FIX.validate_python(asdict(fixer.propose(incident, passages, tree, earlier)))
    except (FixerError, TimeoutError):
        raise
    except ValidationError as error:
        raise ProposalFailed(f"what the fixer gave is no fix: {error.errors()[0]['msg']}") from error
    except (Exception, SystemExit) as error:
        logger.exception("the fixer crashed")
        raise ProposalFailed(f"the fixer crashed: {type(error).__name__}: {error}") from error


def _deploy(watch: Watch, incident: Incident, attempt: Attempt, tree: SourceTree) -> Attempt:
    world, before = watch.world, _bad_share(watch.windows[-_WORSE_WINDOWS:])
    message = f"Attempt {attempt.number}: {_headline(attempt.fix)}"
    watch.phase("deploy")
    try:
        deployment = watch.must(
            partial(world.target.redeploy, tree, message), timeout_s=_DEPLOY_TIMEOUT_S, what="the deployment"
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
    back = watch.must(world.target.rollback, timeout_s=_DEPLOY_TIMEOUT_S, what="the rollback")
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


def _headline(fix: Fix | None) -> str:
    lines = (fix.remediation or fix.root_cause).strip().splitlines() if fix else []
    return "".join(filter(str.isprintable, lines[0]))[:72] if lines else "a fix"
