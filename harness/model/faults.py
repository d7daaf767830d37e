"""What goes wrong and when: a union tagged by ``action``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from harness.model.schema import Described, Seconds

_REQUEST = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S*)")


def request_parts(request: str) -> tuple[str, str]:
    """``"GET /products"`` as ("GET", "/products")."""
    match = _REQUEST.fullmatch(request.strip())
    if not match:
        raise ValueError(f"{request!r} is no request; write a method and a path, such as GET /products")
    return match[1], match[2]


class HttpFault(Described):
    """Sends one request to the app again and again, at ``rate`` a second, until the trial ends."""

    action: Literal["http"]
    at_s: Seconds = Field(default=0.0, alias="at")
    request: str
    rate: float = Field(gt=0, le=200)
    json_body: dict[str, Any] | None = Field(default=None, alias="json")

    @field_validator("request")
    @classmethod
    def _request_is_one(cls, value: str) -> str:
        request_parts(value)
        return value


class UpstreamFault(Described):
    """Switches an upstream of the app to a fault mode, and back to healthy at the end."""

    action: Literal["upstream"]
    at_s: Seconds = Field(default=0.0, alias="at")
    upstream: str
    mode: str


class DefectFault(Described):
    """Deploys a bad release: ``patch``, a unified diff against the app's folder."""

    action: Literal["defect"]
    at_s: Seconds = Field(default=0.0, alias="at")
    patch: str


FaultSpec = Annotated[HttpFault | UpstreamFault | DefectFault, Field(discriminator="action")]
