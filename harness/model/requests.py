"""Requests as a scenario writes them, with ``{variables}`` that are drawn for each one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from harness.model.schema import Described

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_REQUEST = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S*)")


def request_parts(request: str) -> tuple[str, str]:
    """``"GET /products"`` as ("GET", "/products")."""
    match = _REQUEST.fullmatch(request.strip())
    if not match:
        raise ValueError(f"{request!r} is no request; write a method and a path, such as GET /products")
    return match[1], match[2]


class Expect(Described):
    """What makes an answer right. Speed is the SLO's business."""

    status: tuple[int, ...] = (200,)
    contains: str | None = None


class Variable(Described):
    """A random value for ``{name}`` in a request, drawn from the trial's seed."""

    integer: tuple[int, int] | None = None
    choice: tuple[str, ...] | None = Field(default=None, min_length=1)
    uuid: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum((self.integer is not None, self.choice is not None, self.uuid)) != 1:
            raise ValueError("give exactly one of integer: [low, high], choice: [...], uuid: true")
        if self.integer is not None and self.integer[0] > self.integer[1]:
            raise ValueError(f"integer: [low, high] has low {self.integer[0]} over high {self.integer[1]}")
        return self


class Request(Described):
    request: str
    json_body: dict[str, Any] | None = Field(default=None, alias="json")
    headers: dict[str, str] = Field(default_factory=dict)

    @field_validator("request")
    @classmethod
    def _request_is_one(cls, value: str) -> str:
        request_parts(value)
        return value


class Route(Request):
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    weight: float = Field(gt=0)
    expect: Expect = Expect()


def placeholders(part: object) -> set[str]:
    """The names in braces in a request, or in a part of one."""
    if isinstance(part, Request):
        return placeholders((request_parts(part.request)[1], part.json_body, tuple(part.headers.values())))
    if isinstance(part, str):
        return set(PLACEHOLDER.findall(part))
    if isinstance(part, Mapping):
        part = tuple(part.values())
    return {name for item in part for name in placeholders(item)} if isinstance(part, Sequence) else set()
