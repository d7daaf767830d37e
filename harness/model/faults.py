"""What goes wrong and when: a union tagged by ``action``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.model.requests import Request, placeholders
from harness.model.schema import Described, Seconds


class HttpFault(Request):
    """Sends one request to the app again and again, at ``rate`` a second, until the trial ends."""

    action: Literal["http"]
    at_s: Seconds = Field(default=0.0, alias="at")
    rate: float = Field(gt=0, le=200)
    seen: str | None = Field(default=None, description="wait event of PostgreSQL in which it shows while it is on")

    @model_validator(mode="after")
    def _no_variables(self) -> Self:
        if used := placeholders(self):
            raise ValueError(f"a fault's request has no variables, and this one uses {{{min(used)}}}")
        return self


class UpstreamFault(Described):
    """Switches an upstream of the app to a fault mode, and back to healthy at the end, or after ``for``."""

    action: Literal["upstream"]
    at_s: Seconds = Field(default=0.0, alias="at")
    upstream: str
    mode: str
    for_s: Seconds | None = Field(default=None, alias="for", description="it passes by itself; controls only")


class DefectFault(Described):
    """Deploys a bad release: ``patch``, a unified diff against the app's folder."""

    action: Literal["defect"]
    at_s: Seconds = Field(default=0.0, alias="at")
    patch: str


FaultSpec = Annotated[HttpFault | UpstreamFault | DefectFault, Field(discriminator="action")]
