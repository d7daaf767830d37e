"""How many incidents there are, of which kind, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from harness.incidents.changes import KINDS
from harness.incidents.record import ChangeRecord, IncidentRecord

_OVER = ("resolved", "closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """``incidents`` by state and outcome (empty while the trial goes on), ``tokens`` by direction, in and out."""

    incidents: Mapping[tuple[str, str], int]
    changes: Mapping[str, int]
    tokens: Mapping[str, int]
    usd: float
    oldest_open_s: float


def count(session: Session) -> Counts:
    outcome = func.coalesce(IncidentRecord.outcome, "")
    by_state = select(IncidentRecord.state, outcome, func.count()).group_by(IncidentRecord.state, outcome)
    by_kind = session.execute(select(ChangeRecord.kind, func.count()).group_by(ChangeRecord.kind))
    sums = select(
        func.coalesce(func.sum(IncidentRecord.tokens_in), 0),
        func.coalesce(func.sum(IncidentRecord.tokens_out), 0),
        func.coalesce(func.sum(IncidentRecord.usd), 0.0),
    )
    tokens_in, tokens_out, usd = session.execute(sums).one()
    oldest = session.scalar(select(func.min(IncidentRecord.detected_at)).where(IncidentRecord.state.not_in(_OVER)))
    age_s = 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())
    return Counts(
        incidents={(state, ended): number for state, ended, number in session.execute(by_state)},
        changes=dict.fromkeys(KINDS, 0) | {row[0]: row[1] for row in by_kind},
        tokens={"in": int(tokens_in), "out": int(tokens_out)},
        usd=float(usd or 0.0),
        oldest_open_s=age_s,
    )
