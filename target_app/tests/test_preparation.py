from __future__ import annotations

import sqlalchemy as sa
from conftest import Services, run_module


def contents(database: sa.Connection) -> dict[str, list[str]]:
    tables = ("users", "products", "orders", "order_lines")
    return {table: sorted(map(str, database.execute(sa.text(f"SELECT * FROM {table}")))) for table in tables}


def test_seeding_again_changes_nothing(services: Services, database: sa.Connection) -> None:
    before = contents(database)
    assert (len(before["users"]), len(before["products"])) == (20, 200)
    assert len(before["orders"]) >= 60
    run_module(services, "shop.seed")
    assert contents(database) == before


def test_new_rows_come_after_the_seeded_ones(database: sa.Connection) -> None:
    statement = "INSERT INTO users (email, name, password_hash) VALUES ('new@shop.test', 'New', '') RETURNING id"
    try:
        assert database.execute(sa.text(statement)).scalar_one() > 20
    finally:
        database.execute(sa.text("DELETE FROM users WHERE email = 'new@shop.test'"))


def test_the_migrations_make_what_the_models_say(services: Services) -> None:
    assert "No new upgrade operations" in run_module(services, "alembic", "check")
