"""Checkout while the payment provider is slow or failing, and once it is back: answered soon, charged exactly once."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import httpx
import pytest

PROVIDER = os.environ["CHECK_UPSTREAM_PAYMENTS_URL"]
ADMIN = {"Authorization": f"Bearer {os.environ['CHECK_UPSTREAM_PAYMENTS_TOKEN']}"}
PATIENCE_S = 60.0  # a breaker may stay open for half a minute, and a job may be due a little later


@pytest.fixture(scope="module")
def draw() -> random.Random:
    return random.Random(int(os.environ["CHECK_SEED"]) + 1)


@pytest.fixture(scope="module")
def customer() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        client.post("/login", json={"email": "user2@shop.test", "password": "correct horse"}).raise_for_status()
        yield client


def order(customer: httpx.Client, draw: random.Random) -> tuple[str, int]:
    """A new order: its id and its total in cents."""
    basket = {"lines": [{"product_id": draw.randint(1, 200), "quantity": draw.randint(1, 3)}]}
    answer = customer.post("/checkout", json=basket)
    assert answer.status_code in (201, 202), answer.text
    placed = answer.json()["order"]
    return placed["id"], placed["total_cents"]


def status(customer: httpx.Client, order_id: str) -> str:
    return str(customer.get(f"/orders/{order_id}").json()["status"])


def charges(order_id: str) -> list[int]:
    """What the provider's own ledger says of an order."""
    ledger = httpx.get(f"{PROVIDER}/charges", headers=ADMIN, trust_env=False).json()["charges"]
    return [charge["amount_cents"] for charge in ledger if charge["order_id"] == order_id]


def test_orders_are_taken_while_the_provider_fails(customer: httpx.Client, draw: random.Random) -> None:
    orders = dict(order(customer, draw) for _ in range(8))
    assert len(orders) == 8
    for order_id, total_cents in orders.items():
        assert status(customer, order_id) in ("paid", "pending", "payment_pending")
        assert charges(order_id) in ([], [total_cents])


@pytest.fixture
def provider_back() -> Iterator[None]:
    """The provider is healthy meanwhile, and afterwards in the mode that it was in."""
    found = httpx.get(f"{PROVIDER}/admin/mode", headers=ADMIN, trust_env=False).raise_for_status().json()["mode"]
    switch("healthy")
    yield
    switch(found)


def switch(mode: str) -> None:
    answer = httpx.put(f"{PROVIDER}/admin/mode", json={"mode": mode}, headers=ADMIN, trust_env=False)
    assert answer.status_code == 200, answer.text


@pytest.mark.usefixtures("provider_back")
def test_orders_are_paid_once_the_provider_is_back(customer: httpx.Client, draw: random.Random) -> None:
    orders: dict[str, int] = {}
    paid: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while not paid and time.monotonic() < deadline:
        orders.update([order(customer, draw)])
        time.sleep(1.0)
        paid = [order_id for order_id in orders if status(customer, order_id) == "paid"]
    assert paid, f"none of {len(orders)} orders was paid within {PATIENCE_S:g} s"
    assert charges(paid[0]) == [orders[paid[0]]]
