from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from conftest import eventually, signed_in
from flask import Flask
from flask.testing import FlaskClient
from provider import Provider


def stock(database: sa.Connection, product_id: int) -> int:
    return int(database.execute(sa.text("SELECT stock FROM products WHERE id = :id"), {"id": product_id}).scalar_one())


def set_product(database: sa.Connection, product_id: int, **values: int) -> None:
    for name, value in values.items():
        statement = sa.text(f"UPDATE products SET {name} = :value WHERE id = :id")
        database.execute(statement, {"value": value, "id": product_id})


def jobs(database: sa.Connection, order_id: str) -> dict[str, tuple[str, bool]]:
    """Of an order, by kind: the state, and whether the job is due."""
    rows = database.execute(
        sa.text("SELECT kind, state, run_at <= now() FROM jobs WHERE payload->>'order_id' = :id"), {"id": order_id}
    )
    return {kind: (state, due) for kind, state, due in rows}


def buy(client: FlaskClient, *lines: tuple[int, int], key: str | None = None) -> tuple[int, dict[str, object]]:
    wanted = [{"product_id": product, "quantity": quantity} for product, quantity in lines]
    answer = client.post("/checkout", json={"lines": wanted, **({"idempotency_key": key} if key else {})})
    return answer.status_code, answer.get_json()["order"] if "order" in answer.get_json() else answer.get_json()


def test_a_paid_order(customer: FlaskClient, database: sa.Connection, provider: Provider) -> None:
    before = stock(database, 5)
    status, order = buy(customer, (5, 2), (3, 1))
    assert (status, order["status"]) == (201, "paid")
    prices = {number: customer.get(f"/products/{number}").get_json()["price_cents"] for number in (3, 5)}
    assert order["total_cents"] == 2 * prices[5] + prices[3]
    assert stock(database, 5) == before - 2
    order_id = str(order["id"])
    assert provider.charges == {order_id: 1}
    assert provider.keys == {order_id: order_id}
    assert jobs(database, order_id) == {"charge": ("done", False), "receipt": ("waiting", True)}
    assert customer.get(f"/orders/{order_id}").get_json() == order
    assert customer.get("/orders").get_json()["orders"][0] == order


def test_checkout_wants_a_customer(client: FlaskClient, provider: Provider) -> None:
    status, body = buy(client, (1, 1))
    assert (status, body["error"]) == (401, "unauthenticated")
    assert not provider.charges


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "lines"),
        ([{"product_id": 1, "quantity": 0}], "lines.0.quantity"),
        ([{"product_id": 2**40, "quantity": 1}], "lines.0.product_id"),
        ([{"product_id": 1}], "lines.0.quantity"),
        ([{"product_id": 1, "quantity": 1}] * 2, "each product in one line"),
        ([{"product_id": 9999, "quantity": 1}], "no product 9999"),
        ([{"product_id": n, "quantity": 1} for n in range(1, 52)], "lines"),
        ("many", "lines"),
    ],
)
def test_a_bad_basket_is_refused(customer: FlaskClient, provider: Provider, lines: object, complaint: str) -> None:
    answer = customer.post("/checkout", json={"lines": lines})
    assert answer.status_code == 400
    assert complaint in answer.get_json()["message"]
    assert not provider.charges


def test_a_refused_basket_takes_nothing(customer: FlaskClient, database: sa.Connection) -> None:
    before = stock(database, 1)
    assert buy(customer, (1, 1), (9999, 1))[0] == 400
    assert stock(database, 1) == before


def test_a_declined_order_gives_its_stock_back(
    customer: FlaskClient, database: sa.Connection, provider: Provider
) -> None:
    set_product(database, 10, price_cents=666)
    before = stock(database, 10)
    answer = customer.post("/checkout", json={"lines": [{"product_id": 10, "quantity": 1}]})
    assert answer.status_code == 402
    body = answer.get_json()
    assert (body["error"], body["order"]["status"]) == ("payment_declined", "declined")
    assert stock(database, 10) == before
    assert jobs(database, body["order"]["id"]) == {"charge": ("done", False)}
    assert provider.charges.total() == 1


