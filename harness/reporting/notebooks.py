"""A notebook, run with parameters by papermill, and what its cells have shown."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import InputError
from harness.reporting.chapters import Chapter

_LOUD = ("papermill", "papermill.translators", "nbclient", "traitlets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one cell shows: Markdown as it was written, or HTML that an output brought."""

    kind: Literal["markdown", "html"]
    text: str


def run(chapter: Chapter, keep: Path | None = None) -> list[Shown]:
    """What is to be read of it, in order, without its code. ``keep``: where the executed notebook goes, too.

    See https://papermill.readthedocs.io. Relative paths count from where we are. InputError tells which cell failed.
    """
    import papermill  # type: ignore[import-untyped] # noqa: PLC0415 - it has no types; a second to import
    from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped] # noqa: PLC0415 - the same
    from traitlets.config import Config  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory() as passing, _quiet():
        made = keep or Path(passing) / chapter.notebook.name
        try:
            done = papermill.execute_notebook(
                str(chapter.notebook),
                str(made),
                chapter.parameters,
                kernel_name="python3",
                progress_bar=False,
                log_output=False,
                cwd=str(Path.cwd()),
                # sockets of the file system: no port is open, and nothing is left at home
                config=Config(KernelManager={"transport": "ipc", "connection_file": f"{passing}/kernel.json"}),
                extra_arguments=["--log-level=CRITICAL", f"--ipython-dir={passing}"],
            )
        except PapermillExecutionError as error:
            what = f"{chapter.notebook.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}"
            raise InputError(what, cure="open it in Jupyter, or leave it out") from None
    return [shown for cell in done.cells for shown in _shown(cell)]


def _shown(cell: Any) -> Iterator[Shown]:  # noqa: ANN401 - a node of nbformat's
    if cell.cell_type == "markdown":
        yield Shown(kind="markdown", text=cell.source)
        return
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "text/html" in data:
            yield Shown(kind="html", text=data["text/html"])
        elif "image/png" in data:
            yield Shown(kind="html", text=f'<img src="data:image/png;base64,{data["image/png"].strip()}" alt="">')


@contextmanager
def _quiet() -> Iterator[None]:
    """papermill tells of each cell to the log."""
    known = {name: logging.getLogger(name).level for name in _LOUD}
    try:
        for name in known:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in known.items():
            logging.getLogger(name).setLevel(level)
