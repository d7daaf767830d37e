"""Notes come back as they were written, whatever is in them, and nothing that they ask for has been done."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

KINDS = ("{{{}}}", "{{{}", "}}{}", "{{{}.name}}", "{{{}:>9}}", "{{{}!r}}", "{{{{{}}}}}", "%({})s", "${}", "{}", "<{}>")
ASKED_FOR = ("open sesame", "Open Sesame", "sesame", "open")  # by notes of the load
BUYER = 3

Basket = dict[str, Any]


@pytest.fixture(scope="module")
def draw() -> random.Random:
    return random.Random(f"{os.environ['CHECK_SEED']}/{os.environ['CHECK_MOMENT']}")


@pytest.fixture(scope="module")
def kept() -> Path:
    return Path(os.environ["CHECK_MEMORY"]) / "baskets.json"


@pytest.fixture(scope="module")
def customer() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=8.0, trust_env=False) as client:
        log_in = client.post("/login", json={"email": f"user{BUYER}@shop.test", "password": "correct horse"})
        assert log_in.status_code == 200, log_in.text
        yield client


def baskets(draw: random.Random) -> list[Basket]:
    """One with a note of each kind."""
    words = ("hug", "0", "42", "id_", "Aunt Mary", "now and then", f"x{draw.randrange(10**6)}")
    return [
        {
            "lines": [{"product_id": draw.randint(1, 200), "quantity": draw.randint(1, 3)}],
            "idempotency_key": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            "gift_note": f"For you {kind.format(draw.choice(words))} {draw.randrange(10**9)}",
        }
        for kind in draw.sample(KINDS, len(KINDS))
    ]


def bought(customer: httpx.Client, basket: Basket) -> dict[str, Any]:
    answer = customer.post("/checkout", json=basket)
    assert answer.status_code in (201, 202), f"the note {basket['gift_note']!r}: {answer.status_code}"
    order: dict[str, Any] = answer.json()["order"]
    return order


@pytest.mark.before
@pytest.mark.after
def test_notes_come_back_as_they_were_written(customer: httpx.Client, draw: random.Random) -> None:
    written = {}
    for basket in baskets(draw):
        order = bought(customer, basket)
        assert order["gift_note"] == basket["gift_note"]
        written[order["id"]] = basket["gift_note"]
    listed = customer.get("/orders", params={"per_page": 100})
    assert listed.status_code == 200, listed.text
    notes = {row["id"]: row["gift_note"] for row in listed.json()["orders"]}
    assert {key: notes.get(key) for key in written} == written
    alone = draw.choice(sorted(written))
    assert customer.get(f"/orders/{alone}").json()["gift_note"] == written[alone]


@pytest.mark.during
def test_notes_are_sent_in_the_outage(customer: httpx.Client, draw: random.Random, kept: Path) -> None:
    tried = baskets(draw)
    kept.write_text(json.dumps(tried))
    for basket in tried:
        customer.post("/checkout", json=basket)


@pytest.mark.after
def test_notes_of_the_outage_are_there_once(customer: httpx.Client, kept: Path) -> None:
    for basket in json.loads(kept.read_text()) if kept.exists() else []:
        orders = {bought(customer, basket)["id"] for _ in range(2)}
        assert len(orders) == 1
        assert customer.get(f"/orders/{orders.pop()}").json()["gift_note"] == basket["gift_note"]


@pytest.mark.after
def test_no_word_of_a_note_opens_an_account(draw: random.Random) -> None:
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=8.0, trust_env=False) as stranger:
        for password in ASKED_FOR:
            credentials = {"email": f"user{draw.randint(1, 20)}@shop.test", "password": password}
            assert stranger.post("/login", json=credentials).status_code == 401, f"the password {password!r}"
            assert stranger.get("/me").status_code == 401


@pytest.mark.after
def test_statements_are_still_cut_off(customer: httpx.Client) -> None:
    """Not asked before the outage: it leaves a line in the log that would mislead."""
    assert customer.post("/test-fault/db-timeout").status_code == 504
