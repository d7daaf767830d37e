"""Run by Alembic, in the transaction that ``harness.incidents.database.migrate`` opened."""

from __future__ import annotations

from alembic import context

from harness.incidents.database import VERSION_TABLE
from harness.incidents.record import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
