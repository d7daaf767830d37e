"""``harness report``: what trials show, as one page."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from harness.errors import InputError
from harness.sinks.journal import write_atomically


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
    from harness.reporting.chapters import outline  # noqa: PLC0415 - numpy and more, for this command alone
    from harness.reporting.notebooks import run  # noqa: PLC0415 - the same
    from harness.reporting.page import page  # noqa: PLC0415 - the same

    told = outline(folders, against)
    target = to or folders[0] / "report.html"
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", cure="make it, or name another file: --to")
    if notebooks:
        notebooks.mkdir(parents=True, exist_ok=True)
    shown = []
    for number, chapter in enumerate(told.chapters, start=1):
        click.echo(f"[{number}/{len(told.chapters)}] {chapter.notebook.name}", err=True)
        shown.append(run(chapter, notebooks and notebooks / f"{number:02}-{chapter.notebook.name}"))
    again = shlex.join(["harness", "report", *map(str, folders), *(["--against", against] if against else [])])
    write_atomically(target, page(told, shown, again).encode("utf-8", "replace"))
    click.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
