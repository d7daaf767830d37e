"""What happens to incidents, handed on by Redis: to live pages as a stream, to old listeners on the seed's channel.

A stream's entry has the number of its change for an id, ``N-0``. So an entry that two trials hand on at once is there
once, a page knows from its number where it stands, and what Redis lost it can ask of PostgreSQL.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy.orm import Session

from harness.incidents import changes
from harness.incidents.database import engine
from harness.model.event import Event, PhaseStarted, TrialStarted, WindowObserved

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

logger = logging.getLogger(__name__)

KEPT = 10_000  # entries of a stream, about: a page that missed more reads the list anew
_BATCH = 500
# both or neither, so that what is told on the channel has the order of the stream
_ADD = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], ARGV[1], 'change', ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[2])
"""
_TIMEOUT_S = 2.0
_AGAIN_S = 1.0
_CLOSE_S = 3.0


class Stream:
    """A sink that costs a trial nothing: it only says that there is something to be handed on, and a thread does it.

    Where Redis is away, that is tried again each second. ``places`` tells the database and the Redis, once services
    are up; None: nothing is handed on.
    """

    def __init__(self, places: Callable[[], tuple[str, str] | None]) -> None:
        self._places = places
        self._wanted, self._over = threading.Event(), threading.Event()
        self._worker = threading.Thread(target=self._work, name="incidents-to-redis", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is left is handed on, within some seconds."""
        self._over.set()
        self._wanted.set()
        if self._worker.is_alive():
            self._worker.join(_CLOSE_S)

    def __call__(self, event: Event) -> None:
        if isinstance(event, (TrialStarted, PhaseStarted, WindowObserved)):  # before services, or of no incident
            return
        if not self._worker.ident:
            self._worker.start()
        self._wanted.set()

    def _work(self) -> None:
        try:
            places = self._places()
        except Exception:  # the edge of a thread: a page that is not live is no reason to lose anything
            logger.exception("live pages are told nothing of this trial")
            return
        if places is None:
            return
        database = engine(places[0])
        try:
            with Relay(database, places[1]) as relay:
                self._hand_on(relay)
        finally:
            database.dispose()

    def _hand_on(self, relay: Relay) -> None:
        told = False
        while True:
            self._wanted.wait()
            last = self._over.is_set()
            self._wanted.clear()
            try:
                relay.hand_on()
            except Exception as error:  # as above; whatever Redis or PostgreSQL raise, the next try may work
                if not told:
                    logger.warning("Redis gets nothing of the incidents for now: %s: %s", type(error).__name__, error)
                told = True
                self._wanted.set()
                self._over.wait(_AGAIN_S)
            if last:
                return


class Relay:
    """From the table of changes to Redis, each once and in order. Errors of both are raised on."""

    def __init__(self, database: Engine, redis_url: str) -> None:
        from redis import Redis  # noqa: PLC0415 - slow to import, and not each trial has a Redis
        from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
        from redis.retry import Retry  # noqa: PLC0415 - as above

        self._database = database
        self._redis: Redis = Redis.from_url(
            redis_url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),  # we try again by ourselves
        )
        self._name, self._last = "", 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redis.close()

    def hand_on(self) -> None:
        """All changes that Redis does not have yet, also those that another trial could not hand on any more."""
        with Session(self._database) as session:
            self._name = self._name or changes.feed_name(session)
            last = max(self._last, self._newest_there())
            if not last:  # an empty stream: what is older than it is asked of PostgreSQL
                last = max(0, changes.newest(session) - KEPT)
            while batch := changes.after(session, last, _BATCH):
                for change in batch:
                    self._add(change)
                last = self._last = batch[-1].id

    def _newest_there(self) -> int:
        entries = self._redis.xrevrange(self._name, count=1)
        return int(str(entries[0][0]).partition("-")[0]) if entries else 0

    def _add(self, change: changes.Change) -> None:
        from redis.exceptions import ResponseError  # noqa: PLC0415 - as above

        text = json.dumps(change.message, separators=(",", ":"))
        try:
            self._redis.eval(_ADD, 1, self._name, f"{change.id}-0", text, changes.CHANNEL, str(KEPT))
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise  # else another trial was faster
