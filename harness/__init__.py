"""Proves, under live load, whether a fix heals a failing service.

``from harness import run, validate`` gives what the commands do, as functions.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["run", "validate"]

_HOMES = {"run": "harness.api", "validate": "harness.validation"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Imported when asked for: what stands behind takes half a second, and most modules do not need it."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
