"""The queue: work that must happen even if this process dies.

A job is put in by the very transaction that makes it necessary, and may run more than once: what it does is idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Update, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shop.models import Job, JobState

LEASE_S = 30.0  # a worker that has not finished by then is taken for dead, and another one takes the job
MAX_ATTEMPTS = 6
BACKOFF_S = 1.0  # doubles with each attempt
MAX_BACKOFF_S = 60.0
KEEP_DONE = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that is ours for LEASE_S seconds. ``attempts`` counts this one."""

    id: int
    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int


def enqueue(session: Session, kind: str, order_id: UUID, *, delay_s: float = 0) -> None:
    """Does nothing when the order has had a job of this kind before."""
    payload = {"order_id": str(order_id)}
    job = {"kind": kind, "key": _key(kind, order_id), "payload": payload, "run_at": _after(delay_s)}
    session.execute(insert(Job).values(job).on_conflict_do_nothing(index_elements=[Job.key]))


def hasten(session: Session, kind: str, order_id: UUID, *, delay_s: float = 0) -> None:
    """Makes a waiting job due in ``delay_s``."""
    waiting = update(Job).where(Job.key == _key(kind, order_id), Job.state == JobState.WAITING)
    session.execute(waiting.values(run_at=_after(delay_s)))


def find(session: Session, kind: str, order_id: UUID) -> Job | None:
    return session.scalar(select(Job).where(Job.key == _key(kind, order_id)))


def cancel(session: Session, kind: str, order_id: UUID) -> None:
    """The work was done elsewhere."""
    open_ = update(Job).where(Job.key == _key(kind, order_id), Job.state.in_([JobState.WAITING, JobState.RUNNING]))
    session.execute(open_.values(state=JobState.DONE))


def claim(session: Session) -> Claim | None:
    """The job that has been due longest, marked as running; of many workers, one gets it. The caller commits."""
    due = (
        select(Job.id)
        .where(Job.state.in_([JobState.WAITING, JobState.RUNNING]), Job.run_at <= func.now())
        .order_by(Job.run_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    running = {"state": JobState.RUNNING, "attempts": Job.attempts + 1, "run_at": _after(LEASE_S)}
    taken = update(Job).where(Job.id == due.scalar_subquery()).values(running)
    row = session.execute(taken.returning(Job.id, Job.kind, Job.key, Job.payload, Job.attempts)).one_or_none()
    return None if row is None else Claim(**row._asdict())


def overdue(session: Session, kind: str) -> tuple[int, float]:
    """How many jobs of this kind are due and wait for their first attempt, and for how many seconds the oldest does."""
    waited_s = func.extract("epoch", func.now() - func.min(Job.run_at))
    untried = (Job.kind == kind, Job.state == JobState.WAITING, Job.attempts == 0, Job.run_at <= func.now())
    count, oldest_s = session.execute(select(func.count(), waited_s).where(*untried)).one()
    return count, float(oldest_s or 0)


def finish(session: Session, job: Claim) -> None:
    session.execute(_still_ours(job).values(state=JobState.DONE, last_error=None))


def fail(session: Session, job: Claim, error: str) -> JobState:
    """Later again, or never: the state that the job has now."""
    state = JobState.DEAD if job.attempts >= MAX_ATTEMPTS else JobState.WAITING
    backoff_s = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** (job.attempts - 1))
    session.execute(_still_ours(job).values(state=state, last_error=error, run_at=_after(backoff_s)))
    return state


def postpone(session: Session, job: Claim, delay_s: float) -> None:
    """Later again, however often: the attempt does not count."""
    values = {"state": JobState.WAITING, "attempts": job.attempts - 1, "run_at": _after(delay_s)}
    session.execute(_still_ours(job).values(values))


def prune(session: Session) -> None:
    session.execute(delete(Job).where(Job.state == JobState.DONE, Job.created_at < func.now() - KEEP_DONE))


def _key(kind: str, order_id: UUID) -> str:
    return f"{kind}:{order_id}"


def _still_ours(job: Claim) -> Update:
    """A worker whose lease ran out must not overrule the one that took over."""
    return update(Job).where(Job.id == job.id, Job.state == JobState.RUNNING, Job.attempts == job.attempts)


def _after(delay_s: float) -> ColumnElement[Any]:
    return func.now() + timedelta(seconds=delay_s)
