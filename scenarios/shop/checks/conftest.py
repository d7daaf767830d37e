"""Customers of the shop, who talk HTTP and know nothing of what is inside.

These checks are run before the outage, during it and after the fix. What a later moment must compare with is kept in
CHECK_MEMORY. They place orders, so that what the load alone would show is never all that there is.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one

from browsers import USERS, browser, log_in

Customer = Callable[[int], httpx.Client]


class Memory:
    """JSON values by name, from one moment to the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, value: object) -> None:
        """Whole or not at all: a check may be ended in the middle of it."""
        scratch = self._folder / f"{name}.new"
        scratch.write_text(json.dumps(value), encoding="utf-8")
        scratch.replace(self._folder / f"{name}.json")

    def kept(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """None where an earlier moment did not come to keep it."""
        file = self._folder / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


@pytest.fixture(scope="session")
def moment() -> str:
    return os.environ["CHECK_MOMENT"]


@pytest.fixture(scope="session")
def memory() -> Memory:
    return Memory(Path(os.environ["CHECK_MEMORY"]))


@pytest.fixture(scope="session")
def draw(moment: str) -> random.Random:
    """Other inputs in each trial and at each moment, the same for the same seed."""
    return random.Random(f"{os.environ['CHECK_SEED']}/{moment}")


@pytest.fixture(scope="session")
def visitor(draw: random.Random) -> Iterator[httpx.Client]:
    with browser(draw) as client:
        yield client


@pytest.fixture(scope="session")
def customer(draw: random.Random, memory: Memory) -> Iterator[Customer]:
    """A signed-in seeded user by number. A session that began before the outage goes on."""
    known: dict[int, httpx.Client] = {}
    with ExitStack() as stack:

        def signed_in(user: int) -> httpx.Client:
            if user not in known:
                known[user] = client = stack.enter_context(browser(draw))
                if kept := memory.kept(f"cookies-{user}"):
                    client.cookies.update(kept)
                else:
                    log_in(client, user)
                    memory.keep(f"cookies-{user}", dict(client.cookies))
            return known[user]

        yield signed_in


@pytest.fixture(scope="session")
def somebody(customer: Customer, draw: random.Random) -> httpx.Client:
    """Any of them but the first, who makes the load."""
    return customer(draw.choice(USERS[1:]))
