"""The incident table in a real PostgreSQL: migrations, the recorder, hostile text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, inspect, select, text
from sqlalchemy.orm import Session

from harness.errors import ServiceUnavailable
from harness.incidents import store
from harness.incidents.database import LOCK, VERSION_TABLE, engine, migrate, newest_version
from harness.incidents.record import Base, IncidentRecord
from harness.model.event import FixProposed, IncidentCreated
from harness.model.fix import Cost
from harness.model.incident import Passage
from harness.services.postgres import postgres_running
from harness.services.supervisor import Supervisor
from harness.sinks.recorder import Recorder
from tests import events as sample

WAIT_S = 20.0  # far more than any step here takes, also on a machine that is busy
RECORDED = {
    "error_code", "symptoms", "breadcrumbs", "root_cause", "remediation", "verification", "rag_query", "rag_response",
    "rag_confidence", "backboard_doc_id", "resolved", "detected_at", "updated_at",
}  # fmt: skip


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def other(url: str) -> Iterator[Engine]:
    """A second client, which sees what is committed and nothing else."""
    client = engine(url)
    yield client
    client.dispose()


def only(client: Engine) -> IncidentRecord:
    with Session(client) as session:
        return session.scalars(select(IncidentRecord)).one()


# --- migrations


def test_migrations_make_the_table_that_the_code_expects(url: str, other: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    migrate(other)
    with other.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert context.get_current_revision() == newest_version()
        assert compare_metadata(context, Base.metadata) == []
    assert {column["name"] for column in inspect(other).get_columns("incident")} >= RECORDED


def test_migrating_again_changes_nothing(other: Engine) -> None:
    migrate(other)
    with other.begin() as connection:
        connection.execute(text("ALTER TABLE incident ADD COLUMN mine int"))
    migrate(other)
    assert "mine" in {column["name"] for column in inspect(other).get_columns("incident")}


def test_the_table_of_another_program_is_left_alone(other: Engine) -> None:
    with other.begin() as connection:
        connection.execute(
            text("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('theirs')")
        )
    migrate(other)
    with other.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "theirs"


def test_those_who_migrate_at_once_wait_for_one_another(other: Engine) -> None:
    """Both have seen an empty database; with a lock in their way, neither can begin before the other is there."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with ThreadPoolExecutor() as pool, other.connect() as watcher:
        with other.begin() as holder:
            holder.execute(select(func.pg_advisory_xact_lock(LOCK)))
            both = [pool.submit(migrate, other) for _ in range(2)]
            deadline = time.monotonic() + WAIT_S
            while watcher.scalar(waiting) != 2:
                assert time.monotonic() < deadline, "nobody waits for the lock"
                time.sleep(0.01)
        for one in both:
            one.result(WAIT_S)
        assert watcher.scalar(text(f"SELECT count(*) FROM {VERSION_TABLE}")) == 1


# --- the recorder


def test_the_row_is_committed_when_the_call_returns(url: str, other: Engine) -> None:
    with Recorder(url) as recorder:
        for event in sample.until_detected():
            recorder(event)
            if isinstance(event, IncidentCreated):
                record = only(other)
                assert (record.id, record.trial_id) == ("inc-7f3a", sample.trial().id)
                assert record.error_code == "FAULT_DB_TIMEOUT"
                assert record.breadcrumbs == list(event.incident.breadcrumbs)
                assert record.detected_at.isoformat() == "2026-11-07T12:00:09.650000+00:00"
                assert (record.resolved, record.outcome, record.root_cause) == (False, None, None)
                return
    pytest.fail("no incident in the sample")


def test_a_healed_trial_fills_the_whole_row(url: str, other: Engine) -> None:
    with Recorder(url) as recorder:
        for event in sample.healed():
            recorder(event)
    record, fix = only(other), sample.good_fix()
    assert (record.root_cause, record.remediation) == (fix.root_cause, fix.remediation)
    assert record.verification == list(fix.verification)
    assert (record.confidence, record.model, record.fixer) == (0.86, "playbook-1", "playbook")
    assert record.rag_query == "FAULT_DB_TIMEOUT QueuePool"
    assert record.rag_confidence == pytest.approx(0.83 / (0.83 + 0.41))
    assert record.rag_response is not None
    assert record.rag_response.startswith("Connection pool drained by a slow query\nSet statement_timeout")
    assert record.passages[0]["remedies"] == [{"name": "statement_timeout", "parameters": {"ms": 500}}]
    assert (record.tokens_in, record.tokens_out) == (9300, 730)
    assert record.usd == pytest.approx(0.01)
    assert record.seconds == pytest.approx(4.3)
    assert [(one["number"], one["outcome"]) for one in record.attempts] == [(1, "not_recovered"), (2, "recovered")]
    assert (record.diff, record.commit) == (sample.CURE, "0beef00")
    assert (record.resolved, record.backboard_doc_id, record.outcome) == (True, "inc-7f3a-learnt", "HEALED")
    assert record.updated_at > record.detected_at


