"""A customer's orders: making them, reading them, and what was spent by day."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint
from sqlalchemy import Date, cast, func, select

from shop import checkout, inputs, jobs
from shop.auth import current_user_id
from shop.db import session
from shop.errors import ApiError
from shop.models import JobState, Order, OrderStatus, Receipt
from shop.payments import PaymentUnavailable, payments

logger = logging.getLogger(__name__)
blueprint = Blueprint("orders", __name__)

REPORT_DAYS = 30
RECEIPTS_LATE_S = 5.0
STATUS_CODES = {
    OrderStatus.PAID: 201,
    OrderStatus.PENDING: 202,
    OrderStatus.PAYMENT_PENDING: 202,
    OrderStatus.DECLINED: 402,
}


def as_json(order: Order) -> dict[str, object]:
    lines = [
        {
            "product_id": line.product_id,
            "name": line.product.name,
            "quantity": line.quantity,
            "unit_price_cents": line.unit_price_cents,
        }
        for line in order.lines
    ]
    return {
        "id": str(order.id),
        "status": order.status,
        "total_cents": order.total_cents,
        "created_at": order.created_at.isoformat(),
        "gift_note": order.gift_note,
        "lines": lines,
    }


@blueprint.post("/checkout")
def check_out() -> tuple[dict[str, object], int]:
    """201 paid, 202 accepted but not yet charged, 402 declined, 409 out of stock.

    A repeated idempotency key gets the order that it made, in its present state.
    """
    user_id = current_user_id()
    order_id, is_new = checkout.place(session(), user_id, inputs.body(checkout.Basket))
    if is_new:
        try:
            checkout.charge(session(), payments(), order_id)
        except PaymentUnavailable as error:
            logger.warning("order %s is charged later: %s", order_id, error)
            checkout.postpone(session(), order_id, error)
    order = _order(user_id, order_id)
    body: dict[str, object] = {"order": as_json(order)}
    if order.status == OrderStatus.DECLINED:
        body |= {"error": "payment_declined", "message": "The payment was declined."}
    return body, STATUS_CODES[OrderStatus(order.status)]


@blueprint.get("/orders")
def orders() -> dict[str, object]:
    """The latest first."""
    page = inputs.page()
    rows = session().scalars(
        select(Order)
        .where(Order.user_id == current_user_id())
        .order_by(Order.created_at.desc(), Order.id)
        .offset(page.offset)
        .limit(page.peek)
        .options(checkout.WITH_LINES)
    )
    return page.answer("orders", [as_json(order) for order in rows])


@blueprint.get("/orders/<uuid:order_id>")
def order(order_id: UUID) -> dict[str, object]:
    return as_json(_order(current_user_id(), order_id))


@blueprint.get("/orders/<uuid:order_id>/receipt")
def receipt(order_id: UUID) -> dict[str, object]:
    """``ready`` with its body, ``waiting`` with how often it was tried, or ``failed``: a person looks after it."""
    order = _order(current_user_id(), order_id)
    made = session().get(Receipt, order.id)
    if made is not None:
        return {"status": "ready", "body": made.body, "created_at": made.created_at.isoformat()}
    job = jobs.find(session(), "receipt", order.id)
    if job is None:
        raise ApiError(404, "not_found", f"there is no receipt of order {order_id}")
    return {"status": "failed" if job.state == JobState.DEAD else "waiting", "tries": job.attempts}


@blueprint.get("/receipts/status")
def receipts_status() -> dict[str, object]:
    """What customers are told who wait for a receipt."""
    waiting, oldest_s = jobs.overdue(session(), "receipt")
    return {"delayed": oldest_s > RECEIPTS_LATE_S, "waiting": waiting, "oldest_s": round(oldest_s, 1)}


@blueprint.get("/reports/daily")
def daily() -> dict[str, object]:
    """What the user paid on each of the last days that had a paid order; days are UTC."""
    since = datetime.now(UTC) - timedelta(days=REPORT_DAYS)
    day = cast(func.timezone("UTC", Order.created_at), Date)
    rows = session().execute(
        select(day, func.count(), func.sum(Order.total_cents))
        .where(Order.user_id == current_user_id(), Order.status == OrderStatus.PAID, Order.created_at >= since)
        .group_by(day)
        .order_by(day.desc())
    )
    return {"days": [{"day": str(day), "orders": count, "total_cents": int(total)} for day, count, total in rows]}


def _order(user_id: int, order_id: UUID) -> Order:
    found = session().scalar(
        select(Order)
        .where(Order.id == order_id, Order.user_id == user_id)
        .options(checkout.WITH_LINES)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise ApiError(404, "not_found", f"you have no order {order_id}")
    return found
