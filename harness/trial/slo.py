"""Do the objectives hold in these windows? Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from harness.model.scenario import BurnRate, Slo
from harness.model.window import RouteWindow, Window

_SLOW_ALLOWED = 0.05  # what a p95 leaves


def _routes(slo: Slo, windows: Iterable[Window]) -> list[RouteWindow]:
    return [window.routes[name] for window in windows for name in slo.routes if name in window.routes]


def holds(slo: Slo, window: Window) -> bool:
    """At least ``objective`` of arrivals got a right answer, and 95 % one within the threshold.

    A wrong answer counts as infinitely late (nearest-rank p95 over all arrivals). No arrivals is not health.
    """
    routes = _routes(slo, [window])
    arrivals = sum(route.arrivals for route in routes)
    wrong = sum(route.wrong for route in routes)
    bad = sum(route.bad for route in routes)
    enough_right = wrong <= (1 - slo.objective) * arrivals + 1e-9
    p95_in_time = bad <= arrivals - math.ceil((1 - _SLOW_ALLOWED) * arrivals - 1e-9)
    return arrivals > 0 and enough_right and p95_in_time


def good(slos: Sequence[Slo], window: Window, min_requests: int) -> bool:
    """Every objective holds, and enough arrived to believe it."""
    return window.arrivals >= min_requests and all(holds(slo, window) for slo in slos)


def broken(slos: Sequence[Slo], window: Window) -> list[str]:
    """The names of the objectives that arrivals are seen to break; no arrivals break nothing."""
    return [slo.name for slo in slos if not holds(slo, window) and any(r.arrivals for r in _routes(slo, [window]))]


def burn_rate(slo: Slo, windows: Sequence[Window]) -> float:
    """How many times faster than allowed the error budget burns; 1.0 is just what the objective allows.

    There are two allowances, as in `holds`: wrong answers against (1 - objective), and bad ones, slow or wrong,
    against the 5 % that p95 leaves. The larger counts.
    """
    routes = _routes(slo, windows)
    arrivals = sum(route.arrivals for route in routes)
    if not arrivals:
        return 0.0
    wrong, bad = sum(route.wrong for route in routes), sum(route.bad for route in routes)
    return max(wrong / arrivals / (1 - slo.objective), bad / arrivals / _SLOW_ALLOWED)


def burning(slos: Sequence[Slo], windows: Sequence[Window], rule: BurnRate) -> str | None:
    """Which objective burns its budget too fast, over the long and over the short window; None: none does.

    Source: Google SRE Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
    """
    if not windows:
        return None
    now_s = windows[-1].end_s
    for slo in slos:
        long, short = (
            burn_rate(slo, [window for window in windows if window.end_s > now_s - span_s + 1e-9])
            for span_s in (rule.long_s, rule.short_s)
        )
        if min(long, short) >= rule.factor * (1 - 1e-9):
            return (
                f"{slo.name} burns its error budget {long:.0f} times too fast over {rule.long_s:g} s "
                f"and {short:.0f} times over {rule.short_s:g} s"
            )
    return None


def budget_burned(slos: Sequence[Slo], windows: Sequence[Window]) -> float:
    """The burn rate over all windows, of the objective that suffered most. 1.0 is all of the budget."""
    return max((burn_rate(slo, windows) for slo in slos), default=0.0)


def first_good_run(
    slos: Sequence[Slo], windows: Sequence[Window], min_requests: int, consecutive: int
) -> tuple[Window, Window] | None:
    """First and last window of the first run of ``consecutive`` good ones; None: there is no such run."""
    run: list[Window] = []
    for window in windows:
        run = [*run, window] if good(slos, window, min_requests) else []
        if len(run) == consecutive:
            return run[0], run[-1]
    return None
