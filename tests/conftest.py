"""What all tests need."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator

import pytest

from harness.services.postgres import Postgres, postgres_running
from harness.services.supervisor import Supervisor

# A job that a shell has put into the background ignores Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One for all tests that need no more of it than a database of their own."""
    folder = tmp_path_factory.mktemp("postgres")
    with Supervisor() as supervisor, postgres_running(supervisor, data=folder / "data", log=folder / "log") as server:
        yield server


@pytest.fixture
def database_url(postgres_server: Postgres) -> Iterator[str]:
    """Of an empty database."""
    name = f"test_{secrets.token_hex(6)}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)
