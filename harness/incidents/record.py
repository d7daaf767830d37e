"""The table ``incident``: one row for each outage that was detected, filled in as the trial goes on."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Float, Identity, Index, Text, false, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from harness.model.text import cut

TEXT_CHARS = 1_000_000
ITEM_CHARS = 10_000  # of one text in a list, such as a log line


def storable(value: str, limit: int = TEXT_CHARS) -> str:
    """What PostgreSQL takes of a text: no NUL, no lone surrogate; cut to ``limit`` characters."""
    return cut(value, limit).replace("\0", "").encode("utf-8", "replace").decode("utf-8")


class HostileText(TypeDecorator[str]):
    """Text from logs and models: whatever it holds, it can be stored."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class HostileJson(TypeDecorator[Any]):
    """JSON that holds such texts. A number that is not finite, which JSONB refuses, becomes null."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> object:
        return _storable_json(value)


def _storable_json(value: object) -> object:
    match value:
        case str():
            return storable(value, ITEM_CHARS)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {storable(str(key), ITEM_CHARS): _storable_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable_json(item) for item in value]
        case _:
            return value


class Base(DeclarativeBase):
    """The tables of the harness."""


class IncidentRecord(Base):
    """An incident, what was retrieved for it, what was tried, and how it ended.

    ``id`` is unique within its trial. Costs are sums over all proposals; root cause, remediation, verification,
    confidence and model are those of the latest one; ``diff`` is what was deployed last.
    """

    __tablename__ = "incident"
    __table_args__ = (Index("incident_detected_at", "detected_at"),)

    trial_id: Mapped[str] = mapped_column(HostileText, primary_key=True)
    id: Mapped[str] = mapped_column(HostileText, primary_key=True)
    error_code: Mapped[str] = mapped_column(HostileText)
    symptoms: Mapped[str] = mapped_column(HostileText)
    breadcrumbs: Mapped[list[str]] = mapped_column(HostileJson)
    logs: Mapped[list[str]] = mapped_column(HostileJson)
    signal: Mapped[str] = mapped_column(HostileText)
    commit: Mapped[str] = mapped_column(HostileText)  # what ran when it broke
    scenario: Mapped[str] = mapped_column(HostileText, server_default="")
    fixer: Mapped[str] = mapped_column(HostileText)
    model: Mapped[str] = mapped_column(HostileText)

    rag_query: Mapped[str | None] = mapped_column(HostileText)
    rag_response: Mapped[str | None] = mapped_column(HostileText)  # the passages' texts, best first
    rag_confidence: Mapped[float | None] = mapped_column(Float(53))  # 0-1, how far the best passage stands out
    passages: Mapped[list[dict[str, Any]]] = mapped_column(HostileJson, server_default=text("'[]'"))

    root_cause: Mapped[str | None] = mapped_column(HostileText)
    remediation: Mapped[str | None] = mapped_column(HostileText)
    verification: Mapped[list[str]] = mapped_column(HostileJson, server_default=text("'[]'"))
    confidence: Mapped[float | None] = mapped_column(Float(53))  # 0-1, as the fixer stated it
    seconds: Mapped[float] = mapped_column(Float(53), server_default=text("0"))
    tokens_in: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    tokens_out: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    usd: Mapped[float | None] = mapped_column(Float(53))  # None: no price is known

    diff: Mapped[str | None] = mapped_column(HostileText)
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(HostileJson, server_default=text("'[]'"))
    state: Mapped[str] = mapped_column(HostileText, server_default="created")  # see incidents/changes.py
    outcome: Mapped[str | None] = mapped_column(HostileText)  # the verdict's; None: the trial goes on
    reason: Mapped[str | None] = mapped_column(HostileText)  # the verdict's
    checks: Mapped[list[dict[str, Any]]] = mapped_column(HostileJson, server_default=text("'[]'"))
    phases: Mapped[list[dict[str, Any]]] = mapped_column(HostileJson, server_default=text("'[]'"))
    backboard_doc_id: Mapped[str | None] = mapped_column(HostileText)  # of what was learnt, once resolved
    resolved: Mapped[bool] = mapped_column(Boolean, server_default=false())
    detected_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class ChangeRecord(Base):
    """One change of an incident. Ids grow in the order in which the changes are committed; some numbers are left out.

    ``summary`` is what a list shows of the incident, as it was then.
    """

    __tablename__ = "incident_change"
    __table_args__ = (Index("incident_change_of", "trial_id", "incident_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    trial_id: Mapped[str] = mapped_column(HostileText)
    incident_id: Mapped[str] = mapped_column(HostileText)
    kind: Mapped[str] = mapped_column(HostileText)
    summary: Mapped[dict[str, Any]] = mapped_column(HostileJson)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class FeedRecord(Base):
    """One row: under which name the changes of this database are passed on by a Redis that others may use too."""

    __tablename__ = "incident_feed"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
