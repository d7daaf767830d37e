"""Incidents into PostgreSQL, as they are detected, analysed, treated and resolved."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from harness.errors import ServiceUnavailable
from harness.incidents import store
from harness.incidents.database import engine, migrate
from harness.model.event import (
    AttemptEnded,
    Deployed,
    Event,
    FixProposed,
    FixRefused,
    IncidentAnalyzed,
    IncidentCreated,
    IncidentResolved,
    RolledBack,
    TrialEnded,
    TrialStarted,
)
from harness.model.verdict import Trial

logger = logging.getLogger(__name__)


class Recorder:
    """A sink: when it returns, what the event says is committed. ServiceUnavailable where PostgreSQL refuses.

    Entering it makes or updates the table and opens the connection, so that no incident waits for either.
    """

    def __init__(self, url: str) -> None:
        self._engine = engine(url)
        self._trial: Trial | None = None

    def __enter__(self) -> Self:
        try:
            migrate(self._engine)
        except SQLAlchemyError as error:
            raise _unavailable("the incident table could not be made", error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self._trial = event.trial
        elif self._trial is not None:
            try:
                with Session(self._engine) as session, session.begin():
                    _record(session, event, self._trial)
            except SQLAlchemyError as error:
                lost = _unavailable(f"{event.type} could not be recorded", error)
                if not isinstance(event, TrialEnded):
                    raise lost from error
                logger.warning("%s", lost)  # the verdict stands in the journal: a record that missed it spoils nothing

    def replay(self, trial: Trial, events: Iterable[Event]) -> None:
        """Record a trial anew from its events, whatever part of it the table has: for one that was cut short.

        At once: nobody sees the trial without what was known of it. ServiceUnavailable where PostgreSQL refuses.
        """
        try:
            with Session(self._engine) as session, session.begin():
                store.forget(session, trial)
                for event in events:
                    _record(session, event, trial)
        except SQLAlchemyError as error:
            raise _unavailable("the trial could not be recorded anew", error) from error


def _record(session: Session, event: Event, trial: Trial) -> None:
    match event:
        case IncidentCreated():
            store.create(session, trial, event.incident, event.signal, event.commit)
        case IncidentAnalyzed():
            store.analyzed(session, trial, event.incident_id, event.query, event.passages)
        case FixProposed():
            store.proposed(session, trial, event.incident_id, event.fix)
        case FixRefused():
            store.refused(session, trial, event.incident_id)
        case Deployed():
            store.deployed(session, trial, event.incident_id, event.deployment)
        case RolledBack():
            store.rolled_back(session, trial, event.incident_id)
        case AttemptEnded():
            store.attempted(session, trial, event.incident_id, event.attempt)
        case IncidentResolved():
            store.resolved(session, trial, event.incident_id, event.document_id)
        case TrialEnded():
            store.ended(session, event.verdict)
        case _:
            pass  # a session that did nothing asks for no connection


def _unavailable(what: str, error: SQLAlchemyError) -> ServiceUnavailable:
    cause = str(getattr(error, "orig", None) or error).strip()
    return ServiceUnavailable(
        f"PostgreSQL: {what}: {cause}", cure="see the log of PostgreSQL in the trial's folder, or check DATABASE_URL"
    )
