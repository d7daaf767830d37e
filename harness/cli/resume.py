"""``harness resume``: what a killed harness left behind, brought to its end."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.sweep import carry_on
from harness.errors import HarnessError, InputError
from harness.experiment.manifest import PLAN, opened
from harness.experiment.resume import resume, unfinished
from harness.experiment.sweep import Sweep
from harness.settings import Settings


@click.command("resume")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Where to look for trials that were cut short, when none is named.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of Dask, for a sweep: run on its machines.")
@click.option("--no-track", is_flag=True, help="Leave MLflow out.")
def command(folders: tuple[Path, ...], results: Path, scheduler: str | None, no_track: bool) -> None:
    """Give a verdict and a record to each trial in FOLDERS, or in all of results/, that was cut short.

    A trial whose measurement was over is judged by its journal; any other becomes INVALID. One that still runs is left
    alone. A sweep among FOLDERS goes on: what is missing is run, and nothing twice. To do it twice changes nothing.

    \b
    Examples:
      harness resume
      harness resume results/20261107-120000-pool_exhaustion-noop-7f3a
      harness resume results/sweep
    """
    chosen, trouble = list(folders) or unfinished(results), 0
    for folder in [each for each in chosen if (each / PLAN).exists()]:
        chosen.remove(folder)
        with opened(folder) as place:
            carry_on(Sweep(place=place), scheduler, track=not no_track)
    for folder in chosen:
        try:
            for done in resume([folder], Settings.read(), track=not no_track):
                told = f"{done.verdict.outcome}: {done.verdict.reason}" if done.verdict else "it had not begun"
                click.echo(f"{done.folder.name}: {told}")
        except InputError as error:
            click.echo(f"{folder.name}: {error}", err=True)
            trouble = max(trouble, error.exit_code if folders else 0)
        except HarnessError as error:
            click.echo(f"{folder.name}: {error}", err=True)
            trouble = max(trouble, error.exit_code)
    if not chosen and not folders:
        click.echo(f"nothing in {results}/ was cut short")
    click.get_current_context().exit(trouble)
