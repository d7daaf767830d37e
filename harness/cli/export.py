"""``harness export``: trials as tables for others."""

from __future__ import annotations

from pathlib import Path

import click

from harness.experiment.export import CARD, export


@click.command("export")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
def command(folders: tuple[Path, ...], to: Path) -> None:
    """Write the trials of FOLDERS, of sweeps or of trials, as Parquet, with a card that says what is in it.

    No code, log, prompt or secret goes along.

    \b
    Example:
      harness export results/sweep --to published/
    """
    done = export(folders, to)
    for name, rows in done.rows.items():
        click.echo(f"{to}/{name}.parquet: {rows} rows")
    click.echo(f"{to}/{CARD}: what is in them")
