"""What the dashboard's processes are told by their environment. Made by ``harness dashboard``, or by a container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import InputError
from harness.settings import secret

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LEAST_KEY = 16  # characters: less can be guessed


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    """``token`` None: everybody who reaches it may look, so it is reached from this machine alone."""

    database_url: str
    redis_url: str | None
    secret_key: str
    token: str | None
    hosts: tuple[str, ...]  # the names by which it may be called; empty: any, since a token is asked for
    target_url: str | None  # of the app in which faults may be triggered; None: in none
    clients: int  # live connections a process, at most
    cookie_secure: bool

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> DashboardSettings:
        """InputError names a variable that is missing or cannot be used."""
        token, hosts = secret(environ, "DASHBOARD_TOKEN"), environ.get("DASHBOARD_HOSTS", "").split()
        if token is None and not hosts:
            raise InputError(
                "DASHBOARD_TOKEN is not set", cure="set it to a long random text: it is asked for at the login"
            )
        if token is None and not set(hosts) <= set(LOOPBACK):
            cure = "set DASHBOARD_TOKEN, or leave in DASHBOARD_HOSTS only names of this machine"
            raise InputError("DASHBOARD_HOSTS names another machine, and DASHBOARD_TOKEN is not set", cure=cure)
        if token:
            strong("DASHBOARD_TOKEN", token)
        target = environ.get("TARGET_URL") if _on(environ, "ENABLE_FAULT_INJECTION") else None
        return cls(
            database_url=_required(environ, "DATABASE_URL"),
            redis_url=secret(environ, "REDIS_URL"),
            secret_key=_required(environ, "SECRET_KEY"),
            token=token,
            hosts=tuple(hosts),
            target_url=target.rstrip("/") if target else None,
            clients=_count(environ, "DASHBOARD_CLIENTS", 500),
            cookie_secure=_on(environ, "COOKIE_SECURE"),
        )


def strong(name: str, value: str) -> str:
    """InputError where a secret is short enough to be guessed."""
    if len(value) < _LEAST_KEY:
        raise InputError(f"{name} has {len(value)} characters", cure=f"use {_LEAST_KEY} or more, made at random")
    return value


def _required(environ: Mapping[str, str], name: str) -> str:
    value = secret(environ, name)
    if value is None:
        raise InputError(f"{name} is not set", cure=f"set it, or {name}_FILE to the name of a file that holds it")
    return strong(name, value) if name == "SECRET_KEY" else value


def _on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() in ("1", "true", "yes", "on")


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name) or str(default)
    if not value.isdecimal() or not int(value):
        raise InputError(f"{name}={value!r} is no number of connections", cure=f"use a number such as {default}")
    return int(value)
