"""Runs the migrations against DATABASE_URL: `python -m alembic upgrade head`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from shop.models import Table
from shop.settings import Settings

UPGRADES = 4_711  # an advisory lock: of two deploys at once, one waits


def upgrade() -> None:
    engine = sa.create_engine(Settings.from_env().database_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADES)))
        context.configure(connection=connection, target_metadata=Table.metadata, transaction_per_migration=False)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("SQL scripts are not supported; run it against a database: python -m alembic upgrade head")
upgrade()
