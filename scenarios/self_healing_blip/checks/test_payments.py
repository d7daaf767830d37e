"""Orders are taken whether or not the provider is there, and each is charged once."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

PROVIDER = os.environ["CHECK_UPSTREAM_PAYMENTS_URL"]
ADMIN = {"Authorization": f"Bearer {os.environ['CHECK_UPSTREAM_PAYMENTS_TOKEN']}"}
KEPT = Path(os.environ["CHECK_MEMORY"]) / "orders.json"
PATIENCE_S = 45.0
ORDERS = 6


@pytest.fixture(scope="module")
def customer() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        client.post("/login", json={"email": "user2@shop.test", "password": "correct horse"}).raise_for_status()
        yield client


def bought(customer: httpx.Client) -> dict[str, int]:
    """New orders: their ids and totals in cents."""
    draw = random.Random(f"{os.environ['CHECK_SEED']}/{os.environ['CHECK_MOMENT']}")
    orders = {}
    for _ in range(ORDERS):
        basket = {"lines": [{"product_id": draw.randint(1, 200), "quantity": draw.randint(1, 3)}]}
        answer = customer.post("/checkout", json=basket)
        assert answer.status_code in (201, 202), f"{answer.status_code} {answer.text[:200]}"
        orders[answer.json()["order"]["id"]] = answer.json()["order"]["total_cents"]
    return orders


@pytest.mark.during
def test_orders_are_taken_while_the_provider_is_away(customer: httpx.Client) -> None:
    KEPT.write_text(json.dumps(bought(customer)))


@pytest.mark.before
@pytest.mark.after
def test_all_orders_are_charged_once(customer: httpx.Client) -> None:
    orders = bought(customer) | (json.loads(KEPT.read_text()) if KEPT.exists() else {})
    deadline = time.monotonic() + PATIENCE_S
    unpaid = set(orders)
    while unpaid and time.monotonic() < deadline:
        unpaid = {key for key in unpaid if customer.get(f"/orders/{key}").json()["status"] != "paid"}
        time.sleep(0.2 if unpaid else 0.0)
    assert not unpaid, f"{len(unpaid)} of {len(orders)} orders are not paid after {PATIENCE_S:g} s"
    ledger = httpx.get(f"{PROVIDER}/charges", headers=ADMIN, trust_env=False).json()["charges"]
    charged = [(one["order_id"], one["amount_cents"]) for one in ledger if one["order_id"] in orders]
    assert sorted(charged) == sorted(orders.items())
