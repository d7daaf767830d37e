"""``harness report``: what trials show, as one page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="The page; else FOLDER/report.html.")
@click.option("--against", default="", metavar="ARM", help="Of a sweep: what the others are compared with.")
@click.option(
    "--notebooks", type=click.Path(path_type=Path, file_okay=False), help="Keep the executed notebooks there, too."
)
def command(folders: tuple[Path, ...], to: Path | None, against: str, notebooks: Path | None) -> None:
    """Write what FOLDERS show as one HTML page, which opens offline: pictures, tables, and how to read them.

    FOLDERS are trials; or a sweep; or two sweeps, the first compared with the second; or a folder of nights. The
    page is made of notebooks/, run by papermill.

    \b
    Examples:
      harness report results/sweep
      harness report results/tonight results/baseline --to report.html
      harness report results/my-trial
    """
    from harness.reporting.report import report  # noqa: PLC0415 - numpy and more, for this command alone

    made = report(*folders, to=to, against=against, notebooks=notebooks, tell=lambda words: click.echo(words, err=True))
    click.echo(f"{made}: {made.stat().st_size / 1e6:.1f} MB")