def test_without_the_provider_the_order_is_kept_for_later(
    customer: FlaskClient, database: sa.Connection, provider: Provider
) -> None:
    provider.broken = True
    before = stock(database, 11)
    status, order = buy(customer, (11, 3))
    assert (status, order["status"]) == (202, "payment_pending")
    assert stock(database, 11) == before - 3
    assert jobs(database, str(order["id"])) == {"charge": ("waiting", True)}


def test_while_the_provider_is_asked_no_connection_is_held(app: Flask, provider: Provider) -> None:
    provider.hold()
    size = app.extensions["engine"].pool.size()
    with ThreadPoolExecutor(size + 1) as pool:
        buying = [pool.submit(buy, signed_in(app, number + 1), (12, 1)) for number in range(size + 1)]
        while len(provider.charges) < size + 1:
            assert not any(one.done() for one in buying), "one failed before the provider was asked"
        assert app.extensions["engine"].pool.checkedout() == 0
        provider.release()
        assert {one.result()[0] for one in buying} == {201}


def test_the_same_key_means_the_same_order(customer: FlaskClient, database: sa.Connection, provider: Provider) -> None:
    key, before = str(uuid4()), stock(database, 13)
    first = buy(customer, (13, 1), key=key)
    assert buy(customer, (13, 1), key=key) == first
    assert stock(database, 13) == before - 1
    assert provider.charges.total() == 1


def test_the_same_key_of_another_customer_means_another_order(app: Flask) -> None:
    key = str(uuid4())
    orders = [buy(signed_in(app, number), (13, 1), key=key)[1]["id"] for number in (1, 2)]
    assert orders[0] != orders[1]


def test_the_same_key_at_the_same_time(app: Flask, database: sa.Connection, provider: Provider) -> None:
    key = str(uuid4())
    set_product(database, 14, stock=1)  # the last piece: the second request must not take itself for a new order
    clients = [signed_in(app, 1) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda client: buy(client, (14, 1), key=key), clients))
    assert len({str(order["id"]) for _, order in answers}) == 1
    assert {status for status, _ in answers} <= {201, 202}
    assert (stock(database, 14), provider.charges.total()) == (0, 1)


def test_nothing_is_sold_twice(app: Flask, database: sa.Connection) -> None:
    set_product(database, 15, stock=5)
    clients = [signed_in(app, number % 20 + 1) for number in range(12)]
    with ThreadPoolExecutor(3) as pool:
        statuses = Counter(pool.map(lambda client: buy(client, (15, 1))[0], clients))
    assert statuses == {201: 5, 409: 7}
    assert stock(database, 15) == 0


def test_baskets_lock_products_in_the_order_of_their_ids(app: Flask, database: sa.Connection) -> None:
    """Whatever the order of the lines: of two baskets, neither can hold what the other waits for."""

    def is_locked(product_id: int) -> bool:
        statement = sa.text("SELECT count(*) FROM (SELECT FROM products WHERE id = :id FOR UPDATE SKIP LOCKED) AS free")
        return not database.execute(statement, {"id": product_id}).scalar_one()

    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM products%'"
    )
    with app.extensions["engine"].connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(sa.text("SELECT FROM products WHERE id = 21 FOR UPDATE"))
        buying = pool.submit(buy, signed_in(app, 1), (22, 1), (21, 1), (20, 1))
        eventually(lambda: database.execute(waiting).scalar_one(), "the basket waits for product 21")
        locked = [product_id for product_id in (20, 22) if is_locked(product_id)]
        other.rollback()
        assert buying.result()[0] == 201
    assert locked == [20]


def test_orders_are_private(app: Flask) -> None:
    _, order = buy(signed_in(app, 3), (1, 1))
    assert signed_in(app, 4).get(f"/orders/{order['id']}").status_code == 404
    assert app.test_client().get(f"/orders/{order['id']}").status_code == 401
    assert app.test_client().get("/reports/daily").status_code == 401


