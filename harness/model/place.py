"""Where in the cloud an app runs that fixes are tried on: a file of its own, since scenarios name no account."""

from __future__ import annotations

from pydantic import Field

from harness.model.schema import Described, Seconds

_URL = r"^https?://[^\s/@]+(/[^\s]*)?$"


class DistantUpstream(Described):
    """A dependency that runs by itself, and can be told to fail."""

    url: str = Field(pattern=_URL)
    token: str = Field(pattern=r"^[A-Z_][A-Z0-9_]*$", description="the variable that holds its admin token")


class EcsPlace(Described):
    """A service of ECS, for trials alone: each takes it over, and gives it back as it was."""

    cluster: str = Field(min_length=1)
    service: str = Field(min_length=1)
    containers: tuple[str, ...] = Field(min_length=1, description="those of its task that run the app's code")
    repository: str = Field(pattern=r"^[^\s:@/]+(:\d+)?/[^\s:@]+$", description="of ECR, where images go: HOST/NAME")
    url: str = Field(pattern=_URL, description="where users, the load and the checks reach the app")
    upstreams: dict[str, DistantUpstream] = Field(default_factory=dict, description="by their names in app.yml")
    log: str = Field(min_length=1, description="the log group that the containers write to")
    streams: str = Field(default="", description="how the names of the app's log streams begin; empty: all")
    region: str | None = Field(default=None, description="unset: as the environment says")
    within_s: Seconds = Field(default=600.0, alias="within", gt=0, description="how long one deployment may take")
