"""Demo data: `python -m shop.seed`. Adds what is missing and changes nothing that is there.

Plain SQL: this runs before each start, and importing the ORM would take longer than the work.
"""

from __future__ import annotations

import random
from uuid import UUID, uuid5

import psycopg

from shop import passwords
from shop.settings import Settings

PASSWORD = "correct horse"  # noqa: S105 - of users who do not exist
USERS = 20
PRODUCTS = 200
ORDERS = 60
STOCK = 1_000_000
NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")

FIRST_NAMES = ["Ada", "Grace", "Alan", "Barbara", "Edsger", "Frances", "Donald", "Radia", "Linus", "Margaret"]
ADJECTIVES = ["Sturdy", "Gentle", "Bright", "Quiet", "Rapid", "Crisp", "Golden", "Humble", "Nimble", "Rustic"]
MATERIALS = ["oak", "copper", "linen", "ceramic", "bamboo", "steel", "wool", "glass", "cork", "leather"]
THINGS = ["kettle", "lamp", "chair", "notebook", "backpack", "blanket", "mug", "basket", "knife", "clock", "bottle"]
USES = ["slow mornings", "long journeys", "small kitchens", "rainy evenings", "busy desks", "quiet gardens"]


def products(dice: random.Random) -> list[tuple[int, str, str, int, int]]:
    """Rows of id, name, description, price in cents and stock."""
    rows = []
    for number in range(1, PRODUCTS + 1):
        adjective, material, thing = dice.choice(ADJECTIVES), dice.choice(MATERIALS), dice.choice(THINGS)
        description = f"A {adjective.lower()} {thing} made of {material}, for {dice.choice(USES)}. Model {number}."
        rows.append((number, f"{adjective} {material} {thing}", description, dice.randrange(500, 20_000, 5), STOCK))
    return rows


def users() -> list[tuple[int, str, str, str]]:
    """Rows of id, e-mail address, name and password hash."""
    rows = []
    for number in range(1, USERS + 1):
        name = f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {number}"
        rows.append((number, f"user{number}@shop.test", name, passwords.hashed(PASSWORD)))
    return rows


def seed(connection: psycopg.Connection) -> None:
    dice = random.Random(7)  # noqa: S311 - the same goods each time
    goods = products(dice)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO products (id, name, description, price_cents, stock) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            goods,
        )
        cursor.executemany(
            "INSERT INTO users (id, email, name, password_hash) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", users()
        )
        # the ids were given: the next one that the database makes itself must come after them
        cursor.execute("SELECT setval('products_id_seq', max(id)) FROM products")
        cursor.execute("SELECT setval('users_id_seq', max(id)) FROM users")
        for number in range(ORDERS):
            _order(cursor, number, dice.sample(goods, dice.randrange(1, 4)))


def _order(cursor: psycopg.Cursor, number: int, goods: list[tuple[int, str, str, int, int]]) -> None:
    """Of the past: paid, with its receipt long sent; one for each user in turn, on another day each time around."""
    order_id = uuid5(NAMESPACE, f"seed-order-{number}")
    total_cents = sum(price_cents for _, _, _, price_cents, _ in goods)
    cursor.execute(
        "INSERT INTO orders (id, user_id, status, total_cents, charge_id, created_at)"
        " VALUES (%s, %s, 'paid', %s, %s, now() - %s * interval '1 day') ON CONFLICT DO NOTHING",
        (order_id, number % USERS + 1, total_cents, f"ch_seed_{number}", number // USERS + 1),
    )
    cursor.executemany(
        "INSERT INTO order_lines (order_id, product_id, quantity, unit_price_cents) VALUES (%s, %s, 1, %s)"
        " ON CONFLICT DO NOTHING",
        [(order_id, product_id, price_cents) for product_id, _, _, price_cents, _ in goods],
    )


if __name__ == "__main__":
    with psycopg.connect(Settings.from_env().database_url.replace("+psycopg", "", 1)) as opened:
        seed(opened)
