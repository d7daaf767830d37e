"""``harness list``: what there is."""

from __future__ import annotations

from pathlib import Path

import click

from harness.catalogue import FIXERS, RETRIEVERS
from harness.errors import ScenarioError
from harness.loading import load_scenario, scenario_files


@click.command("list")
@click.argument("folder", default="scenarios", type=click.Path(path_type=Path, exists=True, file_okay=False))
def command(folder: Path) -> None:
    """List the scenarios in FOLDER, the fixers and the retrievers.

    \b
    Example:
      harness list
    """
    click.echo("Scenarios")
    for file in scenario_files((), folder):
        try:
            metadata = load_scenario(file).spec.metadata
            click.echo(f"  {file}  {metadata.title} [{metadata.fault_class}]")
        except ScenarioError as error:
            click.echo(f"  {file}  is wrong: {error}")
    click.echo(f"Fixers      {', '.join(FIXERS)}, or your own as module:Class")
    click.echo(f"Retrievers  {', '.join(RETRIEVERS)}")
