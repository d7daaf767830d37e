"""Orders and stock, read while others buy.

For each product, what is in stock and what the orders hold add up to the same number at every instant: an order and its
stock are one transaction. Nobody can read both at one instant over HTTP, so a reading of the stock is put between two
listings of all orders. What both listings show was there when the stock was read; what only the second one shows may
have been, or not. That gives an interval which a sound shop's number is always in. For a product that nobody bought
meanwhile it has one member, and a few readings make it so for all products.

A listing misses nothing that was there when it began: the latest orders come first, so new ones only push others to
pages that are still to be read.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx
from browsers import USERS

READINGS = 4
ENOUGH_S = 6.0  # on a slow machine there are fewer readings, and some intervals stay wider
MOST_PAGES = 500

Order = dict[str, Any]  # as GET /orders tells it
Bounds = dict[int, tuple[int, int]]  # the lowest and highest that stock and orders can add up to, by product


def pages(client: httpx.Client, path: str, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(1, MOST_PAGES):
        answer = client.get(path, params={"page": number, "per_page": 100})
        assert answer.status_code == 200, f"{path} page {number}: {answer.status_code} {answer.text[:200]}"
        rows += answer.json()[name]
        if not answer.json()["has_more"]:
            return rows
    raise AssertionError(f"{path} has no end: {MOST_PAGES} pages")


def orders_of(client: httpx.Client) -> dict[str, Order]:
    """One user's orders by id; a row that moved to the next page while we turned it counts once."""
    return {row["id"]: row for row in pages(client, "/orders", "orders")}


def everyones(customer: Callable[[int], httpx.Client]) -> dict[str, Order]:
    found: dict[str, Order] = {}
    for user in USERS:
        mine = orders_of(customer(user))
        assert not mine.keys() & found.keys(), f"user {user} sees orders of somebody else"
        found |= mine
    return found


def stock(client: httpx.Client) -> dict[int, int]:
    return {row["id"]: row["stock"] for row in pages(client, "/products", "products")}


def contents(order: Order) -> list[tuple[int, int, int]]:
    """Product, quantity and price of each line."""
    return sorted((line["product_id"], line["quantity"], line["unit_price_cents"]) for line in order["lines"])


def quantities(orders: Iterable[Order]) -> Counter[int]:
    """How many of each product they hold together."""
    held: Counter[int] = Counter()
    for order in orders:
        held.update({line["product_id"]: line["quantity"] for line in order["lines"]})
    return held


def bounds_of(left: Mapping[int, int], earlier: Mapping[str, Order], later: Mapping[str, Order]) -> Bounds:
    """From a reading of the stock between two listings. A declined order has given its stock back for good."""
    nothing = {key for key, order in earlier.items() if order["status"] == "declined"}
    certain = {key for key, order in later.items() if key in earlier and order["status"] != "declined"}
    held = quantities(later[key] for key in certain)
    perhaps = quantities(later[key] for key in later.keys() - certain - nothing)
    return {product: (n + held[product], n + held[product] + perhaps[product]) for product, n in left.items()}


def both(one: Bounds, other: Bounds) -> Bounds:
    """What lies in the intervals of both; the low end is over the high end where nothing does."""
    assert one.keys() == other.keys(), f"products came or went: {sorted(one.keys() ^ other.keys())}"
    return {
        product: (max(low, other[product][0]), min(high, other[product][1])) for product, (low, high) in one.items()
    }


def totals(client: httpx.Client, customer: Callable[[int], httpx.Client]) -> tuple[Bounds, dict[str, Order]]:
    """Stock and orders together, by product, as exactly as can be told; and all orders."""
    known: Bounds | None = None
    started_s = time.monotonic()
    earlier = everyones(customer)
    for _ in range(READINGS):
        left = stock(client)
        later = everyones(customer)
        gone = earlier.keys() - later.keys()
        assert not gone, f"{len(gone)} orders are gone: {sorted(gone)[:3]}"
        found = bounds_of(left, earlier, later)
        known, earlier = both(known, found) if known else found, later
        exact = all(low == high for low, high in known.values())
        if exact or time.monotonic() - started_s > ENOUGH_S:
            break
    assert known is not None
    return known, earlier
