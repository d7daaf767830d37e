"""Is something wrong? From what the app says (markers) and from what users feel (burn rate). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.model.incident import Incident, Signal
from harness.model.scenario import Detection, Slo
from harness.model.window import RouteWindow, Window
from harness.trial import slo

_MARKER = re.compile(r"\bFAULT_[A-Z0-9_]+\b")
_TELLING = re.compile(rf"{_MARKER.pattern}|\bERROR\b|\bCRITICAL\b|Traceback")
_LOG_LINES = 60  # of the app's log that the healer gets to see
_LINE_CHARACTERS = 2000


def marker_in(lines: Sequence[str]) -> tuple[str, str] | None:
    """The first FAULT_ marker and the line that carries it."""
    for line in lines:
        if match := _MARKER.search(line):
            return match[0], line
    return None


def detect(
    rule: Detection, slos: Sequence[Slo], *, at_s: float, lines: Sequence[str], windows: Sequence[Window]
) -> list[Signal]:
    """The signals that are there now, from new log ``lines`` and from ``windows``, those before the fault included."""
    found: list[Signal] = []
    if rule.markers and (marker := marker_in(lines)):
        found.append(Signal(kind="marker", at_s=at_s, detail=marker[0]))
    if rule.burn_rate and (burn := slo.burning(slos, windows, rule.burn_rate)):
        found.append(Signal(kind="burn_rate", at_s=at_s, detail=burn))
    return found


def describe(
    incident_id: str, signal: Signal, *, lines: Sequence[str], windows: Sequence[Window], commit: str, now: str
) -> Incident:
    """The incident as an on-call engineer would file it. It says what is seen, never what was injected."""
    window = windows[-1] if windows else None
    marker = (
        signal.detail
        if signal.kind == "marker"
        else (marker_in(lines) or ("REPORTED" if signal.kind == "page" else "SLO_BURN", ""))[0]
    )
    routes = sorted(window.routes.items()) if window else []
    return Incident(
        id=incident_id,
        error_code=marker,
        symptoms=_symptoms(signal, window),
        breadcrumbs=(
            f"release {commit[:12]} is running",
            f"signal: {signal.kind.replace('_', ' ')}: {signal.detail}",
            *(_route_line(name, route) for name, route in routes if route.bad),
        ),
        logs=_telling_lines(lines),
        window=window,
        detected_at=now,
    )


def _symptoms(signal: Signal, window: Window | None) -> str:
    said = f"the app logs {signal.detail}" if signal.kind == "marker" else signal.detail
    if window is None or not window.bad:
        return f"{said}; no request was seen to fail yet"
    return (
        f"{said}; {window.bad} of {window.arrivals} requests in the last {window.end_s - window.start_s:g} s were bad"
    )


def _route_line(name: str, route: RouteWindow) -> str:
    p95 = "none answered" if route.p95_ms is None else f"p95 {route.p95_ms:.0f} ms"
    return (
        f"route {name}: {route.arrivals} arrivals, {route.failed} failed, {route.slow} slow, "
        f"{route.pending} unanswered, {route.dropped} dropped, {p95}"
    )


def _telling_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines that carry a marker, an error or a part of a traceback; where there are none, the last lines."""
    telling: list[str] = []
    in_traceback = False
    for line in lines:
        if in_traceback or _TELLING.search(line):
            telling.append(line)
        in_traceback = line.startswith("Traceback (") or (in_traceback and line.startswith(" "))
    chosen = (telling or list(lines))[-_LOG_LINES:]
    return tuple(line[:_LINE_CHARACTERS] for line in chosen)
