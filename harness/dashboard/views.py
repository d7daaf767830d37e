"""What pages show, worked out: no request, no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 1000  # units of a waterfall, whatever its width on the screen
_LEAST = 3  # units: what is short can still be seen
_LINES = 2000  # of a diff


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    name: str
    x: float
    width: float
    start_s: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    kind: str  # added, removed, place, file, same
    text: str


def waterfall(phases: Sequence[dict[str, Any]]) -> list[Bar]:
    """One bar a phase, in the order in which they began."""
    ends = [float(phase["end_s"] or 0) for phase in phases]
    if not ends or max(ends) <= 0:
        return []
    scale, bars = WIDTH / max(ends), list[Bar]()
    for phase, end_s in zip(phases, ends, strict=True):
        start_s = float(phase["start_s"] or 0)
        width = max(_LEAST, (end_s - start_s) * scale)
        x = min(start_s * scale, WIDTH - width)
        name, seconds = str(phase["name"]), end_s - start_s
        bars.append(Bar(name=name, x=round(x, 1), width=round(width, 1), start_s=start_s, seconds=seconds))
    return bars


def diff_lines(diff: str) -> list[Line]:
    """The first lines of a unified diff, each with what it is."""
    lines = diff.splitlines()
    shown = [Line(kind=_kind(line), text=line) for line in lines[:_LINES]]
    left = len(lines) - len(shown)
    return [*shown, Line(kind="place", text=f"... and {left} lines more")] if left else shown


def _kind(line: str) -> str:
    if line.startswith(("+++", "---", "diff ", "index ")):
        return "file"
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "same")
