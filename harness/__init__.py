"""Proves, under live load, whether a fix heals a failing service.

``from harness import run, sweep, compare, report`` and the like give what the commands do, as functions.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["calibration", "compare", "report", "run", "sweep", "validate"]

_HOMES = {
    "calibration": "harness.experiment.api",
    "compare": "harness.experiment.api",
    "report": "harness.reporting.report",
    "run": "harness.api",
    "sweep": "harness.experiment.api",
    "validate": "harness.validation",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Imported when asked for: what stands behind takes half a second, and most modules do not need it."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
