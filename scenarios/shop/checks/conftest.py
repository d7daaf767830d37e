"""A customer of the shop, who talks HTTP and knows nothing of what is inside."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import httpx
import pytest


@pytest.fixture(scope="session")
def draw() -> random.Random:
    """Other inputs in each trial, the same for the same seed."""
    return random.Random(int(os.environ["CHECK_SEED"]))


@pytest.fixture(scope="session")
def visitor() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def customer(draw: random.Random) -> Iterator[httpx.Client]:
    """Logged in as one of the seeded users, other than the one that makes the load."""
    with httpx.Client(base_url=os.environ["CHECK_URL"], timeout=15.0, trust_env=False) as client:
        email = f"user{draw.randint(2, 20)}@shop.test"
        answer = client.post("/login", json={"email": email, "password": "correct horse"})
        assert answer.status_code == 200, answer.text
        yield client
