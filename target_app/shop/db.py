"""Connections to PostgreSQL: a bounded pool for requests and jobs, and single connections for probes."""

from __future__ import annotations

from typing import cast

import sqlalchemy as sa
from flask import Flask, current_app, g
from sqlalchemy.orm import Session, sessionmaker

from shop.settings import Settings

CONNECT_TIMEOUT_S = 3
PROBE_TIMEOUT_MS = 1000

Sessions = sessionmaker[Session]


def create_engine(settings: Settings) -> sa.Engine:
    """The pool of this process. Waiting for a connection and every statement are bounded by the settings."""
    return sa.create_engine(
        settings.database_url,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout=settings.db_pool_timeout_s,
        pool_pre_ping=True,
        hide_parameters=True,  # errors are logged, and parameters are customers' data
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c statement_timeout={settings.db_statement_timeout_ms} -c timezone=UTC",
        },
    )


def create_probe_engine(settings: Settings) -> sa.Engine:
    """A connection of its own for each use, so that a full pool can't silence health checks and metrics."""
    return sa.create_engine(
        settings.database_url,
        poolclass=sa.NullPool,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": f"-c statement_timeout={PROBE_TIMEOUT_MS}"},
    )


def create_sessions(engine: sa.Engine) -> Sessions:
    # rows are read after the commit that gave the connection back: they must not ask for another one
    return sessionmaker(engine, expire_on_commit=False)


def session() -> Session:
    """The current request's session. `init_app` closes it when the request ends, however it ends."""
    if "session" not in g:
        g.session = cast(Sessions, current_app.extensions["sessions"])()
    return cast(Session, g.session)


def init_app(app: Flask, settings: Settings) -> sa.Engine:
    """Returns the pool of the requests."""
    app.extensions["engine"] = pool = create_engine(settings)
    app.extensions["sessions"] = create_sessions(pool)
    app.extensions["probe_engine"] = create_probe_engine(settings)

    @app.teardown_appcontext
    def close_session(_: BaseException | None) -> None:
        opened: Session | None = g.pop("session", None)
        if opened is not None:
            opened.close()

    return pool


def engine() -> sa.Engine:
    return cast(sa.Engine, current_app.extensions["engine"])


def probe_engine() -> sa.Engine:
    return cast(sa.Engine, current_app.extensions["probe_engine"])
