"""``harness rejudge``: the verdict again, from the journal alone."""

from __future__ import annotations

from pathlib import Path

import click

from harness.experiment.rejudge import REJUDGED, rejudge
from harness.sinks.journal import read_verdict, verdict_json


@click.command("rejudge")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the new verdict as one JSON object.")
def command(folder: Path, as_json: bool) -> None:
    """Judge the trial in FOLDER again by today's rules. The first verdict stays as it is; comparisons take the new one.

    \b
    Examples:
      harness rejudge results/20261107-120000-pool_exhaustion-noop-7f3a
      for each in results/2026*/; do harness rejudge "$each"; done
    """
    verdict, first = rejudge(folder), read_verdict(folder)
    if as_json:
        click.echo(verdict_json(verdict))
    else:
        was = f"{first.outcome} (judge {first.judge or 1})" if first else "none"
        same = "as before" if first and first.outcome is verdict.outcome else f"before: {was}"
        click.echo(f"{verdict.outcome} (judge {verdict.judge}), {same}: {verdict.rule}: {verdict.reason}")
        click.echo(f"written to {folder / REJUDGED}")
    click.get_current_context().exit(verdict.outcome.exit_code)
