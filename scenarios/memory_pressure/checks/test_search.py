"""Searches without number, no two alike: each is answered, rightly, and with what the shop has now."""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

MATERIALS = ["oak", "copper", "linen", "ceramic", "bamboo", "steel", "wool", "glass", "cork", "leather"]
MANY = 700
FRESH_WITHIN_S = 15.0  # a search may be some seconds old, and no more

Product = dict[str, Any]


@pytest.fixture(scope="module")
def draw() -> random.Random:
    return random.Random(f"{os.environ['CHECK_SEED']} searches {os.environ['CHECK_MOMENT']}")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def products(client: httpx.Client) -> list[Product]:
    """All that the shop has, from its list."""
    return every(client, "/products", {})


def every(client: httpx.Client, path: str, parameters: dict[str, str | int]) -> list[Product]:
    """The rows of all pages."""
    rows: list[Product] = []
    page, more = 1, True
    while more:
        answer = client.get(path, params={**parameters, "page": page, "per_page": 100})
        assert answer.status_code == 200, answer.text
        rows += answer.json()["products"]
        page, more = page + 1, answer.json()["has_more"]
    return rows


def without(products: list[Product], material: str, number: int) -> set[int]:
    """What is left of all products when one material and one model are not wanted."""
    unwanted = {material, str(number)}
    return {row["id"] for row in products if not unwanted & set(re.findall(r"\w+", row["description"].lower()))}


def found(client: httpx.Client, words: str) -> list[Product]:
    return every(client, "/search", {"q": words})


@pytest.mark.before
@pytest.mark.after
def test_a_search_leaves_out_what_is_not_wanted(
    client: httpx.Client, products: list[Product], draw: random.Random
) -> None:
    for _ in range(12):
        material, number = draw.choice(MATERIALS), draw.randint(1, 200)
        rows = found(client, f"made -{material} -{number}")
        ids = [row["id"] for row in rows]
        assert len(ids) == len(set(ids))
        assert set(ids) == without(products, material, number), f"wrong answers to a search without {material}"
        by_id = {row["id"]: row for row in products}
        assert all(row["name"] == by_id[row["id"]]["name"] for row in rows)


@pytest.mark.before
@pytest.mark.after
def test_pages_of_a_search_follow_each_other(client: httpx.Client, draw: random.Random) -> None:
    words, size = f"made -{draw.choice(MATERIALS)} -{draw.randint(1, 200)}", draw.randint(7, 23)
    whole = [row["id"] for row in found(client, words)]
    pages = [client.get("/search", params={"q": words, "page": page, "per_page": size}).json() for page in range(1, 5)]
    assert [row["id"] for page in pages for row in page["products"]] == whole[: 4 * size]
    assert all(page["has_more"] for page in pages)


@pytest.mark.before
@pytest.mark.after
def test_a_search_that_is_asked_again_and_again_follows_the_stock(client: httpx.Client, draw: random.Random) -> None:
    client.post("/login", json={"email": "user7@shop.test", "password": "correct horse"}).raise_for_status()
    product_id, quantity = draw.randint(1, 200), draw.randint(2, 9)
    page = client.get(f"/products/{product_id}").json()
    words = f'"{page["name"]}" {product_id}'

    def stock() -> int:
        rows = client.get("/search", params={"q": words}).json()["products"]
        return int(next(row["stock"] for row in rows if row["id"] == product_id))

    before = stock()
    basket = {"lines": [{"product_id": product_id, "quantity": quantity}]}
    assert client.post("/checkout", json=basket).status_code in (201, 202)
    deadline = time.monotonic() + FRESH_WITHIN_S
    while (now := stock()) > before - quantity and time.monotonic() < deadline:
        time.sleep(0.1)
    assert now <= before - quantity, f"{quantity} were sold, and the search says {now} in stock after {before}"


@pytest.mark.after
def test_many_searches_of_which_no_two_are_alike(products: list[Product], draw: random.Random) -> None:
    pairs = draw.sample(list(itertools.product(MATERIALS, range(1, 20_000))), MANY)

    def ask(pairs: list[tuple[str, int]]) -> int:
        """How many were answered, and rightly."""
        right = 0
        with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
            for material, number in pairs:
                try:
                    answer = client.get("/search", params={"q": f"made -{material} -{number}", "per_page": 100})
                    ids = {row["id"] for row in answer.json()["products"]}
                except (httpx.HTTPError, ValueError, KeyError):  # the connection broke, or no such answer
                    continue
                right += len(ids) == 100 and ids <= without(products, material, number)
        return right

    with ThreadPoolExecutor(2) as pool:
        right = sum(pool.map(ask, [pairs[0::2], pairs[1::2]]))
    assert right == MANY, f"{right} of {MANY} searches were answered, and rightly"
