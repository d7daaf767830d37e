"""What goes wrong and when: a union tagged by ``action``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.model.requests import Request
from harness.model.schema import Described, Seconds


class HttpFault(Request):
    """Sends one request to the app again and again, at ``rate`` a second, until the trial ends."""

    action: Literal["http"]
    at_s: Seconds = Field(default=0.0, alias="at")
    rate: float = Field(gt=0, le=200)


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
