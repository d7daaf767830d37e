"""Health for supervisors.

``live`` is about this process alone. ``ready`` asks the database over a connection of its own, outside the pool of the
requests: a full pool is a load problem, which restarting the process or taking it out of rotation makes worse. The
answer names it all the same, and a worker whose threads are all stuck can't answer at all.
"""

from __future__ import annotations

import logging
from typing import cast

import sqlalchemy as sa
from flask import Blueprint

from shop.db import engine, probe_engine
from shop.errors import ApiError

logger = logging.getLogger(__name__)
blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
def live() -> dict[str, object]:
    return {"status": "live"}


@blueprint.get("/ready")
def ready() -> dict[str, object]:
    try:
        with probe_engine().connect() as connection:
            connection.execute(sa.select(1))
    except sa.exc.OperationalError as error:
        logger.warning("not ready: %s", error)
        raise ApiError(503, "database_unavailable", "the database does not answer") from error
    pool = cast(sa.QueuePool, engine().pool)
    return {"status": "ready", "pool": {"in_use": pool.checkedout(), "size": pool.size()}}
