"""What a live page needs: the state of an incident, how its trial was judged, and a table of changes in order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

_STATE = "CASE WHEN resolved THEN 'resolved' WHEN outcome IS NULL THEN 'created' ELSE 'closed' END"


def upgrade() -> None:
    op.add_column("incident", sa.Column("scenario", sa.Text, nullable=False, server_default=""))
    op.add_column("incident", sa.Column("state", sa.Text, nullable=False, server_default="created"))
    op.add_column("incident", sa.Column("reason", sa.Text))
    for name in ("checks", "phases"):
        op.add_column("incident", sa.Column(name, JSONB, nullable=False, server_default=sa.text("'[]'")))
    op.execute(f"UPDATE incident SET state = {_STATE}")  # noqa: S608 - a constant
    op.create_table(
        "incident_change",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("trial_id", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("summary", JSONB, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
    )
    op.create_index("incident_change_of", "incident_change", ["trial_id", "incident_id", "id"])
    op.create_table("incident_feed", sa.Column("name", sa.Text, primary_key=True))
    op.execute("INSERT INTO incident_feed SELECT 'incidents:' || left(gen_random_uuid()::text, 8)")


def downgrade() -> None:
    op.drop_table("incident_feed")
    op.drop_table("incident_change")
    for name in ("phases", "checks", "reason", "state", "scenario"):
        op.drop_column("incident", name)
