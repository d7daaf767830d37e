"""A sink that keeps events in memory: dry runs and tests look at what happened."""

from __future__ import annotations

from harness.model.event import Event


class MemorySink:
    """Collects every event in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        """The tags of the events, in order."""
        return [event.type for event in self.events]
