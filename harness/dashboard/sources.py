"""From where a process of the dashboard learns that there are changes: Redis' stream, or PostgreSQL's NOTIFY."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from harness.incidents import changes
from harness.incidents.changes import Change

_BATCH = 500
_IDLE_S = 2.0  # after so long without news somebody may have failed to tell: it is looked


class SourceLost(Exception):
    """It cannot be listened to, or not any more."""


class Source(Protocol):
    """``follow`` yields, without end, changes after ``last``, or None: there may be some, or nothing has come for a
    while. It begins with None once it listens. SourceLost."""

    name: str

    def follow(self, last: Callable[[], int]) -> Iterator[Sequence[Change] | None]: ...


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


class RedisSource:
    name = "redis"

    def __init__(self, url: str, database: Engine) -> None:
        self._url, self._database = url, database

    def follow(self, last: Callable[[], int]) -> Iterator[Sequence[Change] | None]:
        from redis import Redis, RedisError  # noqa: PLC0415 - slow to import, and not everywhere is a Redis

        try:
            with Session(self._database) as session:
                name = changes.feed_name(session)
            patience = {"socket_timeout": _IDLE_S + 3.0, "socket_connect_timeout": 2.0}
            with Redis.from_url(self._url, decode_responses=True, **patience) as redis:
                redis.ping()
                yield None
                while True:
                    told = redis.xread({name: f"{last()}-0"}, count=_BATCH, block=round(_IDLE_S * 1000))
                    yield [_of_entry(*entry) for _, entries in told for entry in entries] or None
        except (RedisError, OSError, ValueError, KeyError) as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error


class PostgresSource:
    name = "postgresql"

    def __init__(self, database: Engine) -> None:
        self._database = database

    def follow(self, last: Callable[[], int]) -> Iterator[Sequence[Change] | None]:
        import psycopg  # noqa: PLC0415 - as in harness.services.postgres

        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                connection.execute(f"LISTEN {changes.NOTIFY}")
                while True:
                    yield None
                    list(connection.notifies(timeout=_IDLE_S, stop_after=1))
        except psycopg.Error as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error


def _of_entry(number: str, fields: dict[str, str]) -> Change:
    return Change.of_message(int(number.partition("-")[0]), json.loads(fields["change"]))
