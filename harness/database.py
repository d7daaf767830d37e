"""The PostgreSQL server of a trial, and the recorder of incidents that writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from harness.services.postgres import Postgres
from harness.services.shared import shared_services, trial_postgres
from harness.services.supervisor import Supervisor
from harness.settings import Settings
from harness.sinks.late import LateSink
from harness.sinks.recorder import Recorder


class Database:
    """Up from the beginning of a trial to its end."""

    def __init__(self, *, results: Path, logs: Path, settings: Settings) -> None:
        """Nothing is started yet."""
        self._results, self._logs, self._settings = results, logs, settings
        self._postgres: Postgres | None = None

    @contextmanager
    def running(self, supervisor: Supervisor, late: LateSink, stream: AbstractContextManager[object]) -> Iterator[None]:
        """``late`` is given what is to be written; ``stream`` is left before the server goes down."""
        server = trial_postgres(supervisor, self._results, self._logs / "postgres.log", self._settings)
        with server as postgres, Recorder(postgres.url(postgres.home)) as recorder, late.attached(recorder), stream:
            self._postgres = postgres
            if not self._settings.database_url:
                postgres.drop_databases("app_")  # what a killed trial has left
            yield

    def postgres(self) -> Postgres:
        assert self._postgres is not None, "the services run before the target"
        return self._postgres

    def url(self) -> str:
        """Of the database of incidents and their vectors."""
        postgres = self.postgres()
        return postgres.url(postgres.home)

    def passed_on(self) -> tuple[str, str] | None:
        """The database and the Redis that hands on what happens to incidents; None: nobody listens there."""
        if self._postgres is None:  # it never came up
            return None
        shared = shared_services(self._results)
        redis_url = self._settings.redis_url or (shared.redis_url if shared else None)
        return (self.url(), redis_url) if redis_url else None
