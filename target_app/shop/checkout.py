"""Buying: an order takes its stock in one short transaction; charging it comes after, with no connection held."""

from __future__ import annotations

from typing import Self
from uuid import UUID, uuid4

from pydantic import BaseModel, Field, model_validator
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload, selectinload

from shop import jobs
from shop.errors import ApiError
from shop.inputs import MAX_ID
from shop.models import Order, OrderLine, OrderStatus, Product
from shop.payments import PaymentDeclined, Payments, PaymentUnavailable

CHARGE_ALONE_S = 30.0  # by then a request has charged its order or has died: the job does it
OPEN = (OrderStatus.PENDING, OrderStatus.PAYMENT_PENDING)
WITH_LINES = selectinload(Order.lines).options(joinedload(OrderLine.product))


class Line(BaseModel):
    product_id: int = Field(ge=1, le=MAX_ID)
    quantity: int = Field(ge=1, le=1000)


class Basket(BaseModel):
    lines: list[Line] = Field(min_length=1, max_length=50)
    idempotency_key: UUID | None = None
    gift_note: str | None = Field(default=None, max_length=200, pattern=r"^[^\x00]+$")

    @model_validator(mode="after")
    def _each_product_once(self) -> Self:
        if len({line.product_id for line in self.lines}) < len(self.lines):
            raise ValueError("name each product in one line only")
        return self


def place(session: Session, user_id: int, basket: Basket) -> tuple[UUID, bool]:
    """The order's id, and whether it is new: the same key from the same user always means the same order.

    Commits, which gives the connection back. Raises ApiError: 400 for an unknown product, 409 when stock is short.
    """
    values = {
        "id": uuid4(),
        "user_id": user_id,
        "idempotency_key": basket.idempotency_key,
        "gift_note": basket.gift_note,
    }
    # first of all, so that of two requests with one key the second waits here for the outcome of the first
    mine = insert(Order).values(values).on_conflict_do_nothing(constraint="one_order_for_a_key").returning(Order.id)
    order_id = session.scalar(mine)
    if order_id is None:
        existing = select(Order.id).filter_by(user_id=user_id, idempotency_key=basket.idempotency_key)
        found = session.scalars(existing).one()
        session.commit()
        return found, False
    total_cents = _take_stock(session, order_id, basket)
    session.execute(update(Order).where(Order.id == order_id).values(total_cents=total_cents))
    jobs.enqueue(session, "charge", order_id, delay_s=CHARGE_ALONE_S)
    session.commit()
    return order_id, True


def _take_stock(session: Session, order_id: UUID, basket: Basket) -> int:
    """Returns the total. Rows are locked in the order of their ids, so that two baskets can't wait for each other."""
    wanted = {line.product_id: line.quantity for line in basket.lines}
    locked = select(Product).where(Product.id.in_(wanted)).order_by(Product.id).with_for_update(key_share=True)
    products = session.scalars(locked).all()
    if unknown := wanted.keys() - {product.id for product in products}:
        raise ApiError(400, "unknown_product", f"there is no product {min(unknown)}")
    for product in products:
        quantity = wanted[product.id]
        if product.stock < quantity:
            raise ApiError(409, "out_of_stock", f"only {product.stock} of product {product.id} are left")
        product.stock -= quantity
        price_cents = product.price_cents
        line = OrderLine(order_id=order_id, product_id=product.id, quantity=quantity, unit_price_cents=price_cents)
        session.add(line)
    return sum(product.price_cents * wanted[product.id] for product in products)


def charge(session: Session, payments: Payments, order_id: UUID) -> None:
    """Charges an order that is still open and settles it. Raises PaymentUnavailable, which leaves it open."""
    order = session.get_one(Order, order_id)
    session.commit()  # the connection goes back before the provider is called
    if order.status not in OPEN:
        return
    try:
        charged = payments.charge(order_id, order.total_cents)
    except PaymentDeclined:
        _settle(session, order_id, OrderStatus.DECLINED)
    else:
        _settle(session, order_id, OrderStatus.PAID, charged.charge_id)


def postpone(session: Session, order_id: UUID, error: PaymentUnavailable) -> None:
    """Leaves the charge to the worker."""
    pending = update(Order).where(Order.id == order_id, Order.status == OrderStatus.PENDING)
    session.execute(pending.values(status=OrderStatus.PAYMENT_PENDING))
    jobs.hasten(session, "charge", order_id, delay_s=error.retry_after_s or 0)
    session.commit()


def _settle(session: Session, order_id: UUID, status: OrderStatus, charge_id: str | None = None) -> None:
    """Happens once for an order, also when a request and a job both come here."""
    locked = select(Order).where(Order.id == order_id).with_for_update().options(selectinload(Order.lines))
    order = session.scalars(locked.execution_options(populate_existing=True)).one()
    if order.status in OPEN:
        order.status, order.charge_id = status, charge_id
        jobs.cancel(session, "charge", order_id)
        if status is OrderStatus.PAID:
            jobs.enqueue(session, "receipt", order_id)
        else:
            _give_back(session, order)
    session.commit()


def _give_back(session: Session, order: Order) -> None:
    for line in order.lines:  # in the order of the product ids, as they were taken
        stock = Product.stock + line.quantity
        session.execute(update(Product).where(Product.id == line.product_id).values(stock=stock))
