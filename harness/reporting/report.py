"""From folders to a page: what they hold, the notebooks that tell it, and one file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import InputError
from harness.reporting.chapters import outline
from harness.reporting.notebooks import run
from harness.reporting.page import page
from harness.sinks.journal import write_atomically

FILE = "report.html"  # in the first folder, unless another is named


def report(
    *folders: Path | str,
    to: Path | str | None = None,
    against: str = "",
    notebooks: Path | str | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Path:
    """Write the page, and return its path. ``notebooks``: a folder in which the executed ones are kept.

    ``tell`` hears of each notebook before it runs. InputError where the folders hold nothing that can be told, or a
    notebook fails: then no page is written.
    """
    places = [Path(each) for each in folders]
    told = outline(places, against)
    target, keep = Path(to) if to else places[0] / FILE, Path(notebooks) if notebooks else None
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", cure="make it, or name another file: --to")
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    shown = []
    for number, chapter in enumerate(told.chapters, start=1):
        tell(f"[{number}/{len(told.chapters)}] {chapter.notebook.name}")
        shown.append(run(chapter, keep / f"{number:02}-{chapter.notebook.name}" if keep else None))
    write_atomically(target, page(told, shown, _command(places, against)).encode("utf-8", "replace"))
    return target


def _command(folders: Sequence[Path], against: str) -> str:
    return shlex.join(["harness", "report", *map(str, folders), *(["--against", against] if against else [])])
