"""The table of incidents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "incident",
        sa.Column("trial_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("error_code", sa.Text, nullable=False),
        sa.Column("symptoms", sa.Text, nullable=False),
        sa.Column("breadcrumbs", JSONB, nullable=False),
        sa.Column("logs", JSONB, nullable=False),
        sa.Column("signal", sa.Text, nullable=False),
        sa.Column("commit", sa.Text, nullable=False),
        sa.Column("fixer", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("rag_query", sa.Text),
        sa.Column("rag_response", sa.Text),
        sa.Column("rag_confidence", sa.Float(53)),
        sa.Column("passages", JSONB, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("root_cause", sa.Text),
        sa.Column("remediation", sa.Text),
        sa.Column("verification", JSONB, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("confidence", sa.Float(53)),
        sa.Column("seconds", sa.Float(53), nullable=False, server_default=sa.text("0")),
        sa.Column("tokens_in", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("tokens_out", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("usd", sa.Float(53)),
        sa.Column("diff", sa.Text),
        sa.Column("attempts", JSONB, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("outcome", sa.Text),
        sa.Column("backboard_doc_id", sa.Text),
        sa.Column("resolved", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("incident_detected_at", "incident", ["detected_at"])


def downgrade() -> None:
    op.drop_table("incident")
