"""``harness list``: what there is."""

from __future__ import annotations

from pathlib import Path

import click

from harness.catalogue import CHEAT, FIXERS, RETRIEVERS, own_cheats
from harness.errors import ScenarioError
from harness.fixing.cheats import CHEATS
from harness.loading import load_scenario, scenario_files


@click.command("list")
@click.argument("folder", default="scenarios", type=click.Path(path_type=Path, exists=True, file_okay=False))
def command(folder: Path) -> None:
    """List the scenarios in FOLDER, the fixers, the retrievers, and the wrong fixes that must lose.

    \b
    Example:
      harness list
    """
    click.echo("Scenarios, and the wrong fixes of their own")
    for file in scenario_files((), folder):
        try:
            loaded = load_scenario(file)
            metadata = loaded.spec.metadata
            click.echo(f"  {file}  {metadata.title} [{metadata.fault_class}]")
            own = own_cheats(loaded)
            click.echo("".join(f"    {CHEAT}{name}\n" for name in own), nl=False)
        except ScenarioError as error:
            click.echo(f"  {file}  is wrong: {error}")
    click.echo(f"Fixers      {', '.join(FIXERS)}, or your own as module:Class")
    click.echo(f"Retrievers  {', '.join(RETRIEVERS)}")
    click.echo("Wrong fixes for any scenario")
    for name, what in CHEATS.items():
        click.echo(f"  {CHEAT}{name}  {what}")
