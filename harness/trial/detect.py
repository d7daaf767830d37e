"""Is something wrong? From what the app says (markers) and from what users feel (burn rate). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.model.incident import Incident, Signal
from harness.model.scenario import Detection, Slo
from harness.model.window import RouteWindow, Window
from harness.trial import slo

_MARKER = re.compile(r"FAULT_[A-Z0-9_]{1,64}(?![\w=])")
_BY_ITSELF = re.compile(r"""(?:[\s\[({<|,;:]|[:\[,]\s?"|\b(?:marker|fault|error|code)="?)\Z""")
_BEFORE = 10  # characters before a marker that tell whether it stands by itself
_TELLING = re.compile(r"\b(?:FAULT_[A-Z0-9_]|ERROR\b|CRITICAL\b|Killed process\b)|Traceback")
_TELLING_WORDS = (
    "FAULT_",
    "ERROR",
    "CRITICAL",
    "Killed process",
    "Traceback",
)  # looked for first: much faster
_LOG_LINES = 60  # of the app's log that the healer gets to see


def marker_in(lines: Sequence[str]) -> tuple[str, str] | None:
    """The first FAULT_ marker and the line that carries it.

    What users write is logged too, so a marker has to stand by itself, to begin a JSON text, or to be the value of
    ``marker=``, ``fault=``, ``error=`` or ``code=``. In a URL, quoted, or as another key's value it is anybody's word.
    """
    for line in lines:
        if "FAULT_" in line:
            for match in _MARKER.finditer(line):
                start = match.start()
                if start == 0 or _BY_ITSELF.search(line, max(0, start - _BEFORE), start):
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
    incident_id: str,
    signal: Signal,
    *,
    markers: bool,
    lines: Sequence[str],
    windows: Sequence[Window],
    commit: str,
    now: str,
) -> Incident:
    """The incident as an on-call engineer would file it. It says what is seen, never what was injected.

    Log lines are whole. Without ``markers`` none is looked for: what users write is logged too.
    """
    window = windows[-1] if windows else None
    routes = sorted(window.routes.items()) if window else []
    return Incident(
        id=incident_id,
        error_code=_error_code(signal, lines if markers else ()),
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


def _error_code(signal: Signal, lines: Sequence[str]) -> str:
    if signal.kind == "marker":
        return signal.detail
    marker = marker_in(lines[::-1])  # the latest: one from before the outage names another
    return marker[0] if marker else "REPORTED" if signal.kind == "page" else "SLO_BURN"


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
    """The last lines that carry a marker, an error, a traceback or a kill for want of memory; else the last lines."""
    telling: list[str] = []
    in_traceback = False
    for line in lines:
        if in_traceback or (any(word in line for word in _TELLING_WORDS) and _TELLING.search(line)):
            telling.append(line)
        in_traceback = line.startswith("Traceback (") or (in_traceback and line.startswith(" "))
    return tuple((telling or list(lines))[-_LOG_LINES:])
