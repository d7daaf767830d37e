"""The tests' world: a real PostgreSQL and Valkey (or DATABASE_URL and REDIS_URL), and a payment provider that obeys."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from harness.services.postgres import postgres_running
from harness.services.supervisor import Supervisor
from harness.services.valkey import valkey_running

APP = Path(__file__).parents[1]
sys.path[:0] = [str(APP), str(APP / "tests")]

from provider import Provider  # noqa: E402 - the path above makes it importable from anywhere

from shop import create_app  # noqa: E402
from shop.settings import Settings  # noqa: E402

DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    database_url: str
    redis_url: str


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as running:
        yield running


@pytest.fixture(scope="session")
def services(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A database of our own, migrated and seeded."""
    folder = tmp_path_factory.mktemp("services")
    name = f"shop_test_{os.getpid()}"
    external_db, external_redis = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    with (
        postgres_running(
            supervisor, data=folder / "postgres", log=folder / "postgres.log", external_url=external_db
        ) as postgres,
        valkey_running(supervisor, log=folder / "valkey.log", external_url=external_redis) as redis_url,
    ):
        postgres.create_database(name)
        try:
            prepared = Services(database_url=postgres.url(name), redis_url=redis_url)
            for command in (["alembic", "upgrade", "head"], ["shop.seed"]):
                run_module(prepared, *command)
            yield prepared
        finally:
            postgres.drop_database(name)


def environment(services: Services, **more: str) -> dict[str, str]:
    """For a process of the app. Times are short, so that tests are."""
    ours = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(APP),
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "SECRET_KEY": "for tests",
    }
    return {**ours, **more}


def run_module(services: Services, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment(services),
        cwd=APP,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def eventually(check: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not check():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def provider_process() -> Iterator[Provider]:
    with Provider.running() as running:
        yield running


@pytest.fixture
def provider(provider_process: Provider) -> Iterator[Provider]:
    """The payment provider, healthy and with nothing remembered."""
    provider_process.reset()
    yield provider_process
    provider_process.release()


@pytest.fixture
def settings(services: Services, provider: Provider) -> Settings:
    return Settings(
        database_url=services.database_url,
        redis_url=services.redis_url,
        payments_url=provider.url,
        secret_key=SecretStr("for tests"),
        enable_fault_injection=True,
        upstream_timeout_s=0.5,
        upstream_backoff_s=0.01,
        db_pool_timeout_s=0.2,
        db_statement_timeout_ms=1000,
    )


@pytest.fixture
def database(services: Services) -> Iterator[sa.Connection]:
    """Sees what is committed. The queue starts empty and the breaker closed."""
    engine = sa.create_engine(services.database_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("DELETE FROM jobs"))
        yield connection


@pytest.fixture(autouse=True)
def closed_breaker(services: Services) -> None:
    with redis.Redis.from_url(services.redis_url) as client:
        client.delete("breaker:payments", "breaker:payments:probe")


@pytest.fixture
def make_app(database: sa.Connection) -> Iterator[Callable[[Settings], Flask]]:
    made: list[Flask] = []

    def make(settings: Settings) -> Flask:
        made.append(create_app(settings))
        return made[-1]

    yield make
    for app in made:
        app.extensions["engine"].dispose()
        app.extensions["payments"].close()


@pytest.fixture
def app(make_app: Callable[[Settings], Flask], settings: Settings) -> Flask:
    return make_app(settings)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def customer(app: Flask) -> FlaskClient:
    return signed_in(app, 1)


def signed_in(app: Flask, number: int) -> FlaskClient:
    client = app.test_client()
    answer = client.post("/login", json={"email": f"user{number}@shop.test", "password": "correct horse"})
    assert answer.status_code == 200, answer.text
    return client
