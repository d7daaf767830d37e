"""One page that opens offline: no script, no font, no picture from elsewhere, and a policy that forbids them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.identity import utc_now
from harness.reporting.chapters import Outline
from harness.reporting.notebooks import Shown

_HEADING = re.compile(r"^(#+) ", re.MULTILINE)
_TITLE = re.compile(r"^# +(.+)$", re.MULTILINE)


def page(told: Outline, chapters: Sequence[Sequence[Shown]], command: str) -> str:
    """The whole of it, as HTML. ``command``: by which it can be made again."""
    import jinja2  # noqa: PLC0415 - a tenth of a second that only pages need

    here = Path(__file__).parent
    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (here / "page.html").read_text(encoding="utf-8")
    )
    parts = [
        {"id": f"part-{number}", "title": _title(chapter), "html": _html(chapter)}
        for number, chapter in enumerate(chapters, start=1)
    ]
    return made.render(
        title=told.title,
        style=(here / "page.css").read_text(encoding="utf-8"),
        parts=parts,
        left_out=told.left_out,
        command=command,
        made_at=utc_now()[:16].replace("T", " "),
    )


def _title(chapter: Sequence[Shown]) -> str:
    for shown in chapter:
        if shown.kind == "markdown" and (found := _TITLE.search(shown.text)):
            return found.group(1)
    return "Notebook"


def _html(chapter: Sequence[Shown]) -> str:
    """Headings go down by one: the page has the first."""
    import mistune  # noqa: PLC0415 - only pages need it

    read = mistune.create_markdown(escape=True, plugins=["table"])
    return "\n".join(
        str(read(_HEADING.sub(r"#\1 ", each.text))) if each.kind == "markdown" else each.text for each in chapter
    )
