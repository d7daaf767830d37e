"""The life of an incident in the table, and how the table is read. The caller commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Session, load_only

from harness.incidents.changes import publish
from harness.incidents.record import ChangeRecord, IncidentRecord, storable
from harness.model.confidence import of_passages
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage, Signal
from harness.model.source import Deployment
from harness.model.verdict import Trial, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which incidents: an empty field asks for nothing. ``text`` is looked for in what a list shows and the cause."""

    text: str = ""
    state: str = ""
    outcome: str = ""
    scenario: str = ""
    fixer: str = ""
    after: tuple[datetime, str, str] | None = None  # detected_at, trial_id and id of the last one that was listed


_ALL = Wanted()
_SEARCHED = (
    IncidentRecord.error_code,
    IncidentRecord.symptoms,
    IncidentRecord.root_cause,
    IncidentRecord.scenario,
    IncidentRecord.trial_id,
    IncidentRecord.id,
)
_SHOWN = (
    IncidentRecord.error_code,
    IncidentRecord.symptoms,
    IncidentRecord.scenario,
    IncidentRecord.fixer,
    IncidentRecord.state,
    IncidentRecord.outcome,
    IncidentRecord.confidence,
    IncidentRecord.detected_at,
)
_ORDER = (IncidentRecord.detected_at, IncidentRecord.trial_id, IncidentRecord.id)


def create(session: Session, trial: Trial, incident: Incident, signal: Signal, commit: str) -> None:
    """A new row. One that is there already stays as it is."""
    values = {
        "trial_id": trial.id,
        "id": incident.id,
        "error_code": incident.error_code,
        "symptoms": incident.symptoms,
        "breadcrumbs": list(incident.breadcrumbs),
        "logs": list(incident.logs),
        "signal": f"{signal.kind}: {signal.detail}",
        "commit": commit,
        "scenario": trial.scenario,
        "fixer": trial.fixer,
        "model": trial.model,
        "detected_at": datetime.fromisoformat(incident.detected_at),
    }
    session.execute(insert(IncidentRecord).values(**values).on_conflict_do_nothing())
    publish(session, trial.id, incident.id, "created")


def analyzed(session: Session, trial: Trial, incident_id: str, query: str, passages: Sequence[Passage]) -> None:
    _change(
        session,
        trial.id,
        incident_id,
        rag_query=query,
        rag_response="\n\n".join(f"{passage.title}\n{passage.text}" for passage in passages),
        rag_confidence=of_passages(passages),
        passages=[asdict(passage) for passage in passages],
    )
    publish(session, trial.id, incident_id, "analyzed")


def proposed(session: Session, trial: Trial, incident_id: str, fix: Fix) -> None:
    cost = fix.cost
    _change(
        session,
        trial.id,
        incident_id,
        root_cause=fix.root_cause,
        remediation=fix.remediation,
        verification=list(fix.verification),
        confidence=fix.confidence,
        model=fix.model or trial.model,
        seconds=IncidentRecord.seconds + cost.seconds,
        tokens_in=IncidentRecord.tokens_in + cost.tokens_in,
        tokens_out=IncidentRecord.tokens_out + cost.tokens_out,
        **({} if cost.usd is None else {"usd": func.coalesce(IncidentRecord.usd, 0.0) + cost.usd}),
    )
    publish(session, trial.id, incident_id, "proposed")


def refused(session: Session, trial: Trial, incident_id: str) -> None:
    """Told of only: why stands in the attempt."""
    publish(session, trial.id, incident_id, "refused")


def deployed(session: Session, trial: Trial, incident_id: str, deployment: Deployment) -> None:
    _change(session, trial.id, incident_id, diff=deployment.diff)
    publish(session, trial.id, incident_id, "deployed")


def rolled_back(session: Session, trial: Trial, incident_id: str) -> None:
    """Told of only: why stands in the attempt."""
    publish(session, trial.id, incident_id, "rolled_back")


def attempted(session: Session, trial: Trial, incident_id: str, attempt: Attempt) -> None:
    entry = {"number": attempt.number, "outcome": attempt.outcome, "reason": attempt.reason}
    _change(session, trial.id, incident_id, attempts=IncidentRecord.attempts.concat([entry]))


def resolved(session: Session, trial: Trial, incident_id: str, document_id: str) -> None:
    _change(session, trial.id, incident_id, resolved=True, backboard_doc_id=document_id)
    publish(session, trial.id, incident_id, "resolved")


def ended(session: Session, verdict: Verdict) -> None:
    """The verdict on every incident of its trial."""
    trial_id = verdict.trial.id
    of_trial = update(IncidentRecord).where(IncidentRecord.trial_id == trial_id).returning(IncidentRecord.id)
    values = {
        "outcome": str(verdict.outcome),
        "reason": verdict.reason,
        "checks": [asdict(check) for check in verdict.checks],
        "phases": [asdict(phase) for phase in verdict.phases],
    }
    for incident_id in session.scalars(of_trial.values(**values)).all():
        publish(session, trial_id, incident_id, "closed")


def forget(session: Session, trial: Trial) -> None:
    """Remove the incidents of a trial, so that they can be recorded anew."""
    for table in (IncidentRecord, ChangeRecord):
        session.execute(delete(table).where(table.trial_id == trial.id))


def listed(session: Session, wanted: Wanted = _ALL, limit: int = 100) -> Sequence[IncidentRecord]:
    """The newest first, without what only the page of one incident shows."""
    found = select(IncidentRecord).options(load_only(*_SHOWN)).order_by(*(column.desc() for column in _ORDER))
    for column, value in (
        (IncidentRecord.state, wanted.state),
        (IncidentRecord.outcome, wanted.outcome),
        (IncidentRecord.scenario, wanted.scenario),
        (IncidentRecord.fixer, wanted.fixer),
    ):
        found = found.where(column == storable(value)) if value else found
    if wanted.text:
        found = found.where(or_(*(column.icontains(storable(wanted.text), autoescape=True) for column in _SEARCHED)))
    if wanted.after:
        at, trial_id, incident_id = wanted.after
        found = found.where(tuple_(*_ORDER) < tuple_(at, storable(trial_id), storable(incident_id)))
    return session.scalars(found.limit(limit)).all()


def choices(session: Session, column: InstrumentedAttribute[str]) -> Sequence[str]:
    """The values that the column has, for a list to choose from."""
    return session.scalars(select(column).where(column != "").distinct().order_by(column)).all()


def get(session: Session, incident_id: str, trial_id: str | None = None) -> IncidentRecord | None:
    """The newest incident of this id, in any trial or in the one named."""
    found = select(IncidentRecord).where(IncidentRecord.id == incident_id)
    if trial_id is not None:
        found = found.where(IncidentRecord.trial_id == trial_id)
    return session.scalars(found.order_by(IncidentRecord.detected_at.desc()).limit(1)).first()


def _change(session: Session, trial_id: str, incident_id: str, **values: Any) -> None:  # noqa: ANN401 - any column's
    one = update(IncidentRecord).where(IncidentRecord.trial_id == trial_id, IncidentRecord.id == incident_id)
    session.execute(one.values(**values))
