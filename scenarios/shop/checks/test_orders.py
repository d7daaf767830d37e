"""Each order that was accepted while the outage was on exists once, and nothing is lost, doubled or made up."""

from __future__ import annotations

import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx
import pytest
from browsers import PRODUCTS, USERS, browser
from conftest import Customer, Memory
from ledger import Bounds, Order, both, contents, orders_of, totals

BUYERS, ORDERS_EACH = 4, 3
PATIENCE_S = 6.0
ACCEPTED, ANSWERED = (201, 202), (201, 202, 402, 409)  # the last two: declined, out of stock

Try = dict[str, Any]  # user, basket; answer: the order, where it was accepted


@pytest.mark.before
def test_the_books_are_kept(memory: Memory, visitor: httpx.Client, customer: Customer) -> None:
    sums, orders = totals(visitor, customer)
    memory.keep("sums", sorted((product, *bounds) for product, bounds in sums.items()))
    memory.keep("orders", orders)
    memory.keep("never charged", sorted(paid(orders) - charged().keys()))


@pytest.mark.during
def test_orders_are_placed_in_the_outage(memory: Memory, draw: random.Random) -> None:
    """Nothing needs to be accepted here: the outage is on."""
    tries: list[Try] = []
    for user in draw.sample(USERS[1:], BUYERS):
        tries += [{"user": user, "basket": basket(draw)} for _ in range(ORDERS_EACH)]
    memory.keep("tries", tries)  # before the first is sent: who is cut off here has tried all the same
    with ThreadPoolExecutor(len(tries)) as pool:
        sent = {pool.submit(bought, one, memory, random.Random(draw.random())): one for one in tries}
        for done in as_completed(sent):
            sent[done]["answer"] = done.result()
            memory.keep("tries", tries)


def basket(draw: random.Random) -> dict[str, Any]:
    """One that no other order looks like: the load buys single things."""
    lines = [{"product_id": product, "quantity": draw.randint(2, 9)} for product in draw.sample(PRODUCTS, 3)]
    return {"lines": lines, "idempotency_key": str(uuid.UUID(int=draw.getrandbits(128), version=4))}


def bought(one: Try, memory: Memory, draw: random.Random) -> Order | None:
    with browser(draw, timeout_s=PATIENCE_S) as client:
        client.cookies.update(memory.kept(f"cookies-{one['user']}") or {})
        try:
            answer = client.post("/checkout", json=one["basket"])
            order: Order | None = answer.json()["order"] if answer.status_code in ACCEPTED else None
        except (httpx.HTTPError, ValueError, LookupError):  # no answer, or none that a shop gives
            return None
        return order


@pytest.mark.after
def test_orders_of_the_outage_exist_once(memory: Memory, customer: Customer, draw: random.Random) -> None:
    tries: list[Try] = memory.kept("tries") or []
    draw.shuffle(tries)
    existing = {user: orders_of(customer(user)) for user in {one["user"] for one in tries}}
    for one in tries:
        client, wanted = customer(one["user"]), lines_of(one["basket"])
        alike = [order for order in existing[one["user"]].values() if lines_in(order) == wanted]
        accepted = one.get("answer")
        assert len(alike) in ((1,) if accepted else (0, 1)), (
            f"an order of the outage exists {len(alike)} times: {wanted}"
        )
        again = client.post("/checkout", json=one["basket"])
        assert again.status_code in (ACCEPTED if accepted else ANSWERED), f"{again.status_code} {again.text[:200]}"
        if again.status_code not in ACCEPTED:
            continue
        order = again.json()["order"]
        for same in [*alike, *([accepted] if accepted else []), client.get(f"/orders/{order['id']}").json()]:
            assert same["id"] == order["id"], f"the same key made another order: {wanted}"
            assert contents(same) == contents(order)
            assert same["total_cents"] == order["total_cents"]
        assert lines_in(order) == wanted


def lines_of(basket: dict[str, Any]) -> list[tuple[int, int]]:
    return sorted((line["product_id"], line["quantity"]) for line in basket["lines"])


def lines_in(order: Order) -> list[tuple[int, int]]:
    return [(product, quantity) for product, quantity, _ in contents(order)]


@pytest.mark.after
def test_stock_and_orders_add_up(memory: Memory, visitor: httpx.Client, customer: Customer) -> None:
    earlier: Bounds = {product: (low, high) for product, low, high in memory.kept("sums")}
    sums, orders = totals(visitor, customer)
    for product, (low, high) in both(earlier, sums).items():
        assert low <= high, f"stock and orders of product {product}: were {earlier[product]}, are {sums[product]}"
    for key, order in memory.kept("orders").items():
        assert key in orders, f"the order {key} of before the outage is gone"
        assert contents(orders[key]) == contents(order), f"the order {key} of before the outage was changed"
    for key, order in orders.items():
        total_cents = sum(quantity * price for _, quantity, price in contents(order))
        assert order["total_cents"] == total_cents > 0, f"the order {key} does not add up: {order}"[:300]
    charges = charged()
    unpaid = paid(orders) - charges.keys() - set(memory.kept("never charged"))
    assert not unpaid, f"{len(unpaid)} orders are paid, and the provider knows nothing of it: {sorted(unpaid)[:3]}"
    for key in charges.keys() & orders.keys():
        assert charges[key] == [orders[key]["total_cents"]], f"the order {key} was charged {charges[key]}"


def paid(orders: dict[str, Order]) -> set[str]:
    return {key for key, order in orders.items() if order["status"] == "paid"}


def charged() -> dict[str, list[int]]:
    """What the payment provider says that it took for each order, in cents."""
    url, token = (os.environ[f"CHECK_UPSTREAM_PAYMENTS_{name}"] for name in ("URL", "TOKEN"))
    answer = httpx.get(f"{url}/charges", headers={"Authorization": f"Bearer {token}"}, timeout=15.0, trust_env=False)
    took: dict[str, list[int]] = {}
    for charge in answer.raise_for_status().json()["charges"]:
        took.setdefault(str(charge["order_id"]), []).append(charge["amount_cents"])
    return took
