"""A sink whose service is not up yet when the first events come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.model.event import Event
from harness.ports import Sink


class LateSink:
    """Keeps events until ``attached``, hands them over in order, then passes each on at once; deaf afterwards."""

    def __init__(self) -> None:
        self._sink: Sink | None = None
        self._waiting: list[Event] | None = []

    def __call__(self, event: Event) -> None:
        if self._sink:
            self._sink(event)
        elif self._waiting is not None:
            self._waiting.append(event)

    @contextmanager
    def attached(self, sink: Sink) -> Iterator[None]:
        waiting, self._waiting = self._waiting or [], None
        for event in waiting:
            sink(event)
        self._sink = sink
        try:
            yield
        finally:
            self._sink = None
