"""What happened to incidents, in order: the list from which every live page is fed, and can catch up.

A change is committed with the row that it tells of. PostgreSQL's NOTIFY says that there is one; Redis passes it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from harness.incidents.record import ChangeRecord, FeedRecord, IncidentRecord

Kind = Literal["created", "analyzed", "proposed", "refused", "deployed", "rolled_back", "resolved", "closed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NOTIFY = "incidents_sse"  # PostgreSQL's channel; its payload is the newest id
CHANNEL = "incidents:sse"  # the channel of Redis' pub/sub
_LOCK = 0x63_61_6F_32  # held from the id's birth to its commit: else a reader could pass over a number that comes late
_PATIENCE = "10s"  # with another writer that has stopped in the middle
_SHORT = 200


@dataclass(frozen=True, kw_only=True)
class Change:
    """``summary``: what a list shows of the incident, plain JSON. ``at``: ISO 8601."""

    id: int
    trial_id: str
    incident_id: str
    kind: str
    at: str
    summary: dict[str, Any]

    @cached_property
    def message(self) -> dict[str, Any]:
        """As it is sent to a browser, to Redis, and to old listeners."""
        return {"trial_id": self.trial_id, "id": self.incident_id, "kind": self.kind, "at": self.at, **self.summary}


def publish(session: Session, trial_id: str, incident_id: str, kind: Kind) -> None:
    """The incident is in state ``kind`` from now on, unless that says nothing of where it stands. Call it last."""
    found = session.get(IncidentRecord, (trial_id, incident_id), populate_existing=True)
    if found is None:
        return
    if kind != "refused" and not (kind == "closed" and found.resolved):
        found.state = kind
    session.flush()
    session.execute(select(func.set_config("lock_timeout", _PATIENCE, True)))
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    change = ChangeRecord(trial_id=trial_id, incident_id=incident_id, kind=kind, summary=summary(found))
    session.add(change)
    session.flush()
    session.execute(select(func.pg_notify(NOTIFY, str(change.id))))


def summary(record: IncidentRecord) -> dict[str, Any]:
    """What a list shows of an incident: short texts, no log."""
    return {
        "error_code": record.error_code[:_SHORT],
        "symptoms": record.symptoms[:_SHORT],
        "scenario": record.scenario,
        "fixer": record.fixer[:_SHORT],
        "state": record.state,
        "outcome": record.outcome or "",
        "confidence": record.confidence,
        "detected_at": record.detected_at.isoformat(timespec="milliseconds"),
    }


def after(session: Session, number: int, limit: int) -> list[Change]:
    """The changes that follow the one of this number, oldest first."""
    later = select(ChangeRecord).where(ChangeRecord.id > number).order_by(ChangeRecord.id).limit(limit)
    return [_change(record) for record in session.scalars(later)]


def of_incident(session: Session, trial_id: str, incident_id: str) -> list[Change]:
    """All that happened to one, oldest first."""
    own = select(ChangeRecord).where(ChangeRecord.trial_id == trial_id, ChangeRecord.incident_id == incident_id)
    return [_change(record) for record in session.scalars(own.order_by(ChangeRecord.id))]


def newest(session: Session) -> int:
    """The number of the last change; 0: there is none."""
    return session.scalar(select(func.max(ChangeRecord.id))) or 0


def feed_name(session: Session) -> str:
    """The key under which this database's changes are in Redis."""
    return session.scalars(select(FeedRecord.name)).one()


def _change(record: ChangeRecord) -> Change:
    return Change(
        id=record.id,
        trial_id=record.trial_id,
        incident_id=record.incident_id,
        kind=record.kind,
        at=record.at.isoformat(timespec="milliseconds"),
        summary=record.summary,
    )
