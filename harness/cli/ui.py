"""``harness ui``: MLflow on the runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness.errors import InputError
from harness.services.loopback import require_port
from harness.sinks.tracking import tracking_uri
from harness.sinks.views import address


@click.command("ui")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def command(results: Path, port: int) -> None:
    """Open MLflow on the trials in --results, at http://127.0.0.1:PORT, until Ctrl-C.

    It prints where fixers stand side by side, those of the last sweep where there was one.

    \b
    Example:
      harness ui --port 5050
    """
    uri = tracking_uri(results.resolve())
    if uri.startswith("sqlite:") and not (results / "mlflow.db").is_file():
        raise InputError(
            f"no run is tracked in {results}/ yet", cure="run one: harness run scenarios/pool_exhaustion.yml"
        )
    require_port(port)
    base = f"http://127.0.0.1:{port}"
    click.echo(f"MLflow at {base} (Ctrl-C ends it)", err=True)
    if (page := address(base, uri)) != base:
        click.echo(f"fixers compared: {page}", err=True)
    words = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    # in the environment, and on no command line, which anybody on the machine can read: it may hold a password
    env = os.environ | {"MLFLOW_BACKEND_STORE_URI": uri}
    os.execve(sys.executable, words, env)  # noqa: S606 - no shell; this process becomes MLflow's
