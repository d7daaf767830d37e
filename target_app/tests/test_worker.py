from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from conftest import APP, Services, environment, eventually
from provider import Provider

from harness.services.supervisor import Child, Supervisor
from shop import checkout, jobs
from shop.db import Sessions, create_engine, create_sessions
from shop.models import JobState
from shop.payments import Payments
from shop.settings import Settings
from shop.worker import Worker


@pytest.fixture
def sessions(settings: Settings, database: sa.Connection) -> Iterator[Sessions]:
    engine = create_engine(settings)
    yield create_sessions(engine)
    engine.dispose()


@pytest.fixture
def worker(sessions: Sessions, settings: Settings) -> Iterator[Worker]:
    payments = Payments(settings, retries=0)
    yield Worker(sessions, payments)
    payments.close()


def unpaid(sessions: Sessions, count: int = 1, product_id: int = 50, note: str | None = None) -> list[UUID]:
    """Orders whose charge is due, as they are left when the provider was away."""
    made = []
    for number in range(count):
        lines = [{"product_id": product_id, "quantity": 1}]
        basket = checkout.Basket.model_validate({"lines": lines, "gift_note": note})
        with sessions() as session:
            order_id, _ = checkout.place(session, number % 20 + 1, basket)
            jobs.hasten(session, "charge", order_id)
            session.commit()
        made.append(order_id)
    return made


def states(database: sa.Connection) -> Counter[str]:
    return Counter(database.execute(sa.text("SELECT state FROM jobs")).scalars())


def due_again(database: sa.Connection) -> None:
    database.execute(sa.text("UPDATE jobs SET run_at = now() WHERE state IN ('waiting', 'running')"))


def order_status(database: sa.Connection, order_id: UUID) -> str:
    return str(database.execute(sa.text("SELECT status FROM orders WHERE id = :id"), {"id": order_id}).scalar_one())


@pytest.fixture
def start(supervisor: Supervisor, services: Services, provider: Provider) -> Iterator[Callable[[Path], Child]]:
    """Starts a worker process that logs to the file, and waits until it is up."""
    env = environment(services, PAYMENTS_URL=provider.url, UPSTREAM_TIMEOUT_S="10")
    started: list[Child] = []

    def worker(log: Path) -> Child:
        started.append(supervisor.start(log.stem, [sys.executable, "-m", "shop.worker"], env=env, cwd=APP, log=log))
        eventually(lambda: log.exists() and "worker started" in log.read_text(), "the worker starts")
        return started[-1]

    yield worker
    for child in started:
        child.stop()


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_charge_makes_the_order_paid_and_a_receipt(
    worker: Worker, sessions: Sessions, database: sa.Connection, provider: Provider
) -> None:
    (order_id,) = unpaid(sessions)
    assert worker.run_one()
    assert order_status(database, order_id) == "paid"
    assert worker.run_one()
    assert not worker.run_one()
    receipt = database.execute(sa.text("SELECT body FROM receipts WHERE order_id = :id"), {"id": order_id}).scalar_one()
    assert str(order_id) in receipt
    assert provider.charges == {str(order_id): 1}
    assert states(database) == {"done": 2}


def test_an_order_is_never_charged_again(
    worker: Worker, sessions: Sessions, database: sa.Connection, provider: Provider
) -> None:
    (order_id,) = unpaid(sessions)
    worker.run_one()
    database.execute(sa.text("UPDATE jobs SET state = 'waiting', run_at = now() WHERE kind = 'charge'"))
    while worker.run_one():
        pass
    assert provider.charges == {str(order_id): 1}


def test_failures_are_retried_later_and_then_given_up(
    worker: Worker, sessions: Sessions, database: sa.Connection, provider: Provider
) -> None:
    provider.answers = [(200, {"surprise": True}, {})] * jobs.MAX_ATTEMPTS  # outside the contract, time after time
    (order_id,) = unpaid(sessions)
    for attempt in range(1, jobs.MAX_ATTEMPTS + 1):
        assert states(database) == {"waiting": 1}
        due_again(database)
        assert worker.run_one()
        found = database.execute(sa.text("SELECT attempts, last_error FROM jobs")).one()
        assert found.attempts == attempt
        assert "PaymentUnavailable" in found.last_error
        assert not worker.run_one(), "it comes later, not at once"
    assert states(database) == {"dead": 1}
    assert order_status(database, order_id) == "pending"


def test_a_job_of_no_known_kind_does_not_stop_the_others(
    worker: Worker, sessions: Sessions, database: sa.Connection
) -> None:
    database.execute(
        sa.text(
            "INSERT INTO jobs (id, kind, key, payload, state, attempts, run_at)"
            " VALUES (-1, 'poison', 'poison:1', '{}', 'waiting', 0, now() - interval '1 hour')"
        )
    )
    (order_id,) = unpaid(sessions)
    assert [worker.run_one() for _ in range(3)] == [True, True, True]
    assert order_status(database, order_id) == "paid"
    assert states(database) == {"waiting": 1, "done": 2}


