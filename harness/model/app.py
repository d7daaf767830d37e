"""The manifest by which the harness runs an app: ``app.yml`` in the app's folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.model.schema import Described

Command = tuple[str, ...]


class WebProcess(Described):
    """The process that serves HTTP. ``reload`` HUP: the signal makes it serve new code without losing a request."""

    command: Command = Field(min_length=1)
    reload: Literal["HUP"] = "HUP"


class WorkerProcess(Described):
    """A process beside the web server; it is restarted when code is deployed."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    command: Command = Field(min_length=1)
    reload: Literal["restart"] = "restart"


class UpstreamApp(Described):
    """A dependency that the harness runs: a Python module that serves HTTP on $PORT.

    ``env`` is the variable by which the app under test learns its URL.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    module: str
    env: str


class AppServices(Described):
    """The environment variable that carries each service's URL; None: the app does not use it."""

    postgres: str | None = None
    redis: str | None = None


class AppManifest(Described):
    """How to prepare, start, check and edit an app. A first word ``python`` is the harness' own interpreter."""

    name: str
    source: tuple[str, ...] = Field(min_length=1, description="globs of what a fixer may read")
    editable: tuple[str, ...] = Field(min_length=1, description="globs of what a fix may change")
    protected: tuple[str, ...] = Field(default=(), description="globs that a fix may never change; they win")
    migrate: tuple[Command, ...] = Field(default=(), description="run before each release goes live")
    prepare: tuple[Command, ...] = Field(default=(), description="run once, after the first migration")
    web: WebProcess
    workers: tuple[WorkerProcess, ...] = ()
    upstreams: tuple[UpstreamApp, ...] = ()
    services: AppServices = AppServices()
    health: str = Field(pattern=r"^/")
    port: str = Field(default="PORT", description="the variable that carries the port to listen on")
    env: dict[str, str] = Field(default_factory=dict)
