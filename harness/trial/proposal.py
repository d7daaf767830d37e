"""A proposal for one attempt: what is looked up, what the fixer may get, and its answer, whatever that is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Final

from pydantic import TypeAdapter, ValidationError

from harness.errors import FixerError, MeasurementError, ProposalFailed, ServiceUnavailable
from harness.leaks.offer import offered
from harness.model.event import IncidentAnalyzed
from harness.model.fix import Attempt, Cost, Fix
from harness.model.incident import Incident, Passage
from harness.model.source import SourceTree
from harness.ports import Fixer
from harness.redaction import redacted
from harness.trial.watch import Watch

logger = logging.getLogger(__name__)
_FIX, _COST = TypeAdapter(Fix), TypeAdapter(Cost)

SHARE: Final = 0.95  # of the time for a proposal, that a fixer plans with: the rest is its way there and back

_PASSAGES = 5
_RETRIEVE_TIMEOUT_S = 30.0


class AnswerLeaked(FixerError):
    """The answer stands in what the fixer was about to get, and code of a fix of its own has put it there."""


def proposed(
    watch: Watch, incident: Incident, passages: tuple[Passage, ...], earlier: Sequence[Attempt], deadline_s: float
) -> Fix:
    """The fixer's answer. ProposalFailed where there is none in time, or none that can be used.

    MeasurementError where the answer to the trial stands in what it was about to get.
    """
    world = watch.world
    left_s = min(world.scenario.budget.fixer_s, deadline_s - world.clock.now())
    if left_s <= 0:
        raise ProposalFailed("no time is left for a proposal", cure="raise recovery.horizon")
    _tell(world.fixer, SHARE * left_s)
    given = (incident, passages, world.target.source(), tuple(earlier))
    _require_no_leak(watch, *given)
    return _in_time(watch, partial(_asked, world.fixer, *given), left_s)


def lost(error: FixerError) -> Cost | None:
    """What a failed proposal cost, where the fixer tells: it may be anybody's code, so it is read as data."""
    cost = getattr(error, "cost", None)
    try:
        return _COST.validate_python(asdict(cost)) if isinstance(cost, Cost) else None
    except ValidationError:
        return None


def _tell(fixer: Fixer, budget_s: float) -> None:
    """How long it may take, where it wants to know. It may be anybody's code, and may let nobody set this."""
    try:
        if hasattr(fixer, "budget_s"):
            fixer.budget_s = budget_s
    except Exception as error:  # as above
        logger.warning("the fixer's budget_s cannot be set: %s: %s", type(error).__name__, error)


def _require_no_leak(
    watch: Watch,
    incident: Incident,
    passages: tuple[Passage, ...],
    tree: SourceTree,
    earlier: tuple[Attempt, ...],
) -> None:
    """What is sent is kept. Once code of a fix has run, a leak is the fixer's: that can print what it likes."""
    world = watch.world
    prompt = _prompt(world.fixer, incident, passages, tree, earlier)
    if prompt:
        world.keep(len(earlier) + 1, prompt)
    leaks = world.leaks(offered(incident, passages, tree, earlier, prompt=prompt, exposed=world.target.exposed()))
    what = "; ".join(map(str, leaks[:3]))
    if what and any(attempt.deployment or attempt.rule == "canary" for attempt in earlier):
        raise AnswerLeaked(f"leaked after a fix ran: {what}")
    if what:
        raise MeasurementError(f"the answer leaked: {what}", cure="rename it, or take it out of what is shown")


def _prompt(fixer: Fixer, *given: object) -> str:
    """The exact text that the fixer will send; empty where it sends none, or cannot say so."""
    say = getattr(fixer, "prompt", None)
    try:
        return str(say(*given)) if say else ""
    except Exception as error:  # anybody's code, as below
        raise ProposalFailed(f"the fixer's prompt crashed: {type(error).__name__}: {error}") from error


def retrieved(watch: Watch, incident: Incident) -> tuple[tuple[Passage, ...], str]:
    """What was found, and why nothing could be looked up: a fixer may do without, and the record says so."""
    retriever, passages, failed = watch.world.retriever, tuple[Passage, ...](), ""
    try:
        passages = watch.during(
            lambda: tuple(retriever.retrieve(incident, _PASSAGES)), timeout_s=_RETRIEVE_TIMEOUT_S, what="retrieval"
        )
    except (ServiceUnavailable, TimeoutError) as error:
        failed = redacted(str(error), watch.world.secrets | watch.secrets) or "it timed out"
    told = IncidentAnalyzed(
        at_s=watch.world.clock.now(),
        incident_id=incident.id,
        query=retriever.query(incident),
        passages=passages,
        failed=failed,
    )
    watch.world.emit(told)
    return passages, failed


def _in_time(watch: Watch, work: Callable[[], Fix], timeout_s: float) -> Fix:
    clock = watch.world.clock
    started_s = clock.now()
    try:
        fix = watch.during(work, timeout_s=timeout_s, what="the fixer")
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
