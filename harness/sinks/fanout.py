"""One sink in front of many: the required ones first and in order, the optional ones never in the way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from queue import Full, Queue
from threading import Event as Flag
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Self

from harness.model.event import Event
from harness.ports import Sink

logger = logging.getLogger(__name__)


class FanOut:
    """Hands each event to every sink. Errors of ``required`` sinks reach the caller.

    ``optional`` sinks run one after the other on a thread of their own: what fails there becomes a line in
    ``warnings``, once a sink, and what is slow costs the trial nothing. ``close`` waits at most ``drain_s``
    seconds for them; events that a stuck sink leaves behind are counted in ``warnings``, not lost in silence.
    """

    def __init__(
        self, required: Sequence[Sink], optional: Sequence[Sink] = (), *, capacity: int = 2000, drain_s: float = 5.0
    ) -> None:
        self.warnings: list[str] = []
        self._required = tuple(required)
        self._optional = tuple(optional)
        self._drain_s = drain_s
        self._queue: Queue[Event | None] = Queue(capacity)
        self._abandoned = Flag()
        self._missed = 0
        self._blamed: set[int] = set()
        self._worker = Thread(target=self._work, name="optional-sinks", daemon=True)
        if self._optional:
            self._worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        for sink in self._required:
            sink(event)
        if not self._optional:
            return
        try:
            self._queue.put_nowait(event)
        except Full:
            self._missed += 1

    def close(self) -> None:
        """Let the optional sinks finish what is queued, for ``drain_s`` seconds at most."""
        if not self._worker.is_alive():
            return
        deadline = monotonic() + self._drain_s
        with suppress(Full):
            self._queue.put(None, timeout=self._drain_s)
        self._worker.join(max(0.0, deadline - monotonic()))
        if self._worker.is_alive():
            self._abandoned.set()
            self._missed += max(1, self._queue.qsize())
        if self._missed:
            self._warn(f"optional sinks were too slow: at least {self._missed} events did not reach all of them")

    def _work(self) -> None:
        while (event := self._queue.get()) is not None and not self._abandoned.is_set():
            for sink in self._optional:
                self._hand(event, sink)

    def _hand(self, event: Event, sink: Sink) -> None:
        try:
            sink(event)
        except Exception as error:  # the edge: whatever an optional sink raises, the trial goes on
            if id(sink) not in self._blamed:
                self._blamed.add(id(sink))
                name = getattr(sink, "__name__", type(sink).__name__)
                self._warn(f"{name} failed at {event.type} and may miss events: {type(error).__name__}: {error}")

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        logger.warning(text)
