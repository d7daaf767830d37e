"""The arithmetic of the shop's hidden checks: never wrong about a sound shop, however much is bought meanwhile."""

from __future__ import annotations

import importlib
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHECKS = Path(__file__).parents[2] / "scenarios" / "shop" / "checks"
PRODUCTS = range(1, 6)


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    names = ("ledger", "answers", "browsers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHECK_URL", "http://127.0.0.1:1")
        patch.syspath_prepend(CHECKS)
        yield {name: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]


@pytest.fixture
def ledger(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["ledger"]


class Shop:
    """Orders and stock that always add up, unless somebody tampers with them."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.stock = draw, dict.fromkeys(PRODUCTS, 1000)
        self.orders: dict[str, dict[str, Any]] = {}

    def buy(self) -> None:
        lines = [
            {"product_id": product, "quantity": self.draw.randint(1, 3)} for product in self.draw.sample(PRODUCTS, 2)
        ]
        for line in lines:
            self.stock[line["product_id"]] -= line["quantity"]
        self.orders[f"order-{len(self.orders)}"] = {"status": "pending", "lines": lines}

    def settle(self) -> None:
        pending = [order for order in self.orders.values() if order["status"] == "pending"]
        if pending:
            order = self.draw.choice(pending)
            order["status"] = self.draw.choice(["paid", "declined"])
            if order["status"] == "declined":
                for line in order["lines"]:
                    self.stock[line["product_id"]] += line["quantity"]

    def live(self, events: int) -> None:
        for _ in range(events):
            self.draw.choice([self.buy, self.settle])()

    def listed(self) -> dict[str, dict[str, Any]]:
        return {key: dict(order) for key, order in self.orders.items()}


def read(ledger: ModuleType, shop: Shop, events: int) -> Any:  # noqa: ANN401 - the type of a module that no package holds
    """One reading of the stock between two listings, with so much going on in each gap."""
    earlier = shop.listed()
    shop.live(events)
    left = dict(shop.stock)
    shop.live(events)
    return ledger.bounds_of(left, earlier, shop.listed())


@pytest.mark.parametrize("seed", range(30))
def test_a_sound_shop_always_adds_up(ledger: ModuleType, seed: int) -> None:
    shop = Shop(random.Random(seed))
    known = read(ledger, shop, 3)
    for _ in range(10):
        shop.live(20)
        known = ledger.both(known, read(ledger, shop, 3))
        assert all(low <= 1000 <= high for low, high in known.values())


@pytest.mark.parametrize("tamper", ["lost", "doubled", "not taken"])
@pytest.mark.parametrize("seed", range(10))
def test_what_is_lost_or_doubled_shows(ledger: ModuleType, seed: int, tamper: str) -> None:
    shop = Shop(random.Random(seed))
    shop.live(20)
    before = read(ledger, shop, 0)
    shop.live(20)
    shop.buy()
    key, order = list(shop.orders.items())[-1]
    product, quantity = order["lines"][0]["product_id"], order["lines"][0]["quantity"]
    if tamper == "lost":
        del shop.orders[key]
    elif tamper == "doubled":
        shop.orders["again"] = dict(order)
    else:
        shop.stock[product] += quantity
    low, high = ledger.both(before, read(ledger, shop, 0))[product]
    assert low > high


def test_quantities_of_all_lines_are_counted(ledger: ModuleType) -> None:
    lines = [{"product_id": 1, "quantity": 2}, {"product_id": 2, "quantity": 1}]
    assert ledger.quantities([{"lines": lines}, {"lines": lines[:1]}]) == Counter({1: 4, 2: 1})


def test_a_shape_is_keys_and_types_all_the_way_down(modules: dict[str, ModuleType]) -> None:
    shape = modules["answers"].shape
    rows = [{"id": 1, "note": None}, {"id": 2, "note": None}]
    assert shape({"rows": rows}) == shape({"rows": rows[:1]})
    for other in (
        {"rows": []},
        {"rows": [{"id": "1", "note": None}]},
        {"rows": [{"id": 1}]},
        {"rows": rows, "page": 1},
    ):
        assert shape({"rows": rows}) != shape(other)
    written, none, number = ({"gift_note": note} for note in ("For you", None, 7))
    assert shape([written, none]) == shape([none]) == shape([written]) != shape([number])


def test_what_sinks_while_others_buy_is_left_out(modules: dict[str, ModuleType]) -> None:
    stable = modules["answers"].stable
    assert stable({"rows": [{"id": 1, "stock": 7}]}) == stable({"rows": [{"id": 1, "stock": 6}]})
    assert stable({"rows": [{"id": 1, "stock": 7}]}) != stable({"rows": [{"id": 2, "stock": 7}]})


def test_visitors_differ(modules: dict[str, ModuleType]) -> None:
    draw = random.Random(1)
    agents = set()
    for _ in range(20):
        with modules["browsers"].browser(draw) as client:
            agents.add(client.headers["User-Agent"])
    assert len(agents) > 10
