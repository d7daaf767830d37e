"""What happened to incidents, in order, in a real PostgreSQL, and handed on by a real Valkey."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from harness.errors import ServiceUnavailable
from harness.incidents import changes, store
from harness.incidents.changes import Change
from harness.incidents.database import engine, migrate
from harness.incidents.record import ChangeRecord, IncidentRecord
from harness.incidents.store import Wanted
from harness.services.supervisor import Supervisor
from harness.services.valkey import valkey_binary, valkey_running
from harness.sinks.recorder import Recorder
from harness.sinks.stream import KEPT, Relay, Stream
from tests import events as sample

DEADLINE_S = 20.0
HEALED = ["created", "analyzed", "proposed", "deployed", "rolled_back", "analyzed", "proposed", "deployed", "resolved"]


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    made = engine(database_url)
    migrate(made)
    yield made
    made.dispose()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with Supervisor() as supervisor, valkey_running(supervisor, log=tmp_path / "valkey.log") as url:
        yield url


def record(url: str, *trials: str) -> None:
    with Recorder(url) as recorder:
        for trial in trials:
            for event in sample.healed(sample.trial(trial)):
                recorder(event)


def all_of(database: Engine) -> list[Change]:
    with Session(database) as session:
        return changes.after(session, 0, 10_000)


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def entries(url: str, database: Engine) -> list[int]:
    with Session(database) as session, redis.Redis.from_url(url, decode_responses=True) as client:
        found: Any = client.xrange(changes.feed_name(session))
        return [int(number.partition("-")[0]) for number, _ in found]


# --- the table


def test_each_step_of_an_incident_is_a_change_with_what_a_list_shows(database_url: str, database: Engine) -> None:
    record(database_url, "trial-1")
    found = all_of(database)
    assert [change.kind for change in found] == [*HEALED, "closed"]
    assert [change.id for change in found] == sorted({change.id for change in found})
    assert [change.summary["state"] for change in found] == [*HEALED, "resolved"]
    assert found[0].summary["outcome"] == "" and found[-1].summary["outcome"] == "HEALED"
    assert found[-1].summary["scenario"] == "pool_exhaustion"
    assert {(change.trial_id, change.incident_id) for change in found} == {("trial-1", "inc-7f3a")}
    with Session(database) as session:
        assert changes.of_incident(session, "trial-1", "inc-7f3a") == found
        assert changes.of_incident(session, "trial-2", "inc-7f3a") == []
        assert changes.after(session, found[3].id, 2) == found[4:6]
        assert changes.newest(session) == found[-1].id


def test_how_it_was_judged_stands_in_the_row(database_url: str, database: Engine) -> None:
    record(database_url, "trial-1")
    with Session(database) as session:
        found = store.get(session, "inc-7f3a")
        assert found and found.state == "resolved" and found.reason and found.phases[0]["name"]
        assert {check["passed"] for check in found.checks} <= {True, False}


def test_listeners_of_the_database_hear_of_a_change_when_it_is_committed(database_url: str, database: Engine) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {changes.NOTIFY}")
        record(database_url, "trial-1")
        told = [int(notice.payload) for notice in listener.notifies(timeout=DEADLINE_S, stop_after=10)]
    assert told == [change.id for change in all_of(database)]


def test_numbers_come_in_the_order_of_commits_however_many_write(database_url: str, database: Engine) -> None:
    """A reader that goes on from the highest number it saw must not pass over one that is committed later."""
    seen: list[int] = []
    over = threading.Event()

    def read() -> None:
        last = 0
        while not over.is_set():
            with Session(database) as session:
                for change in changes.after(session, last, 1000):
                    seen.append(change.id)
                    last = change.id

    def write(number: int) -> None:
        record(database_url, *(f"trial-{number}-{again}" for again in range(5)))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    reader.start()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(DEADLINE_S)
    until(lambda: len(seen) == 4 * 5 * 10 or over.is_set(), f"{len(seen)} of 200 changes were seen")
    over.set()
    reader.join(DEADLINE_S)
    assert seen == [change.id for change in all_of(database)]


def test_a_change_that_is_not_committed_was_never_there(database_url: str, database: Engine) -> None:
    record(database_url, "trial-1")
    with Session(database) as session:
        changes.publish(session, "trial-1", "inc-7f3a", "rolled_back")
        session.rollback()
    assert all_of(database)[-1].kind == "closed"
    with Session(database) as session, session.begin():
        changes.publish(session, "trial-1", "inc-7f3a", "refused")
    assert all_of(database)[-1].summary["state"] == "resolved", "a refusal says nothing of where it stands"


def test_a_writer_that_has_stopped_in_the_middle_holds_up_nobody_for_ever(
    database_url: str, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_PATIENCE", "200ms")
    record(database_url, "trial-1")
    with Session(database) as stopped, stopped.begin():
        changes.publish(stopped, "trial-1", "inc-7f3a", "refused")
        with pytest.raises(ServiceUnavailable, match="lock timeout"):
            record(database_url, "trial-2")
    record(database_url, "trial-3")


def test_a_trial_that_is_recorded_anew_has_each_change_once(database_url: str, database: Engine) -> None:
    record(database_url, "trial-1")
    with Recorder(database_url) as recorder:
        story = sample.healed(sample.trial("trial-1"))
        recorder.replay(sample.trial("trial-1"), story)
    assert [change.kind for change in all_of(database)] == [*HEALED, "closed"]
    assert all_of(database)[0].id > 10, "a page that is open hears of it again"


def test_rows_of_the_version_before_get_their_state(database_url: str) -> None:
    from alembic import command
    from alembic.config import Config

    from harness.incidents.database import MIGRATIONS

    made = engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with made.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        columns = "trial_id, outcome, resolved, id, error_code, symptoms, breadcrumbs, logs, signal, commit, fixer"
        for ended in ("'a', NULL, false", "'b', 'NOT_HEALED', false", "'c', 'HEALED', true"):
            values = f"{ended}, 'i', '', '', '[]', '[]', '', '', '', '', now()"
            insert = f"INSERT INTO incident ({columns}, model, detected_at) VALUES ({values})"
            connection.exec_driver_sql(insert)
    migrate(made)
    with Session(made) as session:
        states = {one.trial_id: one.state for one in session.scalars(select(IncidentRecord))}
    assert states == {"a": "created", "b": "closed", "c": "resolved"}
    made.dispose()


# --- the list


def test_incidents_are_found_by_what_they_are_and_by_words(database_url: str, database: Engine) -> None:
    record(database_url, "trial-1", "trial-2")
    with Session(database) as session, session.begin():
        two = update(IncidentRecord).where(IncidentRecord.trial_id == "trial-2")
        session.execute(two.values(state="closed", outcome="NOT_HEALED", fixer="noop", root_cause="100% of a_b"))
    for wanted, found in (
        (Wanted(), {"trial-1", "trial-2"}),
        (Wanted(state="resolved"), {"trial-1"}),
        (Wanted(outcome="NOT_HEALED"), {"trial-2"}),
        (Wanted(fixer="noop", state="resolved"), set()),
        (Wanted(scenario="pool_exhaustion"), {"trial-1", "trial-2"}),
        (Wanted(text="TRIAL-2"), {"trial-2"}),
        (Wanted(text="0% of a_"), {"trial-2"}),
        (Wanted(text="0%of a"), set()),
        (Wanted(text="a%b"), set()),
        (Wanted(text="\0"), {"trial-1", "trial-2"}),
    ):
        with Session(database) as session:
            assert {one.trial_id for one in store.listed(session, wanted)} == found, wanted


def test_pages_of_the_list_hold_each_incident_once_also_where_all_came_at_once(
    database_url: str, database: Engine
) -> None:
    names = [f"trial-{number}" for number in range(7)]
    record(database_url, *names)  # all samples were detected at the same moment
    seen: list[str] = []
    wanted = Wanted()
    with Session(database) as session:
        while page := store.listed(session, wanted, 2):
            seen += [one.trial_id for one in page]
            wanted = Wanted(after=(page[-1].detected_at, page[-1].trial_id, page[-1].id))
    assert sorted(seen) == names


# --- handed on


def test_each_change_is_handed_on_once_and_told_to_old_listeners(
    database_url: str, database: Engine, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client, client.pubsub() as old:
        old.subscribe(changes.CHANNEL)
        until(lambda: old.get_message(timeout=1.0), "the subscription")
        places = lambda: (database_url, redis_url)  # noqa: E731 - as a trial has it
        with Stream(places) as one, Stream(places) as other, Recorder(database_url) as recorder:
            for event in sample.healed(sample.trial("trial-1")):
                recorder(event)
                one(event)
                other(event)
        assert entries(redis_url, database) == [change.id for change in all_of(database)]
        told = []
        while message := old.get_message(timeout=0.5):
            told.append(json.loads(message["data"]))
    assert told == [change.message for change in all_of(database)]


def test_what_another_trial_could_not_hand_on_any_more_is_made_up_for(
    database_url: str, database: Engine, redis_url: str
) -> None:
    record(database_url, "trial-killed")
    with Relay(database, redis_url) as relay:
        relay.hand_on()
    assert entries(redis_url, database) == [change.id for change in all_of(database)]


def test_a_redis_that_comes_back_gets_what_came_meanwhile(database_url: str, database: Engine, tmp_path: Path) -> None:
    """On the same port, and empty."""
    with Supervisor() as supervisor:
        with valkey_running(supervisor, log=tmp_path / "one.log") as url:
            stream = Stream(lambda: (database_url, url))
            record(database_url, "trial-1")
            stream(sample.healed()[-1])
            until(lambda: len(entries(url, database)) == 10, "the first trial was not handed on")
        record(database_url, "trial-2")
        stream(sample.healed()[-1])
        time.sleep(1.5)  # it fails, and will try again
        port = url.rpartition(":")[2].partition("/")[0]
        command = [str(valkey_binary()), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
        child = supervisor.start("valkey", command, env={}, cwd=tmp_path, log=tmp_path / "two")
        with stream:
            until(lambda: _there(url, database) == [change.id for change in all_of(database)][10:], "nothing came back")
        child.stop()


def _there(url: str, database: Engine) -> list[int]:
    try:
        return entries(url, database)
    except redis.RedisError:
        return []


def test_a_redis_that_never_answers_costs_a_trial_nothing(database_url: str, database: Engine) -> None:
    started = time.monotonic()
    stream = Stream(lambda: (database_url, "redis://127.0.0.1:1/0"))
    for event in sample.healed():
        stream(event)
    assert time.monotonic() - started < DEADLINE_S / 4
    with stream:
        pass
    assert time.monotonic() - started < DEADLINE_S


def test_without_a_redis_nothing_is_done(database: Engine) -> None:
    asked: list[str] = []
    with Stream(lambda: asked.append("where to?")) as stream:
        for event in sample.healed():
            stream(event)
    assert asked == ["where to?"], "once, and nothing is tried after that"
    assert not [thread for thread in threading.enumerate() if thread.name == "incidents-to-redis"]


def test_the_stream_of_another_database_in_the_same_redis_is_left_alone(
    database_url: str, database: Engine, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.xadd("incidents:another1", {"change": "{}"}, id="999999-0")
    record(database_url, "trial-1")
    with Relay(database, redis_url) as relay:
        relay.hand_on()
    assert len(entries(redis_url, database)) == 10


def test_an_old_table_is_not_handed_on_from_its_beginning(database_url: str, database: Engine, redis_url: str) -> None:
    record(database_url, "trial-1")
    with Session(database) as session, session.begin():
        session.execute(update(ChangeRecord).values(id=ChangeRecord.id))
        session.add(
            ChangeRecord(
                id=KEPT + 100, trial_id="t", incident_id="i", kind="created", summary={}
            )  # numbers were used up
        )
    with Relay(database, redis_url) as relay:
        relay.hand_on()
    assert entries(redis_url, database) == [KEPT + 100]
