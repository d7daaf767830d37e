"""Values as JSON knows them."""

from __future__ import annotations

import math


def without_nan(value: object) -> object:
    """The same with null for what is no finite number, in dictionaries and lists too: JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return [without_nan(each) for each in value] if isinstance(value, list | tuple) else value
