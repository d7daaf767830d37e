"""What is asked of the knowledge base when an incident comes in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from harness.model.incident import Incident

MARKER = re.compile(r"\bFAULT_[A-Z0-9_]+\b")
LOG_LINES = 12
LINE_CHARS = 400

_COMPLAINT = re.compile(r"error|exception|traceback|timed?.?out|refused|critical|warn|killed|denied", re.IGNORECASE)
_VARIES = re.compile(r"[0-9a-f]{8,}|\d+", re.IGNORECASE)
_SAID = ("level", "marker", "message", "msg", "event", "error")
_TRACES = ("exception", "exc_info", "traceback", "stack_trace")


def query_text(incident: Incident) -> str:
    """The error code, the symptoms, the breadcrumbs and the log lines that tell most, one a line."""
    return "\n".join((incident.error_code, incident.symptoms, *incident.breadcrumbs, *telling_lines(incident.logs)))


def brief_query_text(incident: Incident) -> str:
    """The same without breadcrumbs, for a reader of 256 tokens: they would take the place of the log lines."""
    return "\n".join((incident.error_code, incident.symptoms, *telling_lines(incident.logs)))


def telling_lines(logs: Sequence[str]) -> list[str]:
    """At most ``LOG_LINES`` lines, oldest first: those that bear a marker, or where none does, those that complain.

    Lines that differ only in numbers count once, so that a flood of one error does not drown the rest.
    """
    marked = [line for line in logs if MARKER.search(line)]
    return _distinct(marked or [line for line in logs if _COMPLAINT.search(line)])


def _distinct(lines: list[str]) -> list[str]:
    """What the newest ``LOG_LINES`` lines of different shape say, oldest first."""
    newest: dict[str, str] = {}
    for line in reversed(lines):
        said = _said(line)[:LINE_CHARS]
        newest.setdefault(_VARIES.sub("#", said), said)
    return list(newest.values())[:LOG_LINES][::-1]


def _said(line: str) -> str:
    """A log line; of a JSON record the words and the last line of its traceback, which names the error."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    words = [str(record[key]) for key in _SAID if record.get(key)]
    traces = [str(record[key]).strip().splitlines() for key in _TRACES if record.get(key)]
    return " ".join((*words, *(lines[-1] for lines in traces if lines))) or line
