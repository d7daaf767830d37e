"""Where the generator's processes write what they send, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class SampleFile:
    """The lines described in samples.py, each on its way to the reader when its call returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)  # one write a line, and no wait for a flush

    def ready(self, at: float) -> None:
        self._write({"k": "ready", "at": at})

    def arrival(self, kind: str, number: int, route: str, due: float, lag: float) -> None:
        self._write({"k": kind, "n": number, "route": route, "due": due, "lag": lag})

    def done(self, number: int, status: int, end: float, error: str) -> None:
        self._write({"k": "done", "n": number, "status": status, "right": not error, "end": end, "error": error})

    def _write(self, line: Mapping[str, object]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
