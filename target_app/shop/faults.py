"""Faults on demand, for trials of the shop's resilience. There only when ENABLE_FAULT_INJECTION is on; else 404."""

from __future__ import annotations

import logging

from flask import Blueprint
from sqlalchemy import text

from shop.db import session
from shop.logs import Marker
from shop.payments import payments

logger = logging.getLogger(__name__)
blueprint = Blueprint("faults", __name__, url_prefix="/test-fault")

SLEEP_S = 5


@blueprint.post("/run")
def run() -> dict[str, object]:
    """A statement with a syntax error, as a broken release would send it."""
    session().execute(text("SELECT FROM"))
    return {"fault": "none"}


@blueprint.post("/external-api")
def external_api() -> dict[str, object]:
    """One question to the payment provider, through retries and breaker."""
    payments().quote()
    return {"fault": "none"}


@blueprint.post("/db-timeout")
def db_timeout() -> dict[str, object]:
    """A query that holds one of the pool's connections, as a missing index would."""
    session().execute(text("SELECT pg_sleep(:sleep_s)"), {"sleep_s": SLEEP_S})
    message = f"a query held a database connection for {SLEEP_S} s"
    logger.error(message, extra={"marker": Marker.DATABASE_TIMEOUT})
    return {"fault": "slow_query", "message": message}
