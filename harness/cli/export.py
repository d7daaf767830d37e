"""``harness export``: trials as tables for others."""

from __future__ import annotations

from pathlib import Path

import click

from harness.errors import InputError
from harness.experiment.export import CARD, export
from harness.experiment.schemas import write


@click.command("export")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
@click.option("--schemas", "only_schemas", is_flag=True, help="Write the JSON Schemas of what is on disk, instead.")
def command(folders: tuple[Path, ...], to: Path, *, only_schemas: bool) -> None:
    """Write the trials of FOLDERS, of sweeps or of trials, as Parquet, with a card that says what is in it.

    No code, log, prompt or secret goes along.

    \b
    Examples:
      harness export results/sweep --to published/
      harness export --schemas --to schemas/
    """
    if only_schemas == bool(folders):
        raise InputError("name folders, or give --schemas", cure="one of the two: harness export --help")
    if only_schemas:
        for path in write(to):
            click.echo(path)
        return
    done = export(folders, to)
    for name, rows in done.rows.items():
        click.echo(f"{to}/{name}.parquet: {rows} rows")
    click.echo(f"{to}/{CARD}: what is in them")
