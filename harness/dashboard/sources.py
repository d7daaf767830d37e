"""From where a process of the dashboard learns that there are changes: Redis' stream, or PostgreSQL's NOTIFY."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from harness.incidents import changes
from harness.incidents.changes import Change

_BATCH = 500
_IDLE_S = 2.0  # after so long without news somebody may have failed to tell: it is looked


class SourceLost(Exception):
    """It cannot be listened to, or not any more."""


class Source(Protocol):
    """``follow`` yields, without end, whenever there may be something new, also where nothing has come for a while.

    It yields for the first time once it listens. SourceLost.
    """

    name: str

    def follow(self) -> Iterator[None]: ...


class History:
    """All changes there are, from the table. SQLAlchemyError where that cannot be asked."""

    def __init__(self, database: Engine) -> None:
        self.database = database

    def after(self, number: int, limit: int) -> list[Change]:
        with Session(self.database) as session:
            return changes.after(session, number, limit)

    def newest(self) -> int:
        with Session(self.database) as session:
            return changes.newest(session)

    def name(self) -> str:
        """Of the database's changes: those of another have another."""
        with Session(self.database) as session:
            return changes.feed_name(session)


class RedisSource:
    name = "redis"

    def __init__(self, url: str, database: Engine) -> None:
        self._url, self._database = url, database

    def follow(self) -> Iterator[None]:
        """What stands in an entry is left alone: the table tells what has happened, and nobody can forge that."""
        from redis import Redis, RedisError  # noqa: PLC0415 - slow to import, and not everywhere is a Redis
        from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
        from redis.retry import Retry  # noqa: PLC0415 - as above

        patience: dict[str, Any] = {"socket_timeout": _IDLE_S + 3.0, "socket_connect_timeout": 2.0}
        try:
            with Session(self._database) as session:
                name = changes.feed_name(session)
            with Redis.from_url(self._url, decode_responses=True, retry=Retry(NoBackoff(), 0), **patience) as redis:
                newest: Any = redis.xrevrange(name, count=1)
                at = newest[0][0] if newest else "0-0"
                while True:
                    yield
                    told: Any = redis.xread({name: at}, count=_BATCH, block=round(_IDLE_S * 1000))
                    at = told[0][1][-1][0] if told else at
        except (RedisError, OSError, ValueError) as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error


class PostgresSource:
    name = "postgresql"

    def __init__(self, database: Engine) -> None:
        self._database = database

    def follow(self) -> Iterator[None]:
        import psycopg  # noqa: PLC0415 - as in harness.services.postgres

        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                connection.execute(f"LISTEN {changes.NOTIFY}")
                while True:
                    yield
                    list(connection.notifies(timeout=_IDLE_S, stop_after=1))
        except psycopg.Error as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error
