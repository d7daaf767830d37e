"""Requests to every route, and what of the answers must stay: status, content type, shape, and content where stable."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

import httpx
from browsers import PASSWORD, PRODUCTS, USERS, email

NULLABLE = frozenset({"gift_note"})  # which it is, depends on the one who ordered
VOLATILE = frozenset({"stock", "pool"})  # buying and load change it; that it is there, and its type, must stay
THINGS = ("kettle", "lamp", "chair", "notebook", "backpack", "blanket", "mug", "basket", "knife", "clock", "bottle")
MATERIALS = ("oak", "copper", "linen", "ceramic", "bamboo", "steel", "wool", "glass", "cork", "leather")

Question = dict[str, Any]  # method, path; user, params, json, content where there are any; shape_only
Answer = dict[str, Any]  # some of PARTS
PARTS = ("status", "error", "type", "shape", "content")


def ask(client: httpx.Client, question: Question) -> Answer:
    given: dict[str, Any] = {key: question[key] for key in ("params", "json", "content") if key in question}
    answer = client.request(question["method"], question["path"], **given)
    told: Answer = {"status": answer.status_code, "type": answer.headers.get("content-type", "")}
    body = answer.json() if "json" in told["type"] else answer.text
    told["shape"] = shape(body)
    if answer.is_error:
        told["error"] = body.get("error") if isinstance(body, dict) else None  # how it is worded is free
    elif not question.get("shape_only"):
        told["content"] = stable(body)
    return told


def shape(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Keys and types, all the way down; a list is the set of its items' shapes."""
    if isinstance(value, dict):
        return {key: _of_key(key, item) for key, item in value.items()}
    if isinstance(value, list):
        distinct = {repr(inner): inner for inner in map(shape, value)}
        return [distinct[key] for key in sorted(distinct)]
    return type(value).__name__


def _of_key(key: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    return "str or NoneType" if key in NULLABLE and (value is None or isinstance(value, str)) else shape(value)


def stable(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: stable(item) for key, item in value.items() if key not in VOLATILE}
    return [stable(item) for item in value] if isinstance(value, list) else value


def get(path: str, user: int | None = None, **params: object) -> Question:
    asked: Question = {"method": "GET", "path": path, "params": params}
    return asked | ({"user": user} if user else {})


def post(path: str, body: object, user: int | None = None) -> Question:
    asked: Question = {"method": "POST", "path": path, "json": body}
    return asked | ({"user": user} if user else {})


def _root(draw: random.Random) -> list[Question]:
    return [get("/"), get(f"/nothing-{draw.randrange(10**6)}"), {"method": "DELETE", "path": "/products"}]


def _products(draw: random.Random) -> list[Question]:
    size = draw.randint(2, 99)
    last = -(-len(PRODUCTS) // size)
    pages = [(1, 1), (1, 100), (2, 100), (3, 100), (last, size), (last + 1, size), (draw.randint(1, last), size)]
    bad: list[dict[str, Any]] = [
        {"page": 0},
        {"page": "x"},
        {"page": -1},
        {"per_page": 0},
        {"per_page": 101},
        {"per_page": "1e1"},
    ]
    good = [get("/products"), *(get("/products", page=page, per_page=per_page) for page, per_page in pages)]
    return good + [get("/products", **one) for one in draw.sample(bad, 3)]


def _product(draw: random.Random) -> list[Question]:
    ids = [PRODUCTS[0], PRODUCTS[-1], *draw.sample(PRODUCTS, 5), 0, draw.randint(10**6, 10**9), 2**31, "x", "-1"]
    return [get(f"/products/{product_id}") for product_id in ids]


def _search(draw: random.Random) -> list[Question]:
    thing, material = draw.choice(THINGS), draw.choice(MATERIALS)
    words = [thing, material, f"{thing}s", f"{material} {thing}", f"{thing} -{material}", f'"{material} {thing}"']
    words += [f"{thing} or {material}", f"zz{draw.randrange(10**9)}", " ", "", "x" * 101]
    page = get("/search", q=material, page=2, per_page=draw.randint(3, 9))
    return [*(get("/search", q=word) for word in words), page, get("/search", q=thing, per_page=100), get("/search")]


def _login(draw: random.Random) -> list[Question]:
    user = draw.choice(USERS[1:])
    bodies: list[object] = [{"email": email(each), "password": PASSWORD} for each in draw.sample(USERS[1:], 2)]
    bodies += [{"email": email(user), "password": word} for word in (f"{draw.random()}", "", PASSWORD.upper())]
    bodies += [{"email": f"nobody{draw.randrange(10**6)}@shop.test", "password": PASSWORD}, {"email": email(user)}, []]
    return [post("/login", body) for body in bodies] + [{"method": "POST", "path": "/login", "content": "{"}]


def _me(draw: random.Random) -> list[Question]:
    return [get("/me"), *(get("/me", user) for user in draw.sample(USERS[1:], 3))]


def _orders(draw: random.Random) -> list[Question]:
    user = draw.choice(USERS[1:])
    mine = get("/orders", user, per_page=draw.randint(1, 3)) | {"shape_only": True}
    return [get("/orders"), mine, get("/orders", user, page=9999), get("/orders", user, per_page=101)]


def _order(draw: random.Random) -> list[Question]:
    user, unknown = draw.choice(USERS[1:]), uuid.UUID(int=draw.getrandbits(128), version=4)
    return [get(f"/orders/{unknown}"), get(f"/orders/{unknown}", user), get(f"/orders/{draw.randint(1, 99)}", user)]


def _receipts(draw: random.Random) -> list[Question]:
    user, unknown = draw.choice(USERS[1:]), uuid.UUID(int=draw.getrandbits(128), version=4)
    path = f"/orders/{unknown}/receipt"
    return [get("/receipts/status") | {"shape_only": True}, get(path), get(path, user)]


def _checkout(draw: random.Random) -> list[Question]:
    product, user = draw.choice(PRODUCTS), draw.choice(USERS[1:])
    one = {"product_id": product, "quantity": 1}
    bad: list[object] = [
        {"lines": []},
        {"lines": [one, one]},
        {"lines": [one | {"quantity": draw.choice([0, -1, 1001, "many"])}]},
        {"lines": [one | {"product_id": draw.randint(10**6, 10**9)}]},
        {"lines": [one, {"product_id": 0, "quantity": 1}]},
        {"lines": [one], "idempotency_key": "not a key"},
        {"lines": "none"},
        {},
    ]
    return [post("/checkout", {"lines": [one]}), *(post("/checkout", body, user) for body in bad)]


def _report(draw: random.Random) -> list[Question]:
    return [get("/reports/daily"), get("/reports/daily", draw.choice(USERS[1:])) | {"shape_only": True}]


ROUTES: dict[str, Callable[[random.Random], list[Question]]] = {
    "the root": _root,
    "the product list": _products,
    "a product": _product,
    "search": _search,
    "logging in": _login,
    "logging out": lambda _: [post("/logout", {})],
    "who I am": _me,
    "my orders": _orders,
    "an order": _order,
    "receipts": _receipts,
    "bad checkouts": _checkout,
    "the daily report": _report,
    "health": lambda _: [get("/health/live"), get("/health/ready")],
}
