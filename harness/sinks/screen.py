"""What moves while a trial runs: the phase, and a row per route with its last minute."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from threading import Lock
from time import monotonic

from rich.console import Console as Terminal
from rich.console import ConsoleOptions, Group, RenderResult
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness.model.event import Event, PhaseStarted, TrialEnded, TrialStarted, WindowObserved
from harness.model.window import RouteWindow
from harness.sinks.lines import milliseconds
from harness.sinks.printable import one_line

BARS = "▁▂▃▄▅▆▇█"
KEPT = 60  # windows in a sparkline
NUMBERS_WIDTH = 9 + 4 + 4 + 4 * 2  # p95, ok/s, bad, and the gaps
HELD, BROKEN, QUIET = "green", "red", "bright_black"


class Screen:
    """Learns from events on one thread, and draws itself on another as often as it is asked."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._at_s, self._seen = 0.0, monotonic()
        self._phases: list[tuple[str, float]] = []
        self._thresholds_ms: dict[str, float] = {}
        self._slo_held: bool | None = None
        self._routes: dict[str, deque[tuple[RouteWindow, str]]] = {}
        self._last: dict[str, tuple[RouteWindow, float]] = {}
        self._sign: Spinner | str = Spinner("dots", style="cyan")

    def observe(self, event: Event) -> None:
        with self._lock:
            self._at_s, self._seen = event.at_s, monotonic()
            match event:
                case TrialStarted():
                    self._thresholds_ms = dict(event.thresholds_ms)
                case PhaseStarted():
                    self._phases.append((one_line(event.name, 30), event.at_s))
                case WindowObserved():
                    self._add(event)
                case TrialEnded():
                    self._sign, self._slo_held = "■", None
                case _:
                    pass

    def __rich_console__(self, terminal: Terminal, options: ConsoleOptions) -> RenderResult:
        room = max(1, (options.height or terminal.height) - 5)  # never taller than the window it stands in
        with self._lock:
            shown = list(self._routes)[: room - 1 if len(self._routes) > room else room]
            left_out = len(self._routes) - len(shown)
            more = [Text(f"… {left_out} more routes", "dim")] if left_out else []
            picture = Group("", self._phase_line(options.max_width), self._table(options.max_width, shown), *more)
        yield picture

    def _add(self, event: WindowObserved) -> None:
        self._slo_held = event.slo_held
        for name, route in event.window.routes.items():
            row = self._routes.setdefault(name, deque(maxlen=KEPT))
            row.append((route, self._colour(name, route, held=event.slo_held)))
            self._last[name] = route, event.window.end_s - event.window.start_s

    def _colour(self, name: str, route: RouteWindow, *, held: bool) -> str:
        """Red are the routes that a broken SLO may be blamed on: over their threshold, or over 1 % bad."""
        limit = self._thresholds_ms.get(name)
        if limit is None or not route.arrivals:
            return QUIET
        late = route.p95_ms is None or route.p95_ms > limit
        return BROKEN if not held and (late or route.bad > 0.01 * route.arrivals) else HELD

    def _phase_line(self, width: int) -> Table:
        moves = isinstance(self._sign, Spinner)
        now_s = self._at_s + (monotonic() - self._seen if moves else 0.0)
        unknown = ("no traffic yet", QUIET) if moves else ("the end", QUIET)
        slo = {None: unknown, True: ("SLO held", HELD), False: ("SLO broken", f"bold {BROKEN}")}
        clock = Text.assemble(f"{now_s:.1f} s  ", slo[self._slo_held])
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_row(self._sign, clock, self._phases_within(width - len(clock) - 5, now_s))
        return grid

    def _phases_within(self, width: int, now_s: float) -> Text:
        """The phase we are in, and as many of those before it as there is room for."""
        if not self._phases:
            return Text("starting", "bold cyan")
        name, start_s = self._phases[-1]
        line = Text.assemble((name, "bold cyan"), f" {max(0.0, now_s - start_s):.1f} s")
        end_s = start_s
        for name, start_s in reversed(self._phases[:-1]):
            earlier = Text.assemble((f"{name} {end_s - start_s:.1f} s → ", "dim"), line)
            if len(earlier) > width:
                break
            line, end_s = earlier, start_s
        return line

    def _table(self, width: int, shown: Sequence[str]) -> Table:
        name_width = max((min(len(name), width // 5) for name in shown), default=5)
        bars = min(KEPT, max(8, width - name_width - NUMBERS_WIDTH))
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        table.add_column("route", no_wrap=True, max_width=max(5, name_width), overflow="ellipsis")
        table.add_column(f"p95 of the last {bars} windows"[:bars], no_wrap=True, width=bars)
        for heading, digits in (("p95", 9), ("ok/s", 4), ("bad", 4)):
            table.add_column(heading, justify="right", no_wrap=True, min_width=digits)
        for name in shown:
            route, seconds = self._last[name]
            colour = self._routes[name][-1][1]
            bad = route.bad / max(1, route.arrivals)
            table.add_row(
                Text(one_line(name, 40)),
                self._sparkline(name, bars),
                Text(milliseconds(route.p95_ms), colour),
                f"{route.ok / seconds if seconds > 0 else 0.0:.0f}",
                Text(f"{bad:.0%}", BROKEN if bad > 0.01 else QUIET),
            )
        return table

    def _sparkline(self, name: str, bars: int) -> Text:
        line = Text(no_wrap=True)
        for route, colour in list(self._routes[name])[-bars:]:
            line.append(self._bar(name, route), colour)
        return line

    def _bar(self, name: str, route: RouteWindow) -> str:
        """A doubling of p95 is one step; the route's threshold stands at half height."""
        if not route.arrivals:
            return "·"
        if route.p95_ms is None:
            return BARS[-1]
        ratio = max(route.p95_ms, 0.001) / self._thresholds_ms.get(name, 100.0)
        return BARS[min(7, max(0, round(4 + math.log2(ratio))))]
