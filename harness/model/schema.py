"""How YAML becomes values: camelCase keys, no unknown keys, durations with units."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*+([A-Za-z]*)")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Described(BaseModel):
    """Base of everything that is read from a YAML file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


def seconds(value: object) -> float:
    """5, 2.5, "5s", "500ms" or "1m" as seconds. ValueError names the units that are known."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a duration is a number of seconds, or a text such as 5s, 500ms or 1m")
    match = _DURATION.fullmatch(str(value).strip())
    if not match or match[2] not in _SECONDS:
        raise ValueError(f"{value!r} is no duration; write seconds as a number, or use the units ms, s, m, h")
    return float(match[1]) * _SECONDS[match[2]]


Seconds = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)?$"}]}
    ),
]
