"""Who may connect to PostgreSQL: the harness by a password, and an app to its own database alone.

An app whose code nobody trusts is told the address of its database. From there it must reach neither the incidents,
nor other databases, nor the server's files.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote, urlsplit

from harness.errors import ServiceUnavailable
from harness.services.pgdata import address

_SINGLE_USER_TIMEOUT_S = 60.0
_HBA = "# written at each start: nobody connects without a password\nhost all all 127.0.0.1/32 scram-sha-256\n"


def password_file(data: Path) -> Path:
    """Where the superuser's password of the server in ``data`` is kept."""
    return data.with_name(f"{data.name}.password")


def closed(data: Path, programs: Path, uid: int | None, superuser: str) -> str:
    """See to it that the server in ``data`` asks for passwords, before it starts. The superuser's.

    It is kept beside the data, for the owner's eyes only, and set by PostgreSQL's single-user mode where there is none.
    """
    kept = password_file(data)
    if not kept.exists():
        password = secrets.token_urlsafe(24)
        statement = f"ALTER ROLE {superuser} PASSWORD '{password}';\n"
        command = [str(programs / "postgres"), "--single", "-D", address(data, uid), "template1"]
        env = {"PATH": "/usr/bin:/bin", "TZ": "UTC"}
        done = subprocess.run(
            command,
            input=statement.encode(),
            cwd=data,
            env=env,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
            capture_output=True,
            timeout=_SINGLE_USER_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise ServiceUnavailable(
                f"PostgreSQL's password could not be set: {done.stderr.decode(errors='replace')[-500:]}",
                cure=f"remove {data}, or use --results DIR",
            )
        whole = kept.with_name(f".{kept.name}.new")
        whole.unlink(missing_ok=True)
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
        whole.rename(kept)
    (data / "pg_hba.conf").write_text(_HBA, encoding="ascii")
    return kept.read_text(encoding="ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDatabase:
    """A database of one app. ``own_role``: it is reached by a user that may do nothing else."""

    url: str
    name: str
    own_role: bool
    _administrator: Any  # psycopg's connection
    _lock: threading.Lock

    def waiting(self, event: str) -> int:
        """How many of its connections wait for this event, as PostgreSQL sees it. Thread-safe; ServiceUnavailable."""
        counted = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = %s"
        with self._lock, _explained():
            (count,) = self._administrator.execute(counted, [self.name, event]).fetchone()
        return int(count)


@contextmanager
def app_database(
    administrator_url: str, name: str, *, connections: int | None, required: bool
) -> Iterator[AppDatabase]:
    """A new database for an app, with a user of its own that is granted at most so many connections; gone when left.

    Where the administrator may not make users, and that is not ``required``, the app gets the administrator's address.
    ServiceUnavailable where PostgreSQL refuses, also when there is one of this name.
    """
    import psycopg  # noqa: PLC0415 - it takes a third of a second; the command line imports this module

    with _explained(), psycopg.connect(administrator_url, autocommit=True) as connection:
        password = _role(connection, name, connections, required=required)
        _do(connection, "CREATE DATABASE {}", name)
        limit = -1 if connections is None else connections
        connection.execute(_named("ALTER DATABASE {} CONNECTION LIMIT {}", name, limit))
        if password:
            _do(connection, "ALTER DATABASE {0} OWNER TO {0}", name)
            _do(connection, "REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name)
        try:
            yield AppDatabase(
                url=_address(administrator_url, name, password),
                name=name,
                own_role=bool(password),
                _administrator=connection,
                _lock=threading.Lock(),
            )
        finally:
            with _explained(), psycopg.connect(administrator_url, autocommit=True) as last:  # the first may have died
                drop_app(last, name)


def drop_app(connection: Any, name: str) -> None:  # noqa: ANN401 - psycopg's connection
    """Close its connections, and remove the database and its user. Nothing happens where there is neither."""
    _do(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
        _do(connection, "DROP ROLE IF EXISTS {}", name)


def _role(connection: Any, name: str, connections: int | None, *, required: bool) -> str:  # noqa: ANN401 - as above
    """The password of a new user; empty: it may not be made."""
    import psycopg  # noqa: PLC0415 - as above

    password = secrets.token_urlsafe(24)
    try:
        limit = -1 if connections is None else connections
        connection.execute(_named("CREATE ROLE {} LOGIN PASSWORD {} CONNECTION LIMIT {}", name, password, limit))
        if not required:
            _do(connection, "GRANT {} TO CURRENT_USER", name)  # to give it a database
    except psycopg.errors.InsufficientPrivilege:
        if required:
            raise
        return ""
    return password


def _address(administrator_url: str, name: str, password: str) -> str:
    parts = urlsplit(administrator_url)
    if password:
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{quote(name, safe='')}:{password}@{host}")
    return parts._replace(path=f"/{quote(name, safe='')}").geturl()


def _named(statement: LiteralString, name: str, *values: str | int) -> Any:  # noqa: ANN401 - psycopg's statement
    from psycopg import sql  # noqa: PLC0415 - as above

    return sql.SQL(statement).format(sql.Identifier(name), *(sql.Literal(value) for value in values))


def _do(connection: Any, statement: LiteralString, name: str) -> None:  # noqa: ANN401 - as above
    connection.execute(_named(statement, name))


@contextmanager
def _explained() -> Iterator[None]:
    import psycopg  # noqa: PLC0415 - as above

    try:
        yield
    except psycopg.Error as error:
        raise ServiceUnavailable(
            f"PostgreSQL: the app's database: {error}", cure="see the log of PostgreSQL, or check DATABASE_URL"
        ) from error
