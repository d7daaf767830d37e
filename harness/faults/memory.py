"""A fault that only remembers whether it is on: for dry runs and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.model.source import Endpoints
from harness.model.verdict import CheckResult


class MemoryFault:
    """Implements ``ports.Fault``. ``switched`` is called with True and, at the end, with False."""

    kind = "memory"

    def __init__(self, switched: Callable[[bool], None] = lambda on: None) -> None:
        self._switched = switched
        self.on = False

    @contextmanager
    def active(self, endpoints: Endpoints) -> Iterator[MemoryFault]:
        self._switch(True)
        try:
            yield self
        finally:
            self._switch(False)

    def check(self) -> CheckResult:
        return CheckResult(name="fault still on (memory)", passed=self.on, evidence=f"on is {self.on}")

    def _switch(self, on: bool) -> None:
        self.on = on
        self._switched(on)
