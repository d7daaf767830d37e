from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from provider import Provider
from werkzeug.test import TestResponse

from shop.logs import Marker
from shop.settings import Settings

ROUTES = ["run", "external-api", "db-timeout"]


def markers(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.marker for record in caplog.records if hasattr(record, "marker")]


def assert_says_nothing_inner(answer: TestResponse) -> None:
    assert set(answer.get_json()) == {"error", "message"}
    for secret in ("SELECT", "psycopg", "Traceback", "127.0.0.1", "sqlalche"):
        assert secret.lower() not in answer.text.lower()


@pytest.mark.parametrize("route", ROUTES)
def test_without_the_flag_there_is_nothing(
    make_app: Callable[[Settings], Flask], settings: Settings, route: str
) -> None:
    app = make_app(settings.model_copy(update={"enable_fault_injection": False}))
    assert app.test_client().post(f"/test-fault/{route}").status_code == 404


def test_malformed_sql(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.post("/test-fault/run")
    assert answer.status_code == 500
    assert_says_nothing_inner(answer)
    assert markers(caplog) == [Marker.SQL]
    assert client.get("/products").status_code == 200


def test_a_missing_column_is_the_same_fault_on_any_route(
    client: FlaskClient, database: sa.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    database.execute(sa.text("ALTER TABLE products RENAME COLUMN description TO about"))
    try:
        answer = client.get("/products")
    finally:
        database.execute(sa.text("ALTER TABLE products RENAME COLUMN about TO description"))
    assert answer.status_code == 500
    assert_says_nothing_inner(answer)
    assert markers(caplog) == [Marker.SQL]


def test_a_healthy_upstream(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    assert client.post("/test-fault/external-api").status_code == 200
    assert markers(caplog) == []


def test_a_failing_upstream_opens_the_circuit(
    client: FlaskClient, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.broken = True
    answer = client.post("/test-fault/external-api")
    assert answer.status_code == 502
    assert_says_nothing_inner(answer)
    assert set(markers(caplog)) == {Marker.UPSTREAM}
    asked = len(provider.asked_at)
    refused = client.post("/test-fault/external-api")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert len(provider.asked_at) == asked


def test_a_silent_upstream(make_app: Callable[[Settings], Flask], settings: Settings, provider: Provider) -> None:
    provider.hold()
    app = make_app(settings.model_copy(update={"upstream_timeout_s": 0.05}))
    assert app.test_client().post("/test-fault/external-api").status_code == 504


def test_a_slow_query_is_cut_off(
    make_app: Callable[[Settings], Flask], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_app(settings.model_copy(update={"db_statement_timeout_ms": 50})).test_client()
    answer = client.post("/test-fault/db-timeout")
    assert answer.status_code == 504
    assert_says_nothing_inner(answer)
    assert markers(caplog) == [Marker.DATABASE_TIMEOUT]


def test_slow_queries_use_the_pool_up(
    make_app: Callable[[Settings], Flask], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a statement timeout, three of them starve the other routes; each is marked, also when it ends well."""
    app = make_app(settings.model_copy(update={"db_statement_timeout_ms": 0}))
    pool = app.extensions["engine"].pool
    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(app.test_client().post, "/test-fault/db-timeout") for _ in range(3)]
        while pool.checkedout() < 3:
            assert not any(one.done() for one in slow)
        starved = app.test_client().get("/products")
        assert starved.status_code == 503
        assert_says_nothing_inner(starved)
        assert app.test_client().get("/health/ready").get_json()["pool"] == {"in_use": 3, "size": 3}
        assert [one.result().status_code for one in slow] == [200] * 3
    assert markers(caplog) == [Marker.DATABASE_TIMEOUT] * 4
    assert app.test_client().get("/products").status_code == 200


def test_without_a_database(
    make_app: Callable[[Settings], Flask], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/nothing"})
    client = make_app(nowhere).test_client()
    for route in ("/products", "/health/ready"):
        answer = client.get(route)
        assert (answer.status_code, answer.get_json()["error"]) == (503, "database_unavailable")
        assert_says_nothing_inner(answer)
    assert client.get("/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert all(record.levelno >= logging.WARNING for record in caplog.records if "database" in record.getMessage())