def test_the_list_of_orders_takes_the_same_number_of_queries_however_long(app: Flask) -> None:
    client = signed_in(app, 5)
    for _ in range(4):
        buy(client, (30, 1), (31, 1))
    statements: list[str] = []
    sa.event.listen(app.extensions["engine"], "before_cursor_execute", lambda *args: statements.append(args[2]))
    counts = []
    for size in (1, 5):
        statements.clear()
        orders = client.get(f"/orders?per_page={size}").get_json()["orders"]
        assert len(orders) == size
        counts.append(len(statements))
    assert counts[0] == counts[1]
    times = [order["created_at"] for order in orders]
    assert times == sorted(times, reverse=True)


def test_the_receipt_of_an_order_waits_and_is_ready_or_has_failed(
    app: Flask, database: sa.Connection, provider: Provider
) -> None:
    client = signed_in(app, 7)
    _, order = buy(client, (1, 1))
    page = f"/orders/{order['id']}/receipt"
    assert client.get(page).get_json() == {"status": "waiting", "tries": 0}
    database.execute(sa.text("UPDATE jobs SET state = 'dead', attempts = 6 WHERE kind = 'receipt'"))
    assert client.get(page).get_json() == {"status": "failed", "tries": 6}
    database.execute(sa.text("INSERT INTO receipts (order_id, body) VALUES (:id, 'paid')"), {"id": order["id"]})
    ready = client.get(page).get_json()
    assert (ready.pop("status"), ready.pop("body")) == ("ready", "paid")
    assert ready.keys() == {"created_at"}
    assert signed_in(app, 8).get(page).status_code == 404
    assert app.test_client().get(page).status_code == 401


def test_an_order_that_is_not_paid_has_no_receipt(customer: FlaskClient, provider: Provider) -> None:
    provider.broken = True
    _, order = buy(customer, (1, 1))
    assert customer.get(f"/orders/{order['id']}/receipt").status_code == 404


def test_receipts_are_delayed_when_one_waits_long_for_its_first_attempt(app: Flask, database: sa.Connection) -> None:
    client = signed_in(app, 7)
    assert client.get("/receipts/status").get_json() == {"delayed": False, "waiting": 0, "oldest_s": 0.0}
    buy(client, (1, 1))
    fresh = client.get("/receipts/status").get_json()
    assert (fresh["delayed"], fresh["waiting"]) == (False, 1)
    database.execute(sa.text("UPDATE jobs SET run_at = now() - interval '1 minute' WHERE kind = 'receipt'"))
    late = client.get("/receipts/status").get_json()
    assert (late["delayed"], late["waiting"]) == (True, 1)
    assert late["oldest_s"] >= 60
    database.execute(sa.text("UPDATE jobs SET attempts = 1"))  # it failed: a person looks after it in the end
    assert client.get("/receipts/status").get_json()["delayed"] is False


@pytest.mark.parametrize("note", ["", "x" * 201, "a\0b", 7])
def test_a_bad_gift_note_is_refused(customer: FlaskClient, note: object) -> None:
    answer = customer.post("/checkout", json={"lines": [{"product_id": 1, "quantity": 1}], "gift_note": note})
    assert answer.status_code == 400
    assert "gift_note" in answer.get_json()["message"]


def test_a_gift_note_is_kept_with_its_order(customer: FlaskClient) -> None:
    note = "Alles Gute,\n愛をこめて"
    answer = customer.post("/checkout", json={"lines": [{"product_id": 1, "quantity": 1}], "gift_note": note})
    order = answer.get_json()["order"]
    assert order["gift_note"] == note
    assert customer.get(f"/orders/{order['id']}").get_json() == order


def test_the_daily_report_counts_what_was_paid(app: Flask, provider: Provider) -> None:
    client = signed_in(app, 6)
    before = {day["day"]: day for day in client.get("/reports/daily").get_json()["days"]}
    _, order = buy(client, (40, 1))
    provider.broken = True
    buy(client, (41, 1))
    today = datetime.now(UTC).date().isoformat()
    days = {day["day"]: day for day in client.get("/reports/daily").get_json()["days"]}
    past = before.pop(today, {"orders": 0, "total_cents": 0})
    assert days.pop(today) == {
        "day": today,
        "orders": past["orders"] + 1,
        "total_cents": past["total_cents"] + order["total_cents"],
    }
    assert days == before
