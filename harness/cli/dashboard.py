"""``harness dashboard``: the live page."""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

import click

from harness.dashboard.settings import LOOPBACK, DashboardSettings, strong
from harness.errors import InputError, ServiceUnavailable
from harness.services.loopback import require_port
from harness.services.ready import http_ready
from harness.services.shared import Shared, await_trial, shared_running, trial_uses
from harness.services.supervisor import Supervisor
from harness.settings import Settings, secret

_POLL_S = 0.5
_START_TIMEOUT_S = 60.0


@click.command("dashboard")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Any but 127.0.0.1 needs DASHBOARD_TOKEN.")
@click.option("--port", type=click.IntRange(1, 65535), default=5002, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes that serve pages.")
@click.option("--target", metavar="URL", help="An app in which faults may be triggered, with ENABLE_FAULT_INJECTION=1.")
def command(results: Path, host: str, port: int, workers: int, target: str | None) -> None:
    """Show incidents as they happen, at http://HOST:PORT/developer/incidents, until Ctrl-C.

    Trials with the same --results tell it of theirs. It keeps PostgreSQL and Valkey up for them, unless DATABASE_URL
    and REDIS_URL name others.

    \b
    Examples:
      harness dashboard
      DASHBOARD_TOKEN=$(openssl rand -hex 32) harness dashboard --host 0.0.0.0
    """
    token = secret(os.environ, "DASHBOARD_TOKEN")
    if host not in LOOPBACK and not token:
        raise InputError(
            f"--host {host} lets others in, and DASHBOARD_TOKEN is not set",
            cure="set it to a long random text, such as of openssl rand -hex 32: it is asked for at the login",
        )
    if token:
        strong("DASHBOARD_TOKEN", token)
    require_port(port, host)
    results, logs = results.resolve(), results.resolve() / "dashboard"
    logs.mkdir(parents=True, exist_ok=True)
    await_trial(results, lambda told: click.echo(told, err=True))
    with Supervisor() as supervisor, shared_running(supervisor, results, logs, Settings.read()) as shared:
        env = _env(shared, token, target)
        DashboardSettings.read(env)  # what is wrong is told here, and not by each process that would fail to start
        words = [
            "--bind",
            f"{f'[{host}]' if ':' in host else host}:{port}",
            "--workers",
            str(workers),
            "--worker-class",
            "gevent",
        ]
        words += ["--no-control-socket", "--graceful-timeout", "2", "harness.dashboard.app:create_app()"]
        server = supervisor.start(
            "dashboard", [sys.executable, "-P", "-m", "gunicorn", *words], env=env, cwd=logs, log=logs / "dashboard.log"
        )
        http_ready(f"http://{_reached(host)}:{port}/health/live", timeout_s=_START_TIMEOUT_S, child=server)
        click.echo(f"incidents at http://{_reached(host)}:{port}/developer/incidents (Ctrl-C ends it)", err=True)
        _serve(supervisor, results)


def _env(shared: Shared, token: str | None, target: str | None) -> dict[str, str]:
    """Ours without any model's key. The key of sessions is new each time unless it is given."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env |= {
        "DATABASE_URL": shared.database_url,
        "SECRET_KEY": secret(os.environ, "SECRET_KEY") or secrets.token_urlsafe(32),
        "DASHBOARD_HOSTS": "" if token else " ".join(LOOPBACK),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    env |= {"REDIS_URL": shared.redis_url} if shared.redis_url else {}
    env |= {"DASHBOARD_TOKEN": token} if token else {}
    return env | ({"TARGET_URL": target} if target else {})


def _reached(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104 - told, not bound


def _serve(supervisor: Supervisor, results: Path) -> None:
    """Until something of it ends, or Ctrl-C does: then, unless that comes again, not before a trial that uses it.

    Valkey may end: PostgreSQL tells of changes, too.
    """
    vital = [child for child in supervisor.children if child.name != "valkey"]
    try:
        while not (ended := [child for child in vital if not child.running()]):
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        if trial_uses(results):
            click.echo("a trial uses the database: waiting for its end (Ctrl-C again ends both)", err=True)
        while trial_uses(results):
            time.sleep(_POLL_S)
        raise
    why = f"{ended[0].name} ended with code {ended[0].returncode}; its log ends with:\n{ended[0].tail()}"
    raise ServiceUnavailable(why, cure=f"read {ended[0].log}, and start the dashboard again")
