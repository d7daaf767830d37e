"""Each paid order gets its receipt, once and soon, whatever becomes of other jobs."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

MOMENT = os.environ["CHECK_MOMENT"]
KEPT = Path(os.environ["CHECK_MEMORY"]) / "orders.jsonl"
SOON_S = 15.0
NOTES = ["Many happy returns", "Schöne Grüße", "À très bientôt", "With love", "¡Felicidades!"]
UNPRINTABLE = ["愛をこめて", "생일 축하해", "Sto lat, Grażyna", "Dziękuję"]

Order = dict[str, Any]


@pytest.fixture(scope="module")
def draw() -> random.Random:
    return random.Random(f"{os.environ['CHECK_SEED']} receipts {MOMENT}")


@pytest.fixture(scope="module")
def customer() -> Iterator[httpx.Client]:
    """The one who makes the load: her orders have notes anyway."""
    with signed_in(1) as client:
        yield client


@contextmanager
def signed_in(number: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        client.post("/login", json={"email": f"user{number}@shop.test", "password": "correct horse"}).raise_for_status()
        yield client


def order(customer: httpx.Client, draw: random.Random, note: str | None = None) -> Order:
    lines = [{"product_id": number, "quantity": draw.randint(1, 3)} for number in draw.sample(range(1, 201), 2)]
    answer = customer.post("/checkout", json={"lines": lines, "gift_note": note})
    assert answer.status_code in (201, 202), answer.text
    placed: Order = answer.json()["order"]
    return placed


def receipt(customer: httpx.Client, placed: Order) -> dict[str, Any]:
    """What the shop says of it; before the order is paid there is none."""
    answer = customer.get(f"/orders/{placed['id']}/receipt")
    assert answer.status_code in (200, 404), answer.text
    found: dict[str, Any] = answer.json()
    return found


def require_receipts(customer: httpx.Client, orders: list[Order]) -> None:
    """Soon, of each order, telling what it should, and not made twice."""
    first: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + SOON_S
    while len(first) < len(orders) and time.monotonic() < deadline:
        for placed in orders:
            found = receipt(customer, placed)
            if found.get("status") == "ready":
                first.setdefault(placed["id"], found)
        time.sleep(0.1)
    missing = [placed["id"] for placed in orders if placed["id"] not in first]
    assert not missing, f"{len(missing)} of {len(orders)} receipts were not there within {SOON_S:g} s"
    for placed in orders:
        body = first[placed["id"]]["body"]
        assert placed["id"] in body
        assert f"{placed['total_cents'] / 100:.2f}" in body
        for line in placed["lines"]:
            assert f"{line['quantity']} x {line['name']}" in body
        assert (placed["gift_note"] or "") in body
        assert receipt(customer, placed) == first[placed["id"]]


@pytest.mark.before
def test_a_receipt_is_made_soon(customer: httpx.Client, draw: random.Random) -> None:
    require_receipts(customer, [order(customer, draw, note) for note in (None, draw.choice(NOTES))])


@pytest.mark.before
@pytest.mark.during
def test_orders_are_taken(customer: httpx.Client, draw: random.Random) -> None:
    notes = [None, *draw.sample(NOTES, 3), draw.choice(UNPRINTABLE), None]
    placed = [order(customer, draw, note) for note in notes]
    with KEPT.open("a") as kept:
        kept.writelines(json.dumps(one) + "\n" for one in placed if one["gift_note"] not in UNPRINTABLE)


@pytest.mark.after
def test_orders_of_before_and_of_the_outage_have_their_receipts(customer: httpx.Client) -> None:
    orders = [json.loads(line) for line in KEPT.read_text().splitlines()]
    assert len(orders) == 10
    require_receipts(customer, orders)


@pytest.mark.after
def test_jobs_that_fail_hold_up_no_receipt(customer: httpx.Client, draw: random.Random) -> None:
    """Neither a receipt that can't be printed nor a charge that the provider refuses to understand."""
    order(customer, draw, draw.choice(UNPRINTABLE))
    far_too_much = [{"product_id": number, "quantity": 1000} for number in draw.sample(range(1, 201), 40)]
    answer = customer.post("/checkout", json={"lines": far_too_much})
    assert answer.status_code in (201, 202), answer.text
    require_receipts(customer, [order(customer, draw, note) for note in (None, draw.choice(NOTES), None)])


@pytest.mark.before
@pytest.mark.after
def test_a_receipt_that_fails_is_tried_again_or_its_failure_is_told(
    customer: httpx.Client, draw: random.Random
) -> None:
    placed = order(customer, draw, draw.choice(UNPRINTABLE))
    deadline = time.monotonic() + SOON_S
    while not (cared_for := looked_after(receipt(customer, placed))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert cared_for, f"after {SOON_S:g} s it was not tried again, and nobody says that it failed"


def looked_after(found: dict[str, Any]) -> bool:
    return found.get("status") in ("ready", "failed") or found.get("tries", 0) >= 2


@pytest.mark.before
@pytest.mark.after
def test_a_receipt_is_for_its_customer_alone(customer: httpx.Client, draw: random.Random) -> None:
    placed = order(customer, draw)
    with signed_in(draw.randint(2, 20)) as other:
        assert other.get(f"/orders/{placed['id']}/receipt").status_code == 404
    assert httpx.get(f"{os.environ['CHECK_URL']}/orders/{placed['id']}/receipt", trust_env=False).status_code == 401