def test_receipts_that_cannot_be_printed_hold_up_no_other_and_are_given_up_in_the_end(
    worker: Worker, sessions: Sessions, database: sa.Connection
) -> None:
    bad, good = unpaid(sessions, 3, note="Sto lat, Grażyna"), unpaid(sessions, 2, note="Schöne Grüße")
    while worker.run_one():
        pass
    with_receipt = set(database.execute(sa.text("SELECT order_id FROM receipts")).scalars())
    assert set(good) <= with_receipt
    assert with_receipt.isdisjoint(bad)
    assert states(database) == {"done": 5 + 2, "waiting": 3}
    for _ in range(jobs.MAX_ATTEMPTS - 1):
        due_again(database)
        while worker.run_one():
            pass
    assert states(database) == {"done": 5 + 2, "dead": 3}
    errors = database.execute(sa.text("SELECT last_error FROM jobs WHERE state = 'dead'")).scalars()
    assert all("UnicodeEncodeError" in error for error in errors)


def test_a_receipt_carries_the_gift_note(worker: Worker, sessions: Sessions, database: sa.Connection) -> None:
    (order_id,) = unpaid(sessions, note="Schöne Grüße")
    while worker.run_one():
        pass
    receipt = database.execute(sa.text("SELECT body FROM receipts WHERE order_id = :id"), {"id": order_id}).scalar_one()
    assert receipt.endswith("Note: Schöne Grüße\n")


def test_a_charge_outlives_an_outage_of_the_provider(
    worker: Worker, sessions: Sessions, database: sa.Connection, provider: Provider
) -> None:
    provider.broken = True
    (order_id,) = unpaid(sessions)
    for _ in range(jobs.MAX_ATTEMPTS + 1):
        due_again(database)
        assert worker.run_one()
        assert not worker.run_one(), "it comes later, not at once"
    assert provider.charges == {str(order_id): 3}, "the circuit is open after three"
    assert database.execute(sa.text("SELECT attempts, state FROM jobs")).one() == (0, "waiting")


def test_a_worker_that_lost_its_claim_does_not_decide(sessions: Sessions, database: sa.Connection) -> None:
    unpaid(sessions)
    with sessions() as session:
        lost = jobs.claim(session)
        session.commit()
        assert lost is not None
        assert jobs.claim(session) is None
        session.commit()
        due_again(database)  # the lease ran out
        taken_over = jobs.claim(session)
        session.commit()
        assert taken_over is not None
        assert (taken_over.id, taken_over.attempts) == (lost.id, 2)
        jobs.fail(session, lost, "too late")
        session.commit()
        assert states(database) == {"running": 1}
        jobs.finish(session, taken_over)
        session.commit()
        assert states(database) == {"done": 1}


def test_done_jobs_are_removed_after_a_day(sessions: Sessions, database: sa.Connection) -> None:
    unpaid(sessions, 3)
    aged = sa.text("UPDATE jobs SET state = :state, created_at = now() - interval '2 days' WHERE id = :id")
    first, second, _ = database.execute(sa.text("SELECT id FROM jobs ORDER BY id")).scalars()
    database.execute(aged, {"id": first, "state": JobState.DONE.value})
    database.execute(aged, {"id": second, "state": JobState.DEAD.value})
    with sessions.begin() as session:
        jobs.prune(session)
    assert states(database) == {"dead": 1, "waiting": 1}


def test_two_workers_do_each_job_once(
    start: Callable[[Path], Child], sessions: Sessions, database: sa.Connection, provider: Provider, tmp_path: Path
) -> None:
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    workers = [start(log) for log in logs]
    provider.hold()  # each worker has two threads: four charges under way prove that both work
    orders = unpaid(sessions, 40)
    eventually(lambda: len(provider.charges) == 4, "both workers charge")
    provider.release()
    eventually(lambda: states(database) == {"done": 80}, "all is charged and has a receipt")
    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.wait(10) for worker in workers] == [0, 0]
    assert provider.charges == {str(order_id): 1 for order_id in orders}
    done = Counter(line["job"] for log in logs for line in lines(log) if line["message"] == "job done")
    assert set(done.values()) == {1}
    assert len(done) == 80
    receipts = sa.text("SELECT count(*) FROM receipts WHERE order_id = ANY(:ids)")
    assert database.execute(receipts, {"ids": orders}).scalar_one() == 40


def test_sigterm_lets_the_job_in_hand_finish(
    start: Callable[[Path], Child], sessions: Sessions, database: sa.Connection, provider: Provider, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    provider.hold()
    worker = start(log)
    (order_id,) = unpaid(sessions)
    eventually(lambda: provider.charges, "the charge is under way")
    worker.signal(signal.SIGTERM)
    provider.release()
    assert worker.wait(10) == 0
    assert order_status(database, order_id) == "paid"
    assert lines(log)[-1]["message"] == "worker stopped"
