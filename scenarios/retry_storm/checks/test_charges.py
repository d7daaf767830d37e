"""Each order is charged once, those of the outage too, and takes few calls, however the provider fares."""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

PROVIDER = os.environ["CHECK_UPSTREAM_PAYMENTS_URL"]
ADMIN = {"Authorization": f"Bearer {os.environ['CHECK_UPSTREAM_PAYMENTS_TOKEN']}"}
COOKIES, TRIED = (Path(os.environ["CHECK_MEMORY"]) / f"charges-{name}.json" for name in ("cookies", "tried"))
ORDERS = 6
PATIENCE_S = 60.0  # of all tests together: what a request left behind is a job's work half a minute later
GIVEN_UP_AT = time.monotonic() + PATIENCE_S
CALLS = 8  # for one order: some tries at once, and some later, once the provider is back
PAUSE_S = 0.25

Basket = dict[str, Any]


@pytest.fixture(scope="module")
def draw() -> random.Random:
    return random.Random(f"{os.environ['CHECK_SEED']}/{os.environ['CHECK_MOMENT']}/charges")


@pytest.fixture(scope="module")
def customer() -> Iterator[httpx.Client]:
    """Logged in since before the outage, in which nobody may be able to."""
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=8.0, trust_env=False) as client:
        if not COOKIES.exists():
            client.post("/login", json={"email": "user4@shop.test", "password": "correct horse"}).raise_for_status()
            COOKIES.write_text(json.dumps(dict(client.cookies)))
        client.cookies.update(json.loads(COOKIES.read_text()))
        yield client


def basket(draw: random.Random) -> Basket:
    lines = [{"product_id": draw.randint(1, 200), "quantity": draw.randint(1, 3)}]
    return {"lines": lines, "idempotency_key": str(uuid.UUID(int=draw.getrandbits(128), version=4))}


def placed(customer: httpx.Client, baskets: list[Basket]) -> dict[str, int]:
    """The orders' ids and their totals in cents."""
    orders = {}
    for one in baskets:
        answer = customer.post("/checkout", json=one)
        assert answer.status_code in (201, 202), f"{answer.status_code} {answer.text[:200]}"
        orders[answer.json()["order"]["id"]] = answer.json()["order"]["total_cents"]
    return orders


def asked(what: str) -> Any:  # noqa: ANN401 - JSON
    return httpx.get(f"{PROVIDER}/{what}", headers=ADMIN, timeout=15.0, trust_env=False).raise_for_status().json()


def require_charged_once(customer: httpx.Client, orders: dict[str, int]) -> None:
    unpaid = still_unpaid(customer, set(orders))
    while unpaid and time.monotonic() < GIVEN_UP_AT:
        time.sleep(0.2)
        unpaid = still_unpaid(customer, unpaid)
    assert not unpaid, f"{len(unpaid)} of {len(orders)} orders are not paid within {PATIENCE_S:g} s"
    ledger = asked("charges")["charges"]
    charged = [(one["order_id"], one["amount_cents"]) for one in ledger if one["order_id"] in orders]
    assert sorted(charged) == sorted(orders.items()), "paid, and not charged once"


def still_unpaid(customer: httpx.Client, orders: set[str]) -> set[str]:
    return {key for key in orders if customer.get(f"/orders/{key}").json()["status"] != "paid"}


@pytest.mark.during
def test_orders_are_tried_in_the_outage(customer: httpx.Client, draw: random.Random) -> None:
    """Nothing needs to be accepted here. What was tried is kept before it is sent."""
    baskets = [basket(draw) for _ in range(ORDERS)]
    TRIED.write_text(json.dumps(baskets))
    with ThreadPoolExecutor(ORDERS) as pool:
        list(pool.map(lambda one: customer.post("/checkout", json=one), baskets))


@pytest.mark.before
@pytest.mark.after
def test_orders_are_charged_once(customer: httpx.Client, draw: random.Random) -> None:
    require_charged_once(customer, placed(customer, [basket(draw) for _ in range(ORDERS)]))


@pytest.mark.after
def test_orders_of_the_outage_are_charged_once(customer: httpx.Client) -> None:
    """Who got no answer then asks again, with the same key."""
    require_charged_once(customer, placed(customer, json.loads(TRIED.read_text())))


@pytest.mark.after
def test_the_provider_is_spared_when_it_stumbles(customer: httpx.Client, draw: random.Random) -> None:
    switched(asked("admin/mode")["mode"])  # it begins anew, with what it begins with
    orders: dict[str, int] = {}
    for _ in range(ORDERS):
        orders |= placed(customer, [basket(draw)])
        time.sleep(PAUSE_S)
    require_charged_once(customer, orders)
    calls = {key: asked("requests")["keys"].get(key, 0) for key in orders}
    assert max(calls.values()) <= CALLS, f"calls for each of {ORDERS} orders: {sorted(calls.values())}"


def switched(mode: str) -> None:
    answer = httpx.put(f"{PROVIDER}/admin/mode", json={"mode": mode}, headers=ADMIN, timeout=15.0, trust_env=False)
    assert answer.status_code == 200, answer.text
