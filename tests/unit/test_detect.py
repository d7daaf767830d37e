"""What counts as a signal, and what the healer is told."""

from __future__ import annotations

import dataclasses
import json

import pytest

from harness.model.incident import Incident, Signal
from harness.model.scenario import Detection, Slo
from harness.model.window import RouteWindow, Window
from harness.trial.detect import describe, detect, marker_in

FAST = Slo.model_validate({"name": "fast", "routes": ["browse"], "latency": {"p95Ms": 300}, "objective": 0.99})
BAD = Window(index=0, start_s=8, end_s=9, routes={"browse": RouteWindow(ok=10, failed=10), "buy": RouteWindow(ok=5)})
GOOD = Window(index=0, start_s=8, end_s=9, routes={"browse": RouteWindow(ok=20)})
SIGNAL = Signal(kind="marker", at_s=9.0, detail="FAULT_DB_TIMEOUT")
JSON_LINE = json.dumps({"level": "ERROR", "marker": "FAULT_DB_TIMEOUT", "message": "a query held a connection"})


# --- signals ---


@pytest.mark.parametrize(
    ("line", "marker"),
    [
        (JSON_LINE, "FAULT_DB_TIMEOUT"),
        ("[2026-11-07] ERROR FAULT_EXTERNAL_API_LATENCY: late", "FAULT_EXTERNAL_API_LATENCY"),
        ('{"marker":"FAULT_2"}', "FAULT_2"),
        ("FAULT_A and FAULT_B", "FAULT_A"),
        ("ENABLE_FAULT_INJECTION=true", None),
        ("a fault_db_timeout", None),
        ("FAULT_", None),
        ("level=error marker=FAULT_A", "FAULT_A"),
        ('level=error code="FAULT_A" late', "FAULT_A"),
        ("[FAULT_A] (FAULT_B)", "FAULT_A"),
        ('{"message": "FAULT_A: late"}', "FAULT_A"),
        ('{"codes":["FAULT_A"]}', "FAULT_A"),
        ('"GET /search?q=FAULT_A HTTP/1.1" 200', None),
        ('{"path": "/FAULT_A"}', None),
        ("no product 'FAULT_A'", None),
        ('{"message": "no product \\"FAULT_A\\""}', None),
        ("q=FAULT_A postmarker=FAULT_A", None),
        ("no product 'FAULT_A': FAULT_B", "FAULT_B"),
        ("FAULT_INJECTION=true", None),
        ("FAULT_" + "A" * 65, None),
        ("DEFAULT_FAULTY", None),
    ],
)
def test_a_marker_is_a_word_of_its_own(line: str, marker: str | None) -> None:
    found = marker_in(["nothing", line])
    assert found == (None if marker is None else (marker, line))


def test_each_kind_of_signal_is_found_where_the_rule_asks_for_it() -> None:
    def kinds(rule: dict[str, object], line: str = JSON_LINE, window: Window = BAD) -> list[str]:
        found = detect(Detection.model_validate(rule), [FAST], at_s=9.1, lines=[line], windows=[window])
        assert all(signal.at_s == 9.1 for signal in found)
        return [signal.kind for signal in found]

    assert kinds({}) == ["marker", "burn_rate"]
    assert kinds({"markers": False}) == ["burn_rate"]
    assert kinds({"burnRate": None}) == ["marker"]
    assert kinds({"markers": False, "burnRate": None}) == []
    assert kinds({}, line="all is well") == ["burn_rate"]
    assert kinds({}, window=GOOD) == ["marker"]
    assert detect(Detection(), [FAST], at_s=9.1, lines=[], windows=[]) == []


# --- the incident ---


def incident(*lines: str, signal: Signal = SIGNAL, window: Window | None = BAD, markers: bool = True) -> Incident:
    return describe(
        "inc-7f3a",
        signal,
        markers=markers,
        lines=lines,
        windows=[window] if window else [],
        commit="0123456789abcdef",
        now="2026-11-07T12:00Z",
    )


def test_an_incident_says_what_is_seen() -> None:
    found = incident(JSON_LINE)
    assert (found.id, found.error_code, found.detected_at) == ("inc-7f3a", "FAULT_DB_TIMEOUT", "2026-11-07T12:00Z")
    assert found.symptoms == "the app logs FAULT_DB_TIMEOUT; 10 of 25 requests in the last 1 s were bad"
    assert found.breadcrumbs == (
        "release 0123456789ab is running",
        "signal: marker: FAULT_DB_TIMEOUT",
        "route browse: 20 arrivals, 10 failed, 0 slow, 0 unanswered, 0 dropped, none answered",
    )
    assert found.logs == (JSON_LINE,) and found.window is BAD


def test_an_incident_has_no_place_for_the_answer() -> None:
    names = {field.name for field in dataclasses.fields(Incident)}
    assert names == {"id", "error_code", "symptoms", "breadcrumbs", "logs", "window", "detected_at"}


def test_without_a_marker_the_code_is_that_of_the_burn_rate() -> None:
    burn = Signal(kind="burn_rate", at_s=9.0, detail="fast burns its error budget 50 times too fast")
    assert incident("no word of it", signal=burn).error_code == "SLO_BURN"
    assert incident(JSON_LINE, signal=burn).error_code == "FAULT_DB_TIMEOUT"
    assert incident("x", signal=burn).symptoms.startswith("fast burns its error budget 50 times too fast; 10 of 25")


def test_a_marker_from_before_the_outage_does_not_name_it() -> None:
    burn = Signal(kind="burn_rate", at_s=9.0, detail="fast burns its error budget 50 times too fast")
    assert incident("ERROR FAULT_OLD: late", JSON_LINE, signal=burn).error_code == "FAULT_DB_TIMEOUT"


def test_before_anybody_suffers_it_says_so() -> None:
    assert incident(window=None).symptoms == "the app logs FAULT_DB_TIMEOUT; no request was seen to fail yet"
    assert incident(window=GOOD).symptoms.endswith("no request was seen to fail yet")
    assert incident(window=None).window is None


def test_the_lines_that_tell_something_are_picked_with_whole_tracebacks() -> None:
    traceback = ["Traceback (most recent call last):", '  File "a.py", line 3, in words', "    wait()", "OSError: no"]
    noise = ['{"level": "INFO", "message": "GET /words"}'] * 3
    killed = "Out of memory: Killed process 7 (gunicorn) total-vm:300000kB, anon-rss:190000kB"
    told = ["[7] [ERROR] Worker failed to boot.", JSON_LINE, killed, "CRITICAL: disk"]
    assert incident(*noise, *traceback, *noise, *told, *noise).logs == (*traceback, *told)


def test_where_no_line_tells_anything_the_last_ones_are_shown() -> None:
    lines = [f"GET /words {number}" for number in range(100)]
    assert incident(*lines).logs == tuple(lines[-60:])


def test_what_is_shown_is_bounded() -> None:
    found = incident(*(f"ERROR {number} " + "x" * 100_000 for number in range(200)))
    assert len(found.logs) == 60 and found.logs[-1].startswith("ERROR 199 ")
    assert {len(line) for line in found.logs} == {100_010}, "whole: to cut comes after secrets are taken out"


def test_where_markers_do_not_count_no_line_can_name_the_fault() -> None:
    """What users write is logged too."""
    line = "ERROR FAULT_DB_TIMEOUT cannot be shown"
    assert incident(line, signal=BURN).error_code == "FAULT_DB_TIMEOUT"
    assert incident(line, signal=BURN, markers=False).error_code == "SLO_BURN"


BURN = Signal(kind="burn_rate", at_s=9.0, detail="browse-fast burns")