def test_a_trial_that_does_not_heal_stays_unresolved(url: str, other: Engine) -> None:
    with Recorder(url) as recorder:
        for event in sample.not_healed():
            recorder(event)
    record = only(other)
    assert (record.resolved, record.backboard_doc_id, record.outcome) == (False, None, "NOT_HEALED")


def test_an_unknown_price_stays_unknown(url: str, other: Engine) -> None:
    free = replace(sample.good_fix(), cost=Cost(seconds=1.0, tokens_in=10))
    with Recorder(url) as recorder:
        for event in sample.until_detected():
            recorder(event)
        recorder(FixProposed(at_s=12.0, incident_id="inc-7f3a", attempt=1, fix=free))
    assert (only(other).usd, only(other).tokens_in) == (None, 10)


def test_the_same_incident_id_in_another_trial_is_another_row(url: str, other: Engine) -> None:
    for number in range(2):
        with Recorder(url) as recorder:
            for event in sample.healed(sample.trial(f"trial-{number}")):
                recorder(event)
    with Session(other) as session:
        assert {record.trial_id for record in store.listed(session)} == {"trial-0", "trial-1"}
        found = store.get(session, "inc-7f3a", "trial-0")
        assert found is not None
        assert (found.trial_id, len(found.attempts)) == ("trial-0", 2)
        assert store.get(session, "inc-none") is None


def test_the_newest_incidents_come_first(url: str, other: Engine) -> None:
    with Recorder(url) as recorder:
        for day in (3, 1, 2):
            recorder(sample.started(sample.trial(f"trial-{day}")))
            created = next(event for event in sample.until_detected() if isinstance(event, IncidentCreated))
            incident = replace(created.incident, detected_at=f"2026-11-0{day}T00:00:00+00:00")
            recorder(replace(created, incident=incident))
    with Session(other) as session:
        assert [record.trial_id for record in store.listed(session, limit=2)] == ["trial-3", "trial-2"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(sample.HOSTILE, id="escapes"),
        pytest.param("\0", id="nul"),
        pytest.param("\\u0000", id="written nul"),
        pytest.param("\ud800\udfff \udc80", id="surrogates"),
        pytest.param("x" * 5_000_000, id="huge"),
        pytest.param("'); DROP TABLE incident; --", id="sql"),
        pytest.param("%s %(x)s {0} \\", id="formats"),
    ],
)
def test_hostile_text_in_every_place_breaks_nothing(line: str, url: str, other: Engine) -> None:
    passage = Passage(id=line, title=line, text=line, score=float("nan"))
    fix = replace(sample.good_fix(), root_cause=line, remediation=line, verification=(line,), model=line)
    hostile = replace(sample.incident(logs=(line,)), symptoms=line, error_code=line, breadcrumbs=(line,))
    with Recorder(url) as recorder:
        for event in sample.healed():
            match event.type:
                case "IncidentCreated":
                    event = replace(event, incident=hostile, commit=line)
                case "IncidentAnalyzed":
                    event = replace(event, query=line, passages=(passage,))
                case "FixProposed":
                    event = replace(event, fix=fix)
                case "IncidentResolved":
                    event = replace(event, document_id=line)
            recorder(event)
    record = only(other)
    assert record.outcome == "HEALED"
    assert "\0" not in record.symptoms
    assert len(record.logs) == 1
    assert len(record.logs[0]) <= 10_000
    assert record.passages[0]["score"] is None


def test_a_server_that_is_gone_is_the_machines_fault(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        with postgres_running(supervisor, data=tmp_path / "data", log=tmp_path / "log") as server:
            recorder = Recorder(server.url(server.home))
            recorder.__enter__()
            *_, created, _ = sample.until_detected()
            recorder(sample.started())
        with pytest.raises(ServiceUnavailable, match="IncidentCreated could not be recorded"):
            recorder(created)
        recorder.__exit__(None, None, None)
        with pytest.raises(ServiceUnavailable, match="table could not be made"), Recorder(server.url(server.home)):
            pass
