"""How the incident table is reached: an engine, and the migrations that make the table."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, func, select, text
from sqlalchemy.engine import make_url

VERSION_TABLE = "incident_version"  # a database that is shared with an app may hold that app's alembic_version
MIGRATIONS = Path(__file__).with_name("migrations")
LOCK = 0x63_61_6F_31  # any number that all versions of the harness agree on


def engine(url: str) -> Engine:
    """For ``postgresql://`` and ``postgres://`` URLs. Nothing is connected yet."""
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=1,
        max_overflow=4,
        connect_args={"connect_timeout": 10, "application_name": "creamandonion", "options": "-c timezone=UTC"},
    )


def migrate(database: Engine) -> None:
    """Bring the table to the newest version. Processes that do so at once wait for one another."""
    with database.begin() as connection:
        if _version(connection) == newest_version():
            return
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))  # held until this transaction ends
        _upgrade(connection)


def newest_version() -> str:
    """By the files' names, NNNN_what.py, so that an up-to-date table needs no Alembic to see that it is."""
    return max(file.name for file in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def _version(connection: Connection) -> str | None:
    if connection.scalar(select(func.to_regclass(VERSION_TABLE))) is None:
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return version


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - a quarter of a second, wanted once in the life of a database
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
