"""What users saw in one interval, by route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteWindow:
    """One route in one interval. Every arrival is counted in exactly one of ok, slow, failed, dropped, pending.

    Latencies run from the *intended* start, so that waiting in a stalled generator or queue counts
    (coordinated omission: G. Tene, "How NOT to Measure Latency"). A pending request enters the
    percentiles with its age so far, a lower bound.
    """

    ok: int = 0  # right answer, within the route's threshold
    slow: int = 0  # right answer, too late
    failed: int = 0  # wrong answer, connection error or time-out
    dropped: int = 0  # never sent: the cap on requests in flight was reached
    pending: int = 0  # sent, no answer when the window was decided
    p50_ms: float | None = None  # None: nothing was answered
    p95_ms: float | None = None
    p99_ms: float | None = None

    @property
    def arrivals(self) -> int:
        return self.ok + self.slow + self.failed + self.dropped + self.pending

    @property
    def wrong(self) -> int:
        """Arrivals that got no right answer: failed, dropped or still waiting."""
        return self.failed + self.dropped + self.pending

    @property
    def bad(self) -> int:
        """Arrivals that a user would complain about: wrong or slow."""
        return self.wrong + self.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Arrivals whose intended start lies in [start_s, end_s), in seconds since the trial began."""

    index: int
    start_s: float
    end_s: float
    routes: Mapping[str, RouteWindow]
    lag_p99_ms: float = 0.0  # how late the generator itself was in sending

    @property
    def arrivals(self) -> int:
        return sum(route.arrivals for route in self.routes.values())

    @property
    def right(self) -> int:
        """Arrivals that got a right answer, in time or late."""
        return sum(route.ok + route.slow for route in self.routes.values())

    @property
    def bad(self) -> int:
        return sum(route.bad for route in self.routes.values())
