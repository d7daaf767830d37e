"""Load without processes: what users would have seen is computed, for dry runs and tests."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.load.samples import nearest_rank
from harness.load.schedule import offsets, schedule
from harness.model.scenario import LoadSpec
from harness.model.source import Endpoints
from harness.model.window import RouteWindow, Window
from harness.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How a route serves its users: shares of arrivals from 0 to 1, and how long an answer usually takes."""

    failed: float = 0.0
    slow: float = 0.0
    latency_ms: float = 10.0


class MemoryLoad:
    """Implements ports.Load. The same seed gives the same windows.

    ``quality`` is asked once a window, when the window is observed, and gives each route's quality at that time; a
    route that it leaves out is well. Time is ``clock``'s, which ``observe`` lets pass by ``sleep``.
    """

    def __init__(
        self,
        spec: LoadSpec,
        *,
        thresholds_ms: Mapping[str, float],
        window_s: float,
        seed: int,
        quality: Callable[[], Mapping[str, Quality]],
        clock: Clock,
    ) -> None:
        self._spec = spec
        self._thresholds_ms = thresholds_ms
        self._window_s = window_s
        self._seed = seed
        self._quality = quality
        self._clock = clock

    @contextmanager
    def running(self, endpoints: Endpoints) -> Iterator[MemoryTraffic]:
        routes = [route.name for route in self._spec.routes] or list(self._thresholds_ms)
        arrivals = _arrivals(self._spec, routes, self._seed)
        yield MemoryTraffic(
            arrivals, routes, self._thresholds_ms, self._window_s, self._seed, self._quality, self._clock
        )


class MemoryTraffic:
    """Implements ports.Traffic. Every request ends at once, so that a window is decided when it ends."""

    def __init__(
        self,
        arrivals: Iterator[tuple[float, str]],
        routes: Sequence[str],
        thresholds_ms: Mapping[str, float],
        window_s: float,
        seed: int,
        quality: Callable[[], Mapping[str, Quality]],
        clock: Clock,
    ) -> None:
        self._arrivals = arrivals
        self._next = next(arrivals)
        self._routes = routes
        self._thresholds_ms = thresholds_ms
        self._window_s = window_s
        self._draw = random.Random(f"{seed}/fates")  # noqa: S311 - a reproducible choice, no secret
        self._quality = quality
        self._clock = clock
        self._start_s = clock.now()
        self._windows: list[Window] = []

    def observe(self, wait_s: float) -> Window | None:
        index = len(self._windows)
        end_s = self._start_s + (index + 1) * self._window_s
        left_s = end_s - self._clock.now()
        if left_s > 0:
            self._clock.sleep(min(left_s, wait_s))
        if left_s > wait_s:
            return None
        quality = self._quality()
        counts = dict.fromkeys(self._routes, 0)
        while self._next[0] < (index + 1) * self._window_s:
            counts[self._next[1]] += 1
            self._next = next(self._arrivals)
        window = Window(
            index=index,
            start_s=end_s - self._window_s,
            end_s=end_s,
            routes={route: self._fates(route, count, quality.get(route, Quality())) for route, count in counts.items()},
        )
        self._windows.append(window)
        return window

    def settled(self) -> Sequence[Window]:
        return tuple(self._windows)

    def _fates(self, route: str, arrivals: int, quality: Quality) -> RouteWindow:
        limit_ms = self._thresholds_ms.get(route, math.inf)
        ok = slow = failed = 0
        ages_ms = []
        for _ in range(arrivals):
            fate, age_ms = self._draw.random(), quality.latency_ms * self._draw.uniform(0.8, 1.2)
            if fate < quality.failed:
                failed += 1
            elif fate < quality.failed + quality.slow or age_ms > limit_ms:
                slow += 1
                age_ms = max(age_ms, 2 * limit_ms) if limit_ms < math.inf else age_ms
            else:
                ok += 1
            ages_ms.append(age_ms)
        ages_ms.sort()
        p50_ms, p95_ms, p99_ms = (nearest_rank(ages_ms, share) for share in (0.50, 0.95, 0.99))
        return RouteWindow(ok=ok, slow=slow, failed=failed, p50_ms=p50_ms, p95_ms=p95_ms, p99_ms=p99_ms)


def _arrivals(spec: LoadSpec, routes: Sequence[str], seed: int) -> Iterator[tuple[float, str]]:
    if spec.routes:
        return ((arrival.offset_s, arrival.route) for arrival in schedule(spec, seed))
    # a locustfile is not run here: its routes take turns
    return ((offset_s, routes[number % len(routes)]) for offset_s, number in offsets(spec.arrivals, seed))
