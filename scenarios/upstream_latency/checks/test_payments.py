"""Checkout while the payment provider is slow or failing: answered soon, charged at most once."""

from __future__ import annotations

import os
import random
import time

import httpx


def test_orders_are_taken_and_charged_at_most_once() -> None:
    draw = random.Random(int(os.environ["CHECK_SEED"]) + 1)
    url, token = os.environ["CHECK_UPSTREAM_PAYMENTS_URL"], os.environ["CHECK_UPSTREAM_PAYMENTS_TOKEN"]
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        client.post("/login", json={"email": "user2@shop.test", "password": "correct horse"}).raise_for_status()
        orders = {}
        for _ in range(8):
            basket = {"lines": [{"product_id": draw.randint(1, 200), "quantity": draw.randint(1, 3)}]}
            answer = client.post("/checkout", json=basket)
            assert answer.status_code in (201, 202), answer.text
            order = answer.json()["order"]
            orders[order["id"]] = order["total_cents"]
        assert len(orders) == 8
        time.sleep(1.0)  # a second charge, had it been sent, would have come by now: this waits for nothing to happen
        states = {order_id: client.get(f"/orders/{order_id}").json()["status"] for order_id in orders}
    assert set(states.values()) <= {"paid", "pending", "payment_pending"}
    ledger = httpx.get(f"{url}/charges", headers={"Authorization": f"Bearer {token}"}, trust_env=False).json()[
        "charges"
    ]
    for order_id, total_cents in orders.items():
        charged = [charge["amount_cents"] for charge in ledger if charge["order_id"] == order_id]
        assert charged in ([], [total_cents])
        assert charged or states[order_id] != "paid"
