"""The life of an incident in the table, and how the table is read. The caller commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from harness.incidents.record import IncidentRecord
from harness.model.confidence import of_passages
from harness.model.fix import Attempt, Fix
from harness.model.incident import Incident, Passage, Signal
from harness.model.source import Deployment
from harness.model.verdict import Trial, Verdict


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
        "fixer": trial.fixer,
        "model": trial.model,
        "detected_at": datetime.fromisoformat(incident.detected_at),
    }
    session.execute(insert(IncidentRecord).values(**values).on_conflict_do_nothing())


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


def deployed(session: Session, trial: Trial, incident_id: str, deployment: Deployment) -> None:
    _change(session, trial.id, incident_id, diff=deployment.diff)


def attempted(session: Session, trial: Trial, incident_id: str, attempt: Attempt) -> None:
    entry = {"number": attempt.number, "outcome": attempt.outcome, "reason": attempt.reason}
    _change(session, trial.id, incident_id, attempts=IncidentRecord.attempts.concat([entry]))


def resolved(session: Session, trial: Trial, incident_id: str, document_id: str) -> None:
    _change(session, trial.id, incident_id, resolved=True, backboard_doc_id=document_id)


def ended(session: Session, verdict: Verdict) -> None:
    """The verdict on every incident of its trial."""
    of_trial = update(IncidentRecord).where(IncidentRecord.trial_id == verdict.trial.id)
    session.execute(of_trial.values(outcome=str(verdict.outcome)))


def forget(session: Session, trial: Trial) -> None:
    """Remove the incidents of a trial, so that they can be recorded anew."""
    session.execute(delete(IncidentRecord).where(IncidentRecord.trial_id == trial.id))


def listed(session: Session, limit: int = 100) -> Sequence[IncidentRecord]:
    """The newest incidents first."""
    newest = select(IncidentRecord).order_by(IncidentRecord.detected_at.desc(), IncidentRecord.trial_id)
    return session.scalars(newest.limit(limit)).all()


def get(session: Session, incident_id: str, trial_id: str | None = None) -> IncidentRecord | None:
    """The newest incident of this id, in any trial or in the one named."""
    found = select(IncidentRecord).where(IncidentRecord.id == incident_id)
    if trial_id is not None:
        found = found.where(IncidentRecord.trial_id == trial_id)
    return session.scalars(found.order_by(IncidentRecord.detected_at.desc()).limit(1)).first()


def _change(session: Session, trial_id: str, incident_id: str, **values: Any) -> None:  # noqa: ANN401 - any column's
    one = update(IncidentRecord).where(IncidentRecord.trial_id == trial_id, IncidentRecord.id == incident_id)
    session.execute(one.values(**values))
