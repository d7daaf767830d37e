"""The background worker: `python -m shop.worker`. SIGTERM lets the jobs in hand finish. Any number of them may run."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shop import checkout, jobs, logs
from shop.db import Sessions, create_engine, create_sessions
from shop.models import JobState, Order, Receipt, User
from shop.payments import Payments, PaymentUnavailable, Reason
from shop.settings import Settings

logger = logging.getLogger("shop.worker")  # as a program its name would be __main__

PRUNE_EVERY_S = 600.0
PAUSE_AFTER_ERROR_S = 1.0
PROVIDER_AWAY_S = 2.0
PRINTER = "cp1252"  # all that the printers of the packing desk know


class Worker:
    """Takes jobs one by one. Each of the process's threads has one of its own."""

    def __init__(self, sessions: Sessions, payments: Payments) -> None:
        self._sessions = sessions
        self._payments = payments
        self._kinds: dict[str, Callable[[Session, UUID], None]] = {"receipt": write_receipt, "charge": self._charge}

    def run_one(self) -> bool:
        """False when no job was due."""
        with self._sessions() as session:
            job = jobs.claim(session)
            session.commit()
            if job is None:
                return False
            started = time.monotonic()
            outcome = self._attempt(session, job)
        duration_ms = round((time.monotonic() - started) * 1000, 1)
        logger.info("job %s", outcome, extra={"job": job.key, "attempt": job.attempts, "duration_ms": duration_ms})
        return True

    def _attempt(self, session: Session, job: jobs.Claim) -> str:
        try:
            self._kinds[job.kind](session, UUID(job.payload["order_id"]))
            jobs.finish(session, job)
            session.commit()
        except Exception as error:  # the edge of a job: what it raised is kept with it, and the queue goes on
            session.rollback()
            outcome = self._failed(session, job, error)
            session.commit()
            return outcome
        return JobState.DONE

    def _failed(self, session: Session, job: jobs.Claim, error: Exception) -> str:
        if isinstance(error, PaymentUnavailable) and error.reason is not Reason.UNREADABLE:
            # not the job's fault: it outlives any outage, and the breaker spares the provider
            jobs.postpone(session, job, error.retry_after_s or PROVIDER_AWAY_S)
            return "postponed"
        state = jobs.fail(session, job, repr(error))
        level = logging.ERROR if state is JobState.DEAD else logging.WARNING
        logger.log(level, "job failed", exc_info=error, extra={"job": job.key, "attempt": job.attempts})
        return "dead" if state is JobState.DEAD else "failed"

    def _charge(self, session: Session, order_id: UUID) -> None:
        checkout.charge(session, self._payments, order_id)


def write_receipt(session: Session, order_id: UUID) -> None:
    """Does nothing when the order has one. Raises UnicodeEncodeError where it can't be printed. The caller commits."""
    paid = select(Order, User).join(User, User.id == Order.user_id).where(Order.id == order_id)
    order, user = session.execute(paid.options(checkout.WITH_LINES)).one()
    rows = [(f"{line.quantity} x {line.product.name}", line.quantity * line.unit_price_cents) for line in order.lines]
    rows.append(("Total", order.total_cents))
    body = f"Receipt {order.id} for {user.name}\n"
    body += "".join(f"{what:<40}{cents / 100:>12.2f}\n" for what, cents in rows)
    if order.gift_note:
        body += f"Note: {order.gift_note}\n"
    body.encode(PRINTER)
    session.execute(insert(Receipt).values(order_id=order_id, body=body).on_conflict_do_nothing())


def work(worker: Worker, stopping: threading.Event, poll_s: float) -> None:
    while not stopping.is_set():
        try:
            found = worker.run_one()
        except Exception:  # the edge of a thread: without the database it waits, and goes on when it is back
            logger.exception("the queue can't be worked on")
            stopping.wait(PAUSE_AFTER_ERROR_S)
        else:
            if not found:
                stopping.wait(poll_s)


def prune(sessions: Sessions) -> None:
    try:
        with sessions.begin() as session:
            jobs.prune(session)
    except Exception:  # the edge of the main thread: done jobs are removed next time
        logger.exception("done jobs can't be removed")


def main() -> None:
    settings = Settings.from_env()
    logs.configure(settings.log_level)
    sessions = create_sessions(create_engine(settings))
    payments = Payments(settings, retries=0)  # a failed job comes again by itself
    worker = Worker(sessions, payments)
    stopping = threading.Event()
    arguments = (worker, stopping, settings.worker_poll_s)
    threads = [threading.Thread(target=work, args=arguments, name=f"work-{i}") for i in range(settings.worker_threads)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt, as for Ctrl-C
    try:
        for thread in threads:
            thread.start()
        logger.info("worker started")
        while True:
            time.sleep(PRUNE_EVERY_S)
            prune(sessions)
    except KeyboardInterrupt:
        stopping.set()
    for thread in threads:
        thread.join()
    payments.close()
    logger.info("worker stopped")


if __name__ == "__main__":
    main()
