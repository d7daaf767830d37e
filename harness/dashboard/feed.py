"""One reader for each process of the dashboard: it takes up each change once, and hands it to all who look."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from harness.dashboard.sources import History, Source, SourceLost
from harness.incidents.changes import Change

logger = logging.getLogger(__name__)

_BATCH = 500
_WAITING = 1000  # changes that a slow client may be behind; then it is cut off, comes again and catches up
_SECOND_BEST_S = 5.0  # so long is listened elsewhere before the first is tried again
_AGAIN_S = 1.0


class FeedFull(Exception):
    """As many clients look as may."""


def frame(change: Change) -> bytes:
    """As an event of https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    return f"id: {change.id}\ndata: {json.dumps(change.message, separators=(',', ':'))}\n\n".encode()


@dataclass(eq=False)
class Client:
    """What waits for one who looks. ``lost``: it was too slow, and misses something from here on."""

    waiting: queue.Queue[tuple[int, bytes]] = field(default_factory=lambda: queue.Queue(_WAITING))
    lost: bool = False

    def next(self, timeout_s: float) -> tuple[int, bytes] | None:
        """The number of a change, and its frame; None: none has come in that time."""
        try:
            return self.waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None


class Feed:
    """Follows the first of ``sources`` that works; whatever each has missed is read from ``history``.

    ``state`` names the one that is followed; empty: none.
    """

    def __init__(self, history: History, sources: Sequence[Source], *, clients: int) -> None:
        self.history, self.state = history, ""
        self._sources, self._most = tuple(sources), clients
        self._clients: set[Client] = set()
        self._last = 0
        self._lock = threading.Lock()
        self._follower: threading.Thread | None = None
        self._over = threading.Event()

    def join(self) -> Client:
        """FeedFull where there is no room. Begins to follow with the first one; SQLAlchemyError where it can't."""
        with self._lock:
            if len(self._clients) >= self._most:
                raise FeedFull
            if self._follower is None:
                self._last = self.history.newest()
                self._follower = threading.Thread(target=self._run, name="feed", daemon=True)
                self._follower.start()
            client = Client()
            self._clients.add(client)
            return client

    def leave(self, client: Client) -> None:
        with self._lock:
            self._clients.discard(client)

    def close(self) -> None:
        """Follow no more. Takes as long as a source may be silent."""
        self._over.set()
        if self._follower:
            self._follower.join()

    def __len__(self) -> int:
        return len(self._clients)

    def _run(self) -> None:
        while not self._over.is_set():
            for number, source in enumerate(self._sources):
                try:
                    self._follow(source, None if number == 0 else time.monotonic() + _SECOND_BEST_S)
                    break  # the time of a second best is over
                except (SourceLost, SQLAlchemyError) as error:
                    if self.state == source.name or not self.state:
                        logger.warning("%s cannot be followed: %s", source.name, error)
                except Exception:  # the edge of a thread: whatever it was, pages must not stay as they are for ever
                    logger.exception("%s cannot be followed", source.name)
            else:
                self.state = ""
                self._over.wait(_AGAIN_S)

    def _follow(self, source: Source, until_s: float | None) -> None:
        for _ in source.follow():
            if self.state != source.name:
                logger.info("changes come by %s", source.name)
                self.state = source.name
            self._catch_up()
            if self._over.is_set() or (until_s is not None and time.monotonic() >= until_s):
                return

    def _catch_up(self) -> None:
        while batch := self.history.after(self._last, _BATCH):
            for change in batch:
                self._hand_out(change)

    def _hand_out(self, change: Change) -> None:
        if change.id <= self._last:
            return
        self._last, told = change.id, frame(change)
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            try:
                client.waiting.put_nowait((change.id, told))
            except queue.Full:
                client.lost = True
