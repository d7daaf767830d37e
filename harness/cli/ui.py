"""``harness ui``: MLflow on the runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness.errors import InputError
from harness.services.loopback import require_port
from harness.sinks.tracking import tracking_uri


@click.command("ui")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), default=Path("results"), show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def command(results: Path, port: int) -> None:
    """Open MLflow on the trials in --results, at http://127.0.0.1:PORT, until Ctrl-C.

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
    click.echo(f"MLflow at http://127.0.0.1:{port} (Ctrl-C ends it)", err=True)
    words = ["-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - no shell; this process becomes MLflow's
