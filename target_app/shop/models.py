"""The tables. Money is in whole cents, times are UTC, and `migrations/` is what makes them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, Computed, DateTime, ForeignKey, Index, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SEARCH_TEXT = "to_tsvector('english', name || ' ' || description)"


class Table(DeclarativeBase):
    type_annotation_map = {str: Text, datetime: DateTime(timezone=True), dict[str, Any]: JSONB}  # noqa: RUF012 - SQLAlchemy's form


class User(Table):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str]


class Product(Table):
    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("stock >= 0", name="stock_not_negative"),
        Index("ix_products_search", "search", postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str]
    price_cents: Mapped[int]
    stock: Mapped[int]
    # the database fills it in; no request reads it
    search: Mapped[str] = mapped_column(TSVECTOR, Computed(SEARCH_TEXT, persisted=True), deferred=True)


class OrderStatus(StrEnum):
    PENDING = "pending"  # being charged by the request that made it
    PAYMENT_PENDING = "payment_pending"  # the upstream was away: a job charges it
    PAID = "paid"
    DECLINED = "declined"


class Order(Table):
    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'payment_pending', 'paid', 'declined')", name="status_known"),
        UniqueConstraint("user_id", "idempotency_key", name="one_order_for_a_key"),
        Index("ix_orders_user_created", "user_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    status: Mapped[str] = mapped_column(default=OrderStatus.PENDING)
    total_cents: Mapped[int] = mapped_column(BigInteger, default=0)
    idempotency_key: Mapped[UUID | None]
    charge_id: Mapped[str | None]
    gift_note: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    lines: Mapped[list[OrderLine]] = relationship(order_by="OrderLine.product_id", lazy="raise_on_sql")


class OrderLine(Table):
    __tablename__ = "order_lines"

    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    quantity: Mapped[int]
    unit_price_cents: Mapped[int]
    product: Mapped[Product] = relationship(lazy="raise_on_sql")


class Receipt(Table):
    __tablename__ = "receipts"

    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class JobState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"  # all attempts failed: somebody must look at `last_error`


class Job(Table):
    """Work for the background worker; `key` keeps the same work from being put in twice."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'running', 'done', 'dead')", name="state_known"),
        Index("ix_jobs_due", "run_at", postgresql_where="state IN ('waiting', 'running')"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default=JobState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())  # while it runs: when its claim runs out
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
