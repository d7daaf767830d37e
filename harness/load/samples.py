"""From the generator's lines to windows: pure, incremental, and the same however often it is asked.

The lines, one JSON object each; all times are CLOCK_MONOTONIC seconds, which every process of the machine shares:

    {"k":"ready","at":123.4}                                          the load begins
    {"k":"sent","n":12,"route":"browse","due":123.456,"lag":0.0004}   was due at 123.456, and left 0.4 ms late
    {"k":"dropped","n":13,"route":"browse","due":123.46,"lag":0.0}    never sent: too many were in flight
    {"k":"done","n":12,"status":200,"right":true,"end":123.5,"error":""}

A window is decided ``settle_s`` after its end, when each of its arrivals has ended or is known to be too late. It is
judged as of that moment, so that a reader who comes late sees what a punctual one saw.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.model.window import RouteWindow, Window

_LINE_BYTES = 1 << 20  # the generator's are a thousandth of it
_BEFORE_S, _AFTER_S = -1.0, 1e9  # what no time of a trial lies outside of: a window too far away would never end
_SETTLE_MARGIN_S = 0.1  # between the end of a request and its line being read


@dataclass(slots=True)
class _Arrival:
    route: str
    due_s: float
    end_s: float = math.inf
    right: bool = False
    dropped: bool = False


class Samples:
    """Feed it what the generator wrote, in pieces of any size; ask it what has been decided.

    ``routes`` are listed in every window, with zeros where nobody came. ``origin`` is the monotonic time at which the
    trial began; times are given and returned in seconds since then. A route without a threshold is never slow.
    ``expected`` are the arrivals of the schedule, (seconds since the load began, number), in order, if there is one.
    """

    def __init__(
        self,
        *,
        window_s: float,
        origin: float,
        thresholds_ms: Mapping[str, float],
        routes: Iterable[str] = (),
        expected: Iterable[tuple[float, int]] = (),
    ) -> None:
        self.garbage = 0  # lines that could not be understood
        self.settle_s = max(thresholds_ms.values(), default=0.0) / 1000 + _SETTLE_MARGIN_S
        self.start_s: float | None = None  # when the load began; None until it did
        self._window_s = window_s
        self._origin = origin
        self._limits_s = {route: limit / 1000 for route, limit in thresholds_ms.items()}
        self._routes = dict.fromkeys(routes)
        self._expected = iter(expected)
        self._next = next(self._expected, None)  # of the expected, the first that has not come
        self._came: set[int] = set()  # the numbers of those that have, from that one on
        self._rest = b""
        self._open: dict[int, _Arrival] = {}
        self._windows: defaultdict[int, list[_Arrival]] = defaultdict(list)
        self._lags_s: defaultdict[int, list[float]] = defaultdict(list)
        self._decided = 0

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes of the file. A last line without an end waits for the rest of it."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                self.garbage += 1
        if len(self._rest) > _LINE_BYTES:
            self._rest = b""  # what is left of that line is garbage too
            self.garbage += 1

    def decided(self, now_s: float) -> list[Window]:
        """The windows decided by ``now_s`` and not returned before, in order. None is left out: zero is evidence."""
        count = self._decidable(now_s)
        windows = [self._window(index, self._decision_s(index)) for index in range(self._decided, count)]
        self._decided = max(self._decided, count)
        return windows

    def settled(self, now_s: float) -> tuple[Window, ...]:
        """All windows decided by ``now_s``, from the first, with what has become of their requests since."""
        return tuple(self._window(index, now_s) for index in range(self._decidable(now_s)))

    def overdue_s(self, now_s: float) -> float:
        """For how long the first of the expected arrivals that has not come has been due; 0.0 where none is."""
        while self._next and self._next[1] in self._came:
            self._came.remove(self._next[1])
            self._next = next(self._expected, None)
        if self._next is None or self.start_s is None:
            return 0.0
        return max(0.0, now_s - self.start_s - self._next[0])

    def _take(self, line: dict[str, object]) -> None:
        match line["k"]:
            case "sent" | "dropped" as kind:
                self._arrive(line, dropped=kind == "dropped")
            case "done":
                number, end_s, right = _whole(line["n"]), self._time(line["end"]), line["right"] is True
                arrival = self._open.pop(number)
                arrival.end_s, arrival.right = end_s, right
            case "ready":
                start_s = self._time(line["at"])
                self.start_s = start_s if self.start_s is None else self.start_s
            case kind:
                raise ValueError(f"a line of the unknown kind {kind!r}")

    def _arrive(self, line: dict[str, object], *, dropped: bool) -> None:
        number, lag_s, route = _whole(line["n"]), _number(line["lag"]), line["route"]
        due_s = self._time(line["due"])
        if not isinstance(route, str):
            raise TypeError("a route is a text")
        if self.start_s is None:
            self.start_s = due_s
        arrival = _Arrival(route=route, due_s=due_s, dropped=dropped)
        if not dropped:
            self._open[number] = arrival
        self._routes.setdefault(route)
        if self._next:
            self._came.add(number)
        index = max(0, math.floor((due_s - self.start_s) / self._window_s))
        self._windows[index].append(arrival)
        self._lags_s[index].append(lag_s)
        if index < self._decided:  # so late that its own window is gone: the next one tells
            self._lags_s[self._decided].append(lag_s)

    def _time(self, value: object) -> float:
        """In seconds since the trial began. ValueError where that cannot be."""
        seconds = _number(value) - self._origin
        if not _BEFORE_S <= seconds <= _AFTER_S:
            raise ValueError(f"{value!r} is no time of this trial")
        return seconds

    def _decision_s(self, index: int) -> float:
        assert self.start_s is not None
        return self.start_s + (index + 1) * self._window_s + self.settle_s

    def _decidable(self, now_s: float) -> int:
        """How many windows are decided at ``now_s``."""
        if self.start_s is None:
            return 0
        count = max(0, math.floor((now_s - self.start_s - self.settle_s) / self._window_s))
        while self._decision_s(count) <= now_s:  # the division may round either way
            count += 1
        while count and self._decision_s(count - 1) > now_s:
            count -= 1
        return count

    def _window(self, index: int, as_of_s: float) -> Window:
        assert self.start_s is not None
        by_route: dict[str, list[_Arrival]] = {route: [] for route in self._routes}
        for arrival in self._windows.get(index, ()):
            by_route[arrival.route].append(arrival)
        return Window(
            index=index,
            start_s=self.start_s + index * self._window_s,
            end_s=self.start_s + (index + 1) * self._window_s,
            routes={
                route: _summary(arrivals, as_of_s, self._limits_s.get(route, math.inf))
                for route, arrivals in by_route.items()
            },
            lag_p99_ms=1000 * (nearest_rank(sorted(self._lags_s.get(index, ())), 0.99) or 0.0),
        )


def nearest_rank(ordered: list[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of the ``ordered`` values do not exceed; None when there is none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _summary(arrivals: list[_Arrival], as_of_s: float, limit_s: float) -> RouteWindow:
    fates: Counter[str] = Counter()
    ages_ms: list[float] = []
    for arrival in arrivals:
        age_s = min(arrival.end_s, as_of_s) - arrival.due_s
        fates[_fate(arrival, age_s, as_of_s, limit_s)] += 1
        if not arrival.dropped:
            ages_ms.append(max(0.0, age_s * 1000))
    ages_ms.sort()
    p50_ms, p95_ms, p99_ms = (nearest_rank(ages_ms, share) for share in (0.50, 0.95, 0.99))
    return RouteWindow(**fates, p50_ms=p50_ms, p95_ms=p95_ms, p99_ms=p99_ms)


def _fate(arrival: _Arrival, age_s: float, as_of_s: float, limit_s: float) -> str:
    if arrival.dropped:
        return "dropped"
    if arrival.end_s > as_of_s:
        return "pending"
    if not arrival.right:
        return "failed"
    return "ok" if age_s <= limit_s else "slow"


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _AFTER_S:
        raise TypeError("no number that could be meant")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("no whole number")
    return value
